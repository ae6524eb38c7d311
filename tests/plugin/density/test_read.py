"""What 255 means is settled by the whole layer."""

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Pixels, Reader


def pixels(data, at=(), ours=False, stamp=0, whole=0):
    return Pixels("a", np.asarray(data, np.uint8), at, ours, stamp, whole)


def read(what, reading="foreground"):
    plane, classes = Reader().read(what, reading)
    return plane.tolist(), classes


def test_a_mask_of_0_and_255_is_foreground():
    assert read(pixels([[0, 255]])) == ([[0, 1]], (0, 1))
    assert read(pixels([[[0, 255]], [[0, 255]]], (1,))) == ([[0, 1]], (0, 1))


@pytest.mark.parametrize("reading", ["foreground", "classes"])
def test_255_is_unlabelled_if_another_slice_has_classes(reading):
    stack = [[[0, 255]], [[1, 255]]]
    assert read(pixels(stack, (0,)), reading) == ([[0, UNLABELLED]], (0,))
    assert read(pixels(stack, (1,)), reading)[1] == (1,)


@pytest.mark.parametrize("reading", ["foreground", "objects", "classes"])
def test_255_is_unlabelled_in_what_the_plugin_made(reading):
    assert read(pixels([[0, 255]], ours=True), reading) == ([[0, UNLABELLED]], (0,))
    assert read(pixels([[1, 255]], ours=True), reading) == ([[1, UNLABELLED]], (1,))


def test_a_plane_is_read_again_only_when_it_has_changed():
    reader, data = Reader(), np.zeros((2, 2), np.uint8)
    before, _ = reader.read(Pixels("a", data, (), False, 0, 0), "foreground")
    data[0, 0] = 1
    assert reader.read(Pixels("a", data, (), False, 0, 0), "foreground")[0] is before
    assert reader.read(Pixels("a", data, (), False, 1, 1), "foreground")[1] == (0, 1)


def test_instance_numbers_are_no_foreground():
    with pytest.raises(InputError, match=r"Layer 'a'.*read them as objects"):
        read(pixels([[0, 1, 2]]))
    assert read(pixels([[0, 1, 2]]), "objects") == ([[0, 1, 1]], (0, 1))
