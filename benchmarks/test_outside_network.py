"""What a round costs outside the network, each against the straightforward way: read the ratios within a group.

pytest benchmarks/test_outside_network.py --benchmark-group-by=group --benchmark-columns=min,median,rounds
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

from napari_metastructure.igtt.candidates import search, thresholds
from napari_metastructure.igtt.edges import outline_rank
from napari_metastructure.igtt.extraction import extract
from napari_metastructure.igtt.levels import cut_at_level

K = 30


@pytest.fixture(scope="module")
def p() -> np.ndarray:
    """A probability of 256 x 256 pixels with blobs and tubes in it."""
    rng = np.random.default_rng(0)
    field = ndi.gaussian_filter(rng.standard_normal((256, 256)), 4)
    return (1 / (1 + np.exp(-60 * field))).astype(np.float32)


def masks_one_by_one(p: np.ndarray) -> float:
    """Algorithm 1, lines 6 to 9, as printed: K masks, K matrix products of eq. (5)."""
    flat = p.ravel().astype(np.float64)
    both = np.stack([flat, 1 - flat])
    best, chosen = -np.inf, 0.0
    for t in thresholds(p, K):
        s = (flat > t).astype(np.float64)
        score = np.abs(np.linalg.det(both @ np.stack([s, 1 - s]).T))
        if score > best:
            best, chosen = score, float(t)
    return chosen


def outlines_one_by_one(p: np.ndarray, steep: np.ndarray) -> np.ndarray:
    found = np.zeros(K)
    for i, t in enumerate(thresholds(p, K)):
        mask = p > t
        outline = ndi.binary_dilation(mask) ^ ndi.binary_erosion(mask, border_value=1)
        found[i] = steep[outline].mean() if outline.any() else 0
    return found


@pytest.mark.benchmark(group="candidate search, DMI, 30 thresholds")
@pytest.mark.parametrize("way", ["masks one by one", "histogram", "closed form"])
def test_search(benchmark, p, way):
    ways = {
        "masks one by one": lambda: masks_one_by_one(p),
        "histogram": lambda: search(p, "dmi", "grid", K).chosen,
        "closed form": lambda: float(p.mean(dtype=np.float64)),
    }
    assert 0 < benchmark(ways[way]) < 1


@pytest.mark.benchmark(group="rank of the outline, 30 thresholds")
@pytest.mark.parametrize("way", ["masks one by one", "cumulative sum"])
def test_outline_rank(benchmark, p, way):
    steep = np.random.default_rng(1).random(p.shape, dtype=np.float32)
    ways = {
        "masks one by one": lambda: outlines_one_by_one(p, steep),
        "cumulative sum": lambda: outline_rank(p, thresholds(p, K), steep),
    }
    assert len(benchmark(ways[way])) == K


@pytest.mark.benchmark(group="EMS of one mask")
@pytest.mark.parametrize("method", ["skeleton", "density"])
def test_extraction(benchmark, p, method):
    rng = np.random.default_rng(0)
    assert benchmark(lambda: extract(p > 0.5, rng, method, 0.5, 1)).shape == p.shape


def ems_pixel_by_pixel(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """EMS as the paper's text reads: every pixel of the skeleton is looked at, kept or not, and moved."""
    skeleton, label = skeletonize(mask), np.zeros(mask.shape, np.uint8)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if skeleton[y, x] and rng.random() < 0.1:
                dy, dx = rng.integers(-1, 2, 2)
                label[np.clip(y + dy, 0, mask.shape[0] - 1), np.clip(x + dx, 0, mask.shape[1] - 1)] = 1
    return label


@pytest.mark.benchmark(group="one image of a round: candidates, search, EMS")
@pytest.mark.parametrize("way", ["mask by mask, pixel by pixel", "default", "paper"])
def test_round(benchmark, p, way):
    rng = np.random.default_rng(0)
    image = p + rng.normal(0, 0.1, p.shape).astype(np.float32)

    def default():
        return extract(cut_at_level(p, image)[0], rng, "density", 0.5, 1)

    def paper():
        return extract(p > search(p, "dmi", "grid", K).chosen, rng, "skeleton", 0.1, 1)

    ways = {
        "mask by mask, pixel by pixel": lambda: ems_pixel_by_pixel(p > masks_one_by_one(p), rng),
        "default": default,
        "paper": paper,
    }
    assert benchmark(ways[way]).any()
