"""A layer as clean labels: how its numbers are read, and what is remembered of its planes."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import as_classes, classes_in
from napari_metastructure.plugin._layers import ORIGIN
from napari_metastructure.plugin._noise_preview import Source, Superseded

RNG = np.random.default_rng(0)


def always():
    return True


def values(*choices, shape=(3, 16, 16), dtype=np.uint8):
    return RNG.choice(np.array(choices, dtype), shape)


@pytest.mark.parametrize(
    ("labels", "reading"),
    [
        (values(0, 1), "foreground"),
        (values(0, 255), "foreground"),
        (values(0, 7), "foreground"),
        (values(0, 7, 255), "foreground"),
        (values(0, 1, 255), "foreground"),
        (values(0, 1, 2, 40, 255), "classes"),
        (values(0, 1, 300, dtype=np.uint16), "classes"),
        (values(0, 255), "classes"),
        (values(0, 1, 2**31 - 5, dtype=np.int32), "objects"),
        (values(0, 3, 255, 1000, dtype=np.int64), "objects"),
        (values(0, 1, shape=(2, 2, 8, 9)), "foreground"),
        (values(0, 5, shape=(8, 9)), "foreground"),
    ],
)
def test_planes_are_read_as_the_whole_would_be(labels, reading):
    source = Source(Labels(labels), reading)
    found = source.values(always)
    whole = as_classes(labels, reading).reshape(-1, *labels.shape[-2:])
    assert source.classes(found) == classes_in(whole)
    assert source.planes == len(whole)
    for index, plane in enumerate(whole):
        np.testing.assert_array_equal(source.plane(index, found), plane)
        assert source.plane(index, found).dtype == (np.uint8 if whole.max() < 256 else np.uint16)


def test_a_plane_of_0_and_255_in_a_stack_that_says_more():
    """Alone it would be background and foreground; its stack says that 255 is unlabelled."""
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[0, :4] = 255
    labels[1, :4] = 1
    source = Source(Labels(labels), "foreground")
    assert set(np.unique(source.plane(0, source.values(always)))) == {0, 255}


def test_in_labels_of_this_plugin_255_is_always_unlabelled():
    labels = values(0, 255)
    source = Source(Labels(labels, metadata={ORIGIN: {}}), "foreground")
    found = source.values(always)
    assert source.classes(found) == (0,)
    np.testing.assert_array_equal(source.plane(1, found), labels[1])


@pytest.mark.parametrize(
    ("labels", "reading", "why"),
    [
        (values(*range(20)), "foreground", "19 different labels besides 0"),
        (values(-1, 0, 1, dtype=np.int16), "classes", "the label -1 is negative"),
        (np.arange(3 * 256).reshape(3, 16, 16), "classes", "look like instance numbers"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_that_names_the_layer(labels, reading, why):
    source = Source(Labels(labels, name="cells"), reading)
    with pytest.raises(InputError, match=f"Layer 'cells': .*{why}"):
        source.classes(source.values(always))


def test_planes_are_looked_at_once_and_again_when_they_changed(monkeypatch):
    labels = values(0, 1)
    source, seen = Source(Labels(labels), "classes"), []
    pixels = source.pixels
    monkeypatch.setattr(source, "pixels", lambda index: seen.append(index) or pixels(index))
    assert source.values(always) == source.values(always) == (0, 1)
    assert seen == [0, 1, 2]
    labels[1, 0, 0] = 9
    source.forget([1])
    assert source.values(always) == (0, 1, 9)
    assert seen == [0, 1, 2, 1]
    source.forget()
    source.values(always)
    assert seen == [0, 1, 2, 1, 0, 1, 2]


def test_a_plane_that_changed_is_read_anew():
    labels = values(0, 1)
    source = Source(Labels(labels), "classes")
    before = source.plane(0, (0, 1)).copy()
    labels[0] = 1 - labels[0]
    source.forget([0])
    np.testing.assert_array_equal(source.plane(0, (0, 1)), 1 - before)


def test_who_is_not_wanted_stops_and_keeps_what_was_found(monkeypatch):
    source, seen = Source(Labels(values(0, 1)), "classes"), []
    pixels = source.pixels
    monkeypatch.setattr(source, "pixels", lambda index: seen.append(index) or pixels(index))
    with pytest.raises(Superseded):
        source.values(lambda: len(seen) < 2)
    assert seen == [0, 1]
    source.values(always)
    assert seen == [0, 1, 2]


def test_a_pyramid_is_read_at_full_resolution():
    labels = values(0, 1)
    source = Source(Labels([labels, labels[:, ::2, ::2]], multiscale=True), "classes")
    np.testing.assert_array_equal(source.plane(2, source.values(always)), labels[2])
