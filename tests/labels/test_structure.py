"""Distance of densities, structure retained, histograms by class: against numpy, by the book, on real masks."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.io import imread

from napari_metastructure.errors import InputError
from napari_metastructure.labels.density import KERNELS, density
from napari_metastructure.labels.figure6 import circle
from napari_metastructure.labels.noise import flip, flip_by_matrix, random_labels, sample
from napari_metastructure.labels.shapes import dilate, erode, skeleton
from napari_metastructure.labels.structure import (
    _gram_matrix,
    _sampling_error,
    class_histogram,
    compare_labels,
    density_step,
    distance,
    judge_noise,
    structure_retained,
)
from napari_metastructure.labels.transition import TransitionMatrix, estimate_transition_matrix, flipping_matrix
from napari_metastructure.labels.verdict import verdict

STEPS = range(1, 6)


maps = hnp.arrays(np.float64, (4, 5), elements=st.floats(-100, 100, width=32))


def samples(root: Path) -> list[np.ndarray]:
    """The masks of the simulated samples, plane by plane, as 0 and 1."""
    files = sorted((root / "sample_data" / "masks").glob("*.tif"))
    planes = [plane for f in files for plane in np.atleast_3d(tifffile.imread(f).T).T]
    return [(plane > 0).astype(np.uint8) for plane in planes]


def real_masks(folder: Path, names: tuple[str, ...], every: int) -> dict[str, np.ndarray]:
    files = [f for name in names for f in sorted((folder / name / "masks").glob("*.png"))[::every]]
    return {f"{f.parts[-3]}/{f.name}": (imread(f) > 0).astype(np.uint8) for f in files}


def tubes(shape=(150, 170), seed=0, classes=2):
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 4)
    cuts = [-np.inf, *np.quantile(field, np.linspace(0, 1, classes + 1)[1:-1]), np.inf]
    return (np.digitize(field, cuts) - 1).astype(np.uint8)


# ---- distance


@given(maps, maps)
def test_distance_is_that_of_numpys_correlation(f, g):
    if f.std() < 1e-3 or g.std() < 1e-3:
        return
    r = np.corrcoef(f.ravel(), g.ravel())[0, 1]
    assert distance(f, g) == pytest.approx(np.sqrt(max(0, 1 - r * r)), abs=1e-6)
    assert distance(f, g) == distance(g, f)
    assert 0 <= distance(f, g) <= 1


@given(maps, maps, maps)
def test_distance_obeys_the_triangle_inequality(f, g, h):
    assert distance(f, h) <= distance(f, g) + distance(g, h) + 1e-9


@given(maps, st.floats(0.01, 100), st.sampled_from([-1, 1]), st.floats(-100, 100))
def test_distance_does_not_see_scale_and_offset(f, scale, sign, offset):
    assert distance(f, sign * scale * f + offset) == pytest.approx(0, abs=1e-6) or np.ptp(f) < 1e-6


def test_distance_of_near_maps_keeps_its_digits():
    f = np.zeros(1000)
    f[:500] = 1
    g = f.copy()
    g[::2] += 1e-9  # at right angles to f, half a billionth of a step up and down
    assert distance(f, g) == pytest.approx(1e-9, rel=1e-3)


def test_a_constant_map_is_far_from_all_but_another():
    ramp = np.arange(6.0).reshape(2, 3)
    assert distance(np.full((2, 3), 7), np.zeros((2, 3))) == 0
    assert distance(np.full((2, 3), 7), ramp) == 1
    assert distance(ramp, np.zeros((2, 3), np.float32)) == 1


def test_distance_spans_blocks_and_tiny_numbers():
    rng = np.random.default_rng(0)
    f, g = rng.random((2, 1200, 1100)) * 1e-9
    g += f
    r = np.corrcoef(f.ravel(), g.ravel())[0, 1]
    assert distance(f.astype(np.float32), g) == pytest.approx(np.sqrt(1 - r * r), rel=1e-5)


@pytest.mark.parametrize(
    ("f", "g", "told"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), r"2 x 3 pixels \(Y x X\) and 3 x 2 pixels"),
        (np.array([[1, np.nan]]), np.ones((1, 2)), "NaN or infinity"),
        (np.ones((1, 2)), np.array([[1, np.inf]]), "NaN or infinity"),
        (np.ones((0, 2)), np.ones((0, 2)), "without pixels"),
        (np.ones(2, complex), np.ones(2), "real numbers, not complex128"),
    ],
)
def test_bad_maps_are_told(f, g, told):
    with pytest.raises(InputError, match=told):
        distance(f, g)


def is_rising(values):
    return all(b > a or a == b == 1 for a, b in pairwise(values))


@pytest.mark.parametrize("perturb", [dilate, erode])
def test_distance_of_densities_grows_with_every_step(root, perturb):
    for mask in samples(root):
        clean = density(mask, 1)
        apart = [distance(clean, density(after, 1)) if (after := perturb(mask, n)).any() else 1.0 for n in STEPS]
        assert is_rising([0, *apart]), apart


@pytest.mark.parametrize("perturb", [dilate, erode])
def test_distance_of_densities_grows_with_every_step_on_real_masks(real_images, perturb):
    for name, mask in real_masks(real_images, ("er", "mito", "nuclei"), 4).items():
        clean = density(mask, 1)
        apart = [distance(clean, density(after, 1)) if (after := perturb(mask, n)).any() else 1.0 for n in STEPS]
        assert is_rising([0, *apart]), (name, apart)


# ---- structure retained


def retained_by_the_book(clean, noisy, radius):
    """H / (H + X) of two classes with a box, pixel by pixel, without what is forgiven as sampling error."""
    span = np.arange(-radius, radius + 1)
    box = (span[:, None] ** 2 + span**2 < radius**2).astype(float)
    smoothed = [ndi.convolve(np.pad((a == 1) * 1.0, radius), box, mode="constant") for a in (clean, noisy)]
    outline = ndi.convolve(np.pad(np.ones(clean.shape), radius), box, mode="constant")
    design = np.column_stack([outline.ravel(), smoothed[0].ravel()])
    (level, slope), *_ = np.linalg.lstsq(design, smoothed[1].ravel())
    remainder = np.sum((smoothed[1].ravel() - design @ [level, slope]) ** 2)
    across = np.linalg.lstsq(outline.reshape(-1, 1), smoothed[0].ravel())[0] * outline.ravel()
    signal = slope**2 * np.sum((smoothed[0].ravel() - across) ** 2)
    chance = sum(np.sum(clean == c) * np.var(noisy[clean == c] == 1) for c in (0, 1)) * box.sum()
    return signal / (signal + remainder - chance)


@pytest.mark.parametrize("radius", [3, 7])
@pytest.mark.parametrize("perturb", [dilate, erode])
def test_structure_retained_is_what_its_formula_says(perturb, radius):
    clean = tubes()
    noisy = perturb(clean, 3)
    assert structure_retained(clean, noisy, "box", radius) == pytest.approx(
        retained_by_the_book(clean, noisy, radius), abs=1e-3
    )


def test_sampling_error_has_the_mean_and_the_spread_of_drawn_labels():
    clean = tubes((60, 70), classes=3)
    matrix = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.2], [0.1, 0.1, 0.3]])  # the rest is unlabelled
    counts = np.rint(np.column_stack([matrix, 1 - matrix.sum(axis=1)]) * np.bincount(clean.ravel())[:, None])
    known = TransitionMatrix((0, 1, 2), matrix, counts.astype(np.int64))
    expected, deviation = _sampling_error(known, "box", (1.5, 1.5))
    rng = np.random.default_rng(0)
    steps = np.column_stack([np.zeros(3), matrix.cumsum(axis=1)])
    found, pairs = [], []
    for _ in range(400):
        chance = rng.random(clean.shape)[..., None]
        drawn = (steps[clean, :-1] <= chance) & (chance < steps[clean, 1:])
        noisy = np.where(drawn.any(axis=-1), drawn.argmax(axis=-1), 255)
        gram = _gram_matrix(clean, noisy, (0, 1, 2), "box", (1.5, 1.5))
        of_clean, between, of_noisy = gram[:3, :3], gram[:3, 3:], gram[3:, 3:]
        found.append(of_noisy - between.T @ matrix - matrix.T @ between + matrix.T @ of_clean @ matrix)
        # What a pixel has in common with itself is no chance: the estimated matrix knows it.
        pairs.append(np.trace(found[-1]) - 9 * np.sum((drawn - matrix[clean]) ** 2))
    assert np.abs(np.mean(found, axis=0) - expected).max() < 0.02 * expected.max()
    assert np.std(pairs) == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_clean_and_swapped_labels_retain_all_and_random_ones_nothing(kernel):
    clean, rng = tubes(), np.random.default_rng(0)
    assert structure_retained(clean, clean, kernel, 5) == pytest.approx(1, abs=1e-6)
    assert structure_retained(clean, 1 - clean, kernel, 5) == pytest.approx(1, abs=1e-6)
    assert structure_retained(clean, random_labels(clean.shape, 0.5, rng), kernel, 5) == 0
    assert structure_retained(clean, np.ones_like(clean), kernel, 5) == 0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 4])
def test_sampling_error_is_no_loss(kernel, classes):
    clean, rng = tubes((200, 200), classes=classes), np.random.default_rng(0)
    for noisy in (flip(clean, 0.3, rng), sample(clean, 0.1, rng), sample(flip(clean, 0.3, rng), 0.5, rng)):
        assert structure_retained(clean, noisy, kernel, 5) > 0.97


def test_rcl_of_the_circle_and_of_simulated_samples_keeps_nearly_all(root):
    rng = np.random.default_rng(0)
    for clean in (circle(), *samples(root)[:4]):
        assert structure_retained(clean, flip(clean, 0.45, rng)) > 0.9
        assert structure_retained(clean, sample(clean, 0.1, rng)) > 0.9


def test_fused_classes_lose_what_told_them_apart():
    clean = tubes((200, 200), classes=3)
    fused = np.where(clean == 2, 1, clean).astype(np.uint8)
    noisy = flip_by_matrix(clean, [[0.9, 0.05, 0.05], [0.1, 0.45, 0.45], [0.1, 0.45, 0.45]], np.random.default_rng(0))
    span = np.arange(-5, 6)
    box = (span[:, None] ** 2 + span**2 < 25).astype(float)
    smoothed = [ndi.convolve(np.pad((clean == c) * 1.0, 10), box, mode="constant").ravel() for c in range(3)]
    outline = np.sum(smoothed, axis=0)
    kept = np.column_stack([outline, smoothed[0]])  # class 0 against the other two is all that the rank of 2 keeps
    shares = []
    for one in smoothed:
        rest = one - kept @ np.linalg.lstsq(kept, one)[0]
        alone = one - outline * np.linalg.lstsq(outline[:, None], one)[0]
        shares.append(1 - rest @ rest / (alone @ alone))
    assert structure_retained(clean, noisy, "box", 5) == pytest.approx(np.mean(shares), abs=0.02)
    assert structure_retained(clean, fused, "box", 5) == pytest.approx(np.mean(shares), abs=0.02)
    assert np.mean(shares) < 0.8


def test_unlabelled_clean_pixels_do_not_count():
    clean = tubes()
    noisy = dilate(clean, 2)
    hidden, scrambled = clean.copy(), noisy.copy()
    hidden[:60] = 255
    expected = structure_retained(clean[60:], noisy[60:], "box", 5)
    assert structure_retained(hidden, noisy, "box", 5) == pytest.approx(expected, abs=1e-6)
    scrambled[:60] = np.random.default_rng(0).integers(0, 2, (60, 170))
    assert structure_retained(hidden, scrambled, "box", 5) == pytest.approx(expected, abs=1e-6)


def test_planes_of_a_stack_add_up_and_do_not_mix():
    clean = np.stack([tubes(seed=1), tubes(seed=2), np.zeros((150, 170), np.uint8)])
    noisy = np.stack([dilate(plane, 2) for plane in clean])
    apart = [structure_retained(c, n, "box", 5) for c, n in zip(clean[:2], noisy[:2], strict=True)]
    assert min(apart) < structure_retained(clean[:2], noisy[:2], "box", 5) < max(apart)
    assert 0 < structure_retained(clean, noisy, "box", 5) < 1


def is_falling(values):
    return all(b < a or a == b == 0 for a, b in pairwise(values))


@pytest.mark.parametrize("perturb", [dilate, erode])
def test_less_is_retained_with_every_step(root, perturb):
    for mask in samples(root):
        retained = [structure_retained(mask, perturb(mask, n)) for n in STEPS]
        assert is_falling([1, *retained]), retained


@pytest.mark.parametrize("bandwidth", [2, 8])
def test_real_masks_keep_rcl_lose_rl_and_fall_with_every_step(real_images, bandwidth):
    rng, of_random = np.random.default_rng(0), []
    for name, mask in real_masks(real_images, ("er", "mito", "nuclei"), 4).items():
        assert structure_retained(mask, mask, "box", bandwidth) == pytest.approx(1, abs=1e-6), name
        of_random.append(structure_retained(mask, random_labels(mask.shape, 0.5, rng), "box", bandwidth))
        if name.startswith("er/"):
            assert structure_retained(mask, flip(mask, 0.45, rng), "box", bandwidth) > 0.9, name
            assert structure_retained(mask, sample(mask, 0.1, rng), "box", bandwidth) > 0.9, name
            assert structure_retained(mask, skeleton(mask), "box", bandwidth) < 0.95, name
        for perturb in (dilate, erode):
            retained = [structure_retained(mask, perturb(mask, n), "box", bandwidth) for n in STEPS]
            # Eroded to a handful of pixels, a label may be too little to tell from a sample; it is no more then.
            assert all(b <= a for a, b in pairwise([1, *retained])), (name, retained)
    assert np.count_nonzero(of_random) <= 1  # the rank is found too high once in a thousand


@given(
    hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 0, 1, 2, 255])),
    hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 0, 1, 2, 255])),
    st.sampled_from(KERNELS),
)
def test_any_pair_of_labels_has_a_share_and_is_left_as_it_was(clean, noisy, kernel):
    before = clean.copy(), noisy.copy()
    if len(set(np.unique(clean)) - {255}) < 2 or not ((clean != 255) & (noisy != 255)).any():
        with pytest.raises(InputError):
            structure_retained(clean, noisy, kernel, 2)
    else:
        assert 0 <= structure_retained(clean, noisy, kernel, 2) <= 1
    np.testing.assert_array_equal(clean, before[0])
    np.testing.assert_array_equal(noisy, before[1])


@pytest.mark.parametrize(
    ("clean", "noisy", "arguments", "told"),
    [
        (tubes(), tubes((10, 10)), {}, "give equal sizes"),
        (np.ones((9, 9), np.uint8), tubes((9, 9)), {"bandwidth": 2}, "The clean labels have a single class"),
        (tubes(), tubes(), {"bandwidth": 151}, "larger than the image"),
        (tubes(), tubes(), {"kernel": "round"}, "no kernel 'round'"),
        (tubes() * 1.0, tubes(), {}, "convert them to integers"),
        (tubes(), np.full((150, 170), 255, np.uint8), {}, "unlabelled|labelled in both"),
    ],
)
def test_bad_labels_are_told(clean, noisy, arguments, told):
    with pytest.raises(InputError, match=told):
        structure_retained(clean, noisy, **arguments)


# ---- comparisons


def test_a_comparison_is_its_parts():
    clean = tubes(classes=3)
    noisy = dilate(clean, 2)
    maps = [{c: density(labels, c, "gaussian", 4) for c in (1, 2)} for labels in (clean, noisy)]
    found = compare_labels(clean, noisy, "gaussian", 4, maps=(maps[0], maps[1]))
    expected = estimate_transition_matrix(clean, noisy)
    np.testing.assert_array_equal(found.transition.counts, expected.counts)
    assert found.verdict == verdict(expected)
    assert found.retained == structure_retained(clean, noisy, "gaussian", 4)
    assert found.distance == max(distance(maps[0][c], maps[1][c]) for c in (1, 2))
    assert found.bandwidth == (4, 4)
    assert compare_labels(clean, noisy, maps=(maps[0], {})).distance is None


def test_the_noise_of_a_plane_is_judged_by_its_closed_form_or_counts():
    clean, rng = tubes(), np.random.default_rng(0)
    known = flipping_matrix((0, 1), 0.2)
    found = judge_noise(clean, flip(clean, 0.2, rng), (0, 1), known)
    assert (found.transition, found.verdict, found.bandwidth) == (known, verdict(known), (8, 8))
    assert found.retained > 0.95
    counted = judge_noise(clean, dilate(clean), (0, 1))
    np.testing.assert_array_equal(counted.transition.counts, estimate_transition_matrix(clean, dilate(clean)).counts)
    assert judge_noise(clean[:12, :20], clean[:12, :20], (0, 1)).bandwidth == (3, 3)


def test_noise_that_leaves_nothing_to_measure_is_no_error():
    clean = tubes()
    gone = np.full_like(clean, 255)
    found = judge_noise(clean, gone, (0, 1))
    assert (found.transition, found.verdict, found.retained) == (None, None, None)
    known = flipping_matrix((0, 1), 0.2)
    found = judge_noise(gone, gone, (0, 1), known)
    assert (found.transition, found.verdict, found.retained) == (known, verdict(known), None)
    assert judge_noise(clean * 0, clean * 0, (0, 1)).retained is None, "a single class has no structure"


# ---- histograms


@given(
    hnp.arrays(np.float32, (9, 11), elements=st.integers(0, 1000).map(lambda n: n / 1024)),
    hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 3, 255])),
)
def test_counts_are_those_of_numpy(density, truth):
    found = class_histogram("a", density, truth, (0, 1, 3), bins=16)
    relative = density.astype(np.float64) * density.size
    assert found.classes == tuple(c for c in (0, 1, 3) if (truth == c).any())
    for label, counts, mean in zip(found.classes, found.counts, found.means, strict=True):
        values = relative[truth == label]
        assert counts.sum() == len(values)
        np.testing.assert_allclose(mean, values.mean(), rtol=1e-5, atol=1e-9)
        expected, _ = np.histogram(np.clip(values, found.edges[0], found.edges[-1]), bins=found.edges)
        # A value within rounding of an edge may fall on its other side.
        near = np.abs(values[:, None] - found.edges).min(axis=1) < 1e-3 * (found.edges[1] - found.edges[0])
        assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= near.sum()


def test_values_off_the_edges_are_counted_exactly():
    rng = np.random.default_rng(0)
    density = rng.random((300, 400)).astype(np.float32)
    truth = (rng.random(density.shape) < 0.3).astype(np.uint8)
    found = class_histogram("a", density, truth, (0, 1), bins=50)
    relative = density.astype(np.float64) * density.size
    for label in (0, 1):
        expected, _ = np.histogram(relative[truth == label], bins=found.edges)
        assert np.abs(found.counts[label] - expected).max() <= 1
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)


def test_a_map_of_one_value_is_one_bin():
    found = class_histogram("a", np.full((8, 8), 1 / 64, np.float32), np.eye(8, dtype=np.uint8), (0, 1))
    assert [np.count_nonzero(counts) for counts in found.counts] == [1, 1]
    np.testing.assert_allclose(found.means, 1)


@pytest.mark.parametrize("levels", [2, 7, 64, 65, 200])
def test_bins_hold_equally_many_of_the_steps_of_a_box(levels):
    """Else a histogram of whole numbers has teeth."""
    step = 0.01
    values = (np.arange(levels)[:, None] * np.ones(10) * step / (levels * 10)).astype(np.float32)
    found = class_histogram("a", values, np.ones(values.shape, np.uint8), (1,), bins=64, step=step)
    counts = found.counts[0]
    assert len(counts) <= 64
    assert counts.sum() == levels * 10
    assert len(set(counts[:-1].tolist())) <= 1  # the last may hold fewer


def test_classes_above_those_of_the_image_are_left_out():
    assert class_histogram("a", np.eye(4, dtype=np.float32), np.eye(4, dtype=np.int64), (0, 1, 7)).classes == (0, 1)


@pytest.mark.parametrize("edges", [False, True])
def test_box_densities_are_steps_apart(edges):
    labels = tubes((60, 70))
    values = np.unique(density(labels, 1, "box", 4, edges=edges)[8:-8, 8:-8].astype(float)) * labels.size
    step = density_step(labels, 1, "box", (4, 4), edges=edges)
    gaps = np.diff(values)
    # With edges corrected, the map is scaled to a sum of 1 besides.
    np.testing.assert_allclose(gaps[gaps > step / 2], step, rtol=0.1 if edges else 1e-2)


def test_other_densities_may_differ_by_anything():
    labels = tubes((60, 70))
    assert density_step(labels, 1, "gaussian", (4, 4)) == 0
    assert density_step(np.ones((200, 200), np.uint8), 1, "box", (80, 80)) == 0, "a bin holds many steps"
