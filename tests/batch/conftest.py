"""A model of random weights, folders of images for it, and batches run to their end."""

import numpy as np
import pytest
import tifffile

from napari_metastructure.batch.recipe import BatchRecipe
from napari_metastructure.batch.run import UnitProgress, run
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The run folder of a model whose tiles have 32 pixels a side."""
    folder = tmp_path_factory.mktemp("model")
    use = Use(inputs="multiscale", patch=(32, 32))
    spec = NetworkSpec(in_channels=channels_of(use.inputs, use.channels), classes=1, base_channels=4)
    save_model(folder / "model.safetensors", build(spec, 0), spec, use)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder: two small images, one of 11 x 9 tiles, a stack of 30 planes of 4 tiles, and a damaged file."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, shape in {"a": (40, 50), "b": (33, 64), "large": (260, 220), "stack": (30, 40, 50)}.items():
        tifffile.imwrite(folder / f"{name}.tif", rng.gamma(2, 100, shape).astype(np.uint16), photometric="minisblack")
    (folder / "torn.tif").write_bytes((folder / "a.tif").read_bytes()[:300])
    return folder


@pytest.fixture
def recipe(model, images, tmp_path):
    """Makes a recipe that predicts the images on the CPU."""

    def make(inputs=images, out=tmp_path / "out", scheduler=None, **task):
        return BatchRecipe.make(
            inputs=(str(inputs),),
            out=out,
            scheduler=scheduler,
            task={"what": "predict", "model": model, "device": "cpu", **task},
        )

    return make


@pytest.fixture
def go():
    """Runs a recipe; gives its events but for those of progress."""

    def end(recipe, control=None, **how):
        return [event for event in run(recipe, control, **how) if not isinstance(event, UnitProgress)]

    return end


@pytest.fixture
def same():
    """Compares the TIFFs of two folders byte by byte; gives how many there are."""

    def count(first, second):
        files = sorted(first.rglob("*.tif"))
        for file in files:
            assert file.read_bytes() == (second / file.relative_to(first)).read_bytes(), file.name
        return len(files)

    return count
