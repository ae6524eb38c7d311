"""The Predict widget in a real viewer, and tiny models to use it with."""

import pytest
from napari.components import ViewerModel

from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.checkpoint import Use, save_model
from napari_metastructure.plugin.predict import PredictWidget


@pytest.fixture
def saved(tmp_path):
    """Saves a model of random weights; gives its run folder."""

    def make(name="run", **use):
        use = Use(**{"inputs": "zscore", "patch": (32, 32), **use})
        logits = 1 if len(use.classes) == 2 else len(use.classes)
        spec = NetworkSpec(in_channels=channels_of(use.inputs, use.channels), classes=logits, base_channels=4)
        (tmp_path / name).mkdir(exist_ok=True)
        save_model(tmp_path / name / "model.safetensors", build(spec, 0), spec, use)
        return tmp_path / name

    return make


@pytest.fixture
def open_predict(make_napari_viewer, place, qtbot):
    """Opens a viewer with the widget, told to take the CPU; ends what it does at the end of the test.

    Without a window, which takes most of a second, unless it is asked for: then the widget is docked in it.
    """
    made = []

    def make(model=None, window=False):
        viewer = make_napari_viewer() if window else ViewerModel()
        widget = PredictWidget(viewer)
        place(viewer, widget, "Predict")
        assert widget.set(device="cpu")
        widget.choose_model(model)
        made.append(widget)
        return viewer, widget

    yield make
    for widget in made:
        widget.cancel()
        qtbot.waitUntil(lambda widget=widget: not widget.running, timeout=20_000)


@pytest.fixture
def predict(qtbot):
    """Starts a prediction and waits for its end."""

    def go(widget):
        with qtbot.waitSignal(widget.finished, timeout=60_000):
            assert widget.start()

    return go
