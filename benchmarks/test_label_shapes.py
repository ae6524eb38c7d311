"""Cost of perturbed clean labels, each relative to the straightforward way: read the ratios within a group.

pytest benchmarks/test_label_shapes.py --benchmark-group-by=group --benchmark-columns=min,median,rounds
"""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.labels.shapes import (
    closing,
    dilate,
    displace_boundary,
    erode,
    opening,
    perturb_objects,
    skeleton,
)

SIZE, N = 2048, 3
SQUARE = np.ones((3, 3), bool)
OURS = {"dilate": dilate, "erode": erode, "opening": opening, "closing": closing}
SCIPY = {
    "dilate": lambda mask: ndi.binary_dilation(mask, SQUARE, N),
    "erode": lambda mask: ndi.binary_erosion(mask, SQUARE, N, border_value=1),
    "opening": lambda mask: ndi.binary_dilation(SCIPY["erode"](mask), SQUARE, N),
    "closing": lambda mask: ndi.binary_erosion(SCIPY["dilate"](mask), SQUARE, N, border_value=1),
}


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    """Blobs and tubes about a dozen pixels wide."""
    return ndi.gaussian_filter(np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32), 6)


@pytest.fixture(scope="module")
def mask(field) -> np.ndarray:
    return (field > np.quantile(field, 0.8)).astype(np.uint8)


@pytest.fixture(scope="module")
def ten_classes(field) -> np.ndarray:
    return np.digitize(field, np.quantile(field, np.linspace(0.5, 0.95, 9))).astype(np.uint8)


def sampled(labels: np.ndarray) -> np.ndarray:
    """Half of the pixels unlabelled."""
    return np.where(np.random.default_rng(1).random(labels.shape) < 0.5, labels, np.uint8(255))


def objects_by_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every object dilated or eroded by its own step: one mask per step."""
    numbers, count = ndi.label(mask, SQUARE)
    step = np.concatenate([[0], rng.integers(-N, N + 1, count)])[numbers]
    result = (mask > 0) & (step == 0)
    for k in range(1, N + 1):
        result |= ndi.binary_dilation((mask > 0) & (step == k), SQUARE, k)
        result |= ndi.binary_erosion((mask > 0) & (step == -k), SQUARE, k, border_value=1)
    return result


def displaced_by_filter(mask: np.ndarray, amplitude: float, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Filtered white noise at full size, labels looked up by `map_coordinates`."""
    field = [ndi.gaussian_filter(rng.standard_normal(mask.shape, dtype=np.float32), correlation / 2) for _ in "yx"]
    places = [at + f * np.float32(amplitude / f.std()) for at, f in zip(np.indices(mask.shape), field, strict=True)]
    return ndi.map_coordinates(mask, places, order=0, mode="nearest")


@pytest.mark.benchmark(group="one class, 2048 x 2048, n = 3")
@pytest.mark.parametrize("way", ["scipy.ndimage", "here", "here, half unlabelled"])
@pytest.mark.parametrize("name", OURS)
def test_one_class(benchmark, mask, name, way):
    labels = sampled(mask) if "unlabelled" in way else mask
    run = (lambda: SCIPY[name](mask)) if way == "scipy.ndimage" else lambda: OURS[name](labels, N)
    result = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    if way == "here":
        np.testing.assert_array_equal(result, SCIPY[name](mask))


@pytest.mark.benchmark(group="ten classes, 2048 x 2048, n = 3")
@pytest.mark.parametrize("labels", ["all", "half unlabelled"])
@pytest.mark.parametrize("name", OURS)
def test_ten_classes(benchmark, ten_classes, name, labels):
    chosen = ten_classes if labels == "all" else sampled(ten_classes)
    assert benchmark.pedantic(lambda: OURS[name](chosen, N), rounds=5, warmup_rounds=1).shape == chosen.shape


@pytest.mark.benchmark(group="objects, 2048 x 2048, n = 3")
@pytest.mark.parametrize("way", ["one mask per step", "here", "here, ten classes"])
def test_objects(benchmark, mask, ten_classes, way):
    ways = {
        "one mask per step": lambda: objects_by_mask(mask, np.random.default_rng(0)),
        "here": lambda: perturb_objects(mask, N, np.random.default_rng(0)),
        "here, ten classes": lambda: perturb_objects(ten_classes, N, np.random.default_rng(0)),
    }
    result = benchmark.pedantic(ways[way], rounds=5, warmup_rounds=1)
    if way == "here":
        np.testing.assert_array_equal(result, ways["one mask per step"]())


@pytest.mark.benchmark(group="boundary, 2048 x 2048")
@pytest.mark.parametrize("correlation", [2, 8, 32])
@pytest.mark.parametrize("way", ["filter at full size", "here"])
def test_boundary(benchmark, mask, way, correlation):
    move = displace_boundary if way == "here" else displaced_by_filter
    run = lambda: move(mask, 2, correlation, np.random.default_rng(0))  # noqa: E731
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1).mean() == pytest.approx(mask.mean(), rel=0.1)


@pytest.mark.benchmark(group="skeleton, 2048 x 2048")
@pytest.mark.parametrize("classes", [1, 9])
def test_skeleton(benchmark, mask, ten_classes, classes):
    labels = mask if classes == 1 else ten_classes
    assert benchmark.pedantic(lambda: skeleton(labels), rounds=2).any()
