from __future__ import annotations

import numpy as np
import pytest

from napari_metastructure.labels.codes import encode, encoder, lookup

KINDS = ["u1", "u2", "i4", "i8", "u8", ">u2", ">i8"]
SCALES = [1, 3, 60, 4_000, 500_000_000, 2**61]


@pytest.mark.parametrize(("kind", "scale"), [(k, s) for k in KINDS for s in SCALES if 2 * s <= np.iinfo(k).max])
def test_codes_are_places_among_the_classes(kind, scale):
    values = np.array([0, 1, 2, 4], np.uint64) * np.uint64(scale)
    values = values[values <= np.iinfo(kind).max]
    labels = values[np.random.default_rng(0).integers(0, len(values), (5, 301))].astype(kind)
    labels[0, :2] = 255
    classes = [int(v) for v in values[:-1]]  # the greatest is no class
    expected = [[classes.index(v) if v in classes else 255 for v in row] for row in labels.tolist()]
    for order in "CF":
        codes = encode(np.asarray(labels, order=order), classes)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, expected)


def test_classes_beyond_the_labels_change_nothing():
    labels = np.array([[0, 70_000]])
    assert encode(labels, (0, 70_000, 2**40)).tolist() == [[0, 1]]
    assert encode(labels.astype(np.uint8) * 0, (0, 300)).tolist() == [[0, 0]]


def test_what_is_looked_up_keeps_its_type():
    start = lookup(np.array([[1, 9]]), (1, 9), np.array([10, 20]), -1)
    assert start(np.array([9, 1, 5])).tolist() == [20, 10, -1]


def test_codes_are_not_coded_again():
    labels = np.array([[0, 1, 255]], np.uint8)
    assert encoder(labels, (0, 1))(labels) is labels
    assert encoder(labels, (0, 2))(labels).tolist() == [[0, 255, 255]]
