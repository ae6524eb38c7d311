"""Classes keep their colours; unlabelled pixels have one of their own."""

import numpy as np
from napari.layers import Labels

from napari_metastructure.labels import UNLABELLED
from napari_metastructure.plugin._layers import class_colormap


def test_each_class_has_its_colour_and_unlabelled_another():
    classes = (0, 1, 2, 3)
    layer = Labels(np.array([[0, 1, 2], [3, UNLABELLED, 7]], np.uint8), colormap=class_colormap(classes))
    colors = {label: tuple(np.round(layer.get_color(label), 3)) for label in (1, 2, 3, UNLABELLED)}
    assert len(set(colors.values())) == 4
    assert all(color[3] > 0 for color in colors.values())
    assert layer.get_color(0) is None or layer.get_color(0)[3] == 0
    assert layer.get_color(7)[3] == 0


def test_a_class_has_the_same_colour_whatever_others_there_are():
    alone = Labels(np.eye(2, dtype=np.uint8), colormap=class_colormap((0, 2)))
    among = Labels(np.eye(2, dtype=np.uint8), colormap=class_colormap((0, 1, 2, 3)))
    np.testing.assert_array_equal(alone.get_color(2), among.get_color(2))
