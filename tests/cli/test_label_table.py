"""The table of label encodings: every command reads the same masks, or refuses them in a sentence."""

import json
import re

import numpy as np
import PIL.Image
import pytest
import tifffile
from scipy import ndimage as ndi

SIDE, COUNT = 64, 4
STRIP = 6
Y, X = np.mgrid[:SIDE, :SIDE]


def numbered(seed):
    """Discs, numbered."""
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number, (y, x) in enumerate([(14, 14), (16, 46), (46, 16), (48, 48), (32, 32)][: 5 - seed % 3], 1):
        labels[(Y - y) ** 2 + (X - x) ** 2 < 36 + 5 * seed] = number
    return labels


def png(path, *channels):
    channels = [np.asarray(c).astype(np.uint8) for c in channels]
    PIL.Image.fromarray(np.dstack(channels) if len(channels) > 1 else channels[0]).save(path.with_suffix(".png"))


def tif(path, labels):
    tifffile.imwrite(path.with_suffix(".tif"), labels)


def indexed(path, numbers, *colours):
    picture = PIL.Image.fromarray(np.asarray(numbers).astype(np.uint8))
    picture.putpalette(np.ravel(colours).tolist())
    picture.save(path.with_suffix(".png"))


def strip(labels):
    return np.where(Y < STRIP, 255, labels)


MASKS = {
    "0 and 255": lambda p, m, i: png(p, m * 255),
    "0 and 1": lambda p, m, i: png(p, m),
    "1 bit": lambda p, m, i: PIL.Image.fromarray(m > 0).save(p.with_suffix(".png")),
    "boolean TIFF": lambda p, m, i: tif(p, m > 0),
    "0 and 7": lambda p, m, i: png(p, m * 7),
    "0 and 65535": lambda p, m, i: tif(p, m * np.uint16(65535)),
    "32 bit": lambda p, m, i: tif(p, m.astype(np.int32) * 70000),
    "floats of 0 and 1": lambda p, m, i: tif(p, m.astype(np.float32)),
    "floats of 0 and 255": lambda p, m, i: tif(p, m.astype(np.float64) * 255),
    "indexed colours": lambda p, m, i: indexed(p, m, (0, 0, 0), (128, 0, 0), (0, 128, 0)),
    "indexed, white first": lambda p, m, i: indexed(p, 1 - m, (255, 255, 255), (0, 0, 0)),
    "equal channels": lambda p, m, i: png(p, *[m * 255] * 3),
    "equal channels, opaque": lambda p, m, i: png(p, *[m * 255] * 3, 0 * m + 255),
    "one all foreground": lambda p, m, i: png(p, m * 0 + 255 if i == 1 else m * 255),
    "one empty": lambda p, m, i: png(p, m * 0 if i == 1 else m * 255),
}  # fmt: skip
"""Read without a word."""

TOLD = {
    "alpha of black": (lambda p, m, i: png(p, *[0 * m] * 3, m * 255), "alpha channel"),
    "grey with alpha": (lambda p, m, i: png(p, 0 * m, m * 255), "alpha channel"),
    "one colour": (lambda p, m, i: png(p, m * 255, 0 * m, 0 * m), "#ff0000 is read as foreground"),
    "JPEG": (
        lambda p, m, i: PIL.Image.fromarray(np.uint8(m * 255)).save(p.with_suffix(".jpg"), quality=75),
        "compression has changed",
    ),
    "soft edges": (lambda p, m, i: png(p, ndi.gaussian_filter(m * 255.0, 0.8)), "edges are soft"),
    "255 unlabelled": (lambda p, m, i: png(p, strip(m if i % 2 else 0 * m)), "255 is read as unlabelled"),
}
"""Read, and a warning tells how."""

REFUSED = {
    "some 0 and 255, some 0 and 1": (lambda p, m, i: png(p, m * (255 if i % 2 else 1)), "objects", "classes"),
    "grey levels": (lambda p, m, i: png(p, np.where(X > 32, 255, 128) * m), "classes", "number the classes from 0"),
    "negative": (lambda p, m, i: tif(p, np.where(Y < STRIP, -1, np.int16(m))), "the label -1 is negative", ""),
    "probabilities": (lambda p, m, i: tif(p, np.where(m, 0.8, 0.1).astype(np.float32)), "is no label", "threshold"),
    "many colours": (lambda p, m, i: png(p, m * 255, X * m, Y * m), "is a colour image", ""),
    "all unlabelled": (lambda p, m, i: png(p, 0 * m + 255), "every pixel is 255, unlabelled", ""),
}
"""Refused by every command, the words that the sentence must have."""


@pytest.fixture
def commands(run, tmp_path):
    """Write labels of the encoding, and run every command on them: exit code, what was found, what was said."""

    def call(write, truth=lambda i: numbered(i) > 0, *options):
        for i in range(COUNT):
            mask = (numbered(i) > 0).astype(np.uint8)
            for folder in ("in/images", "in/labels", "found"):
                (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(i).normal(60, 8, mask.shape)
            png(tmp_path / "in" / "images" / f"{i}", (noise + 100 * mask).clip(0, 255))
            write(tmp_path / "in" / "labels" / f"{i}", mask, i)
            tif(tmp_path / "found" / f"{i}_mask", np.uint8(truth(i)) * np.uint8(255))
        labels, found = tmp_path / "in" / "labels", tmp_path / "found"
        fast = ("--epochs", 1, "--device", "cpu", "--set", "steps_per_epoch=1", "--set", "base_channels=4")
        said = {}
        for name, line in {
            "score": (found, labels, "--json", tmp_path / "score.json"),
            "noise": (labels, "--kind", "sample", "--keep", 1, "--out", tmp_path / "noisy"),
            "transition": (labels, labels, "--json", tmp_path / "transition.json"),
            "density": (labels, "--out", tmp_path / "maps"),
            "compare": (
                *("--images", tmp_path / "in" / "images", "--masks", labels, "--methods", "otsu"),
                *("--out", tmp_path / "compared"),
            ),
            "train": (tmp_path / "in", "--out", tmp_path / "model", "--set", "patch_size=64", *fast),
            "study": (
                *(tmp_path / "in", "--out", tmp_path / "study", "--condition", "CL", "--repeats", 1),
                *("--set", "patch_size=64", *fast),
            ),
        }.items():
            code, out, err = run(name, *line, *options)
            said[name] = code, " ".join(f"{out}\n{err}".split())
        return said

    return call


def check_read(tmp_path, said, truth):
    """All commands came to an end, and those that give numbers give those of these masks."""
    assert {name: code for name, (code, _) in said.items()} == dict.fromkeys(said, 0), said
    scores = json.loads((tmp_path / "score.json").read_text())["images"]
    assert [row["dice"] for row in scores] == [1.0] * COUNT
    for i in range(COUNT):
        drawn = tifffile.imread(tmp_path / "noisy" / f"{i}.tif")
        np.testing.assert_array_equal(drawn == 1, truth(i))
    assert "classes 0 and 1" in said["density"][1]
    assert re.search(r"classes 0, [17],", said["train"][1]), "a number that can be one is kept"
    assert "Otsu" in said["compare"][1]
    matrix = json.loads((tmp_path / "transition.json").read_text())["pooled"]["transition"]["matrix"]
    assert matrix == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("encoding", MASKS)
def test_masks_are_read_alike_by_every_command(commands, tmp_path, encoding):
    def truth(i):
        if i == 1 and encoding.startswith("one"):
            return np.full((SIDE, SIDE), encoding == "one all foreground")
        return numbered(i) > 0

    said = commands(MASKS[encoding], truth)
    check_read(tmp_path, said, truth)
    assert not any("Warning" in words for _, words in said.values()), said


@pytest.mark.parametrize("encoding", TOLD)
def test_what_is_not_plain_is_read_alike_and_told_by_every_command(commands, tmp_path, encoding):
    write, words = TOLD[encoding]

    def truth(i):
        return (numbered(i) > 0) & ((i % 2 > 0) & (Y >= STRIP) if encoding == "255 unlabelled" else True)

    said = commands(write, truth)
    check_read(tmp_path, said, truth)
    assert all(words in text for _, text in said.values()), said


@pytest.mark.parametrize("encoding", REFUSED)
def test_what_cannot_be_known_is_refused_by_every_command(commands, tmp_path, encoding):
    write, *words = REFUSED[encoding]
    said = commands(write)
    assert {name: code for name, (code, _) in said.items()} == dict.fromkeys(said, 2), said
    assert all(word in text for word in words for _, text in said.values()), said
    if "classes" in words:
        assert all("option --reading" in text for _, text in said.values())
    assert not (tmp_path / "noisy").exists() and not (tmp_path / "maps").exists()


def test_the_reading_decides_where_files_contradict_each_other(commands, tmp_path):
    said = commands(REFUSED["some 0 and 255, some 0 and 1"][0], lambda i: numbered(i) > 0, "--reading", "objects")
    check_read(tmp_path, said, lambda i: numbered(i) > 0)


def test_instance_numbers_are_objects_or_a_question(commands, tmp_path):
    def write(path, mask, i):
        tif(path, numbered(i))

    said = commands(write)
    asked = {"noise", "transition", "density", "train", "study"}
    assert {name for name, (code, _) in said.items() if code == 2} == asked
    assert all("objects" in said[name][1] and "as classes" in said[name][1] for name in asked)
    assert all("numbers count objects" in said[name][1] for name in ("score", "compare"))
    said = commands(write, lambda i: numbered(i) > 0, "--reading", "objects")
    assert {code for name, (code, _) in said.items() if name != "compare"} == {0}, said


@pytest.mark.parametrize("numbers", [(1, 2), (0, 1, 2)])
def test_classes_are_no_foreground_unasked(commands, numbers):
    """Classes 1 and 2 without a background, and with one."""

    def write(path, mask, i):
        png(path, np.array(numbers)[mask * (1 + (len(numbers) > 2) * ((X + Y) % 9 > 4))])

    said = commands(write)
    assert all(said[name][0] == 2 for name in ("score", "compare", "noise", "transition", "density"))
    assert all("as classes" in said[name][1] for name in ("score", "noise"))
    assert f"classes {', '.join(map(str, numbers))}," in said["train"][1]
