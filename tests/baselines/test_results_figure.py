"""The picture grid: the right colours at the right pixels, told apart by every eye."""

from itertools import combinations

import numpy as np
import PIL.Image
import pytest

from napari_metastructure.baselines.results import COLORS, FIGURE, draw, errors
from napari_metastructure.images.writing import save_figure

SEEN = {  # Machado, Oliveira, Fernandes, IEEE TVCG 2009, severity 1
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def test_each_kind_of_pixel_has_its_colour():
    mask, truth = np.array([[1, 1, 0, 0, 1]], bool), np.array([[1, 0, 1, 0, 255]], np.uint8)
    right, extra, missed, unknown = COLORS.values()
    np.testing.assert_array_equal(errors(mask, truth)[0], [right, extra, missed, (0, 0, 0), unknown])
    np.testing.assert_array_equal(errors(mask[:, :4], truth[:, :4] == 1)[0], [right, extra, missed, (0, 0, 0)])
    np.testing.assert_array_equal(errors(mask, None)[0][:, 0] > 0.5, mask[0])


@pytest.mark.parametrize("eye", SEEN)
def test_colours_differ_for_every_eye(eye):
    seen = [np.array(SEEN[eye]) @ color for color in [*COLORS.values(), (0, 0, 0)]]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.3


@pytest.mark.parametrize("labelled", [True, False])
def test_a_row_per_image_and_a_column_per_method(discs, labelled):
    images, masks = discs(9)
    grid = draw(images, masks if labelled else None, {"otsu": masks, "lc": masks}, [f"im{i}" for i in range(9)])
    titles = [axes.get_title() for axes in grid.axes if axes.get_title()]
    assert titles == ["image", *["ground truth"] * labelled, "Otsu", "Local contrast"]
    assert len(grid.axes) == 4 * len(titles)
    rows = [axes.get_ylabel() for axes in grid.axes if axes.get_ylabel()]
    assert rows == ["im0", "im3", "im5", "im8"]
    notes = [axes.get_xlabel() for axes in grid.axes if axes.get_xlabel()]
    assert notes == ["Dice 1.000"] * 8 * labelled
    assert len(grid.legends) == labelled


def test_large_images_are_made_small_and_sizes_may_differ(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.random((1100, 700)), rng.random((64, 90))]
    path = save_figure(tmp_path / FIGURE, draw(images, None, {"otsu": [i > 0.5 for i in images]}, ["a", "b"]))
    assert PIL.Image.open(path).size[0] > 300
    shapes = [a.images[0].get_array().shape[:2] for a in draw(images, None, {}, ["a", "b"]).axes]
    assert shapes == [(367, 234), (64, 90)]
