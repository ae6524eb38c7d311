from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.io import imread

from napari_metastructure.errors import InputError
from napari_metastructure.labels import boundary
from napari_metastructure.labels.boundary import displace_boundary, displacements
from napari_metastructure.labels.classes import as_classes

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
def test_blocks_leave_no_seam(monkeypatch, correlation):
    field = whole_field((150, 131), 2, correlation)
    monkeypatch.setattr(boundary, "_ROWS", 1000)
    monkeypatch.setattr(boundary, "_COLUMNS", 17)
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
def test_same_seed_same_result_and_the_rest_stays(labels, amplitude, correlation, seed):
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
def test_any_integers_and_stacks(dtype):
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


def test_floats_are_refused():
    with pytest.raises(InputError, match="float64 are no labels"):
        displace_boundary(np.zeros((4, 4)), 1, 4, np.random.default_rng())


@pytest.mark.parametrize("folder", ["er", "nuclei"])
def test_real_masks_keep_their_share(real_images, folder):
    for path in sorted((real_images / folder / "masks").iterdir())[:4]:
        mask = as_classes(imread(path), "foreground")
        result = displace_boundary(mask, 2, 12, np.random.default_rng(0))
        assert result.mean() == pytest.approx(mask.mean(), rel=0.1)
        assert 0 < (result != mask).mean() < 0.3
