"""The Predict widget in real viewers, with real models in a real thread."""

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel

from napari_metastructure.igtt.apply import load_model
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks.batch import PredictionFinished
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model
from napari_metastructure.plugin._layers import ORIGIN, class_color
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
        qtbot.waitUntil(lambda widget=widget: not widget.running, timeout=60_000)


@pytest.fixture
def predict(qtbot):
    """Starts a prediction and waits for its end."""

    def go(widget):
        with qtbot.waitSignal(widget.finished, timeout=60_000):
            assert widget.start()

    return go


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(np.uint16)


def test_layers_become_labels_and_probabilities_over_them(open_predict, saved, predict):
    run = saved(classes=(0, 1, 3))
    viewer, widget = open_predict(run, window=True)
    flat, stack = pixels(40, 50), pixels(2, 40, 36, seed=1)
    a = viewer.add_image(flat, name="a", scale=(0.2, 0.1), translate=(3, 4), units=("um", "um"))
    b = viewer.add_image(stack, name="b", scale=(5, 1, 1), units=("s", "um", "um"), axis_labels=("t", "y", "x"))
    assert widget.choose_layers([a, b])
    predict(widget)
    assert widget.failure is None
    assert isinstance(widget.result, PredictionFinished)
    assert not widget.result.stopped
    model = load_model(run)
    labels, probability = viewer.layers["a prediction"], viewer.layers["a probability"]
    expected = model.predict(flat, "cpu")
    np.testing.assert_array_equal(labels.data, expected.labels)
    np.testing.assert_array_equal(probability.data, expected.probability)
    for layer in (labels, probability):
        assert tuple(layer.scale) == (0.2, 0.1)
        assert tuple(layer.translate) == (3, 4)
        assert [str(u) for u in layer.units] == ["micrometer"] * 2
        assert layer.metadata[ORIGIN]["source"] == "a"
    np.testing.assert_allclose(labels.colormap.color_dict[3], _rgba(class_color(3)), atol=1e-6)
    np.testing.assert_array_equal(
        viewer.layers["b prediction"].data, np.stack([model.predict(plane, "cpu").labels for plane in stack])
    )
    assert tuple(viewer.layers["b prediction"].axis_labels) == ("t", "y", "x")
    assert widget.progress.outer.value() == widget.progress.outer.maximum()
    assert "2 images predicted" in widget.progress.status.text()
    assert widget.buttons.run.isEnabled()
    assert not widget.buttons.stop.isEnabled()
    assert widget.picker.chosen() == [a, b]  # what was made is not offered
    a.scale = (3, 5)
    assert tuple(labels.scale) == tuple(probability.scale) == (3, 5)


@pytest.mark.parametrize("shape", [(40, 50), (20, 30), (3, 40, 50)])
def test_a_prediction_is_of_the_pixels_that_a_layer_had(open_predict, saved, qtbot, shape):
    viewer, widget = open_predict(saved())
    layer = viewer.add_image(pixels(40, 50), name="a")
    with qtbot.waitSignal(widget.finished):
        assert widget.start()
        layer.data = pixels(*shape, seed=1)
    assert [made.data.shape for made in widget.made] == [(40, 50)] * 2
    assert "Other pixels were put into 'a' since the prediction began" in widget.progress.status.text()


def _rgba(color):
    from napari.utils.colormaps.standardize_color import transform_color

    return transform_color(color)[0]


def test_the_image_in_hand_comes_to_the_front_with_its_result_on_it(open_predict, saved, predict):
    viewer, widget = open_predict(saved())
    for name in "ab":
        viewer.add_image(pixels(40, 50), name=name)
    viewer.layers.selection.active = viewer.layers["a"]
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7, (0, 2, 3)
    predict(widget)
    assert [layer.name for layer in viewer.layers] == ["b", "a", "a probability", "a prediction"]
    assert viewer.layers["b"].visible
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == (7, (0, 2, 3))
    assert viewer.layers.selection.active is viewer.layers["a"]


def test_without_probability_and_a_second_time(open_predict, saved, predict):
    viewer, widget = open_predict(saved())
    viewer.add_image(pixels(40, 50), name="a")
    assert widget.set(probability=False)
    predict(widget)
    predict(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a prediction"]
    viewer.layers[1].name = "mine"
    predict(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "mine", "a prediction"]
    assert [layer.visible for layer in viewer.layers] == [True, False, True]  # else one shines through the other


@pytest.mark.parametrize("change", ["none", "model", "pixels"])
def test_a_prediction_gives_way_to_the_same_alone(open_predict, saved, predict, change):
    run = saved()
    viewer, widget = open_predict(run)
    source = viewer.add_image(pixels(40, 50), name="a")
    predict(widget)
    first = viewer.layers["a prediction"]
    match change:
        case "model":  # trained anew in the same folder
            saved(objects="dark")
        case "pixels":
            source.data = pixels(40, 50, seed=1)
    predict(widget)
    found = [layer for layer in viewer.layers if layer.name.startswith("a prediction")]
    assert len(found) == (1 if change == "none" else 2)
    assert (first in found) == (change != "none")
    assert [layer.visible for layer in found] == [False] * (len(found) - 1) + [True]


def test_colours_and_channels(open_predict, saved, predict):
    one, three = saved("one"), saved("three", channels=3)
    viewer, widget = open_predict(one)
    rgb = (pixels(40, 50, 3) % 256).astype(np.uint8)
    stack = pixels(2, 3, 40, 36)
    viewer.add_image(rgb, name="rgb", rgb=True)
    predict(widget)
    grey = rgb @ np.array([0.2125, 0.7154, 0.0721], np.float32)
    np.testing.assert_array_equal(widget.made[-1].data, load_model(one).predict(grey, "cpu").labels)
    assert widget.set(channel="green")
    predict(widget)
    np.testing.assert_array_equal(widget.made[-1].data, load_model(one).predict(rgb[..., 1], "cpu").labels)
    widget.choose_model(saved("green", colour="green"))
    assert widget.set(channel=None)
    widget.choose_layers([viewer.layers["rgb"]])
    predict(widget)
    np.testing.assert_array_equal(widget.made[-1].data, load_model(one).predict(rgb[..., 1], "cpu").labels)
    widget.choose_model(three)
    predict(widget)
    model = load_model(three)
    np.testing.assert_array_equal(widget.made[-1].data, model.predict(rgb.transpose(2, 0, 1), "cpu").labels)
    layer = viewer.add_image(stack, name="stack", scale=(2, 1, 0.5, 0.5), translate=(0, 7, 0, 0))
    widget.choose_layers([layer])
    predict(widget)
    labels = widget.made[-1]
    assert labels.data.shape == (2, 1, 40, 36)
    np.testing.assert_array_equal(labels.data[1, 0], model.predict(stack[1], "cpu").labels)
    inside = 7 + np.arange(3.0)  # the places of the channels
    assert [round(float(labels.world_to_data((0, c, 0, 0))[1])) for c in inside] == [0, 0, 0]
    np.testing.assert_allclose(viewer.dims.range[1], (7, 9, 1))
    layer = viewer.add_image(stack[0], name="front", scale=(9, 0.5, 0.25), axis_labels=("c", "y", "x"))
    widget.choose_layers([layer])
    predict(widget)
    assert widget.made[-1].data.shape == (40, 36)
    assert tuple(widget.made[-1].scale) == (0.5, 0.25)


def test_a_folder_of_images_becomes_files(open_predict, saved, qtbot, tmp_path, said):
    run = saved()
    viewer, widget = open_predict(run)
    (tmp_path / "in").mkdir()
    good = pixels(40, 50)
    tifffile.imwrite(tmp_path / "in" / "a.tif", good)
    tifffile.imwrite(tmp_path / "in" / "b.tif", np.full((40, 50), 1j, np.complex64))
    tifffile.imwrite(tmp_path / "in" / "c.tif", np.full((40, 50), 3, np.uint8))
    (tmp_path / "in" / "notes.txt").write_text("hello")
    assert widget.choose_folders(tmp_path / "in", tmp_path / "out")
    batch = widget.batch

    def go():
        with qtbot.waitSignal(batch.finished, timeout=60_000):
            assert widget.start()

    go()
    assert [path.name for path in batch.written] == [f"{s}_{k}.tif" for s in "ac" for k in ("mask", "probability")]
    expected = load_model(run).predict(good, "cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a_mask.tif"), expected.labels * 255)
    assert not viewer.layers
    assert [state.split(",")[0].split(":")[0] for state in batch.table.files.states] == ["done", "failed", "done"]
    assert "b.tif" in batch.table.files.tips[1] and "complex" in batch.table.files.tips[1]
    assert any("notes.txt" in text for text in said())
    assert any("c.tif" in text and "same value" in text for text in said())
    assert "2 files done" in batch.progress.status.text()
    assert "1 failed" in batch.progress.status.text()
    go()
    assert "batch.yaml is there already" in str(batch.failure)
    batch.replace.setChecked(True)
    assert widget.set(ome=True, probability=False)
    go()
    assert [path.name for path in batch.written] == ["a_mask.ome.tif", "c_mask.ome.tif"]


def test_a_line_says_what_the_model_is(open_predict, saved, qtbot, tmp_path):
    _viewer, widget = open_predict()
    with qtbot.waitSignal(widget.model.described, timeout=60_000):
        widget.choose_model(saved(classes=(0, 1, 7), inputs="percentile", patch=(32, 64)) / "model.safetensors")
    assert widget.model.known
    for words in ("light-unet", "0, 1, 7", "percentile", "32 x 64"):
        assert words in widget.model.facts.text()
    with qtbot.waitSignal(widget.model.described, timeout=60_000):
        widget.choose_model(tmp_path)
    assert not widget.model.known
    assert "holds no model.safetensors" in widget.model.facts.text()
    widget.choose_model(None)
    assert widget.model.facts.text() == ""


def test_cancel_keeps_what_is_done(open_predict, saved, qtbot):
    viewer, widget = open_predict(saved(), window=True)
    small = viewer.add_image(pixels(40, 50), name="small")
    large = viewer.add_image(pixels(400, 200, 200), name="large")
    widget.choose_layers([small, large])
    assert widget.start()
    qtbot.waitUntil(lambda: len(widget.made) == 2 and widget.progress.outer.value() > 0, timeout=60_000)
    assert not widget.start()  # one at a time
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.cancel()
    assert widget.result.stopped
    assert [layer.name for layer in widget.made] == ["small probability", "small prediction"]
    assert "Cancelled" in widget.progress.status.text()
    assert not widget.cancel()


def test_what_is_missing_is_said_before_anything_starts(open_predict, saved, said, tmp_path):
    viewer, widget = open_predict()

    def refused(words, panel=widget):
        assert not widget.start()
        assert not widget.running
        assert words in said()[-1]
        assert panel.progress.status.text() == said()[-1]

    refused("No model is chosen")
    widget.choose_model(saved())
    refused("No image layer is chosen")
    viewer.add_image(pixels(40, 50), name="a")
    widget.choose_folders("", tmp_path)
    refused("Two folders are needed", widget.batch)
    widget.choose_folders(tmp_path / "gone", tmp_path)
    refused("There is no folder", widget.batch)


def test_a_refusal_is_gone_with_its_cause(open_predict, saved, predict):
    viewer, widget = open_predict()
    status = widget.progress.status.text
    assert not widget.start() and "No model is chosen" in status()
    widget.choose_model(saved())
    assert status() == "Ready."
    assert not widget.start() and "No image layer is chosen" in status()
    viewer.add_image(pixels(40, 50), name="a")
    assert status() == "Ready."
    predict(widget)
    said = status()
    widget.picker.choose([])
    assert status() == said  # what it has done is still true


def test_what_the_thread_finds_wrong_is_said_too(open_predict, saved, predict, said):
    viewer, widget = open_predict()
    one, three = saved("one"), saved("three", channels=3)

    def fails(image, words, model=one, **settings):
        viewer.layers.clear()
        viewer.add_image(image, name="a")
        widget.choose_model(model)
        assert widget.set(**{"channel": None, "device": "cpu", **settings})
        predict(widget)
        assert widget.result is None
        assert words in str(widget.failure)
        assert widget.progress.status.text() == str(widget.failure) == said()[-1]
        assert [layer.name for layer in viewer.layers] == ["a"]
        assert widget.buttons.run.isEnabled()

    fails(np.full((40, 50), 1e300), "Layer 'a': its values exceed 32-bit floats")
    fails(np.ones((5, 50), np.float32), "Layer 'a': 5 x 50 pixels (Y x X) are too few")
    fails(pixels(2, 40, 50), "Layer 'a' (2 x 40 x 50) has no axis of 3 channels", three)
    fails(pixels(40, 50), "Layer 'a' (40 x 50) has no axis of 3 channels", three)
    fails(pixels(3, 40, 50), "leave Channel empty", three, channel="0")
    fails(pixels(40, 50), "Layer 'a' has a single channel", channel="red")
    fails(pixels(40, 50), "cuda:99", device="cuda:99")


def test_models_and_settings_that_cannot_be_are_refused_and_nothing_raises(open_predict, predict, said, tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, tmp_path / "other.safetensors")
    viewer, widget = open_predict(tmp_path / "other.safetensors")
    viewer.add_image(pixels(40, 50), name="a")
    predict(widget)
    assert "other.safetensors is no model of this program" in str(widget.failure)
    points = viewer.add_points(np.zeros((1, 2)))
    assert not widget.choose_layers([points])
    assert "cannot be chosen" in said()[-1]
    assert not widget.set(nothing=1)
    assert not widget.set(probability="perhaps")


def test_the_viewer_forgets_a_widget_that_is_closed(open_predict, qtbot):
    viewer, widget = open_predict(window=True)
    dock = next(iter(viewer.window._wrapped_dock_widgets.values()))
    before = len(viewer.layers.events.inserted.callbacks)
    with qtbot.waitSignal(widget.destroyed):
        viewer.window.remove_dock_widget(dock)
        widget.deleteLater()
    assert len(viewer.layers.events.inserted.callbacks) == before - 1
    viewer.add_image(pixels(40, 50))


def test_closing_the_window_ends_the_thread(make_napari_viewer, qtbot, saved, posted):
    viewer = make_napari_viewer()
    viewer.add_image(pixels(2000, 100, 100), name="a")
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.set(device="cpu")
    widget.choose_model(saved())
    assert widget.start()
    qtbot.waitUntil(lambda: widget.progress.outer.value() > 0, timeout=60_000)
    control, ended = widget.runner.control, posted(widget, PredictionFinished)
    viewer.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert control.stopped
    assert ended[0].stopped


def test_devices_arrive_after_it_is_shown(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget)
    box = widget.settings.device.widget
    qtbot.waitUntil(lambda: box.findData("cpu") >= 0 and "auto: " in box.itemText(0), timeout=60_000)
    assert widget.settings.config().device == "auto"
