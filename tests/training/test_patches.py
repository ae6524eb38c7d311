"""Patches against slices that are flipped and turned, what is kept of a set, and augmentation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.images import lazy
from napari_metastructure.images.intensity import channels_of, network_inputs
from napari_metastructure.images.lazy import as_plane
from napari_metastructure.networks import device as devices
from napari_metastructure.training import patches
from napari_metastructure.training.pairs import Pair, pairs_of
from napari_metastructure.training.patches import FullAugmentation, InputsInMemory, LargePair, PairReader, PatchSampler

CPU = torch.device("cpu")


def planes(shapes, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(channels, *shape)).astype(np.float32) for shape in shapes]
    return inputs, [rng.integers(0, 3, shape).astype(np.uint8) for shape in shapes]


def by_slices(inputs, labels, patch, rng, batch, flips):
    """Patches the plain way, with the same random numbers."""
    areas = np.array([y.size for y in labels], float)
    xs, ys = [], []
    for index in rng.choice(len(labels), batch, p=areas / areas.sum()):
        missing = [(0, max(0, want - have)) for want, have in zip(patch, labels[index].shape, strict=True)]
        x = np.pad(inputs[index], [(0, 0), *missing], mode="symmetric")
        y = np.pad(labels[index], missing, constant_values=255)
        top, left = rng.integers(y.shape[0] - patch[0] + 1), rng.integers(y.shape[1] - patch[1] + 1)
        window = np.s_[..., top : top + patch[0], left : left + patch[1]]
        x, y = x[window], y[window]
        if flips:
            turns = int(rng.integers(4)) if patch[0] == patch[1] else 2 * int(rng.integers(2))
            x, y = np.rot90(x, turns, (1, 2)), np.rot90(y, turns)
            if rng.integers(2):
                x, y = x[..., ::-1], y[..., ::-1]
        xs.append(x)
        ys.append(y)
    return np.stack(xs), np.stack(ys)


@given(
    st.lists(st.tuples(st.integers(3, 30), st.integers(3, 30)), min_size=1, max_size=4),
    st.sampled_from([(8, 8), (8, 12), (16, 4)]),
    st.integers(1, 9),
    st.booleans(),
    st.integers(1, 3),
)
def test_patches_looked_up_by_index_are_slices_flipped_and_turned(shapes, patch, batch, flips, channels):
    inputs, labels = planes(shapes, channels)
    held = InputsInMemory(inputs, patch, CPU)
    held.set_labels(labels)
    sampler = PatchSampler(held, shapes, patch, CPU, flips=flips)
    x, y = sampler.draw(np.random.default_rng(1), batch)
    expected, labelled = by_slices(inputs, labels, patch, np.random.default_rng(1), batch, flips)
    np.testing.assert_array_equal(x.numpy(), expected)
    np.testing.assert_array_equal(y.numpy(), labelled)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape, patch", [((40, 56), (32, 32)), ((20, 64), (32, 64)), ((8, 9), (32, 32))])
def test_patches_keep_pixels_and_labels_together(shape, patch):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, shape).astype(np.uint8)
    held = InputsInMemory([label[None].astype(np.float32)], patch, CPU)
    held.set_labels([label])
    sampler = PatchSampler(held, [label.shape], patch, CPU)
    x, y = sampler.draw(rng, 16)
    assert x.shape == (16, 1, *patch) and y.shape == (16, *patch)
    known = y != 255
    assert torch.equal(x[:, 0][known], y[known].float())
    padded = max(0, patch[0] - shape[0]) * max(patch[1], shape[1])
    assert (not known.all()) == (padded > 0 or shape[1] < patch[1])


def test_larger_planes_are_drawn_more_often():
    shapes = [(32, 32), (96, 96)]
    held = InputsInMemory([np.full((1, *shape), i, np.float32) for i, shape in enumerate(shapes)], (32, 32), CPU)
    held.set_labels([np.zeros(shape, np.uint8) for shape in shapes])
    sampler = PatchSampler(held, shapes, (32, 32), CPU)
    x, _ = sampler.draw(np.random.default_rng(0), 300)
    assert x[:, 0, 0, 0].mean().item() == pytest.approx(0.9, abs=0.06)


def test_what_is_held_is_given_back_without_the_mirrored_part():
    inputs, labels = planes([(5, 20), (30, 9)])
    held = InputsInMemory([inputs[0], torch.from_numpy(inputs[1])], (16, 16), CPU)
    held.set_labels(labels)
    for index, x in enumerate(inputs):
        np.testing.assert_array_equal(held.inputs(index).numpy(), x)
        assert min(held(index)[0].shape[1:]) >= 16


class Counted:
    """A set of pairs that counts how often each image is read."""

    def __init__(self, shapes):
        rng = np.random.default_rng(0)
        self.images = [rng.gamma(2, 100, shape).astype(np.float32) for shape in shapes]
        self.labels = [rng.integers(0, 2, shape).astype(np.uint8) for shape in shapes]
        self.read = [0] * len(shapes)
        self.pairs = [
            Pair(str(i), str(i), shape, lambda i=i: self.image(i), lambda i=i: self.labels[i])
            for i, shape in enumerate(shapes)
        ]

    def image(self, index):
        self.read[index] += 1
        return self.images[index]


def store(pairs):
    return PairReader(pairs, "percentile", 1, (0, 1), (32, 32), CPU)


def test_a_set_that_fits_is_read_once_and_normalised():
    counted = Counted([(40, 50), (20, 33)])
    read = store(counted.pairs)
    for _ in range(2):
        for index, (image, labels) in enumerate(zip(counted.images, counted.labels, strict=True)):
            ((x, y),) = read.whole(index)
            np.testing.assert_array_equal(x.numpy(), network_inputs(image, "percentile", "bright"))
            np.testing.assert_array_equal(y.numpy(), labels)
    assert counted.read == [1, 1]
    x, y = read(1)
    assert x.shape == (1, 32, 33) and (y[20:] == 255).all()


def test_of_a_set_that_does_not_fit_the_newest_stay(monkeypatch):
    monkeypatch.setattr(patches, "HELD_BYTES", 2 * 64 * 64 * 5)
    counted = Counted([(64, 64)] * 3)
    read = store(counted.pairs)
    for index in (0, 1, 0, 2, 0, 1):
        read(index)
    assert counted.read == [1, 2, 1]


def test_a_set_too_large_for_a_card_stays_in_main_memory(monkeypatch):
    pairs = pairs_of([np.zeros((64, 64), np.float32)] * 3, [np.zeros((64, 64), np.uint8)] * 3)
    size, card = 3 * 64 * 64 * 5, torch.device("cuda:0")
    for room, place in ((size, card), (size - 1, CPU)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=devices.SHARE * room: (free, free))
        assert PairReader(pairs, "zscore", 1, (0, 1), (32, 32), card)._data_device == place


def test_augmentation_follows_its_seed_and_leaves_the_global_generator_alone():
    x, y = torch.rand(3, 2, 32, 32), torch.randint(0, 3, (3, 32, 32), dtype=torch.uint8)
    torch.manual_seed(1)
    before, change = torch.get_rng_state(), FullAugmentation()
    first, second, other = (change(x.clone(), y.clone(), seeds) for seeds in ([0, 1, 2], [0, 1, 2], [3, 4, 5]))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    torch.testing.assert_close(change(x[1:].clone(), y[1:].clone(), [1, 2])[0], first[0][1:])  # whatever lies beside it
    assert first[0].shape == x.shape and set(first[1].unique().tolist()) <= {0, 1, 2, 255}


@pytest.mark.parametrize("seed", range(3))
def test_augmentation_moves_labels_with_their_pixels(seed):
    y = torch.zeros(1, 64, 64, dtype=torch.uint8)
    y[:, 20:44, 12:50] = 1
    x, moved = FullAugmentation()(y[:, None].float(), y.clone(), [seed])
    inside, outside = x[:, 0][moved == 1], x[:, 0][moved == 0]
    assert inside.mean() > outside.mean() + 0.5


def lazy_pair(image, labels, name="x"):
    """Return a pair whose pixels are read in windows."""
    return Pair(name, name, labels.shape, lambda: as_plane(image), lambda: as_plane(labels), values=(0, 1))


@pytest.mark.parametrize("inputs", ["zscore", "percentile", "multiscale"])
@pytest.mark.parametrize("flips", [False, True])
def test_patches_of_large_images_are_those_of_images_in_memory(monkeypatch, inputs, flips):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 100)
    rng = np.random.default_rng(0)
    image, labels = rng.random((150, 130), np.float32), rng.integers(0, 2, (150, 130), np.uint8)
    image[20:40, 30:50] = np.nan
    drawn = []
    small = Pair("x", "x", (150, 130), lambda: image, lambda: labels, values=(0, 1))
    for pair in (small, lazy_pair(image, labels)):
        store = PairReader([pair], inputs, channels_of(inputs), (0, 1), (64, 64), CPU)
        sampler = PatchSampler(store, [(150, 130)], (64, 64), CPU, flips=flips)
        drawn.append(sampler.draw(np.random.default_rng(7), 12))
        assert "NaN" in store.notes()[0]
    assert isinstance(store(0), LargePair)
    np.testing.assert_allclose(*(x for x, _ in drawn), atol=2e-4)
    np.testing.assert_array_equal(*(y for _, y in drawn))
    windows = list(store.whole(0))
    assert len(windows) == 1  # it is no larger than one
    assert windows[0][0].shape[1:] == (150, 130)


def test_large_and_small_images_are_drawn_together(monkeypatch):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 4000)
    rng = np.random.default_rng(0)
    image, labels = rng.random((30, 200), np.float32), rng.integers(0, 2, (30, 200), np.uint8)
    small = Pair("s", "s", (30, 30), lambda: image[:, :30], lambda: labels[:, :30], values=(0, 1))
    store = PairReader([lazy_pair(image, labels), small], "zscore", 1, (0, 1), (64, 64), CPU)
    x, y = PatchSampler(store, [(30, 200), (30, 30)], (64, 64), CPU, flips=False).draw(rng, 16)
    assert x.shape == (16, 1, 64, 64)
    assert (y[:, 30:] == 255).all()  # where images smaller than a patch were mirrored
    assert set(np.unique(y[:, :30, :30])) == {0, 1}
