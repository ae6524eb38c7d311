"""What label numbers stand for: one meaning for a set, and signs in pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError, ReadingError
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.readings import count_regions, has_soft_edges, is_picture, meaning_of

FILES = st.lists(st.sets(st.sampled_from((0, 1, 2, 7, 128, 254, 255, 300, 65535)), min_size=1), min_size=1, max_size=4)
READINGS = st.sampled_from(("auto", "foreground", "objects", "classes"))


def outcome(files, reading, binary):
    try:
        return meaning_of(dict(files), reading, binary=binary)
    except InputError as error:
        return type(error)


@given(FILES, READINGS, st.booleans(), st.randoms())
def test_the_order_of_files_and_their_split_do_not_matter(files, reading, binary, random):
    named = [(f"{number}.png", values) for number, values in enumerate(files)]
    again = random.sample(named, len(named))
    assert outcome(named, reading, binary) == outcome(again, reading, binary)


@given(FILES, READINGS, st.booleans())
def test_255_is_background_nowhere_and_one_thing_everywhere(files, reading, binary):
    meaning = outcome([(str(i), values) for i, values in enumerate(files)], reading, binary)
    if isinstance(meaning, type):
        return
    said = {int(meaning.read(np.array(sorted(values)))[-1]) for values in files if max(values) == 255}
    assert len(said) <= 1 and said <= {1, 255}
    beside = any(255 in values and values - {0, 255} for values in files)
    assert not (beside and said == {1})


@given(st.booleans(), FILES)
def test_masks_that_contradict_each_other_are_never_read_unasked(swap, files):
    given = [("mask.png", {0, 255}), ("plain.png", {0, 1})]
    given = given[::-1] if swap else given
    others = [(str(i), values - {255} | {0}) for i, values in enumerate(files)]
    for reading in ("auto", "foreground"):
        assert outcome([*given, *others], reading, True) is ReadingError
    with pytest.raises(ReadingError, match=r"mask\.png holds no .*, plain\.png holds 1 .* as objects .* as classes"):
        meaning_of(dict(given), "auto")


def test_regions_are_counted_plane_by_plane():
    discs = np.zeros((2, 20, 20), int)
    discs[0, 2:5, 2:5], discs[0, 9:12, 9:12], discs[1, 9:12, 9:12] = 7, 300, 300
    assert count_regions(discs) == (3, 3)
    discs[0, 15:18, 15:18], discs[0, 0] = 7, 255
    assert count_regions(discs) == (3, 4)


def objects(seed=0, size=3):
    """Numbered squares, 12 apart."""
    labels = np.zeros((96, 96), np.uint8)
    for number, at in enumerate(np.random.default_rng(seed).permutation(64), 1):
        y, x = divmod(int(at), 8)
        labels[12 * y : 12 * y + size, 12 * x : 12 * x + size] = 4 * number - 1
    return labels


MASK = np.hypot(*np.mgrid[-32:32, -32:32]) < 20


@pytest.mark.parametrize(
    ("labels", "soft"),
    [
        (ndi.gaussian_filter(MASK * 255.0, 0.8).round().astype(np.uint8), True),
        (ndi.uniform_filter(MASK * 255.0, 2).round().astype(np.uint8), True),
        (ndi.gaussian_filter(MASK * 65535.0, 1).astype(np.uint16), True),
        (np.where(MASK, np.where(np.arange(64) > 32, 255, 254), 0), True),
        (MASK * 255, False),
        (np.where(MASK, 128, 0) + 127 * (np.arange(64) > 32) * MASK, False),
        (np.where(np.arange(64) < 9, 255, MASK), False),
        (objects(), False),
        (objects(size=1), False),
        (objects(size=9), False),
        (np.arange(256).repeat(256).reshape(256, 256), False),
        (np.random.default_rng(0).integers(0, 256, (64, 64)), False),
    ],
)
def test_soft_edges_are_told_from_numbers(labels, soft):
    assert has_soft_edges(labels, tuple(np.unique(labels).tolist())) is soft


@pytest.mark.parametrize(
    ("planes", "numbered"),
    [
        ([objects(0), objects(1)[:48]], True),
        ([np.minimum(objects(0), 3), objects(1) % 3], False),  # few classes, in many places
        ([MASK + 1 * (np.hypot(*np.mgrid[-32:32, -32:32]) < r) + MASK for r in (9, 10, 11)], False),  # two nested ones
    ],
)
def test_instance_numbers_are_recognised(planes, numbered):
    stack = LabelStack([plane.astype(np.uint8) for plane in planes], "auto", names=["a", "b", "c"][: len(planes)])
    if numbered:
        with pytest.raises(ReadingError, match=r"look like instance numbers.* as objects .* as classes"):
            stack.meaning()
        assert len(stack.meaning(range(255)).classes) > 20, "unless somebody lists the classes"
    else:
        assert len(stack.meaning().classes) in (3, 4)


@pytest.mark.parametrize("kept", [{}, {"binary": True}, {"instances": True}])
@pytest.mark.parametrize(("missing", "unlabelled"), [(254, False), (256, False), (0, False), (None, True)])
def test_255_among_the_numbers_of_objects_is_one_of_them(kept, missing, unlabelled):
    """Of more than 255 objects one has the number 255, also where its neighbour was removed."""
    numbers = {*range(1, 301)} - {missing} if missing is not None else {*range(1, 101), 255, 300}
    if not kept:
        with pytest.raises(ReadingError):
            meaning_of({"a": numbers}, "auto", numbered=True)
    else:
        assert meaning_of({"a": {0, *numbers}}, "auto", numbered=True, **kept).unlabelled is unlabelled


@pytest.mark.parametrize("told", [False, True])
def test_that_255_is_no_object_is_told(told):
    labels = objects()
    assert labels.max() == 255
    labels[labels == 255] *= told
    stack = LabelStack([labels], "auto", instances=True)
    assert any("255 is read as unlabelled" in note for note in stack.notes(stack.meaning())) is told


@pytest.mark.parametrize("value", [2**31, 2**63, 2**64 - 1])
def test_foregrounds_of_any_size_are_one(value):
    meaning = meaning_of({"a": (0, value)}, "auto")
    assert meaning.classes == meaning.classes_of((0, value)) == (0, 1)


@pytest.mark.parametrize(("levels", "blur"), [(16, 0), (60, 0), (60, 2), (110, 3), (255, 5)])
def test_grey_values_are_no_labels_though_they_are_smooth(levels, blur):
    """In a dim image, or one of few levels, most neighbours are alike."""
    rng = np.random.default_rng(0)
    spots = ndi.gaussian_filter((rng.random((256, 256)) < 0.001) * 1.0, 6)
    grey = ndi.gaussian_filter(spots / spots.max() + 0.02 * rng.random((256, 256)), blur)
    grey += 0.3 * rng.random(grey.shape) * (levels == 16)
    assert is_picture((1 + grey / grey.max() * (levels - 1)).astype(np.uint16))


@pytest.mark.parametrize("size", [3, 8, 16])
def test_touching_objects_are_labels(size):
    y, x = np.mgrid[:256, :256] // size
    tiles = 1 + y * (256 // size + 1) + x
    assert not is_picture(tiles)
    assert not is_picture(np.hstack([tiles, tiles])), "as regions of a brain, which has two of each"


@pytest.mark.parametrize(("numbers", "size", "side"), [(200, 1, 30), (11, 1, 60), (40, 12, 60)])
def test_few_neighbours_few_numbers_and_large_pieces_of_many_are_labels(numbers, size, side):
    pieces = np.random.default_rng(0).integers(1, numbers + 1, (side, side))
    assert not is_picture(np.kron(pieces, np.ones((size, size), int)))
