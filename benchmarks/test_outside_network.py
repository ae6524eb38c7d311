"""Cost of a round outside the network, each against the straightforward way: read the ratios within a group.

pytest benchmarks/test_outside_network.py --benchmark-group-by=group --benchmark-columns=min,median,rounds
"""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

from napari_metastructure.igtt.candidates import outline_rank, search, thresholds
from napari_metastructure.igtt.levels import Levels
from napari_metastructure.igtt.pseudo_labels import extract

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


def search_as_published(p: np.ndarray) -> np.ndarray:
    """Candidates and search in the steps of the authors' program: tensors of K thresholds and of K masks."""
    t = torch.from_numpy(p)[None]
    levels = torch.linspace(float(t.min()), float(t.max()), K)[:, None, None].repeat(1, *p.shape)
    masks = torch.zeros_like(levels)
    for j in range(K):
        masks[j] = torch.gt(t[0], levels[j]).float()
    repeated, losses = t.repeat(K, 1, 1), torch.zeros(K)
    for j in range(1, K - 1):
        one, other = (torch.stack([x, 1 - x]) for x in (repeated[j].flatten(), masks[j].flatten()))
        losses[j] = -torch.log(torch.abs(torch.det(one @ other.T)) + 0.001)
    return masks[int(torch.argmin(losses))].numpy()


def ems_as_published(mask: np.ndarray) -> np.ndarray:
    """EMS in the steps of the authors' program: two draws for each pixel of the skeleton, and a loop over the kept."""
    shifts, moved = np.arange(-1, 2), np.zeros(mask.shape, np.uint8)
    for place in np.argwhere(skeletonize(mask)):
        step = [np.random.choice(shifts, 1, replace=False)[0] for _ in range(2)]
        moved[tuple(np.clip(place + step, 0, np.array(mask.shape) - 1))] = 1
    label, places = np.zeros_like(moved), np.argwhere(moved)
    for i in np.random.choice(len(places), len(places) // 10, replace=False):
        label[tuple(places[i])] = 1
    return label


@pytest.mark.benchmark(group="one image of a round: candidates, search, EMS")
@pytest.mark.parametrize("way", ["as published", "default", "paper"])
def test_round(benchmark, p, way):
    rng = np.random.default_rng(0)
    image = p + rng.normal(0, 0.1, p.shape).astype(np.float32)

    levels = Levels(image)  # found once for all rounds of a run

    def default():
        return extract(levels.cut(p)[0], rng, "density", 0.5, 1)

    def paper():
        return extract(p > search(p, "dmi", "grid", K).chosen, rng, "skeleton", 0.1, 1)

    ways = {
        "as published": lambda: ems_as_published(search_as_published(p)),
        "default": default,
        "paper": paper,
    }
    assert benchmark(ways[way]).any()
