"""The training-free baselines, against brute force, other code and the numbers others measured."""

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from sklearn.metrics import f1_score

from napari_metastructure.baselines.thresholds import FILTERS, adaptive_gaussian, local_contrast, otsu, ridge


def zscored(image):
    image = image.astype(np.float64)
    return ((image - image.mean()) / image.std()).astype(np.float32)


def dice(mask, truth):
    return f1_score(truth.ravel(), mask.ravel())


@pytest.mark.parametrize("name", ["otsu", "lc", "ridge"])
@given(seed=st.integers(0, 999), shape=st.tuples(st.integers(8, 40), st.integers(8, 40)))
def test_the_score_is_what_was_cut(name, seed, shape):
    found = FILTERS[name](np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    assert found.mask.dtype == bool and found.score.dtype == np.float32
    assert found.mask.any() and not found.mask.all()
    assert found.score[found.mask].min() > found.score[~found.mask].max()


def test_otsu_divides_best(discs):
    """No other cut of the blurred image has less variance within its two parts, but for a histogram's width."""
    plane = zscored(discs(1)[0][0])
    found, blurred = otsu(plane), ndi.gaussian_filter(plane.astype(np.float64), 1)

    def within(mask):
        return sum(blurred[part].var() * part.sum() for part in (mask, ~mask))

    best = min(within(blurred > cut) for cut in np.unique(blurred)[:-1])
    assert best <= within(found.mask) <= 1.001 * best


@pytest.mark.parametrize(("shape", "window"), [((120, 130), 101), ((40, 20), 19), ((33, 60), 33)])
def test_adaptive_gaussian_is_brighter_than_the_weighted_surround(shape, window):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = adaptive_gaussian(plane)
    # A window of b pixels stands for a Gaussian of (b - 1) / 6, as scikit-image has it.
    above = plane - ndi.gaussian_filter(plane.astype(np.float64), (window - 1) / 6, mode="reflect")
    np.testing.assert_allclose(found.score, above, atol=1e-4)
    np.testing.assert_array_equal(found.mask, found.score > 0)


def test_under_uneven_light_local_methods_find_tubules_that_otsu_misses():
    y, x = np.mgrid[:96, :96]
    tubules = (np.abs(x % 24 - 12) < 2) | (np.abs(y % 24 - 12) < 2)
    light = np.exp(-((y - 80) ** 2 + (x - 80) ** 2) / (2 * 25**2))
    plane = zscored(0.5 * tubules + light + np.random.default_rng(0).normal(0, 0.1, light.shape))
    plain = dice(otsu(plane).mask, tubules)
    assert dice(local_contrast(plane).mask, tubules) > plain + 0.1
    assert dice(adaptive_gaussian(plane).mask, tubules) > plain + 0.2
    assert dice(ridge(plane).mask, tubules) > 0.9


def test_ridges_are_found_if_they_are_bright_and_edges_are_not():
    plane = np.random.default_rng(0).normal(0, 0.05, (64, 64)).astype(np.float32)
    plane[20:23] += 1
    plane[40:43] -= 1
    found = ridge(plane).mask
    assert found[20:23, 4:-4].all() and not found[40:43].any() and not found[55:].any()


@pytest.mark.parametrize("name", FILTERS)
def test_nothing_to_split_is_no_foreground(name):
    found = FILTERS[name](np.zeros((20, 20), np.float32))
    assert not found.mask.any()


@pytest.mark.parametrize(
    ("folder", "name", "measured"),
    [("er", "otsu", 0.489), ("er", "agt", 0.634), ("mito", "otsu", 0.822), ("mito", "agt", 0.469)],
)
def test_the_numbers_measured_on_real_images(real_images, folder, name, measured):
    """Those of the table beside the images."""
    scores = []
    for file in sorted((real_images / folder / "images").iterdir()):
        truth = np.asarray(PIL.Image.open(real_images / folder / "masks" / file.name)) > 0
        scores.append(dice(FILTERS[name](zscored(np.asarray(PIL.Image.open(file)))).mask, truth))
    assert np.mean(scores) == pytest.approx(measured, abs=6e-4)
