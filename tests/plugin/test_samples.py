from __future__ import annotations

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import read_image
from napari_metastructure.plugin import samples
from napari_metastructure.plugin._layers import ORIGIN

ALL = [
    (samples.endoplasmic_reticulum, (4, 256, 256), (10.0, 0.1, 0.1)),
    (samples.mitochondria, (256, 256), (0.1, 0.1)),
    (samples.nuclei, (256, 256), (0.1, 0.1)),
]


@pytest.mark.parametrize(("sample", "shape", "scale"), ALL)
def test_a_sample_is_one_image_with_voxel_size(sample, shape, scale):
    ((data, attributes, kind),) = sample()
    assert (data.shape, data.dtype, kind) == (shape, np.uint16, "image")
    np.testing.assert_allclose(attributes["scale"], scale)
    assert attributes["units"][-2:] == ("micrometer", "micrometer")
    assert len(attributes["units"]) == len(attributes["axis_labels"]) == data.ndim
    assert ORIGIN not in attributes["metadata"]  # else the widget would take it for a result


@pytest.mark.parametrize(("sample", "shape", "scale"), ALL)
def test_its_mask_fits_it(sample, shape, scale):
    ((data, attributes, _),) = sample()
    mask = read_image(attributes["metadata"]["mask"])
    assert mask.data.shape == shape
    assert set(np.unique(mask.data)) == {0, 255}
    assert data[mask.data > 0].mean() > 1.2 * data[mask.data == 0].mean()


def test_missing_samples_are_said_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "lib" / "package" / "plugin" / "samples.py"))
    with pytest.raises(InputError, match="install napari-metastructure again"):
        samples.nuclei()


def test_the_menu_opens_them_in_a_viewer(make_napari_viewer):
    viewer = make_napari_viewer()
    (layer,) = viewer.open_sample("napari-metastructure", "er")
    assert layer.name == "Endoplasmic reticulum"
    assert layer.axis_labels == ("t", "y", "x")
    np.testing.assert_allclose(layer.scale, (10, 0.1, 0.1))
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]


def test_figure_6_is_a_sample_in_a_grid(make_napari_viewer):
    viewer = make_napari_viewer()
    layers = viewer.open_sample("napari-metastructure", "figure_6")
    assert [type(layer).__name__ for layer in layers] == ["Image"] * 6 + ["Labels"] * 3 + ["Points"]
    assert {"CL", "RCL", "RL", "RL matrix", "RL density"} <= {layer.name for layer in viewer.layers}
    assert len({tuple(layer.extent.world[0]) for layer in layers}) == 10  # each in its place, without grid mode
