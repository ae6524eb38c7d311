"""Exported models, run by the programs they are for and compared with the network itself."""

import sys

import numpy as np
import pytest
import torch

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.images.intensity import network_inputs
from napari_metastructure.networks import export as module
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.export import _normalisation, _readme, export, to_onnx
from napari_metastructure.networks.model import Model
from napari_metastructure.networks.model_file import Use, save_model

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
pytest.importorskip("onnxscript", reason="needs the extra [onnx]")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Dark objects, two channels, three classes: all that an export could get wrong."""
    spec = NetworkSpec(in_channels=2, classes=3, base_channels=4)
    use = Use(inputs="percentile", objects="dark", patch=(32, 64), channels=2, classes=(0, 1, 5))
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    return Model.load(save_model(path, build(spec, 0), spec, use))


@pytest.fixture(scope="module")
def content(model):
    """Its ONNX file; made once, that takes seconds."""
    return to_onnx(model)


@pytest.fixture
def made_before(monkeypatch, content):
    monkeypatch.setattr(module, "to_onnx", lambda model: content)


@pytest.fixture(scope="module")
def core():
    """bioimageio.core, where it can be used: its release pins a bioimageio.spec that pydantic 2.14 broke."""
    core = pytest.importorskip("bioimageio.core", reason="needs the extra [bioimageio]")
    import pydantic
    from packaging.version import Version

    if Version(pydantic.VERSION) >= Version("2.14"):
        pytest.skip(
            f"bioimageio.spec does not work with pydantic {pydantic.VERSION}: the extra [bioimageio] asks for less"
        )
    return core


def by_hand(model, tile):
    """What the network says of an image of one tile."""
    with torch.no_grad():
        x = torch.from_numpy(network_inputs(tile, model.use.inputs, model.use.objects))
        return torch.softmax(model.network(x[None]), dim=1).numpy()


def tiles(count=1, seed=5):
    return np.random.default_rng(seed).gamma(2, 100, (count, 2, 32, 64)).astype(np.float32)


def test_the_onnx_file_gives_what_the_network_gives(model, made_before, tmp_path):
    exported = export(model, "onnx", tmp_path / "m.onnx")
    assert exported.path == tmp_path / "m.onnx"
    assert exported.difference < 1e-5
    assert "32 x 64" in exported.takes
    assert "percentile" in exported.takes
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_inputs()[0].shape[1:] == [2, 32, 64]
    for count in (1, 3):
        raw = tiles(count)
        inputs = np.stack([network_inputs(tile, "percentile", "dark") for tile in raw])
        (found,) = session.run(["probability"], {"inputs": inputs})
        expected = np.concatenate([by_hand(model, tile) for tile in raw])
        print("ONNX, largest difference:", np.abs(found - expected).max())
        np.testing.assert_allclose(found, expected, atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert Use.model_validate_json(facts["use"]) == model.use
    assert NetworkSpec.model_validate_json(facts["network"]) == model.spec


def test_the_package_takes_the_image_itself_and_gives_what_the_network_gives(model, made_before, core, tmp_path):
    exported = export(model, "bioimageio", tmp_path / "m.zip")
    assert exported.difference < 1e-5
    assert "the image itself" in exported.takes
    assert core.test_model(tmp_path / "m.zip").status == "passed"
    (raw,) = tiles()
    found = np.asarray(core.predict(model=tmp_path / "m.zip", inputs={"inputs": raw[None]}).members["probability"].data)
    print("bioimage.io, largest difference:", np.abs(found - by_hand(model, raw)).max())
    np.testing.assert_allclose(found, by_hand(model, raw), atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["m.zip"]


@pytest.mark.parametrize(("inputs", "objects"), [("zscore", "bright"), ("zscore", "dark"), ("percentile", "bright")])
def test_our_normalisation_in_the_words_of_bioimage_io(model, core, inputs, objects):
    """What the package's steps make of an image, computed here from what their documentation says."""
    other = Model(model.network, model.spec, model.use.model_copy(update={"inputs": inputs, "objects": objects}), "x")
    (image,) = tiles()
    expected, found = network_inputs(image, inputs, objects), image
    for step in _normalisation(other):
        k = step.kwargs
        if step.id == "zero_mean_unit_variance":
            mean, deviation = found.mean(axis=(1, 2), keepdims=True), found.std(axis=(1, 2), keepdims=True)
            found = (found - mean) / (deviation + k.eps)
        elif step.id == "scale_range":
            low, high = np.percentile(found, (k.min_percentile, k.max_percentile), axis=(1, 2), keepdims=True)
            found = (found - low) / (high - low + k.eps)
        else:
            found = found * k.gain + k.offset
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_where_bioimage_io_has_no_words_the_readme_says_how(model):
    use = model.use.model_copy(update={"inputs": "local", "cut": "edge", "classes": (0, 7)})
    text = _readme(Model(model.network, model.spec.model_copy(update={"classes": 1}), use, "x"), takes_image=False)
    for words in ('network_inputs(image, "local", "dark")', "label 7", "32 x 64", "edge criterion"):
        assert words in text
    assert "turned around" not in text and "hot pixels" not in text
    use = use.model_copy(update={"signed": False, "surround": True, "channels": 1})
    spec = model.spec.model_copy(update={"classes": 1, "in_channels": 1})
    text = _readme(Model(model.network, spec, use, "x"), takes_image=False)
    for words in ("turned around", "hot pixels and dead lines replaced", "outside a field of view"):
        assert words in text
    assert "by itself" not in text
    assert "Each tile is then normalised by itself" in _readme(Model(model.network, spec, use, "x"), takes_image=True)


def test_a_file_that_gives_something_else_is_not_kept(model, monkeypatch, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"of before")
    monkeypatch.setattr(module, "to_onnx", lambda model: b"")
    monkeypatch.setattr(module, "run_onnx", lambda content, inputs: np.full((3, 32, 64), 1 / 3))
    with pytest.raises(RunFailed, match=r"differs from ours by up to .*m\.onnx was not written"):
        export(model, "onnx", tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"of before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("missing", "to", "extra"),
    [("onnx", "onnx", "onnx"), ("onnxscript", "onnx", "onnx"), ("bioimageio.core", "bioimageio", "bioimageio")],
)
def test_without_the_extra_the_command_is_named(model, monkeypatch, tmp_path, missing, to, extra):
    if to == "bioimageio":
        monkeypatch.setattr(module, "to_onnx", lambda model: b"")
        monkeypatch.setattr(module, "run_onnx", lambda content, inputs: np.zeros((3, 32, 64)))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        InputError, match=rf'needs {missing.partition(".")[0]}.*pip install "napari-metastructure\[{extra}\]"'
    ):
        export(model, to, tmp_path / "m")
    assert not list(tmp_path.iterdir())
