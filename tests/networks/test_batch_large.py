"""Prediction of lazy images: bit for bit that of the same pixels in memory."""

import errno
import shutil

import numpy as np
import pytest
import tifffile
import torch

from napari_metastructure.igtt import levels
from napari_metastructure.igtt.apply import load_model
from napari_metastructure.images import lazy
from napari_metastructure.images.files import read_image
from napari_metastructure.images.ome_zarr import ZarrRows
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.images.writing import TiffRows, write_tiff
from napari_metastructure.networks import batch, predict
from napari_metastructure.networks.batch import FileRefused, FileWritten, predict_files, targets_of
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model

CPU = torch.device("cpu")


@pytest.fixture
def small_memory(monkeypatch):
    """Take images of some hundred pixels along a side for large ones."""
    monkeypatch.setattr(lazy, "LARGE_BYTES", 1000)
    monkeypatch.setattr(lazy, "ROWS", 64)
    monkeypatch.setattr(predict, "WHOLE", 1000)
    monkeypatch.setattr(predict, "ROWS", 64)
    monkeypatch.setattr(predict, "COLUMNS", 100)
    monkeypatch.setattr(levels, "PIXELS", 1000)


@pytest.fixture
def model(tmp_path):
    def make(**use):
        channels = use.pop("in_channels", 1)
        spec = NetworkSpec(
            architecture="light-unet", in_channels=channels, encoder="none", base_channels=4, classes=use.pop("m", 1)
        )
        path = tmp_path / "model.safetensors"
        save_model(path, build(spec, 0), spec, Use(**{"patch": (64, 64), "inputs": "zscore", **use}))
        return load_model(path)

    return make


def field(shape=(300, 330), seed=0):
    image = nuclei(shape, np.random.default_rng(seed))[0].astype(np.float32)
    return (image / image.max() * 4000).astype(np.uint16)


def in_memory(model, pixels):
    return model.predict(pixels, "cpu")


def predicted(model, path, out, **options):
    events = list(predict_files(model, [path], targets_of([path], out, **options), CPU))
    (written,) = [e for e in events if isinstance(e, FileWritten)]
    return written


@pytest.mark.parametrize("zarr", [False, True])
@pytest.mark.parametrize(
    "use",
    [
        {"inputs": "zscore"},
        {"inputs": "percentile", "objects": "dark"},
        {"inputs": "local", "m": 3, "classes": (0, 1, 2)},
        {"inputs": "multiscale", "in_channels": 4, "cut": "level", "surround": True},
        {"inputs": "zscore", "cut": "correlation", "signed": False},
    ],
)
def test_files_in_parts_are_those_in_memory(tmp_path, model, small_memory, monkeypatch, use, zarr):
    if zarr:
        pytest.importorskip("zarr")
    pixels, loaded = field(), model(**use)
    pixels[:90, :80] = 0  # something for the surround
    write_tiff(tmp_path / "x.tif", pixels, "YX", (0.2, 0.1), ("micrometer",) * 2)
    expected = in_memory(loaded, pixels)
    written = predicted(loaded, tmp_path / "x.tif", tmp_path / "out", zarr=zarr)
    mask, probability = map(read_image, written.written)
    assert mask.scale == probability.scale == pytest.approx((0.2, 0.1))
    labels = mask.data if loaded.use.classes != (0, 1) else mask.data // 255
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_array_equal(probability.data, expected.probability)


def test_stacks_and_channels_of_an_ome_zarr(tmp_path, model, small_memory):
    zarr = pytest.importorskip("zarr")
    pixels = np.stack([np.stack([field(seed=2 * t + c) for c in range(2)]) for t in range(3)])
    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    group.create_array("0", data=pixels, chunks=(1, 1, 64, 64))
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    loaded = model(inputs="zscore", channels=2, in_channels=2)
    written = predicted(loaded, tmp_path / "x.zarr", tmp_path / "out", zarr=True)
    mask, probability = map(read_image, written.written)
    assert mask.axes == "TYX"
    for t, plane in enumerate(pixels):
        expected = in_memory(loaded, plane)
        np.testing.assert_array_equal(mask.data[t] // 255, expected.labels)
        np.testing.assert_array_equal(probability.data[t], expected.probability)


@pytest.mark.parametrize("fill", [7, np.nan])
def test_nothing_to_see_and_pixels_that_are_none(tmp_path, model, small_memory, fill):
    pixels = np.full((100, 120), 7, np.float32)
    pixels[:50, :30] = fill
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    written = predicted(model(), tmp_path / "x.tif", tmp_path / "out")
    assert "all pixels have the same value" in written.notes[0]
    assert not read_image(written.written[0]).data.any()
    pixels = field((100, 120)).astype(np.float32)
    pixels[:50, :30] = np.nan
    tifffile.imwrite(tmp_path / "y.tif", pixels)
    written = predicted(model(), tmp_path / "y.tif", tmp_path / "out")
    assert "NaN or infinite" in written.notes[0]
    assert not read_image(written.written[0]).data[:50, :30].any()


def test_memory_is_never_asked_for_a_whole_plane(tmp_path, model, small_memory, monkeypatch):
    tifffile.imwrite(tmp_path / "x.tif", field())
    most = []
    read = lazy.Source.__getitem__

    def watched(self, key):
        found = read(self, key)
        most.append(found.size)
        return found

    monkeypatch.setattr(lazy.Source, "__getitem__", watched)
    predicted(model(inputs="multiscale", in_channels=4, cut="level"), tmp_path / "x.tif", tmp_path / "out")
    assert 0 < max(most) < 300 * 330


@pytest.mark.parametrize("zarr", [False, True])
def test_a_full_disk_or_a_stop_leaves_nothing(tmp_path, model, small_memory, monkeypatch, zarr):
    if zarr:
        pytest.importorskip("zarr")
    tifffile.imwrite(tmp_path / "x.tif", field())
    kind = ZarrRows if zarr else TiffRows

    def full(self, at, first, rows):
        if first > 100:
            raise OSError(errno.ENOSPC, "No space left on device")

    targets = targets_of([tmp_path / "x.tif"], tmp_path / "out", zarr=zarr)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "put", full)
        events = list(predict_files(model(), [tmp_path / "x.tif"], targets, CPU))
    (refused,) = [e for e in events if isinstance(e, FileRefused)]
    assert "the disk is full" in refused.why
    assert list((tmp_path / "out").iterdir()) == []
    running = predict_files(model(), [tmp_path / "x.tif"], targets, CPU)
    for _ in range(4):
        next(running)
    running.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_store_that_vanishes_is_said_and_nothing_is_written(tmp_path, model, small_memory, monkeypatch):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "x.zarr"), data=field(), chunks=(64, 64))
    targets = targets_of([tmp_path / "x.zarr"], tmp_path / "out")
    running = predict_files(model(), [tmp_path / "x.zarr"], targets, CPU)
    for _ in range(3):
        next(running)
    shutil.rmtree(tmp_path / "x.zarr")
    (refused,) = [e for e in running if isinstance(e, FileRefused)]
    assert "is no longer there" in refused.why
    assert list((tmp_path / "out").iterdir()) == []


def test_only_large_images_are_predicted_in_parts(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", field())
    assert not batch.is_large(read_image(tmp_path / "x.tif", lazily=True))
