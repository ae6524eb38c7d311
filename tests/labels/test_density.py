"""Densities against scikit-learn and the textbook, seams of tiles, edges, stacks, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.neighbors import KernelDensity

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.density import KERNELS, densities, densities_of_stack, density, plane_maps

SCIKIT_LEARN = {"box": "tophat", "gaussian": "gaussian", "epanechnikov": "epanechnikov"}
kernels = pytest.mark.parametrize("kernel", KERNELS)


def blobs(shape, seed=0, unlabelled=0.1, classes=2):
    """Blobs of classes 0, 1, ..., with scattered unlabelled pixels and an unlabelled corner."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 2)
    labels = np.digitize(field, np.quantile(field, np.linspace(0.6, 1, classes)[:-1])).astype(np.uint8)
    if unlabelled:
        labels[rng.random(shape) < unlabelled] = 255
        labels[-shape[0] // 3 :, -shape[1] // 3 :] = 255
    return labels


def by_scikit_learn(labels, label_class, kernel, bandwidth):
    """One bandwidth per axis: distances in bandwidths, the density of a stretched plane."""
    scale = np.broadcast_to(bandwidth, 2).astype(float)
    model = KernelDensity(kernel=SCIKIT_LEARN[kernel], bandwidth=scale[0])
    stretch = scale[0] / scale
    model.fit(np.argwhere(labels == label_class) * stretch)
    places = np.indices(labels.shape).reshape(2, -1).T
    return np.exp(model.score_samples(places * stretch)).reshape(labels.shape) * stretch.prod()


def kernel_matrix(shape, kernel, bandwidth):
    """Every pixel's weight around every pixel, by the textbook."""
    place = np.indices(shape).reshape(2, -1).T
    square = ((place[:, None] - place) ** 2).sum(axis=2) / bandwidth**2
    shapes = {"box": square < 1, "gaussian": np.exp(-square / 2), "epanechnikov": np.clip(1 - square, 0, None)}
    return shapes[kernel].astype(float)


@kernels
@pytest.mark.parametrize("bandwidth", [0.5, 1, 1.5, 3, 4.2, 8, 13, 40, (3.1, 9.3), (12.2, 1.7)], ids=str)
def test_agrees_with_scikit_learn(kernel, bandwidth):
    labels = blobs((47, 62))
    expected = by_scikit_learn(labels, 1, kernel, bandwidth)
    assert np.abs(density(labels, 1, kernel, bandwidth) - expected).max() < 1e-5 * expected.max()


@pytest.mark.parametrize(("shape", "radius"), [((75, 4200), 5), ((1100, 90), 8), ((300, 701), 20), ((530, 410), 61)])
def test_box_counts_exactly_across_the_seams_of_tiles(shape, radius):
    labels = blobs(shape, seed=1)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    # Sums down each column by running totals would repeat the code: here every offset is added up on its own.
    points = np.pad(labels == 1, radius).astype(np.int64)
    rows = np.cumsum(np.pad(points, ((0, 0), (1, 0))), axis=1)
    expected = np.zeros(shape, np.int64)
    for dy, row in zip(range(2 * radius + 1), y * y + x * x < radius * radius, strict=True):
        if row.any():
            left, right = np.flatnonzero(row)[[0, -1]]
            band = rows[dy : dy + shape[0]]
            expected += band[:, right + 1 : right + 1 + shape[1]] - band[:, left : left + shape[1]]
    counts = density(labels, 1, "box", radius) * np.float64((labels == 1).sum() * np.pi * radius**2)
    assert np.abs(counts - expected).max() < 1e-6 * expected.max()
    assert (counts[expected == 0] == 0).all()


def test_epanechnikov_is_right_across_the_seams_of_tiles():
    labels = blobs((300, 701), seed=2)
    y, x = np.ogrid[-20:21, -20:21]
    weights = np.clip(1 - (y * y + x * x) / 20**2, 0, None)
    expected = ndi.convolve((labels == 1).astype(np.float64), weights, mode="constant")
    expected *= 2 / (np.pi * 20**2) / (labels == 1).sum()
    found = density(labels, 1, "epanechnikov", 20)
    assert np.abs(found - expected).max() < 1e-6 * expected.max()
    assert found.min() >= 0


@pytest.mark.parametrize("bandwidth", [1, 2.5, 3.2, 4, 9, 33, 150])
def test_gaussian_is_right_across_the_seams_of_bands(bandwidth):
    labels = blobs((301, 407), seed=3)
    points = (labels == 1).astype(np.float64)
    expected = ndi.gaussian_filter(points, bandwidth, mode="constant", truncate=8) / points.sum()
    assert np.abs(density(labels, 1, "gaussian", bandwidth) - expected).max() < 1e-5 * expected.max()


@kernels
def test_the_integral_is_one_for_points_far_from_the_border(kernel):
    labels = np.zeros((120, 130), np.uint8)
    labels[50:70, 55:75] = 1
    rough = 0.05 if kernel == "box" else 1e-3  # whole pixels make up a disc only roughly
    assert density(labels, 1, kernel, 9.5).sum() == pytest.approx(1, abs=rough)


@kernels
@pytest.mark.parametrize("unlabelled", [0, 0.1])
@pytest.mark.parametrize("bandwidth", [2, 6.5, 20])
def test_edges_are_corrected_by_the_share_of_the_kernel_on_labelled_pixels(kernel, unlabelled, bandwidth):
    labels = blobs((33, 29), seed=4, unlabelled=unlabelled)
    labels[:12, :14] = 255 if unlabelled else labels[:12, :14]
    weight = kernel_matrix(labels.shape, kernel, bandwidth)
    within = weight @ (labels != 255).ravel()
    reached = within > (0.999 * np.exp(-8) if kernel == "gaussian" else 0)
    expected = np.where(reached, weight @ (labels == 1).ravel() / np.where(reached, within, 1), 0)
    expected = (expected / expected.sum()).reshape(labels.shape)
    found = density(labels, 1, kernel, bandwidth, edges=True)
    assert np.abs(found - expected).max() < 1e-5 * expected.max()
    assert (found[~reached.reshape(labels.shape)] == 0).all()
    if unlabelled and bandwidth == 2:
        assert not reached.all()


@kernels
def test_a_label_of_one_class_is_flat_once_edges_are_corrected(kernel):
    found = density(np.ones((70, 90), np.uint8), 1, kernel, 11, edges=True)
    np.testing.assert_allclose(found, 1 / found.size, rtol=1e-5)


@kernels
@pytest.mark.parametrize("edges", [False, True])
def test_unlabelled_pixels_are_points_of_no_class(kernel, edges):
    labels = blobs((40, 50), unlabelled=0)
    other = labels.copy()
    other[labels == 0] = 255
    without = density(other, 1, kernel, 5, edges=edges)
    if edges:  # all that is labelled is class 1
        reached = without[without > 0]
        assert reached.max() == pytest.approx(reached.min(), rel=1e-4)
    else:
        np.testing.assert_array_equal(without, density(labels, 1, kernel, 5))


@kernels
@pytest.mark.parametrize("edges", [False, True])
def test_planes_are_separate_with_their_own_number_of_points(kernel, edges):
    stack = np.zeros((2, 3, 40, 50), np.int32)
    stack[0, 1], stack[1, 0] = blobs((40, 50), 1), blobs((40, 50), 2, unlabelled=0)
    found = density(stack, 1, kernel, 4, edges=edges)
    assert found.shape == stack.shape
    assert found.dtype == np.float32
    for place in [(0, 1), (1, 0)]:
        np.testing.assert_array_equal(found[place], density(stack[place], 1, kernel, 4, edges=edges))
        found[place] = 0
    assert not found.any()


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int64]),
        st.tuples(st.integers(1, 3), st.integers(2, 25), st.integers(2, 25)),
        elements=st.sampled_from([0, 1, 3, 255]),
    ).filter(lambda labels: (labels != 255).any()),
    st.sampled_from(KERNELS),
    st.floats(0.3, 2),
    st.booleans(),
)
def test_any_label_gives_maps_that_are_densities(labels, kernel, bandwidth, edges):
    before = labels.copy()
    found = densities(labels, kernel, bandwidth, edges=edges)
    np.testing.assert_array_equal(labels, before)
    assert set(found) == set(np.unique(labels).tolist()) - {255}
    for label_class, values in found.items():
        assert values.shape == labels.shape
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values.min() >= 0
        np.testing.assert_array_equal(values, density(labels, label_class, kernel, bandwidth, edges=edges))
        sideways = density(np.swapaxes(labels, 1, 2), label_class, kernel, bandwidth, edges=edges)
        np.testing.assert_allclose(np.swapaxes(sideways, 1, 2), values, rtol=1e-3, atol=1e-5 * values.max())
        if edges:
            sums = values.sum(axis=(1, 2))
            np.testing.assert_allclose(sums, (labels == label_class).any(axis=(1, 2)), atol=1e-5)


@kernels
def test_layout_and_type_do_not_matter(kernel):
    labels = blobs((40, 50), unlabelled=0)
    expected = density(labels, 1, kernel, 6)
    for same in (
        labels.astype(bool),
        labels.astype(np.int8),
        np.asfortranarray(labels),
        np.repeat(labels, 2, 1)[:, ::2],
    ):
        np.testing.assert_allclose(density(same, 1, kernel, 6), expected, rtol=1e-5, atol=1e-9)


def test_memory_besides_the_result_does_not_grow_with_the_image():
    labels = np.tile(blobs((256, 256), unlabelled=0), (8, 8))
    tracemalloc.start()
    try:
        for kernel in KERNELS:
            tracemalloc.reset_peak()
            density(labels, 1, kernel, 24)
            _, peak = tracemalloc.get_traced_memory()
            # float32 result, a mask of bytes, and no other array of that size
            assert peak < labels.size * (4 + 1) + 8e6, kernel
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("labels", "arguments", "told"),
    [
        (np.ones((9, 9), np.uint8), {"bandwidth": 0}, "above 0, not 0"),
        (np.ones((9, 9), np.uint8), {"bandwidth": -2}, "above 0, not -2"),
        (np.ones((9, 9), np.uint8), {"bandwidth": float("nan")}, "above 0, not nan"),
        (np.ones((9, 9), np.uint8), {"bandwidth": (2, float("inf"))}, "above 0, not inf"),
        (np.ones((9, 9), np.uint8), {"bandwidth": "wide"}, "must be a number of pixels"),
        (np.ones((9, 9), np.uint8), {"bandwidth": (1, 2, 3)}, "one for Y and one for X"),
        (np.ones((9, 20), np.uint8), {"bandwidth": 9.5}, "larger than the image, 9 pixels high; lower it"),
        (np.ones((1, 20), np.uint8), {"bandwidth": 2}, "larger than the image, 1 pixel high; lower it"),
        (np.ones((5, 20, 9), np.uint8), {"bandwidth": 9.5}, "larger than the image, 9 pixels wide; lower it"),
        (np.ones((9, 9), np.uint8), {"label_class": 2}, "no pixel of class 2 in the labels; choose among 1"),
        (np.ones((9, 9), np.uint8), {"kernel": "tophat"}, "no kernel 'tophat'; choose one of box, gaussian"),
        (np.ones((9, 9)), {}, "convert them to integers"),
        (np.full((9, 9), -1), {}, "-1 is negative"),
        (np.full((9, 9), 255, np.uint8), {}, "every pixel is 255, unlabelled"),
        (np.ones(9, np.uint8), {}, "the axes Y and X"),
        (np.ones((0, 9), np.uint8), {}, "no pixels"),
    ],
)
def test_bad_input_is_told_in_one_sentence(labels, arguments, told):
    with pytest.raises(InputError) as error:
        density(labels, **{"label_class": 1, "bandwidth": 2, **arguments})
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def all_of(work):
    """The progress and the result of a generator."""
    *progress, result = work
    assert [(p.done, p.of) for p in progress] == [(k + 1, len(progress)) for k in range(len(progress))]
    return result


@pytest.mark.parametrize("label_class", [1, None])
def test_a_stack_is_its_planes(label_class):
    labels = np.zeros((2, 2, 30, 40), np.uint8)
    labels[0, 0], labels[1, 1] = blobs((30, 40), 1, classes=3), blobs((30, 40), 2)
    found = all_of(densities_of_stack(LabelStack(labels, "classes"), label_class, "box", 4))
    assert sorted(found) == ([1] if label_class else [1, 2])
    for c, values in found.items():
        assert values.dtype == np.float32
        for place in np.ndindex(2, 2):
            here = density(labels[place], c, "box", 4) if (labels[place] == c).any() else np.zeros((30, 40))
            np.testing.assert_array_equal(values[place], here)


def test_planes_of_a_stack_are_read_as_the_stack_says():
    labels = np.zeros((2, 20, 20), np.uint8)
    labels[0, :9], labels[1, :9] = 255, 7
    found = all_of(densities_of_stack(LabelStack(labels, "foreground"), 1, "gaussian", 3))
    assert not found[1][0].any(), "255 is unlabelled, for another plane has a class"
    np.testing.assert_array_equal(found[1][1], density(labels[1], 7, "gaussian", 3))


@pytest.mark.parametrize(
    ("labels", "label_class", "bandwidth", "told"),
    [
        (np.zeros((2, 9, 9), int), 1, 2, "Layer 'a' has no pixel of class 1 on any slice"),
        (np.zeros((2, 9, 9), int), None, 2, "Layer 'a' has no class above 0 on any slice"),
        (np.ones((2, 9, 9), int), 1, 10, "Layer 'a': the bandwidth 10 is larger than the image"),
        (np.arange(162).reshape(2, 9, 9), 1, 2, "Layer 'a': 80 different labels"),
    ],
)
def test_stacks_without_a_density_are_told(labels, label_class, bandwidth, told):
    with pytest.raises(InputError, match=told):
        list(densities_of_stack(LabelStack(labels, "foreground", name="Layer 'a'"), label_class, "box", bandwidth))


def test_too_large_a_stack_is_told_with_its_size(monkeypatch):
    zeros = np.zeros

    def too_large(shape, *args, **more):
        if shape == (1, 900, 900):
            raise MemoryError
        return zeros(shape, *args, **more)

    monkeypatch.setattr(np, "zeros", too_large)
    with pytest.raises(InputError, match=r"^Cells: its densities need 0\.0 GiB"):
        list(densities_of_stack(LabelStack(np.ones((1, 900, 900), int), "classes", name="Cells"), 1, "box", 2))


def test_maps_of_a_plane_that_lacks_a_class():
    plane = blobs((30, 40), classes=3)
    classes = tuple(np.unique(plane[plane != 255]).tolist())
    assert sorted(plane_maps(plane, classes, None, "box", (3, 3), False)) == [1, 2]
    for absent, wanted in (
        (plane_maps(plane, classes, 7, "box", (3, 3), False), 7),
        (plane_maps(plane * 0, (0,), None, "box", (3, 3), False), 1),
    ):
        assert list(absent) == [wanted] and not absent[wanted].any()
