"""Runs whose arrays lie in files: the same masks as in memory."""

import numpy as np
import pytest
import tifffile

from napari_metastructure.errors import InputError
from napari_metastructure.igtt import storage
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import Run, iterate
from napari_metastructure.igtt.storage import ArrayStorage, MemoryNeed
from napari_metastructure.images import channels, lazy
from napari_metastructure.images.channels import read_set
from napari_metastructure.images.simulate import nuclei
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.control import Control


@pytest.fixture(scope="module")
def frames():
    """Three planes, of one of which some pixels were not measured."""
    images = [nuclei((100, 90), np.random.default_rng(seed))[0].astype(np.float32) for seed in range(3)]
    images[1][:20, :15] = np.nan
    return images


def settings(**more):
    return IGTTConfig(
        **{"epochs": 2, "steps_per_epoch": 2, "patch_size": 64, "rounds": "always", "stop_agreement": 1, **more}
    )


def last(images, config, **more):
    return list(iterate(images, config, **more))[-1]


@pytest.mark.parametrize("more", [{}, {"start": "fusion", "criterion": "edge"}, {"preset": "paper", "loss": "dmi_iou"}])
def test_masks_and_probabilities_are_those_of_a_run_in_memory(frames, tmp_path, monkeypatch, more):
    config = settings(**more)
    painted = np.full((100, 90), UNLABELLED, np.uint8)
    painted[30:40] = 1
    expected = last(frames, config, corrections={0: painted})
    monkeypatch.setattr(storage, "SHARE", 0)
    found = last(frames, config, corrections={0: painted}, folder=tmp_path)
    for kind in ("masks", "probabilities"):
        for own, other in zip(getattr(found, kind), getattr(expected, kind), strict=True):
            np.testing.assert_array_equal(own, other)
    assert found.masks[2].base is not None  # a view of a file
    assert {p.name for p in tmp_path.iterdir()} == {"run.yaml", "metrics.csv", "model.safetensors", "last.pt"}


def test_a_run_in_files_can_be_resumed(frames, tmp_path, monkeypatch):
    whole = last(frames, settings(epochs=3))
    monkeypatch.setattr(storage, "SHARE", 0)
    last(frames, settings(epochs=2), folder=tmp_path)
    found = last(frames, settings(epochs=3), folder=tmp_path, resume=True)
    for own, other in zip(found.masks, whole.masks, strict=True):
        np.testing.assert_array_equal(own, other)


def test_what_a_run_needs_is_said(monkeypatch):
    need = MemoryNeed(500, 60e9, 0.25e9, 20e9)
    assert not need.fits
    assert str(need) == (
        "Needs about 60.0 GB for 500 planes, and 20.0 GB of memory are free: it keeps them on disk, and 250 MB of "
        "memory at a time."
    )
    assert str(MemoryNeed(1, 30e6, 5e6, 20e9)) == "Needs about 35 MB of memory for 1 plane; 20.0 GB are free."
    assert MemoryNeed.of([(2, 3, 10, 20)], IGTTConfig()).planes == 6


def test_too_little_of_everything_is_refused_before_the_start(tmp_path):
    with pytest.raises(InputError, match=r"largest plane needs 54\.0 GB of memory.*metastructure predict"):
        ArrayStorage(MemoryNeed(1, 40e9, 54e9, 20e9), tmp_path)
    with pytest.raises(InputError, match=r"needs 900000\.0 GB of disk"):
        ArrayStorage(MemoryNeed(1, 9e14, 1e9, 20e9), tmp_path)


def test_a_run_reads_lazy_planes_of_files(frames, tmp_path, monkeypatch):
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"{index}.tif", frame)
    expected = read_set([tmp_path])
    monkeypatch.setattr(lazy, "LARGE_BYTES", 100)
    monkeypatch.setattr(channels, "HELD_BYTES", 100)
    found = read_set([tmp_path], lazily=True)
    assert all(map(lazy.is_lazy, found.planes))
    runs = [Run(read.planes, settings(), Control(), read.names, None) for read in (expected, found)]
    for own, other in zip(*(run.planes for run in runs), strict=True):
        np.testing.assert_array_equal(own, other)


def test_small_files_of_a_large_set_are_read_again(tmp_path, monkeypatch):
    for index in range(3):
        tifffile.imwrite(tmp_path / f"{index}.tif", np.arange(100, dtype=np.uint16).reshape(10, 10) + index)
    monkeypatch.setattr(channels, "HELD_BYTES", 300)
    planes = read_set([tmp_path], lazily=True).planes
    assert [lazy.is_lazy(plane) for plane in planes] == [False, True, True]
    np.testing.assert_array_equal(np.asarray(planes[2]), np.arange(100).reshape(10, 10) + 2)
