"""Label files: numbers read as they were meant, and pairs found by name."""

import unicodedata
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import noting, output_stems
from napari_metastructure.images.label_files import by_stem, key_of, pair_by_stem, read_labels

MASK = np.hypot(*np.mgrid[-20:20, -24:24]) < 12
CLASSES = MASK.astype(np.uint8) + (MASK & (np.arange(48) > 24))
WHITE = MASK.astype(np.uint8) * 255


def indexed(path, numbers, colours):
    picture = PIL.Image.fromarray(np.asarray(numbers, np.uint8))
    picture.putpalette(np.ravel(colours).tolist())
    picture.save(path)


def png(path, *channels):
    PIL.Image.fromarray(np.dstack(channels) if len(channels) > 1 else channels[0]).save(path)


BLACK = np.zeros_like(WHITE)


@pytest.mark.parametrize(
    ("name", "write", "expected", "note"),
    [
        ("a.png", lambda p: indexed(p, CLASSES, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]), CLASSES, ""),
        ("a.gif", lambda p: indexed(p, CLASSES, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]), CLASSES, ""),
        ("a.png", lambda p: indexed(p, ~MASK, [(255, 255, 255), (0, 0, 0)]), WHITE, ""),
        ("a.png", lambda p: indexed(p, MASK, [(0, 0, 0), (255, 255, 255)]), MASK, ""),
        ("a.png", lambda p: indexed(p, ~MASK, [(255, 0, 0), (0, 0, 0)]), ~MASK, "black, which is mostly background"),
        ("a.png", lambda p: png(p, WHITE, WHITE, WHITE), WHITE, ""),
        ("a.png", lambda p: png(p, CLASSES, CLASSES, CLASSES, BLACK + 255), CLASSES, ""),
        ("a.png", lambda p: png(p, BLACK, BLACK, BLACK, WHITE), WHITE, "from its alpha channel"),
        ("a.png", lambda p: png(p, WHITE, WHITE, WHITE, 255 - WHITE), WHITE, "alpha channel is left aside"),
        ("a.png", lambda p: png(p, BLACK, WHITE), WHITE, "from its alpha channel"),
        ("a.png", lambda p: png(p, WHITE, BLACK, BLACK), MASK, "what is #ff0000 is read as foreground"),
        ("a.png", lambda p: PIL.Image.fromarray(MASK.astype(np.uint16) * 65535).save(p), MASK * 65535, ""),
        ("a.png", lambda p: PIL.Image.fromarray(MASK).save(p), MASK, ""),
        ("a.tif", lambda p: tifffile.imwrite(p, MASK), MASK, ""),
        ("a.tif", lambda p: tifffile.imwrite(p, CLASSES.astype(np.float32)), CLASSES, ""),
        ("a.tif", lambda p: tifffile.imwrite(p, CLASSES * 1000.0), CLASSES * 1000.0, ""),
        ("a.tif", lambda p: tifffile.imwrite(p, CLASSES[None], imagej=True, metadata={"axes": "CYX"}), CLASSES, ""),
        (
            "a.tif",
            lambda p: tifffile.imwrite(p, CLASSES, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
            CLASSES,
            "",
        ),
        ("a.jpg", lambda p: PIL.Image.fromarray(WHITE).save(p, quality=75), WHITE, "compression has changed"),
        ("a.jpg", lambda p: PIL.Image.fromarray(np.dstack([WHITE] * 3)).save(p, quality=60), WHITE, "compression"),
        ("a.webp", lambda p: PIL.Image.fromarray(WHITE).convert("RGB").save(p, quality=60), WHITE, "compression"),
        ("a.webp", lambda p: PIL.Image.fromarray(CLASSES).convert("RGB").save(p, lossless=True), CLASSES, ""),
        ("a.jpg", lambda p: PIL.Image.fromarray(BLACK).save(p), BLACK, ""),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_were_meant(tmp_path, name, write, expected, note):
    write(tmp_path / name)
    with noting() as notes:
        labels = read_labels(tmp_path / name)
    assert labels.axes == "YX" and labels.data.dtype.kind in "bui"
    np.testing.assert_array_equal(labels.data, expected)
    assert [note in text and name in text for text in notes] == [True] * bool(note)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.png", lambda p: png(p, WHITE, CLASSES, BLACK), "is a colour image"),
        ("a.tif", lambda p: tifffile.imwrite(p, np.stack([WHITE] * 2), metadata={"axes": "CYX"}), "several channels"),
        ("a.tif", lambda p: tifffile.imwrite(p, MASK * np.float32(0.9)), "0.9 is no label"),
        ("a.tif", lambda p: tifffile.imwrite(p, np.where(MASK, np.nan, 0.0)), "nan is no label"),
        ("a.jpg", lambda p: PIL.Image.fromarray(CLASSES * 100).save(p, quality=75), "has changed the numbers"),
        ("a.jpg", lambda p: PIL.Image.fromarray(CLASSES).save(p, quality=75), "has changed the numbers"),
    ],
)
def test_what_says_no_number_is_refused(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises(InputError, match=words) as caught:
        read_labels(tmp_path / name)
    assert name in str(caught.value)


# ---- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tif", "a_mask.png", "a_label.tif", "a_labels.png", "a_mask.ome.tif"])
def test_files_that_belong_together_share_a_key(name):
    assert key_of(name) == "a"


def test_pairs_and_what_stays_alone():
    images = [Path("images") / name for name in ("b.tif", "a.png", "c.png")]
    labels = [Path("labels") / name for name in ("a_mask.tif", "b.ome.tif", "d_label.png")]
    found = pair_by_stem(images, labels)
    assert list(found.pairs.items()) == [("a", (images[1], labels[0])), ("b", (images[0], labels[1]))]
    assert (found.first_alone, found.second_alone) == ([images[2]], [labels[2]])


def test_results_of_an_image_that_is_called_as_a_mask_are_paired():
    images, masks = [Path("a.tif"), Path("b_mask.tif")], [Path("a_mask.tif"), Path("b_mask_mask.tif")]
    for found in (pair_by_stem(images, masks), pair_by_stem(masks, images)):
        assert sorted(found.pairs) == ["a", "b_mask"] and not (found.first_alone or found.second_alone)


def test_two_files_of_one_stem_are_named():
    with pytest.raises(InputError, match=r"a\.png and .*a_mask\.tif share the stem 'a'; keep one"):
        by_stem([Path("a.png"), Path("a_mask.tif")])


def test_accents_in_one_piece_or_two_are_the_same():
    one, two = (Path(unicodedata.normalize(form, "zelle_ü.tif")) for form in ("NFC", "NFD"))
    assert one != two
    assert list(pair_by_stem([one], [two]).pairs) == ["zelle_ü"]


@pytest.mark.parametrize(
    ("images", "labels", "pairs"),
    [
        *(("x y", f"x{end} y{end}", 2) for end in ("_masks", "_cp_masks", "_seg", "_GT", "_1stHO", "-manual", ".ah")),
        ("x", "x_cp_masks", 1),
        ("21_training 22_training", "21_manual1 22_manual1", 2),  # DRIVE
        ("a_0000 b_0000", "a b", 2),  # nnU-Net
        ("x y z", "x_GT y_GT", 2),
        ("x_pred y_pred", "x y z", 2),
        ("x y", "x_GT y_seg", 0),  # all or nothing
        ("x y", "x_GT y", 1),
        ("cell_a", "cell_b", 0),
        ("c1_day1 c2_day1", "c1_day2 c2_day2", 0),
        ("x", "x_2", 0),
    ],
)
def test_an_ending_that_all_names_have_is_left_out(images, labels, pairs):
    kinds = [[Path(f"{name}.tif") for name in names.split()] for names in (images, labels)]
    with noting() as notes:
        found = pair_by_stem(*kinds)
    assert len(found.pairs) == pairs
    assert len(notes) == (pairs > 1 or (images, pairs) == ("x", 1))
    rest = sorted(path for both in found.pairs.values() for path in both)
    assert sorted([*rest, *found.first_alone, *found.second_alone]) == sorted([*kinds[0], *kinds[1]]), "nothing is lost"


@pytest.mark.parametrize("stem", ["x" * 251, "\u00e9" * 120 + ".b.c"])
def test_results_of_names_that_were_cut_are_paired(stem):
    """A name of 255 bytes takes no ending, so that results have a shorter one."""
    image = Path(f"{stem}.tif")
    with noting():
        (name,) = output_stems([image])
    for result in (f"{name}.tif", f"{name}_mask.tif"):
        assert pair_by_stem([image], [Path(result)]).pairs.keys() == {key_of(image)}
