"""PCL: dilation, erosion, opening, closing, skeletons, objects and boundaries against the rule, pixel by pixel."""

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.io import imread
from skimage.morphology import skeletonize

from napari_metastructure.errors import InputError
from napari_metastructure.labels import shapes as module
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.shapes import (
    closing,
    dilate,
    displace_boundary,
    displacements,
    erode,
    opening,
    perturb_objects,
    random_steps,
    skeleton,
)

some_labels = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.sampled_from([0, 0, 1, 2, 255])
)


seeds = st.integers(0, 2**32)


def whole_field(size, amplitude, correlation, seed=0):
    blocks = list(displacements(size, amplitude, correlation, np.random.default_rng(seed)))
    assert [rows.start for rows, _ in blocks[1:]] == [rows.stop for rows, _ in blocks[:-1]]
    return np.concatenate([field for _, field in blocks], axis=1)


def correlation_at(field, lag, axis):
    """Autocorrelation of a field of mean 0 at a distance in pixels along an axis."""
    moved = np.moveaxis(field, axis, -1)
    return np.mean(moved[..., lag:] * moved[..., : moved.shape[-1] - lag]) / np.mean(field**2)


@pytest.mark.parametrize("amplitude, correlation", [(1, 2), (3, 8), (0.5, 3.3), (5, 16)])
def test_the_field_has_the_rms_and_the_length_asked_for(amplitude, correlation):
    field = whole_field((1500, 1300), amplitude, correlation).astype(np.float64)
    assert field.shape == (2, 1500, 1300)
    for component in field:
        assert np.sqrt(np.mean(component**2)) == pytest.approx(amplitude, rel=0.03)
        for axis in (0, 1):
            # The length between two whole lags, read off a line between the logarithms.
            lags = [int(correlation), int(correlation) + 1]
            logs = np.log([correlation_at(component, lag, axis) for lag in lags])
            assert np.interp(1, -logs, lags) == pytest.approx(correlation, rel=0.04)
    y, x = field
    assert abs(np.mean(y * x)) < 0.03 * amplitude**2
    assert np.mean((x / amplitude) ** 4) == pytest.approx(3, rel=0.1)


def test_the_field_is_alike_everywhere():
    # The noise stands on a grid of 7.5 pixels: neither it nor the image's border may show.
    fields = np.stack([whole_field((70, 50), 2, 12, seed) for seed in range(1500)]).astype(np.float64)
    rms = np.sqrt(np.mean(fields**2, axis=0))
    assert abs(rms / 2 - 1).max() < 0.1
    slope = np.sqrt(np.mean(np.diff(fields, axis=2) ** 2, axis=0))
    assert abs(slope / slope.mean() - 1).max() < 0.1


@pytest.mark.parametrize("correlation", [1.0, 5.0, 200.0])
def test_blocks_leave_no_seam_in_the_field(monkeypatch, correlation):
    field = whole_field((150, 131), 2, correlation)
    monkeypatch.setattr(module, "_ROWS", 1000)
    monkeypatch.setattr(module, "_COLUMNS", 17)
    np.testing.assert_allclose(whole_field((150, 131), 2, correlation), field, atol=1e-5)


@pytest.mark.parametrize("correlation", [1e-6, 0.3])
def test_the_shortest_lengths_are_white_noise(correlation):
    field = whole_field((300, 300), 1, correlation)
    assert np.sqrt(np.mean(field**2)) == pytest.approx(1, rel=0.02)
    assert abs(correlation_at(field, 1, 1)) < 0.02


def test_a_length_beyond_the_image_moves_it_as_a_whole():
    field = whole_field((40, 60), 3, 1e6)
    np.testing.assert_allclose(field, field[:, :1, :1] * np.ones_like(field), atol=1e-3)


@pytest.mark.parametrize("amplitude, correlation", [(1.5, 8), (4, 16)])
def test_a_straight_edge_moves_by_the_amplitude(amplitude, correlation):
    labels = np.zeros((30_000, 80), np.uint8)
    labels[:, 40:] = 1
    for turned in (False, True):
        result = displace_boundary(labels.T if turned else labels, amplitude, correlation, np.random.default_rng(4))
        moved = 40 - (result.T if turned else result).sum(axis=1, dtype=int)
        # A place in whole pixels has the variance 1/12 besides.
        assert np.sqrt(np.mean(moved**2) - 1 / 12) == pytest.approx(amplitude, rel=0.05)
        assert abs(moved.mean()) < 0.1 * amplitude


def test_a_slanted_edge_moves_by_the_amplitude_along_its_normal():
    y, x = np.mgrid[:3000, :3000]
    result = displace_boundary((x > y).astype(np.uint8), 2, 10, np.random.default_rng(0))
    across = np.arange(3000) - (3000 - result.sum(axis=1, dtype=int))
    inner = across[50:-50] - across[50:-50].mean()
    assert np.sqrt(np.mean(inner**2) - 1 / 12) / np.sqrt(2) == pytest.approx(2, rel=0.1)


@given(some_labels, st.floats(0, 6), st.floats(0.5, 20), seeds)
def test_labels_are_read_where_the_field_points(labels, amplitude, correlation, seed):
    dy, dx = whole_field(labels.shape, amplitude, correlation, seed).astype(np.float64)
    result = displace_boundary(labels, amplitude, correlation, np.random.default_rng(seed))
    height, width = labels.shape
    for y, x in np.ndindex(height, width):
        place_y, place_x = y + dy[y, x], x + dx[y, x]
        if min(abs(place_y % 1 - 0.5), abs(place_x % 1 - 0.5)) < 1e-4:
            continue  # too close to call between two pixels
        there = labels[min(max(round(place_y), 0), height - 1), min(max(round(place_x), 0), width - 1)]
        assert result[y, x] == (labels[y, x] if 255 in (there, labels[y, x]) else there)


@given(some_labels, st.floats(0, 30), st.floats(0.01, 1e4), seeds)
def test_displacement_same_seed_same_result_and_the_rest_stays(labels, amplitude, correlation, seed):
    labels.setflags(write=False)
    before = labels.copy()
    result = displace_boundary(labels, amplitude, correlation, np.random.default_rng(seed))
    again = displace_boundary(labels, amplitude, correlation, np.random.default_rng(seed))
    np.testing.assert_array_equal(result, again)
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(result == 255, labels == 255)
    assert set(np.unique(result)) <= set(np.unique(labels))


def test_seeds_differ_and_no_amplitude_changes_nothing():
    labels = np.indices((60, 60)).sum(axis=0) // 10 % 2
    one, two = (displace_boundary(labels, 2, 8, np.random.default_rng(seed)) for seed in (0, 1))
    assert (one != two).mean() > 0.05
    np.testing.assert_array_equal(displace_boundary(labels, 0, 8, np.random.default_rng(0)), labels)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int32, np.uint64])
def test_displacement_of_any_integers_and_stacks(dtype):
    stack = (np.indices((2, 3, 40, 50)).sum(axis=0) // 8 % 2).astype(dtype)
    rng = np.random.default_rng(5)
    result = displace_boundary(stack, 2, 6, np.random.default_rng(5))
    assert result.dtype == (np.uint8 if dtype in (bool, np.int8) else dtype) and result.shape == stack.shape
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(result[index], displace_boundary(stack[index], 2, 6, rng))
    backwards = stack[..., ::-1]
    expected = displace_boundary(backwards.copy(), 2, 6, np.random.default_rng(5))
    np.testing.assert_array_equal(displace_boundary(backwards, 2, 6, np.random.default_rng(5)), expected)


@pytest.mark.parametrize(
    "amplitude, correlation, message",
    [
        (-1, 8, "amplitude must be a number of pixels from 0, not -1"),
        (np.nan, 8, "amplitude"),
        (np.inf, 8, "amplitude"),
        (2, 0, "correlation length must be a number of pixels above 0, not 0"),
        (2, -3, "correlation length"),
        (2, np.nan, "correlation length"),
        (2, np.inf, "correlation length"),
    ],
)
def test_numbers_that_make_no_field_are_refused(amplitude, correlation, message):
    with pytest.raises(InputError, match=message):
        displace_boundary(np.zeros((4, 4), int), amplitude, correlation, np.random.default_rng())


def test_displacement_refuses_floats():
    with pytest.raises(InputError, match="float64 are no labels"):
        displace_boundary(np.zeros((4, 4)), 1, 4, np.random.default_rng())


@pytest.mark.parametrize("folder", ["er", "nuclei"])
def test_real_masks_keep_their_share(real_images, folder):
    for path in sorted((real_images / folder / "masks").iterdir())[:4]:
        mask = LabelStack([imread(path)], "foreground").read(0)
        result = displace_boundary(mask, 2, 12, np.random.default_rng(0))
        assert result.mean() == pytest.approx(mask.mean(), rel=0.1)
        assert 0 < (result != mask).mean() < 0.3


SQUARE = np.ones((3, 3), bool)


SHAPES = st.tuples(st.integers(1, 16), st.integers(1, 16))


masks = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1]))


several = hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1, 1, 3, 255]))


class Given:
    """A generator that draws what it was given."""

    def __init__(self, *steps):
        self.steps = steps

    def integers(self, low, high, size):
        assert size == len(self.steps) and low <= min(self.steps) and max(self.steps) < high
        return np.array(self.steps)


def squares(side=9, gap=12, count=12):
    """Objects in rows, far apart."""
    one = np.pad(np.ones((side, side), np.uint8), gap)
    return np.tile(one, (count, count))


def numbered(plane):
    """Numbers of the objects from 1, in the order of their first pixels: each class labelled by itself, then sorted."""
    result, top = np.zeros(plane.shape, int), 0
    for value in sorted(set(np.unique(plane).tolist()) - {0, 255}):
        of_class, count = ndi.label(plane == value, SQUARE)
        result[of_class > 0] = of_class[of_class > 0] + top
        top += count
    found, first = np.unique(result, return_index=True)
    order = np.zeros(top + 1, int)
    order[found[found > 0][np.argsort(first[found > 0])]] = np.arange(1, top + 1)
    return order[result]


@given(masks, st.integers(1, 4), seeds)
def test_every_object_of_a_mask_takes_its_own_steps(mask, n, seed):
    numbers = numbered(mask)
    drawn = np.random.default_rng(seed).integers(-n, n + 1, size=numbers.max())
    expected = np.zeros(mask.shape, bool)
    for number, step in enumerate(drawn, 1):
        thing = numbers == number
        if step > 0:
            thing = ndi.binary_dilation(thing, SQUARE, step)
        elif step < 0:
            thing = ndi.binary_erosion(thing, SQUARE, -step, border_value=1)
        expected |= thing
    np.testing.assert_array_equal(perturb_objects(mask, n, np.random.default_rng(seed)), expected)


@given(several, seeds)
def test_objects_are_the_connected_pieces_of_each_class(plane, seed):
    numbers = numbered(plane)
    steps = random_steps(plane, 100, np.random.default_rng(seed))
    drawn = np.random.default_rng(seed).integers(-100, 101, size=numbers.max())
    np.testing.assert_array_equal(steps, np.concatenate([[0], drawn])[numbers])


def shrink_and_grow(plane, steps, n):
    """The rule in words, pixel by pixel: `steps` are those of each pixel's object."""
    result = plane.copy()
    for y, x in np.argwhere(steps < 0):
        far = -steps[y, x]
        # Without unlabelled pixels, eroding is a look at the whole window.
        window = plane[max(0, y - far) : y + far + 1, max(0, x - far) : x + far + 1]
        if (window != plane[y, x]).any():
            result[y, x] = 0
    growing = np.zeros(plane.shape, bool)
    for left in range(n, 0, -1):
        growing |= steps >= left
        new, new_growing = result.copy(), growing.copy()
        for y, x in np.argwhere(result == 0):
            here = np.s_[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if growing[here].any():
                new[y, x] = result[here][growing[here]].min()
                new_growing[y, x] = True
        result, growing = new, new_growing
    return result


@given(hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 1, 3])), st.integers(1, 4), seeds)
def test_classes_collide_by_the_rule(plane, n, seed):
    steps = random_steps(plane, n, np.random.default_rng(seed)).astype(int)
    expected = shrink_and_grow(plane, steps, n)
    np.testing.assert_array_equal(perturb_objects(plane, n, np.random.default_rng(seed)), expected)


def test_who_gets_a_pixel_on_small_examples():
    between = np.array([[2, 0, 0, 0, 1]], np.uint8)
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(3, 3)), [[2, 2, 1, 1, 1]])
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(3, 2)), [[2, 2, 2, 1, 1]])
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(1, 3)), [[2, 1, 1, 1, 1]])
    np.testing.assert_array_equal(perturb_objects(between, 3, Given(1, 2)), [[2, 2, 1, 1, 1]])
    # What one has left in shrinking, another can take.
    touching = np.array([[2, 2, 2, 1, 1, 1]], np.uint8)
    np.testing.assert_array_equal(perturb_objects(touching, 2, Given(1, -2)), [[2, 2, 2, 2, 0, 1]])
    np.testing.assert_array_equal(perturb_objects(touching, 2, Given(2, 2)), touching)


def test_unlabelled_pixels_stop_growth_and_do_not_erode():
    labels = np.array([[1, 1, 255, 0, 0], [1, 1, 255, 0, 0]], np.uint8)
    np.testing.assert_array_equal(perturb_objects(labels, 2, Given(2)), labels)
    np.testing.assert_array_equal(perturb_objects(labels, 2, Given(-2)), labels)


def test_all_steps_are_equally_likely():
    result = perturb_objects(squares(count=30), 3, np.random.default_rng(0))
    _, sizes = np.unique(numbered(result), return_counts=True)
    sides, counts = np.unique(np.sqrt(sizes[1:]), return_counts=True)
    assert sides.tolist() == [3, 5, 7, 9, 11, 13, 15]
    expected = 30 * 30 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001


def test_strips_leave_no_seam_in_objects(monkeypatch):
    field = ndi.gaussian_filter(np.random.default_rng(0).standard_normal((300, 120)), 4)
    labels = np.digitize(field, np.quantile(field, [0.5, 0.8])).astype(np.uint8)
    labels[50:60, 20:90] = 255
    whole = perturb_objects(labels, 4, np.random.default_rng(1))
    monkeypatch.setattr(module, "BLOCK", 500)
    np.testing.assert_array_equal(perturb_objects(labels, 4, np.random.default_rng(1)), whole)


@given(several, st.integers(0, 5), seeds)
def test_objects_same_seed_same_result_and_the_rest_stays(labels, n, seed):
    labels.setflags(write=False)
    before = labels.copy()
    result = perturb_objects(labels, n, np.random.default_rng(seed))
    np.testing.assert_array_equal(result, perturb_objects(labels, n, np.random.default_rng(seed)))
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(result == 255, labels == 255)
    assert result.dtype == np.uint8 and set(np.unique(result)) <= {0, *np.unique(labels)}
    if not n:
        np.testing.assert_array_equal(result, labels)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int32, np.uint64])
def test_objects_in_any_integers_and_stacks(dtype):
    stack = np.stack([squares(5, 6, 3), squares(6, 5, 4)[:51, :51]]).astype(dtype)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    result = perturb_objects(stack, 2, rng)
    assert result.dtype == (np.uint8 if dtype in (bool, np.int8) else dtype) and result.shape == stack.shape
    np.testing.assert_array_equal(result, [perturb_objects(plane, 2, again) for plane in stack])
    if np.iinfo(result.dtype).max > 255:
        large = perturb_objects(stack * dtype(700), 2, np.random.default_rng(3))
        np.testing.assert_array_equal(large, result * dtype(700))


def test_more_steps_than_a_byte_holds():
    labels = np.zeros((500, 3), np.uint8)
    labels[0] = 1
    assert perturb_objects(labels, 300, Given(200)).sum() == 3 * 201
    assert perturb_objects(labels, 300, Given(-200)).sum() == 0


def test_steps_and_labels_that_objects_refuse():
    rng = np.random.default_rng()
    with pytest.raises(InputError, match="whole number from 0, not -2"):
        perturb_objects(squares(), -2, rng)
    with pytest.raises(InputError, match="float64 are no labels"):
        perturb_objects(squares() * 1.0, 2, rng)


def test_objects_of_real_masks(real_images):
    for path in sorted((real_images / "nuclei" / "masks").iterdir())[:5]:
        mask = LabelStack([imread(path)], "foreground").read(0)
        result = perturb_objects(mask, 2, np.random.default_rng(0))
        numbers = numbered(mask)
        drawn = np.random.default_rng(0).integers(-2, 3, size=numbers.max())
        assert (result[np.isin(numbers, np.flatnonzero(drawn >= 0) + 1)] == 1).all()
        assert 0.5 * mask.sum() < result.sum() < 2 * mask.sum()


STEPPED = [dilate, erode, opening, closing]


ALL = [*STEPPED, lambda labels, n: skeleton(labels)]


SMALLER = st.tuples(st.integers(1, 14), st.integers(1, 14))


small_masks = hnp.arrays(np.uint8, SMALLER, elements=st.integers(0, 1))


classes_of_four = hnp.arrays(np.uint8, SMALLER, elements=st.sampled_from([0, 0, 1, 1, 2, 3]))


with_unlabelled = hnp.arrays(np.uint8, SMALLER, elements=st.sampled_from([0, 0, 0, 1, 1, 2, 7, 255]))


steps = st.integers(0, 5)


def neighbours(labels, y, x):
    return labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].ravel()


def dilate_pixel_by_pixel(labels, n):
    for _ in range(n):
        new = labels.copy()
        for y, x in np.argwhere(labels == 0):
            new[y, x] = min((v for v in neighbours(labels, y, x) if v not in (0, 255)), default=0)
        labels = new
    return labels


def erode_pixel_by_pixel(labels, n, by_classes=True):
    for _ in range(n):
        new = labels.copy()
        for y, x in np.argwhere(labels != 255):
            others = {v for v in neighbours(labels, y, x) if v not in (labels[y, x], 255)}
            if others if by_classes else 0 in others:
                new[y, x] = 0
        labels = new
    return labels


def blobs(seed=0, size=200, sigma=4, share=0.4):
    field = ndi.gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), sigma)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


@given(small_masks, steps)
def test_one_class_is_what_scipy_makes_of_it(mask, n):
    if not n:
        assert (dilate(mask, 0) == mask).all() and (erode(mask, 0) == mask).all()
        return
    larger = ndi.binary_dilation(mask, SQUARE, n)
    smaller = ndi.binary_erosion(mask, SQUARE, n, border_value=1)
    np.testing.assert_array_equal(dilate(mask, n), larger)
    np.testing.assert_array_equal(erode(mask, n), smaller)
    np.testing.assert_array_equal(opening(mask, n), ndi.binary_dilation(smaller, SQUARE, n))
    np.testing.assert_array_equal(closing(mask, n), ndi.binary_erosion(larger, SQUARE, n, border_value=1))


@pytest.mark.parametrize("n", [1, 3, 8, 31])
def test_large_masks_are_cut_into_blocks_without_a_seam(n, monkeypatch):
    mask = blobs(size=300)
    monkeypatch.setattr(module, "BLOCK", 1000)
    np.testing.assert_array_equal(dilate(mask, n), ndi.binary_dilation(mask, SQUARE, n))
    np.testing.assert_array_equal(erode(mask, n), ndi.binary_erosion(mask, SQUARE, n, border_value=1))
    stack = np.stack([mask[:20], mask[20:40], mask[40:60]] * 5) * 3
    for function in STEPPED:
        np.testing.assert_array_equal(function(stack, n), [function(plane, n) for plane in stack])


@given(hnp.arrays(np.uint8, (60, 1), elements=st.sampled_from([0, 0, 0, 1, 1, 1, 4])), st.integers(1, 3))
def test_tall_planes_are_cut_into_blocks_without_a_seam(labels, n):
    whole = [function(labels, n) for function in STEPPED]
    size, module.BLOCK = module.BLOCK, 1
    try:
        for function, expected in zip(STEPPED, whole, strict=True):
            np.testing.assert_array_equal(function(labels, n), expected)
    finally:
        module.BLOCK = size


@given(with_unlabelled, steps)
def test_classes_follow_the_rules_pixel_by_pixel(labels, n):
    larger, smaller = dilate_pixel_by_pixel(labels, n), erode_pixel_by_pixel(labels, n)
    np.testing.assert_array_equal(dilate(labels, n), larger)
    np.testing.assert_array_equal(erode(labels, n), smaller)
    np.testing.assert_array_equal(opening(labels, n), dilate_pixel_by_pixel(smaller, n))
    np.testing.assert_array_equal(closing(labels, n), erode_pixel_by_pixel(larger, n, by_classes=False))


def test_the_lower_class_gets_what_both_reach_at_once():
    labels = np.array([[5, 0, 0, 0, 2]], np.uint8)
    np.testing.assert_array_equal(dilate(labels, 1), [[5, 5, 0, 2, 2]])
    np.testing.assert_array_equal(dilate(labels, 2), [[5, 5, 2, 2, 2]])
    # The farther one comes too late, whatever its number.
    labels = np.array([[5, 0, 0, 1, 1, 0, 9]], np.uint8)
    np.testing.assert_array_equal(dilate(labels, 3), [[5, 5, 1, 1, 1, 1, 9]])


def test_unlabelled_pixels_neither_grow_nor_yield_nor_erode():
    labels = np.array([[0, 255, 1, 255, 0, 0]], np.uint8)
    np.testing.assert_array_equal(dilate(labels, 9), labels)
    np.testing.assert_array_equal(erode(labels, 9), labels)
    np.testing.assert_array_equal(erode(np.array([[1, 1, 0, 255]]), 1), [[1, 0, 0, 255]])


def test_touching_classes_both_lose_their_side():
    labels = np.array([[1, 1, 1, 2, 2, 2]] * 3, np.uint8)
    np.testing.assert_array_equal(erode(labels, 1), [[1, 1, 0, 0, 2, 2]] * 3)
    np.testing.assert_array_equal(closing(labels, 2), labels)


@pytest.mark.parametrize("side", [np.s_[:4, :4], np.s_[-4:, -4:], np.s_[:, :1], np.s_[:1]])
def test_closing_and_opening_at_the_border_eat_nothing(side):
    labels = np.zeros((20, 20), np.uint8)
    labels[side] = 1
    np.testing.assert_array_equal(closing(labels, 3), labels)
    if min(labels[side].shape) > 1:
        np.testing.assert_array_equal(opening(labels, 3), labels)


@given(classes_of_four, st.integers(0, 4))
def test_growing_and_shrinking_are_what_their_names_say(labels, n):
    labelled = labels > 0
    larger, smaller = dilate(labels, n), erode(labels, n)
    assert (larger[labelled] == labels[labelled]).all()
    assert np.isin(smaller[labelled], [0]).sum() == (smaller != labels).sum()
    assert ((dilate(labels, n + 1) == larger) | (larger == 0)).all()
    assert ((erode(labels, n + 1) == smaller) | (erode(labels, n + 1) == 0)).all()
    assert (closing(labels, n)[labelled] == labels[labelled]).all()
    opened = opening(labels, n)
    assert ((opened == labels) | (opened == 0)).all()


@given(with_unlabelled, st.integers(0, 4))
def test_opening_and_closing_twice_is_once(labels, n):
    for function in (opening, closing):
        once = function(labels, n)
        np.testing.assert_array_equal(function(once, n), once)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_type_shape_and_input_stay(function, dtype):
    labels = np.stack([blobs(1, 40), blobs(2, 40)])[None].astype(dtype)
    labels.setflags(write=False)
    before = labels.copy()
    result = function(labels, 2)
    assert result.dtype == (np.uint8 if dtype in (bool, np.int8) else dtype)
    assert result.shape == labels.shape
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(result, function(before.astype(np.uint8), 2))
    assert 0 < (result != labels).sum() < labels.size
    result[...] = 9
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("function", STEPPED)
def test_no_step_changes_nothing_and_copies(function):
    labels = blobs(3, 30)
    result = function(labels, 0)
    np.testing.assert_array_equal(result, labels)
    assert not np.shares_memory(result, labels)


@pytest.mark.parametrize("function", ALL)
def test_a_stack_is_its_planes(function):
    stack = np.stack([blobs(seed, 30) * (seed % 3 + 1) for seed in range(6)]).reshape(2, 3, 30, 30)
    stack[:, :, 4:7, 10:12] = 255
    result = function(stack, 2)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(result[index], function(stack[index], 2))
    np.testing.assert_array_equal(function(stack.swapaxes(0, 1), 2), result.swapaxes(0, 1))
    np.testing.assert_array_equal(function(stack[..., ::-2], 2), function(stack[..., ::-2].copy(), 2))


@pytest.mark.parametrize("function", ALL)
def test_large_label_values_are_classes_too(function):
    small = blobs(4, 60) * 2
    small[30:] //= 2
    small[:3] = 255
    large = np.array([0, 300, 2**40, *[0] * 252, 255])[small]
    np.testing.assert_array_equal(function(large, 2), np.array([0, 300, 2**40, *[0] * 252, 255])[function(small, 2)])
    # Without background, the lowest label is a class like others.
    blocks = np.kron([[1, 2], [2, 255]], np.ones((9, 9), int))
    names = np.array([0, 300, 2**40, *[0] * 252, 255])
    np.testing.assert_array_equal(function(names[blocks], 2), names[function(blocks, 2)])


@pytest.mark.parametrize("function", ALL)
def test_labels_that_say_nothing_stay(function):
    nothing = np.full((5, 6), 255, np.uint8)
    np.testing.assert_array_equal(function(nothing, 2), nothing)
    empty = np.zeros((5, 6), np.uint8)
    np.testing.assert_array_equal(function(empty, 2), empty)


@pytest.mark.parametrize("function", STEPPED)
def test_more_steps_than_pixels_end(function):
    labels = np.array([[0, 1, 2, 0], [0, 1, 255, 0], [0, 0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(function(labels, 10**6), function(labels, 12))


def test_memory_is_that_of_the_result():
    labels = np.tile(blobs(size=256), (8, 8))
    for function in STEPPED:
        tracemalloc.start()
        function(labels, 3)
        assert tracemalloc.get_traced_memory()[1] < 2 * labels.size
        tracemalloc.stop()


@pytest.mark.parametrize("function", STEPPED)
@pytest.mark.parametrize("n", [-1, 1.5, None])
def test_a_count_that_is_none_is_refused(function, n):
    with pytest.raises(InputError, match="whole number from 0"):
        function(blobs(size=20), n)


@pytest.mark.parametrize("function", ALL)
def test_what_is_no_label_image_is_refused(function):
    with pytest.raises(InputError, match="float32 are no labels"):
        function(np.zeros((4, 4), np.float32), 1)
    with pytest.raises(InputError, match="negative"):
        function(np.full((4, 4), -1), 1)
    with pytest.raises(InputError, match="no image"):
        function(np.zeros(4, int), 1)


@pytest.mark.parametrize("function", STEPPED)
def test_classes_given_are_held_to(function):
    labels = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    np.testing.assert_array_equal(function(labels, 1, (0, 1, 2, 3)), function(labels, 1))
    with pytest.raises(InputError, match="label 2 is none of the classes"):
        function(labels, 1, (0, 1))
    nothing = np.full((3, 3), 255, np.uint8)
    np.testing.assert_array_equal(function(nothing, 1, (0, 1)), nothing)


def test_instance_numbers_are_refused_where_they_are_no_classes():
    with pytest.raises(InputError, match="instance numbers"):
        dilate(np.arange(400).reshape(20, 20))


def test_a_skeleton_is_thinned_class_by_class():
    one = blobs(5, 120)
    two = one.copy()
    two[:, 60:] *= 2
    two[:2] = 255
    thin = skeleton(two)
    for value in (1, 2):
        np.testing.assert_array_equal(thin == value, skeletonize(two == value))
    np.testing.assert_array_equal(thin == 255, two == 255)
    np.testing.assert_array_equal(skeleton(one), skeletonize(one > 0))


def test_a_skeleton_is_one_pixel_wide():
    y, x = np.mgrid[:120, :120]
    disc = np.hypot(y - 40, x - 40) < 30
    tube = abs(np.hypot(y - 60, x - 110) - 50) < 4
    bars = (y > 90) & (y % 12 < 7) & (x < 55)
    for shape in (disc, tube, bars, disc | tube | bars):
        thin = skeleton(shape.astype(np.uint8)).astype(bool)
        assert thin.any() and not (thin & ~shape).any()
        assert not (thin[1:, 1:] & thin[:-1, 1:] & thin[1:, :-1] & thin[:-1, :-1]).any()
        assert ndi.label(thin, SQUARE)[1] == ndi.label(shape, SQUARE)[1]


@pytest.mark.parametrize("folder", ["er", "nuclei"])
def test_real_masks_are_what_scipy_makes_of_them(real_images, folder):
    for path in sorted((real_images / folder / "masks").iterdir())[:3]:
        mask = LabelStack([imread(path)], "foreground").read(0)
        np.testing.assert_array_equal(dilate(mask, 3), ndi.binary_dilation(mask, SQUARE, 3))
        np.testing.assert_array_equal(erode(mask, 3), ndi.binary_erosion(mask, SQUARE, 3, border_value=1))
        np.testing.assert_array_equal(skeleton(mask), skeletonize(mask > 0))
        assert erode(mask, 2).sum() < opening(mask, 2).sum() <= mask.sum() <= closing(mask, 2).sum()
