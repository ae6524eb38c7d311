"""Epochs drawn as a film and as a figure."""

import sys

import numpy as np
import pytest
from PIL import Image

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.film import COLOUR, PANELS, Epochs, figure, frames, write


@pytest.fixture
def epochs():
    """Five epochs of a growing square on a ramp."""
    image = np.add.outer(np.arange(31), np.arange(45)).astype(np.uint16)
    masks = {}
    for epoch in range(5):
        mask = np.zeros(image.shape, np.uint8)
        mask[5 : 10 + 3 * epoch, 5 : 10 + 3 * epoch] = 255
        masks[epoch] = mask
    return Epochs(image, masks, [(e, 1 / e, 1 - 0.1 / e) for e in range(1, 5)])


def test_a_frame_for_each_epoch_shows_image_mask_and_number(epochs):
    shown = list(frames(epochs))
    assert len(shown) == 5
    assert all(side % 2 == 0 for side in shown[0].shape[:2]) and max(shown[0].shape[:2]) >= 480
    assert not np.array_equal(shown[0], shown[4])
    factor = shown[0].shape[1] / 45
    strip = shown[0].shape[0] - round(31 * factor / 2) * 2
    inside, outside = (shown[0][strip + int(y * factor), int(y * factor)] for y in (7, 25))
    assert inside[2] > inside[0]  # blue over grey
    assert len(set(outside.tolist())) == 1
    assert shown[0][:strip].max() == 255  # the title


def test_outlines_leave_the_inside_free(epochs):
    filled, outlined = (list(frames(epochs, outlines))[4] for outlines in (False, True))
    rim = (outlined == COLOUR).all(axis=2)
    assert rim.any() and not (filled == COLOUR).all(axis=2).any()
    factor = outlined.shape[1] / 45
    strip = outlined.shape[0] - round(31 * factor / 2) * 2
    assert not rim[strip + int(13 * factor), int(13 * factor)]


@pytest.mark.parametrize("ending", [".gif", ".PNG", ".pdf", ".svg", ".mp4"])
def test_files_by_their_ending(epochs, tmp_path, ending):
    if ending == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    path = write(tmp_path / f"größe{ending}", epochs)
    starts = {".gif": b"GIF8", ".PNG": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".mp4": b"\0\0\0"}
    assert path.read_bytes().startswith(starts[ending])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if ending == ".gif":
        with Image.open(path) as film:
            assert film.n_frames == 5
    if ending == ".mp4":
        import imageio_ffmpeg

        facts = next(imageio_ffmpeg.read_frames(str(path)))
        assert facts["duration"] == pytest.approx(4 * 0.6 + 2, abs=0.2)


def test_a_figure_shows_few_of_many_epochs_and_the_curves(epochs):
    many = Epochs(epochs.image, {e: epochs.masks[e % 5] for e in range(40)}, [(e, 0.5, 0.9) for e in range(1, 40)])
    titles = [axes.get_title() for part in figure(many).subfigs for axes in part.axes]
    assert len([title for title in titles if title.startswith("epoch")]) == PANELS
    assert {"epoch 0", "epoch 39", "loss", "agreement"} <= set(titles)
    assert not figure(Epochs(epochs.image, {0: epochs.masks[0]})).subfigs  # a run that ended with its start


def test_images_of_odd_kinds_are_drawn(tmp_path):
    mask = np.ones((3, 900), bool)
    for image in (np.full((3, 900), np.nan), np.zeros((3, 900), bool), np.full((3, 900), -1e30)):
        write(tmp_path / "x.gif", Epochs(image, {7: mask}))
    with Image.open(tmp_path / "x.gif") as film:
        assert film.size[0] == 900


def test_what_cannot_be_drawn_is_said_and_nothing_is_left(epochs, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"ends in \.gif"):
        write(tmp_path / "film.avi", epochs)
    with pytest.raises(InputError, match="no epochs"):
        Epochs(epochs.image, {})
    with pytest.raises(InputError, match="epoch 3 has 2 x 2 pixels and the image 31 x 45"):
        Epochs(epochs.image, {3: np.zeros((2, 2))})
    with pytest.raises(InputError, match="folder does not exist"):
        write(tmp_path / "no" / "film.gif", epochs)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match=r"\[film\]"):
        write(tmp_path / "film.mp4", epochs)
    assert not list(tmp_path.iterdir())
