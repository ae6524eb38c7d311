"""Where the true classes of noisy labels are."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.plugin._layers import ORIGIN, Truths


@pytest.fixture
def viewer():
    return ViewerModel()


def labels(viewer, name, **origin):
    return viewer.add_labels(np.zeros((8, 8), np.uint8), name=name, metadata={ORIGIN: origin} if origin else {})


def test_the_source_that_is_named_and_there(viewer):
    clean, noisy = labels(viewer, "clean"), labels(viewer, "noisy", source="clean")
    truths = Truths(viewer)
    assert truths.of(noisy) is clean
    assert truths.of(clean) is clean
    clean.name = "renamed"
    assert truths.of(noisy) is clean  # known by itself
    viewer.layers.remove(clean)
    assert truths.of(noisy) is noisy


def test_an_image_is_no_source(viewer):
    viewer.add_image(np.zeros((8, 8)), name="image")
    masks = labels(viewer, "masks", source="image")
    assert Truths(viewer).of(masks) is masks


def test_another_source_by_and_by(viewer):
    first, second = labels(viewer, "first"), labels(viewer, "second")
    preview = labels(viewer, "preview", source="first")
    truths = Truths(viewer)
    assert truths.of(preview) is first
    preview.metadata = {ORIGIN: {"source": "second"}}
    assert truths.of(preview) is second


def test_of_two_figures_each_has_its_own(viewer):
    labels(viewer, "CL", group="one", cell="CL")
    mine = labels(viewer, "CL", group="two", cell="CL")
    noisy = labels(viewer, "RCL", group="two", cell="RCL", source="CL")
    assert mine.name == "CL [1]"
    assert Truths(viewer).of(noisy) is mine
