"""The Train widget in real viewers, with the real engine in a real thread."""

import numpy as np
import pytest

from napari_metastructure.errors import RunFailed
from napari_metastructure.networks.model import Model
from napari_metastructure.plugin._layers import colormap
from napari_metastructure.plugin.train import TrainWidget
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.events import TrainFinished, TrainStarted

ENDLESS = {"epochs": 2000}


def validate_last(widget):
    """Use the last row to validate."""
    widget.data.table.swap_use([len(widget.data.table.rows) - 1])


def points(widget, plot, who):
    x, _ = widget.curves.curves[getattr(widget.curves, plot), who].getData()
    return 0 if x is None else len(x)


def test_layers_become_a_model(open_train, labelled, run, tmp_path):
    viewer, widget = open_train(*(labelled(i) for i in range(5)), config={"epochs": 4}, window=True)
    assert widget.data.summary.text().startswith("4 images to train on, 1 to validate on")
    run(widget)
    assert isinstance(widget.result, TrainFinished)
    assert widget.failure is None and not widget.result.stopped
    assert widget.progress.status.text() == widget.result.reason
    assert widget.progress.outer.value() == 4
    for plot in ("loss", "score"):
        assert points(widget, plot, "training") == points(widget, plot, "validation") == 4
    assert widget.curves.best[0].isVisible() and widget.curves.best[0].value() == widget.result.best_epoch
    assert not any(note.isVisible() for note in widget.curves.notes)
    assert widget.badge.text() == "CPU"
    # what was drawn for the best epoch is what its network predicts
    name = widget.watched.source.name
    drawn = viewer.layers[f"{name} prediction"]
    assert drawn.data.shape == (5, 64, 64) and tuple(drawn.scale) == (1, 0.2, 0.1)
    best = widget.result.best_epoch
    assert viewer.dims.current_step[0] == best
    path = widget.save_model(tmp_path / "mine")
    assert path == tmp_path / "mine.safetensors"
    for model in (widget.model, Model.load(path)):
        np.testing.assert_array_equal(drawn.data[best], model.predict(viewer.layers[name].data).labels)
    assert 0 < drawn.data[best].mean() < 1
    viewer.layers[name].scale = (3, 3)
    assert tuple(drawn.scale) == (1, 3, 3)


@pytest.mark.parametrize("several", [True, False])
def test_several_classes_have_the_colours_of_the_users_labels(several, open_train, labelled, run):
    pairs = [(image, mask.astype(np.uint8)) for image, mask in (labelled(i) for i in range(3))]
    for _, mask in pairs if several else []:
        mask[:, : mask.shape[1] // 2] *= 2
    viewer, widget = open_train(*pairs)
    validate_last(widget)
    mine = {1: [0, 1, 0, 1], 2: [0, 0, 1, 1]}
    viewer.layers["c mask"].colormap = colormap({0: "transparent", **mine}, others="red")
    run(widget)
    assert widget.failure is None
    made = viewer.layers["c prediction"].colormap
    assert made.map(0)[3] == 0
    if several:
        for label, color in mine.items():
            np.testing.assert_allclose(made.map(label), color, atol=0.01)
    else:  # over the user's mask in its colour it could not be seen
        assert made.map(1)[3] == 1
        assert np.abs(made.map(1) - mine[1]).max() > 0.2


def test_what_runs_is_said(open_train):
    _viewer, widget = open_train()
    widget.on_event(TrainStarted(4, 10, 3, 0, (0, 1, 2), "cpu"))
    assert widget.progress.status.text() == "3 images to train on, none to validate on; classes 0, 1 and 2."
    assert widget.badge.text() == "CPU"


def test_rows_to_validate_are_the_ones_validated_on(open_train, labelled, run):
    viewer, widget = open_train(*(labelled(i) for i in range(3)))
    validate_last(widget)
    assert widget.data.summary.text() == "2 images to train on, 1 to validate on."
    run(widget)
    drawn = viewer.layers["c prediction"]
    said = widget.model.predict(viewer.layers["c"].data).labels
    np.testing.assert_array_equal(drawn.data[widget.result.best_epoch], said)
    truth = viewer.layers["c mask"].data
    dice = 2 * (said & truth).sum() / (said.sum() + truth.sum())
    assert widget.result.scores.dice == pytest.approx(dice)


def test_without_validation_the_plots_say_so_and_draw_nothing(open_train, labelled, run):
    viewer, widget = open_train(labelled(0), labelled(1), config={"validation_fraction": 0})
    assert "none to validate on" in widget.data.summary.text()
    before = len(viewer.layers)
    run(widget)
    assert widget.failure is None and widget.result.scores is None
    for plot in ("loss", "score"):
        assert points(widget, plot, "training") == 2
        assert points(widget, plot, "validation") == 0
    assert all(note.isVisible() and note.toPlainText() == "no validation" for note in widget.curves.notes)
    assert not any(line.isVisible() for line in widget.curves.best)
    assert "no validation" in widget.scores.text()
    assert len(viewer.layers) == before


def test_more_classes_than_two(open_train, labelled, run):
    _viewer, widget = open_train(*(labelled(i, classes=3) for i in range(3)))
    run(widget)
    assert widget.failure is None
    assert widget.model.use.classes == (0, 1, 2)
    assert "mIoU" in widget.curves.score.getPlotItem().titleLabel.text
    assert "IoU by class" in widget.scores.text()
    _, y = widget.curves.curves[widget.curves.score, "validation"].getData()
    assert y[widget.result.best_epoch - 1] == pytest.approx(widget.result.scores.iou)


def test_stacks_are_taken_plane_by_plane(open_train, labelled, run):
    stacks = [np.stack(arrays) for arrays in zip(*(labelled(i) for i in range(3)), strict=True)]
    viewer, widget = open_train(stacks, labelled(7))
    assert widget.data.summary.text().startswith(("3 images to train on, 1", "1 image to train on, 3"))
    for row in widget.data.table.rows:
        row.use = "validation" if row.image.name == "a" else "train"
    run(widget)
    assert widget.failure is None
    drawn = viewer.layers["a prediction"].data
    assert drawn.shape == (3, 3, 64, 64)
    for plane in range(3):
        said = widget.model.predict(stacks[0][plane]).labels
        np.testing.assert_array_equal(drawn[widget.result.best_epoch, plane], said)


@pytest.mark.parametrize(("channel", "channels"), [("luminance", 1), ("all", 3), ("green", 1)])
def test_colour_images(open_train, labelled, run, said, channel, channels):
    pairs = [labelled(i) for i in range(2)]
    rgb = [(np.stack([image.astype(np.uint8)] * 3, -1), labels) for image, labels in pairs]
    _viewer, widget = open_train(*rgb)
    assert not widget.data.channel.widget.isHidden()
    widget.data.channel.set(channel)
    run(widget)
    assert widget.failure is None
    assert widget.model.use.channels == channels
    assert any("luminance" in message for message in said()) is (channel == "luminance")


@pytest.mark.parametrize("reading", ["objects", "foreground"])
def test_labels_are_read_as_they_are_meant(open_train, labelled, run, reading):
    image, labels = labelled(0)
    labels = labels.astype(np.uint16)
    labels[labels > 0] = 700
    if reading == "objects":
        labels[:32][labels[:32] > 0] = 800
    _viewer, widget = open_train((image, labels), labelled(1))
    assert widget.data.watch.get() == ""
    widget.data.reading.set(reading)
    for row in widget.data.table.rows:
        if row.image.name == "b":
            row.labels.data = row.labels.data.astype(np.uint16) * 700
    run(widget)
    assert widget.failure is None
    assert widget.model.use.classes == (0, 1)


# ---- what is wrong is said before anything starts --------------------------------------------------------


def instances(image, labels):
    return image, np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def many(image, labels):
    return image, (np.arange(64 * 64) % 50).astype(np.uint8).reshape(64, 64)


@pytest.mark.parametrize(
    ("change", "reading", "why"),
    [
        (instances, "classes", "4095 different labels look like instance numbers, not classes; read them as objects"),
        (many, "classes", "50 different numbers: if they count objects"),
        (many, "foreground", "49 different labels besides 0 are not foreground and background"),
        (lambda x, y: (x, np.full_like(y, 255)), "classes", "every pixel is 255, unlabelled"),
        (lambda x, y: (x, 0 * y), "classes", "nothing to tell apart"),
        (lambda x, y: (x, y.astype(int) - 1), "classes", "negative"),
        (lambda x, y: (np.full_like(x, np.nan), y), "classes", "NaN"),
        (lambda x, y: (0 * x, y), "classes", "same value"),
    ],
)
def test_pixels_that_cannot_be_used(open_train, labelled, said, change, reading, why):
    viewer, widget = open_train(change(*labelled()))
    widget.data.reading.set(reading)
    before = len(viewer.layers)
    assert not widget.start()
    assert not widget.running
    assert why in said()[-1]
    assert "\n" not in said()[-1]
    assert widget.progress.status.text() == said()[-1]
    assert len(viewer.layers) == before


def test_rows_that_cannot_be_used(open_train, labelled, said):
    viewer, widget = open_train(labelled(0))
    table = widget.data.table
    a, mask = viewer.layers
    other = viewer.add_labels(np.zeros((64, 32), int), name="other")
    for rows, why in (
        ([], "There is no pair to train on"),
        ([(None, mask)], "Row 1 has no image"),
        ([(a, None)], "Row 1 has no labels for image 'a'"),
        ([(a, other)], "image 'a' has 64 x 64 pixels and labels 'other' 64 x 32"),
        ([(a, mask), (a, mask)], "Image layer 'a' is in two rows"),
        ([(a, mask, "validation")], "All rows are used to validate"),
    ):
        table.clear()
        for row in rows:
            table.add(*row)
        assert not widget.start()
        assert why in said()[-1]
        assert why in widget.data.summary.text()
        assert not widget.running


def test_a_mask_that_was_opened_as_an_image_is_named(open_train, labelled, said):
    viewer, widget = open_train()
    image, labels = labelled(0)
    viewer.add_image(image, name="a")
    convert = "right-click its layer and choose Convert to Labels."
    assert f"There is no Labels layer; if a mask was opened as an image, {convert}" in widget.data.summary.text()
    viewer.add_image(labels, name="a_mask")
    why = f"'a_mask' is an image; if it holds labels, {convert}"
    widget.data.table.add()
    assert not widget.start()
    assert why in said()[-1] and why in widget.data.summary.text()
    viewer.layers.remove("a_mask")
    viewer.add_labels(labels, name="a_mask")
    assert "Convert" not in widget.data.summary.text()


def test_a_label_outside_the_classes_is_named(open_train, labelled, said):
    image, labels = labelled(0)
    _viewer, widget = open_train((image, 3 * labels), config={"classes": (0, 1)})
    assert not widget.start()
    assert said()[-1].startswith("Layer 'a mask': the label 3 is none of the classes 0 and 1")


def test_lazy_layers_are_checked_in_the_thread(open_train, labelled, run, said):
    import dask.array as da

    image, labels = labelled(0)
    lazy = da.from_array(np.stack([image, np.full(image.shape, 1e300)]), chunks=(1, 64, 64))
    viewer, widget = open_train((lazy, np.stack([labels, labels])), labelled(1))
    widget.data.table.swap_use([0])
    before = len(viewer.layers)
    visible = [layer.visible for layer in viewer.layers]
    run(widget)
    assert "a [1]" in str(widget.failure) and "exceed" in str(widget.failure)
    assert str(widget.failure) in said()
    assert [layer.visible for layer in viewer.layers] == visible
    assert len(viewer.layers) == before
    assert widget.buttons.run.isEnabled() and not widget.save_button.isEnabled()


def test_a_loss_that_is_no_number_keeps_the_best_network(open_train, labelled, run, said, monkeypatch, tmp_path):
    from napari_metastructure.training import train as supervised_run

    calls, real = [], supervised_run.LOSSES["cross_entropy"]

    def breaking(logits, labels):
        calls.append(1)
        loss = real(logits, labels)
        return loss * float("nan") if len(calls) > 10 else loss

    monkeypatch.setitem(supervised_run.LOSSES, "cross_entropy", breaking)
    _viewer, widget = open_train(*(labelled(i) for i in range(3)), config=ENDLESS)
    run(widget)
    assert isinstance(widget.failure, RunFailed)
    assert "is kept" in str(widget.failure)
    assert str(widget.failure) in said()
    assert widget.epochs  # some came before
    assert Model.load(widget.save_model(tmp_path / "kept")).use.classes == (0, 1)


def test_saving_without_a_model_and_into_nowhere_is_said(open_train, labelled, run, said, tmp_path):
    _viewer, widget = open_train(labelled(0), labelled(1), config={"epochs": 1})
    assert widget.save_model(tmp_path / "m") is None
    assert "run first" in said()[-1]
    run(widget)
    assert widget.save_model(tmp_path / "nowhere" / "m") is None
    assert "nowhere" in said()[-1]
    assert widget.progress.status.text() == said()[-1]


def test_the_model_is_handed_to_the_predict_widget(open_train, labelled, run, said, tmp_path):
    viewer, widget = open_train(labelled(0), labelled(1), config={"epochs": 1}, window=True)
    run(widget)
    assert not widget.use_in_predict()
    assert "save it first" in said()[-1]
    path = widget.save_model(tmp_path / "m")
    assert widget.use_in_predict()
    (predict,) = (w for w in viewer.window.dock_widgets.values() if type(w).__name__ == "PredictWidget")
    assert predict.model.get() == path
    source, drawn = widget.watched.source, widget.watched.labels
    predict.picker.choose([source])
    run(predict)
    assert viewer.layers[f"{source.name} prediction [1]"].visible
    assert not drawn.visible, "it would shine through"


def test_the_model_that_is_handed_over_is_that_of_the_run_and_not_of_the_folder_looked_at_since(
    open_train, labelled, run, tmp_path
):
    viewer, widget = open_train(labelled(0), labelled(1), config={"epochs": 1}, window=True)
    for name in ("earlier", "now"):
        widget.folder.set(tmp_path / name)
        run(widget)
    widget.folder.set(tmp_path / "earlier")
    assert widget.use_in_predict()
    (predict,) = (w for w in viewer.window.dock_widgets.values() if type(w).__name__ == "PredictWidget")
    assert predict.model.get() == tmp_path / "now" / "model.safetensors"


# ---- steered --------------------------------------------------------------------------------------------------


def test_pause_resume_and_stop(open_train, labelled, qtbot, pause):
    viewer, widget = open_train(*(labelled(i) for i in range(3)), config=ENDLESS)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        assert not widget.data.isEnabled()
        assert not widget.start()  # said, and the run goes on
        qtbot.waitUntil(lambda: len(widget.epochs) >= 2, timeout=60_000)
        pause(widget)
        held = len(widget.epochs)
        assert widget.buttons.resume.isVisibleTo(widget)
        qtbot.wait(50)
        assert len(widget.epochs) == held
        widget.resume()
        qtbot.waitUntil(lambda: len(widget.epochs) > held, timeout=60_000)
        viewer.dims.set_point(0, 1)  # who looks at another epoch is left there
        widget.stop()
    assert widget.result.stopped
    assert "Stopped by the user" in widget.progress.status.text()
    assert widget.model is not None and widget.save_button.isEnabled()
    assert viewer.dims.current_step[0] == 1
    assert widget.data.isEnabled()


def test_stopped_before_the_first_epoch_leaves_nothing(open_train, labelled, qtbot):
    viewer, widget = open_train(*(labelled(i) for i in range(3)), config=ENDLESS)
    before = [(layer.name, layer.visible) for layer in viewer.layers]
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        widget.stop()
    assert widget.result.stopped and widget.model is None
    assert [(layer.name, layer.visible) for layer in viewer.layers] == before
    assert not widget.save_button.isEnabled()


@pytest.mark.parametrize("there", (True, False), ids=("in its layer", "in a new layer"))
def test_a_stopped_run_goes_on(open_train, labelled, qtbot, run, tmp_path, said, there):
    viewer, widget = open_train(*(labelled(i) for i in range(3)), config=ENDLESS)
    widget.folder.set(tmp_path / "run")
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        qtbot.waitUntil(lambda: len(widget.epochs) >= 2, timeout=60_000)
        widget.stop()
    reached = widget.epochs[-1]
    assert f"epoch {reached}" in widget.folder.found.text()
    assert not widget.start()
    assert "already holds a run" in said()[-1]
    widget.settings.fill(widget.settings.config(epochs=reached + 2))
    names = [layer.name for layer in viewer.layers]
    if not there:
        viewer.layers.remove(widget.watched.labels)
    run(widget, widget.resume_run)
    assert [layer.name for layer in viewer.layers] == names
    assert widget.failure is None
    assert widget.epochs == [reached + 1, reached + 2]
    assert points(widget, "loss", "training") == reached + 2
    drawn = widget.watched.labels.data
    assert len(drawn) == reached + 3
    assert drawn[1 : reached + 1].any() == there
    assert drawn[reached + 1 :].any()
    run(widget, widget.resume_run)
    assert "raise Epochs" in widget.progress.status.text()


def test_settings_of_a_run_are_loaded(open_train, labelled, run, tmp_path, said):
    _viewer, widget = open_train(*(labelled(i) for i in range(2)), config={"base_channels": 8, "epochs": 1})
    widget.folder.set(tmp_path)
    assert not widget.load_run_settings() and not widget.resume_run()
    run(widget)
    widget.settings.fill(TrainConfig())
    assert widget.load_run_settings()
    assert widget.settings.config().base_channels == 8
    (tmp_path / "run.yaml").write_text("config: {colour: red}")
    assert not widget.load_run_settings()
    assert "colour" in said()[-1]


@pytest.mark.parametrize("paused", [False, True])
def test_closing_the_window_ends_the_thread_and_saves(
    make_napari_viewer, qtbot, labelled, small, tmp_path, paused, posted
):
    viewer = make_napari_viewer()
    for number in range(2):
        image, labels = labelled(number)
        viewer.add_image(image, name=str(number))
        viewer.add_labels(labels, name=f"{number} mask")
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.settings.fill(TrainConfig(**{**small, **ENDLESS}))
    widget.folder.set(tmp_path)
    assert widget.start()
    qtbot.waitUntil(lambda: len(widget.epochs) >= 1, timeout=60_000)
    if paused:
        widget.pause()
    control, ended = widget.runner.control, posted(widget, TrainFinished)
    viewer.close()
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    assert control.stopped and ended[0].stopped
    assert (tmp_path / "last.pt").exists()
    assert Model.load(tmp_path).use.classes == (0, 1)


def test_removing_the_widget_ends_the_run_and_frees_the_viewer(make_napari_viewer, qtbot, labelled, small):
    viewer = make_napari_viewer()
    image, labels = labelled(0)
    layer = viewer.add_image(image, name="a")
    viewer.add_labels(labels, name="a mask")
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.settings.fill(TrainConfig(**{**small, **ENDLESS}))
    widget.start()
    qtbot.waitUntil(lambda: len(widget.epochs) >= 1, timeout=60_000)
    control = widget.runner.control
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(widget)
        widget.deleteLater()
    assert control.stopped
    layer.name = "renamed"
    viewer.add_image(image)
    viewer.layers.remove(layer)
    viewer.theme = "light"


# ---- the image that is watched ------------------------------------------------------------------------------


def predictions(viewer):
    return [layer.name for layer in viewer.layers if "prediction" in layer.name]


def test_the_same_once_more_replaces_its_prediction(open_train, labelled, run, qtbot):
    viewer, widget = open_train(labelled(0), labelled(1))
    validate_last(widget)

    def again(**config):
        widget.settings.fill(TrainConfig(**{**widget.settings.config().model_dump(), **config}))
        run(widget)
        qtbot.waitUntil(lambda: not widget._tidying.busy)
        return predictions(viewer)

    assert again() == again() == ["b prediction"]
    assert viewer.layers["b prediction"].visible and len(viewer.layers["b prediction"].data) == 3
    # another run, and labels that are others now: both stay, and the first comes again
    assert again(seed=1) == ["b prediction", "b prediction [1]"]
    viewer.layers["a mask"].data = 1 - viewer.layers["a mask"].data
    assert len(again(seed=0)) == 3
    viewer.layers["a mask"].data = 1 - viewer.layers["a mask"].data
    assert len(again()) == 3
    viewer.layers["b prediction [1]"].name = "mine"
    assert len(again(seed=1)) == 3 and "mine" in viewer.layers


def test_any_validation_image_can_be_watched_or_none(open_train, labelled, run):
    viewer, widget = open_train(*(labelled(i) for i in range(3)))
    widget.data.table.swap_use([1, 2])
    box = widget.data.watch.widget
    assert [box.itemText(i) for i in range(box.count())] == ["first image to validate on", "none", "b", "c"]
    widget.data.watch.set("b")
    viewer.layers.selection.active = viewer.layers["a"]
    viewer.scene.camera.zoom, viewer.scene.camera.center = 7, (0, 2, 3)
    run(widget)
    assert "b prediction" in viewer.layers and "c prediction" not in viewer.layers
    assert [layer.name for layer in viewer.layers][-3:] == ["b", "b mask", "b prediction"]  # in front, and in one place
    assert all(layer.visible for layer in viewer.layers)
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == (7, (0, 2, 3))
    assert viewer.layers.selection.active is viewer.layers["a"]
    box.setCurrentIndex(1)
    before = len(viewer.layers)
    run(widget)
    assert widget.failure is None
    assert len(viewer.layers) == before


def test_deleting_the_prediction_or_an_image_does_not_end_the_run(open_train, labelled, run, qtbot):
    viewer, widget = open_train(*(labelled(i) for i in range(3)), config={"epochs": 8}, window=True)
    validate_last(widget)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        assert widget.start()
        qtbot.waitUntil(lambda: len(widget.epochs) >= 1, timeout=60_000)
        del viewer.layers["c prediction"]
        del viewer.layers["a"]
        viewer.layers["b"].name = "renamed"
    assert widget.failure is None
    assert widget.epochs == list(range(1, 9))


def test_it_fits_a_small_screen_and_scrolls(open_train, labelled, qtbot):
    _viewer, widget = open_train(*(labelled(i) for i in range(8)), show=True)
    for group in widget.settings.groups:
        group.expand(animate=False)
    qtbot.wait(50)
    assert widget.minimumSizeHint().height() < 300
    assert widget.sizeHint().height() <= 820
    box = widget.settings.device.widget
    qtbot.waitUntil(lambda: box.findData("cpu") >= 0, timeout=60_000)
