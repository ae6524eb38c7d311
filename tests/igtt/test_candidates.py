"""The candidate search against Algorithm 1 done by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi
from skimage.filters import rank, threshold_otsu

from napari_metastructure.igtt import levels as blocks
from napari_metastructure.igtt.candidates import Edges, Steepness, outline_rank, scores, search, thresholds
from napari_metastructure.images.intensity import orient

CRITERIA = ("dmi", "correlation", "iou", "bce")


probabilities = arrays(np.float32, (7, 9), elements=st.floats(0, 1, width=32))


def brute_force(p: np.ndarray, t: float, criterion: str) -> float:
    """One score the slow way: the mask is made, eq. (5) is multiplied out."""
    p = p.ravel().astype(np.float64)
    s = (p > t).astype(np.float64)
    if criterion == "dmi":
        q = np.stack([p, 1 - p]) @ np.stack([s, 1 - s]).T
        det = np.linalg.det(q) / p.size**2
        return np.log(det) if det > 1e-12 else -np.inf
    if not 0 < s.sum() < s.size:
        return -np.inf
    if criterion == "correlation":
        return np.corrcoef(p, s)[0, 1] if p.std() > 0 else -np.inf
    if criterion == "iou":
        return (p * s).sum() / (p.sum() + s.sum() - (p * s).sum())
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return np.mean(s * np.log(q) + (1 - s) * np.log1p(-q))


@pytest.mark.parametrize("criterion", CRITERIA)
@given(p=probabilities)
def test_scores_are_those_of_the_masks_made_one_by_one(p, criterion):
    t = thresholds(p, 30)
    expected = np.array([brute_force(p, x, criterion) for x in t])
    found = scores(p, t, criterion)
    sure = expected > -20  # a determinant that rounding alone makes nonzero is no score
    np.testing.assert_allclose(found[sure], expected[sure], rtol=1e-6, atol=1e-6)
    assert (found[np.isneginf(expected)] < -20).all()


@given(p=probabilities)
def test_the_exact_dmi_threshold_is_the_mean_and_no_mask_beats_it(p):
    curve = search(p, "dmi", "exact")
    if p.min() == p.max():
        return
    assert curve.chosen == pytest.approx(p.mean(dtype=np.float64))
    best = max(brute_force(p, float(t), "dmi") for t in np.unique(p))
    assert brute_force(p, curve.chosen, "dmi") >= best - 1e-6 or best == -np.inf


def test_the_correlation_threshold_is_otsus():
    rng = np.random.default_rng(0)
    p = np.clip(np.concatenate([rng.normal(0.2, 0.05, 9000), rng.normal(0.7, 0.1, 1000)]), 0, 1).reshape(100, 100)
    assert search(p, "correlation", "exact").chosen == pytest.approx(threshold_otsu(p, nbins=1024), abs=0.01)


@pytest.mark.parametrize("criterion", CRITERIA)
@given(p=probabilities, k=st.integers(2, 40))
def test_the_grid_search_takes_the_best_of_its_k_thresholds(p, criterion, k):
    curve = search(p, criterion, "grid", k)
    assert curve.thresholds.shape == curve.scores.shape == (k,)
    assert curve.chosen == curve.thresholds[np.argmax(curve.scores)]
    assert curve.thresholds[0] == p.min() and curve.thresholds[-1] == p.max()


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("method", ["grid", "exact"])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_constant_probability_gives_an_empty_mask(criterion, method, value):
    p = np.full((5, 6), value, np.float32)
    assert not (p > search(p, criterion, method).chosen).any()


# The rank of outlines against masks made one by one.


grids = arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=16))


def one_by_one(p, threshold, steep):
    """Mean steepness over the neighbours that the outline parts, pair by pair."""
    mask, found = p > threshold, []
    for y, x in np.ndindex(p.shape):
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < p.shape[0] and u < p.shape[1] and mask[y, x] != mask[v, u]:
                found.append((steep[y, x] + steep[v, u]) / 2)
    return np.mean(found) if found else 0


@given(p=grids, steep=grids, k=st.integers(1, 12))
def test_all_thresholds_at_once_are_all_thresholds_one_by_one(p, steep, k):
    t = np.linspace(0, 1, k)
    np.testing.assert_allclose(outline_rank(p, t, steep), [one_by_one(p, x, steep) for x in t], atol=1e-6)


def test_the_right_outline_ranks_above_a_wider_and_a_narrower_one(blobs):
    image, mask = blobs[0][0], blobs[1][0]
    masks = [mask, ndi.binary_dilation(mask, iterations=3), ndi.binary_erosion(mask, iterations=3)]
    steep = Steepness(image)[:]
    ranks = [outline_rank(m, np.array([0.5]), steep)[0] for m in masks]
    assert ranks[0] > max(ranks[1:]) + 0.05


def test_the_right_mask_scores_above_wider_narrower_partial_and_random_ones(blobs):
    image, mask = blobs[0][0], blobs[1][0]
    part = mask.copy()
    part[:, part.shape[1] // 2 :] = False
    noise = np.random.default_rng(0).random(mask.shape) < 0.5
    none, all_ = np.zeros_like(mask), np.ones_like(mask)
    others = [ndi.binary_dilation(mask, iterations=4), ndi.binary_erosion(mask, iterations=4), part, noise, none, all_]
    scores = np.array([Edges(image).score(m) for m in (mask, *others)])
    assert scores[0] > scores[1:].max() + 0.05
    assert scores[-2] == scores[-1] == 0


def test_the_edge_criterion_cuts_a_blurred_probability_where_the_image_is_steep():
    y, x = np.mgrid[:96, :96]
    distance = np.hypot(y - 48, x - 48)
    image = (distance < 20) * 1.0 + np.random.default_rng(0).normal(0, 0.05, distance.shape)
    p = (1 / (1 + np.exp((distance - 24) / 4))).astype(np.float32)  # its half lies four pixels too far out
    half, edge = (p > search(p, c, steep=Steepness(image)[:]).chosen for c in ("correlation", "edge"))
    truth = distance < 20
    assert (edge ^ truth).sum() < 0.5 * (half ^ truth).sum()


@pytest.mark.parametrize("plane", [np.zeros((20, 20)), np.eye(20), np.ones((8, 90))])
def test_planes_with_little_in_them(plane):
    steep = Steepness(plane)[:]
    assert steep.shape == plane.shape and np.isfinite(steep).all()
    assert (outline_rank(np.zeros(plane.shape), np.array([0.5]), steep) == 0).all()


# Block by block, as where a plane is large.


def blobs_and_probability(seed, shape=(150, 110)):
    """An image of blobs, and a probability that knows them roughly."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 4)
    image = ndi.gaussian_filter((field > 0.05).astype(np.float32), 1.5) * 100 + rng.normal(300, 5, shape)
    return image.astype(np.float32), (1 / (1 + np.exp(-60 * (field - 0.02)))).astype(np.float32)


@pytest.mark.parametrize("criterion", (*CRITERIA, "edge"))
@pytest.mark.parametrize("pixels", [1, 110 * 7 + 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_in_blocks_or_at_once_the_search_finds_the_same(monkeypatch, criterion, pixels, seed):
    image, p = blobs_and_probability(seed)
    image = orient(image, "dark" if seed else "bright")
    whole = search(p, criterion, steep=Steepness(image)[:])
    monkeypatch.setattr(blocks, "PIXELS", pixels)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 1)
    steep = Steepness(image) if criterion == "edge" else None
    found = search(p, criterion, steep=steep)
    assert found.chosen == pytest.approx(whole.chosen, rel=1e-6)
    usable = np.isfinite(whole.scores)
    np.testing.assert_array_equal(np.isfinite(found.scores), usable)
    np.testing.assert_allclose(found.scores[usable], whole.scores[usable], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("power", [-100, -20, 20, 100])
@pytest.mark.parametrize("side", [4, 60])
def test_steepness_does_not_depend_on_the_unit_of_intensity(power, side):
    plane = np.zeros((128, 128), np.float32)
    plane[40 : 40 + side, 40 : 40 + side] = np.arange(1, side + 1)  # of the small one most pixels have no gradient
    expected = Steepness(plane)[:]
    assert len(np.unique(expected)) > 10
    np.testing.assert_array_equal(Steepness(plane * np.float32(2.0**power))[:], expected)


def test_steepness_in_blocks_is_that_of_the_whole(monkeypatch):
    image, _ = blobs_and_probability(2)
    whole = Steepness(image)[:]
    gradient = ndi.gaussian_gradient_magnitude(image, 1)
    grey = np.clip(gradient / np.percentile(gradient, 99.5) * 255, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(whole, rank.equalize(grey, np.ones((33, 33), np.uint8)).astype(np.float32) / 255)
    monkeypatch.setattr(blocks, "PIXELS", 110 * 20)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 1)
    rows = Steepness(image)
    together = np.concatenate([rows[a : min(a + 33, 150)] for a in range(0, 150, 33)])
    np.testing.assert_array_equal(together, whole)


@pytest.mark.parametrize("criterion", [*CRITERIA, "edge"])
def test_a_constant_probability_gives_an_empty_mask_in_blocks_too(monkeypatch, criterion):
    monkeypatch.setattr(blocks, "PIXELS", 40 * 7)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 1)
    p = np.full((40, 40), 0.7, np.float32)
    steep = Steepness(blobs_and_probability(0, (40, 40))[0])
    assert not (p > search(p, criterion, steep=steep).chosen).any()


@pytest.mark.parametrize("calls", [1, 12])
def test_a_search_can_be_left(monkeypatch, calls):
    monkeypatch.setattr(blocks, "PIXELS", 110 * 15)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 1)
    asked = []

    def stop():
        asked.append(1)
        if len(asked) == calls:
            raise KeyboardInterrupt

    image, p = blobs_and_probability(0)
    with pytest.raises(KeyboardInterrupt):
        search(p, "edge", steep=Steepness(image, stop), checkpoint=stop)
