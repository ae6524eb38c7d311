"""Tiles, blended: against the definition, at any size, in bounded memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.errors import RunFailed
from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.networks import predict as module
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.predict import (
    LazyInputs,
    all_rows,
    bands,
    class_probabilities,
    inputs_on,
    one_behind,
    pad,
    predicted,
    prepared,
    probability,
    starts,
    tile_shape,
)

CPU = torch.device("cpu")


sides = st.integers(1, 150)


class Network(torch.nn.Module):
    """Any function of (N, C, Y, X) tiles to logits; keeps the shapes it saw."""

    def __init__(self, function):
        super().__init__()
        self.function, self.seen = function, []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        return self.function(x)


def identity(x):
    return torch.logit(x[:, :1])


def crop_dependent(x):
    """Two logits that depend on the whole crop and the place within it, as group normalisation makes them."""
    place = torch.linspace(-1, 1, x.shape[-1]) + torch.linspace(-2, 2, x.shape[-2])[:, None]
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.cat([3 * mean * place + x[:, :1], -place + mean], dim=1)


def image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(np.float32)


def by_definition(function, inputs, patch):
    """Sum of weighted tiles over sum of weights, pixel by pixel, in double precision, the whole plane in memory."""
    height, width = inputs.shape[1:]
    patch = tile_shape(torch.nn.Identity(), inputs.shape, patch)
    missing = [(0, max(0, p - n)) for p, n in zip(patch, (height, width), strict=True)]
    padded = np.pad(inputs, [(0, 0), *missing], mode="symmetric")
    window = np.outer(*(0.01 + np.hanning(p + 2)[1:-1] for p in patch))
    total, weight = 0.0, np.zeros(padded.shape[1:])
    for y in starts(padded.shape[1], patch[0]):
        for x in starts(padded.shape[2], patch[1]):
            crop = torch.from_numpy(padded[None, :, y : y + patch[0], x : x + patch[1]])
            logits = function(crop).double()
            p = torch.softmax(logits, 1) if logits.shape[1] > 1 else torch.sigmoid(logits)
            place = np.s_[y : y + patch[0], x : x + patch[1]]
            if np.isscalar(total):
                total = np.zeros((p.shape[1], *padded.shape[1:]))
            total[:, *place] += p[0].numpy() * window
            weight[place] += window
    return (total / weight)[:, :height, :width]


@given(sides, sides, st.sampled_from([(32, 32), (32, 64), (64, 32)]), st.integers(1, 5))
def test_bands_are_the_weighted_mean_of_the_tiles(height, width, patch, batch):
    inputs = image(2, height, width)
    found = list(bands(Network(crop_dependent), inputs, patch, CPU, batch=batch))
    assert [first for first, _ in found] == np.cumsum([0, *(b.shape[1] for _, b in found)])[:-1].tolist()
    together = np.concatenate([band for _, band in found], axis=1)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, by_definition(crop_dependent, inputs, patch), atol=2e-5)
    np.testing.assert_allclose(together.sum(axis=0), 1, atol=1e-5)


@given(sides, sides)
def test_what_does_not_depend_on_the_crop_comes_back_as_it_was(height, width):
    p = image(1, height, width)
    network = Network(identity)
    found = probability(network, p, (32, 32), CPU)
    assert found.shape == (height, width)
    np.testing.assert_allclose(found, p[0], atol=1e-5)
    assert {shape[1:] for shape in network.seen} == {(1, 32, 32)}
    assert max(shape[0] for shape in network.seen) <= 4


@pytest.mark.parametrize("shape", [(32, 32), (9, 11), (100, 33), (64, 32), (33, 200)])
def test_tiles_are_blended_back_to_the_plane(shape):
    p = np.random.default_rng(0).uniform(0.1, 0.9, (1, *shape)).astype(np.float32)
    network = Network(identity)
    np.testing.assert_allclose(probability(network, p, (32, 32), CPU), p[0], atol=1e-5)
    assert {seen[-2:] for seen in network.seen} == {(32, 32)}


def test_a_checkpoint_that_raises_leaves_a_prediction():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probability(Network(identity), np.zeros((1, 64, 64), np.float32), (32, 32), CPU, stop)


def test_a_tile_is_no_larger_than_the_plane_and_fits_the_stride():
    network = build(NetworkSpec(in_channels=2, base_channels=4), 0).eval()
    assert network.stride == 8
    assert tile_shape(network, (2, 50, 300), (256, 256)) == (56, 256)
    assert tile_shape(torch.nn.Identity(), (2, 50, 20), (256, 256)) == (64, 32)
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    assert probability(network, image(2, 50, 300), (256, 256), CPU).shape == (50, 300)
    assert {tuple(shape[1:]) for shape in seen} == {(2, 56, 256)}


@pytest.mark.parametrize("classes", [1, 4])
def test_a_plane_of_one_tile_is_what_the_network_says_of_it(classes):
    network = build(NetworkSpec(in_channels=3, classes=classes, base_channels=4), 0).eval()
    inputs = image(3, 64, 96)
    with torch.no_grad():
        logits = network(torch.from_numpy(inputs)[None])
    untiled = torch.softmax(logits, 1) if classes > 1 else torch.sigmoid(logits)
    np.testing.assert_allclose(class_probabilities(network, inputs, (64, 96), CPU), untiled[0].numpy(), atol=1e-6)


def test_small_planes_of_one_size_are_predicted_together():
    network = build(NetworkSpec(in_channels=2, base_channels=4), 0).eval()
    planes = [
        image(2, *shape, seed=seed) for seed, shape in enumerate([(40, 50), (64, 64), (40, 50), (90, 70), (40, 50)])
    ]
    alone = {i: probability(network, plane, (64, 64), CPU) for i, plane in enumerate(planes)}
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    shapes = [plane.shape[-2:] for plane in planes]
    for index, found in predicted(network, shapes, planes.__getitem__, (64, 64), CPU):
        expected = alone.pop(index)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not alone and seen[:3] == [(3, 2, 40, 56), (1, 2, 64, 64), (2, 2, 64, 64)]


@pytest.mark.parametrize("side", [32, 200])
def test_no_plane_is_read_once_a_checkpoint_has_raised(side):
    read = []

    def stop():
        if read:
            raise LookupError

    def plane(index):
        read.append(index)
        return torch.zeros(1, side, side)

    with pytest.raises(LookupError):
        list(predicted(torch.nn.Identity(), [(side, side)] * 3, plane, (64, 64), CPU, stop))
    assert read == [0]


def test_where_tiles_disagree_the_blend_has_no_seam():
    """Each tile says something else; from pixel to pixel the mean of them moves by far less than they differ."""
    calls = []

    def another_each_time(x):
        calls.append(len(x))
        return torch.full_like(x, 4.0 if len(calls) % 2 else -4.0)

    found = probability(Network(another_each_time), image(1, 256, 256), (64, 64), CPU, batch=1)
    assert np.ptp(found) > 0.9
    steps = [np.abs(np.diff(found, axis=axis)).max() for axis in (0, 1)]
    assert max(steps) < 0.15 * np.ptp(found)


def test_out_of_memory_goes_on_with_fewer_tiles_at_once():
    def small_device(x):
        if len(x) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return crop_dependent(x)

    inputs, network = image(1, 40, 200), Network(small_device)
    found = class_probabilities(network, inputs, (32, 32), CPU, batch=5)
    np.testing.assert_allclose(found, by_definition(crop_dependent, inputs, (32, 32)), atol=2e-5)
    assert [shape[0] for shape in network.seen[:3]] == [5, 2, 1]
    assert {shape[0] for shape in network.seen[3:]} == {1}  # it does not try again what did not fit


def test_a_tile_that_does_not_fit_says_what_to_do():
    def none_fits(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RunFailed, match=r"32 x 64 pixels.*device cpu"):
        probability(Network(none_fits), image(1, 40, 70), (32, 64), CPU)


def test_other_errors_of_the_network_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="shapes"):
        probability(Network(lambda x: (_ for _ in ()).throw(RuntimeError("shapes"))), image(1, 9, 9), (32, 32), CPU)


def test_a_checkpoint_is_asked_before_each_batch_and_can_leave():
    asked = []

    def stop_at_third():
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    network = Network(identity)
    with pytest.raises(KeyboardInterrupt):
        probability(network, image(1, 128, 128), (32, 32), CPU, stop_at_third, batch=2)
    assert len(network.seen) == 2


def test_a_band_is_handed_out_once_the_next_row_is_being_computed():
    computed, handed = [], []

    def rows():
        for row in range(3):
            computed.append(row)
            yield row

    for row in one_behind(rows()):
        handed.append((row, len(computed)))
    assert handed == [(0, 2), (1, 3), (2, 3)]
    assert list(one_behind([])) == []


def test_inputs_may_be_a_tensor_in_any_layout():
    inputs, network = image(2, 75, 131), Network(crop_dependent)
    pixel_major = torch.from_numpy(inputs).permute(1, 2, 0).contiguous().permute(2, 0, 1)
    found = [class_probabilities(network, x, (32, 64), CPU) for x in (inputs, torch.from_numpy(inputs), pixel_major)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


MEMORY = """
import resource
import numpy as np, torch
from napari_metastructure.networks.predict import bands

class Rows:
    # a plane that is nowhere in memory; read whole it would be 256 MB
    shape = (1, {height}, 1024)
    def __getitem__(self, index):
        first, last, _ = index[1].indices(self.shape[1])
        return np.full((1, last - first, 1024), 0.5, np.float32)

class Half(torch.nn.Module):
    def forward(self, x):
        return x - x

def consume(height):
    Rows.shape = (1, height, 1024)
    return sum(b.shape[1] for _, b in bands(Half(), Rows(), (64, 64), torch.device("cpu")))

consume(1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert consume({height}) == {height}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is not there")
def test_memory_does_not_grow_with_the_plane():
    height = 2**16
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(height=height)], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 2**24  # 16 MB, of a result of 256 MB


# Normalisation in pieces: the numbers of `images.intensity.network_inputs`.


KINDS = ("zscore", "multiscale", "percentile", "local")


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Statistics over many blocks, the last of another height."""
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "ROWS", 37)
    yield
    patch.undo()


@given(
    st.sampled_from(KINDS),
    st.sampled_from(["bright", "dark"]),
    st.integers(8, 260),
    st.integers(8, 60),
    st.integers(1, 90),
    st.sampled_from([1, 2]),
)
def test_rows_are_those_of_the_whole(kind, objects, height, width, at_once, channels):
    rng = np.random.default_rng(height * 1000 + width)
    image = rng.gamma(2, 100, (channels, height, width)).astype(np.float32) + np.arange(height)[:, None]
    image = image[0] if channels == 1 else image
    whole, lazy = network_inputs(image, kind, objects), LazyInputs(image, kind, objects)
    assert lazy.shape == whole.shape
    pieces = [lazy[:, first : first + at_once] for first in range(0, height, at_once)]
    assert pieces[0].dtype == torch.float32
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=2e-5)


@pytest.mark.parametrize("first", [0, 2])
def test_rows_of_tiles_are_the_very_rows_in_one_place_of_memory(first):
    inputs = LazyInputs(np.random.default_rng(0).gamma(2, 100, (150, 40)).astype(np.float32), "multiscale", "bright")
    tops, places = starts(150, 32), set()
    rows = range(first, len(tops))
    for row, strip in zip(rows, module._strips(inputs, tops, 32, rows), strict=True):
        np.testing.assert_allclose(strip, inputs[:, tops[row] : tops[row] + 32], atol=2e-5)
        places.add(strip.data_ptr())
    assert len(places) == 1


@given(st.integers(1, 200), st.integers(1, 40), st.sampled_from([0.7, 1.5, 4.0, 16.0]))
def test_the_blur_of_an_accelerator_is_scipys(height, width, scale):
    block = np.random.default_rng(height * 41 + width).normal(0, 50, (height, width)).astype(np.float32)
    found = module._blurred(module._blurred(torch.from_numpy(block), 0, scale), 1, scale)
    np.testing.assert_allclose(found.numpy(), ndi.gaussian_filter(block, scale), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_blur_of_an_accelerator_the_inputs_are_the_same(kind, monkeypatch):
    image = np.random.default_rng(0).gamma(2, 100, (180, 90)).astype(np.float32)
    expected = network_inputs(image, kind, "dark")
    np.testing.assert_array_equal(inputs_on(CPU, image, kind, "dark").numpy(), expected)
    monkeypatch.setattr(module, "gaussian", lambda x, s: module._blurred(module._blurred(x, 0, s), 1, s))
    np.testing.assert_allclose(LazyInputs(image, kind, "dark", device=CPU)[:, :].numpy(), expected, atol=2e-5)


def test_rows_are_joined_some_at_a_time(monkeypatch):
    image = np.random.default_rng(0).gamma(2, 100, (180, 90)).astype(np.float32)
    monkeypatch.setattr(module, "WHOLE", 4 * 90 * 50)
    found = all_rows(LazyInputs(image, "multiscale", "bright"))
    np.testing.assert_allclose(found.numpy(), network_inputs(image, "multiscale", "bright"), atol=2e-5)


@given(sides, sides, st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_padding_mirrors(height, width, shape):
    plane = image(2, height, width)
    missing = [(0, max(0, want - have)) for want, have in zip(shape, (height, width), strict=True)]
    found = pad(torch.from_numpy(plane), shape).numpy()
    np.testing.assert_array_equal(found, np.pad(plane, [(0, 0), *missing], mode="symmetric"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_offset_much_larger_than_the_contrast_costs_no_precision(kind):
    image = 30_000 + np.random.default_rng(0).normal(0, 10, (200, 40)).astype(np.float32)
    image[:40] += 500  # the first block is not like the others
    np.testing.assert_allclose(
        LazyInputs(image, kind, "bright")[:, :], network_inputs(image, kind, "bright"), atol=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.1, 7.0])
def test_a_channel_of_one_value_is_zeros(kind, value):
    image = np.full((100, 40), value, np.float32)
    np.testing.assert_array_equal(LazyInputs(image, kind, "dark")[:, :], network_inputs(image, kind, "dark"))


def test_all_but_one_pixel_alike():
    image = np.zeros((100, 100), np.float32)
    image[50, 50] = 3
    for kind in KINDS:
        np.testing.assert_allclose(
            LazyInputs(image, kind, "bright")[:, :], network_inputs(image, kind, "bright"), atol=1e-3
        )


def test_only_large_images_are_taken_in_pieces(monkeypatch):
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    assert isinstance(prepared(image, "zscore", "bright"), np.ndarray)
    monkeypatch.setattr(module, "WHOLE", 64 * 64 - 1)
    assert isinstance(prepared(image, "zscore", "bright"), LazyInputs)


def test_it_can_be_left_while_it_gathers_statistics(monkeypatch):
    monkeypatch.setattr(module, "WHOLE", 1)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(np.eye(100, dtype=np.float32), "zscore", "bright", stop)
