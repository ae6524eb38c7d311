"""Training sets in folders: three trees, pairs by name, and what is missing is named."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_metastructure.errors import InputError
from napari_metastructure.training import folders
from napari_metastructure.training.folders import find_pairs, pair_files


def write(path, pixels, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, **more)
    else:
        Image.fromarray(pixels).save(path)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 200, (20, 30)).astype(np.uint8)


def both(folder, name, pixels, labels="labels"):
    write(folder / "images" / f"{name}.tif", pixels)
    write(folder / labels / f"{name}.png", (pixels > 100).astype(np.uint8))


@pytest.mark.parametrize("labels", ["labels", "masks"])
def test_images_beside_labels(tmp_path, pixels, labels):
    for name in "ba":
        both(tmp_path, name, pixels, labels)
    found = find_pairs(tmp_path)
    assert [p.name for p in found.train] == ["a", "b"] and not found.validation and not found.test
    pair = found.train[0]
    assert pair.shape == (20, 30) and [f.name for f in pair.files] == ["a.tif", "a.png"]
    np.testing.assert_array_equal(pair.read_image(), pixels)
    np.testing.assert_array_equal(pair.read_labels(), pixels > 100)


def test_the_papers_layout(tmp_path, pixels):
    for split, names in {"train": "ab", "val": "c", "test": "de"}.items():
        for name in names:
            both(tmp_path / split, name, pixels)
    found = find_pairs(tmp_path)
    assert ["".join(p.name for p in part) for part in (found.train, found.validation, found.test)] == ["ab", "c", "de"]


def test_copies_of_training_images_in_other_splits_are_told(tmp_path, pixels, recwarn):
    both(tmp_path / "train", "a", pixels)
    both(tmp_path / "val", "b", pixels[::-1])
    find_pairs(tmp_path)
    assert not recwarn
    both(tmp_path / "test", "c", pixels)
    with pytest.warns(UserWarning, match=r"c\.tif is trained on as well"):
        find_pairs(tmp_path)


def test_only_images_of_one_size_are_compared(tmp_path, pixels, monkeypatch):
    both(tmp_path / "train", "a", pixels)
    both(tmp_path / "train", "large", np.tile(pixels, (2, 2)))
    both(tmp_path / "val", "b", pixels[::-1])
    read, plain = [], folders.fingerprint
    monkeypatch.setattr(folders, "fingerprint", lambda path: read.append(path.name) or plain(path))
    find_pairs(tmp_path)
    assert sorted(read) == ["a.tif", "b.tif"]


def test_cityscapes(tmp_path, pixels):
    colour = np.stack([pixels, pixels // 2, pixels // 3], -1)
    for split, name in (("train", "x_000001"), ("train", "y_000002"), ("val", "z_000003"), ("test", "t_000004")):
        city = name[0]
        write(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", colour)
        if split != "test":
            for ids in ("labelIds", "labelTrainIds", "instanceIds"):
                labels = pixels % 3 + (ids == "labelIds") * 10
                write(tmp_path / "gtFine" / split / city / f"{name}_gtFine_{ids}.png", labels.astype(np.uint8))
    found = find_pairs(tmp_path, channel="all")
    assert [p.name for p in found.train] == ["x_000001_leftImg8bit", "y_000002_leftImg8bit"]
    assert len(found.validation) == 1 and not found.test
    assert found.train[0].read_image().shape == (3, 20, 30)
    np.testing.assert_array_equal(found.train[0].read_image(), colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(found.train[0].read_labels(), pixels % 3)
    assert find_pairs(tmp_path).train[0].read_image().shape == (20, 30)  # luminance where nothing is said


def test_stacks_give_a_pair_per_plane_of_one_group(tmp_path, pixels):
    stack = np.stack([pixels, pixels + 1, pixels + 2])
    write(tmp_path / "images" / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    write(tmp_path / "labels" / "s_labels.tif", (stack > 100).astype(np.uint8), imagej=True, metadata={"axes": "ZYX"})
    found = find_pairs(tmp_path).train
    assert [p.group for p in found] == ["s"] * 3 and len({p.name for p in found}) == 3
    np.testing.assert_array_equal(found[2].read_image(), stack[2])
    np.testing.assert_array_equal(found[2].read_labels(), stack[2] > 100)


def test_files_without_a_partner_are_named(tmp_path, pixels):
    both(tmp_path, "a", pixels)
    write(tmp_path / "images" / "lonely.tif", pixels)
    with pytest.raises(InputError, match=r"lonely\.tif has no labels of the same name"):
        find_pairs(tmp_path)
    (tmp_path / "images" / "lonely.tif").unlink()
    for i in range(5):
        write(tmp_path / "labels" / f"l{i}.png", pixels)
    with pytest.raises(InputError, match=r"l2\.png and 2 more have no image"):
        find_pairs(tmp_path)


def test_other_trees_are_refused_in_a_sentence(tmp_path, pixels):
    with pytest.raises(InputError, match="holds no training set that is known"):
        find_pairs(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_pairs(tmp_path / "nowhere")
    write(tmp_path / "images" / "a.tif", pixels)
    with pytest.raises(InputError, match="one of them is missing"):
        find_pairs(tmp_path)
    write(tmp_path / "labels" / "a.png", pixels[:10])
    with pytest.raises(InputError, match=r"a\.tif.*20 x 30 pixels \(Y x X\), its labels 10 x 30"):
        find_pairs(tmp_path)
    write(tmp_path / "labels" / "a.png", np.stack([pixels, pixels // 2, pixels // 3], -1))
    with pytest.raises(InputError, match="colour image"):
        find_pairs(tmp_path).train[0].read_labels()


def test_files_given_one_by_one(tmp_path, pixels):
    both(tmp_path, "a", pixels)
    (pair,) = pair_files([tmp_path / "images" / "a.tif"], [tmp_path / "labels" / "a.png"])
    assert pair.name == "a"


def test_labels_are_numbers_whatever_colours_they_are_shown_in(tmp_path, pixels):
    table = np.zeros((3, 256), np.uint16)
    table[:, :2] = [[60000, 0], [0, 0], [0, 0]]  # the background is the brighter one
    write(tmp_path / "images" / "a.tif", pixels)
    write(tmp_path / "labels" / "a.tif", (pixels > 100).astype(np.uint8), photometric="palette", colormap=table)
    (pair,) = find_pairs(tmp_path).train
    with pytest.warns(UserWarning, match="black, which is mostly background, is number 1"):
        np.testing.assert_array_equal(pair.read_labels(), pixels > 100)
    picture = Image.fromarray((pixels > 100).astype(np.uint8))
    picture.putpalette([200, 0, 0, 0, 0, 90])
    picture.save(tmp_path / "labels" / "a.png")
    (tmp_path / "labels" / "a.tif").unlink()
    (pair,) = find_pairs(tmp_path).train
    np.testing.assert_array_equal(pair.read_labels(), pixels > 100)


def test_large_pictures_are_no_attack(tmp_path, pixels, monkeypatch):
    both(tmp_path, "a", pixels)
    write(tmp_path / "images" / "a.png", pixels)
    (tmp_path / "images" / "a.tif").unlink()
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    (pair,) = find_pairs(tmp_path).train
    np.testing.assert_array_equal(pair.read_image(), pixels)
