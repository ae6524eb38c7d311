"""OME-Zarr in napari: opened by path, and large lazy layers that are read where they are needed."""

import dask.array as da
import numpy as np
import pytest
from dask import delayed

from napari_metastructure.images import lazy
from napari_metastructure.images.image import Image
from napari_metastructure.plugin._source import Source, read_planes
from napari_metastructure.plugin.reader import get_reader, read

pytest.importorskip("zarr")

from napari_metastructure.images.ome_zarr import writing_zarr

PIXELS = np.random.default_rng(0).integers(0, 200, (2, 600, 700), dtype=np.uint8)


def written(path, labels):
    like = Image(PIXELS, "ZYX", (0.3, 0.1, 0.2), ("micrometer",) * 3, "x")
    with writing_zarr(path, like, np.uint8, labels) as rows:
        for z, plane in enumerate(PIXELS):
            rows.put((z,), 0, plane)
    return path


@pytest.mark.parametrize("labels", [False, True])
def test_napari_opens_an_ome_zarr_with_all_that_it_says(tmp_path, make_napari_viewer, labels):
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(written(tmp_path / "cells.ome.zarr", labels)), plugin="napari-metastructure")
    assert (layer.name, layer.multiscale, type(layer).__name__) == ("cells", True, "Labels" if labels else "Image")
    assert layer.scale == pytest.approx((0.3, 0.1, 0.2))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    np.testing.assert_array_equal(np.asarray(layer.data[0]), PIXELS)
    assert layer.data[1].shape == (2, 300, 350)


def test_other_folders_are_left_to_others(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    assert get_reader(str(tmp_path / "x.zarr")) is None
    assert get_reader([str(tmp_path / "x.zarr")]) is None


def test_channels_are_layers_of_their_own(tmp_path):
    import zarr

    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    group.create_array("0", data=PIXELS, chunks=(1, 64, 64))
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    ((_, facts, kind),) = read(str(tmp_path / "x.zarr"))
    assert (kind, facts["channel_axis"], facts["axis_labels"], facts["scale"]) == ("image", 0, ["y", "x"], [1.0, 1.0])


def test_a_large_lazy_layer_is_read_plane_by_plane(make_napari_viewer, monkeypatch):
    monkeypatch.setattr(lazy, "LARGE_BYTES", 1000)
    asked = []

    def block(place):
        asked.append(place)
        return PIXELS[:1]

    pages = da.stack([da.from_delayed(delayed(block)(z), (1, 600, 700), np.uint8)[0] for z in (0, 1)])
    layer = make_napari_viewer().add_image([pages, pages[:, ::2, ::2]], multiscale=True, contrast_limits=(0, 255))
    asked.clear()
    source = Source.of(layer)
    planes = read_planes([source], lazily=True)
    assert asked == [] and [plane.shape for plane in planes] == [(600, 700)] * 2  # full resolution, not yet read
    np.testing.assert_array_equal(planes[1][10:20], PIXELS[0, 10:20])
    assert asked == [1]
