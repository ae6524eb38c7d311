"""The image whose intensities are measured: that of the labels, whatever layers are called by now."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Layer

from napari_metastructure.plugin._layers import made_from
from napari_metastructure.plugin._measured_layers import image_of


@pytest.fixture
def viewer():
    return ViewerModel()


def mask_of(viewer: ViewerModel, source: Layer, name: str) -> Labels:
    return viewer.add_labels(np.zeros((9, 9), int), name=name, metadata=made_from(source))


def test_an_image_that_took_the_name_since_is_not_measured(viewer):
    image = viewer.add_image(np.zeros((9, 9)), name="cells")
    mask = mask_of(viewer, image, "cells mask")
    assert image_of(mask, viewer.layers) is image
    image.name = "control"
    viewer.add_image(np.ones((9, 9)), name="cells")
    assert image_of(mask, viewer.layers) is image
    objects = mask_of(viewer, mask, "objects")
    viewer.layers.remove(image)
    assert image_of(mask, viewer.layers) is image_of(objects, viewer.layers) is None


def test_what_lay_between_may_be_gone(viewer):
    image = viewer.add_image(np.zeros((9, 9)), name="cells")
    viewer.add_image(np.ones((9, 9)), name="other")
    mask = mask_of(viewer, image, "mask")
    objects = mask_of(viewer, mask_of(viewer, mask, "clean"), "objects")
    for name in ("mask", "clean"):
        viewer.layers.remove(name)
        assert image_of(objects, viewer.layers) is image


def test_the_only_image_is_that_of_objects_whose_labels_are_gone(viewer):
    image = viewer.add_image(np.zeros((9, 9)), name="cells")
    labels = viewer.add_labels(np.zeros((9, 9), int), name="painted")
    objects = mask_of(viewer, labels, "objects")
    viewer.layers.remove(labels)
    assert image_of(objects, viewer.layers) is image
