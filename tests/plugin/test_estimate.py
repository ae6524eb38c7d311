"""How long runs take, said before they begin."""

import threading

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.model_file import Use, save_model
from napari_metastructure.plugin import _estimate
from napari_metastructure.plugin._estimate import (
    Estimate,
    Estimator,
    measured,
    no_probe,
    predict_estimate,
    study_estimate,
    train_estimate,
)
from napari_metastructure.plugin.predict import PredictWidget
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.pairs import pairs_of


@pytest.fixture
def pairs():
    image = np.zeros((3, 64, 64), np.float32)
    return pairs_of([image], [image.astype(np.uint8)])


def test_it_is_said_in_round_numbers():
    assert str(Estimate(1, 2.4, "1 plane of 8 x 8", "CPU")) == "About 3 s: 1 plane of 8 x 8, CPU"
    assert str(Estimate(0, 0.01, "x", "CPU", "y")) == "About 1 s: x, CPU"
    assert str(Estimate(0, 127, "x", "CPU")).startswith("About 2 min 10 s")


def test_a_damaged_memory_is_no_obstacle():
    _estimate._file().parent.mkdir()
    for text in ("[1, 2", '{"a": 1}', "[]", '{"a": ["x"]}'):
        _estimate._file().write_text(text)
        assert measured("cpu", ("key", text), lambda: [1.0])[1] == [1.0]
    _estimate._paces.clear()
    assert measured("cpu", ("key", text), list)[1] == [1.0]


def test_no_probe_runs_beside_a_job_and_a_job_waits_for_one():
    began, end, order = threading.Event(), threading.Event(), []

    def probe():
        began.set()
        end.wait()
        order.append("probe")
        return [1.0]

    thread = threading.Thread(target=measured, args=("cpu", ("a",), probe))
    thread.start()
    began.wait()
    threading.Timer(0.05, end.set).start()
    with no_probe():
        order.append("job")
        assert measured("cpu", ("b",), probe)[1] is None
        assert measured("cpu", ("a",), probe)[1] == [1.0]
    thread.join()
    assert order == ["probe", "job"]


def test_a_question_that_was_taken_back_is_not_answered(qtbot):
    estimator, heard = Estimator(), []
    estimator.known.connect(heard.append)
    estimator.ask(lambda control: Estimate(1, 1, "x", "CPU"))
    estimator.stop()
    estimator._begin()
    assert not heard
    estimator.ask(lambda control: Estimate(1, 1, "x", "CPU"))
    qtbot.waitUntil(lambda: len(heard) == 1)


def test_training_grows_with_epochs_steps_and_validation(pairs, monkeypatch, small):
    monkeypatch.setattr(_estimate, "probe_train", lambda *_: (0.5, 1e-4))
    config = TrainConfig(**{**small, "epochs": 3, "steps_per_epoch": 10})
    found = train_estimate(config, pairs, pairs[:1], Control())
    assert found.epochs == pytest.approx(3 * (5 + 0.4096))
    covered = config.model_copy(update={"steps_per_epoch": 0, "patience": 2})
    found = train_estimate(covered, pairs, [], Control())
    assert found.epochs == pytest.approx(3 * 20 * 0.5) and "Patience" in found.note
    runs = {"light-unet": 4, "fast-unet": 2}
    found = study_estimate(config, runs, pairs, [], Control())
    assert found.epochs == pytest.approx(6 * 15) and "6 trainings of 3 epochs" in str(found)


def test_training_can_be_probed_and_stopped(pairs, small):
    found = train_estimate(TrainConfig(**small), pairs, pairs, Control())
    assert found.epochs > 0
    control = Control()
    control.stop()
    assert train_estimate(TrainConfig(**small, loss="dice"), pairs, pairs, control) is None


@pytest.fixture(params=[1, 3])
def model(request, tmp_path):
    """A model of one or three channels."""
    spec = NetworkSpec(in_channels=request.param, classes=1, base_channels=4)
    use = Use(inputs="zscore", patch=(32, 32), channels=request.param)
    return save_model(tmp_path / "model.safetensors", build(spec, 0), spec, use)


def test_prediction_grows_with_planes(model):
    one, four = (predict_estimate(model, "cpu", [(n, 64, 64)], Control()) for n in (1, 4))
    assert four.epochs == pytest.approx(4 * one.epochs) and "4 planes of 64 x 64" in str(four)


def test_widgets_say_it_and_forget_it(open_train, open_study, labelled, qtbot, monkeypatch):
    monkeypatch.setattr(_estimate, "probe_train", lambda *_: (0.5, 1e-4))
    for widget in (open_train(labelled(0), labelled(1))[1], open_study()[1]):
        widget.show()
        qtbot.waitUntil(lambda widget=widget: widget.estimate is not None)
        assert widget.progress.eta.text().startswith("About ")
    widget.conditions.choose(())
    assert widget.estimate is None and not widget.progress.eta.text()


def test_predict_says_it_for_layers(model, qtbot, tmp_path):
    viewer = ViewerModel()
    shape = (5, 64, 64, 3) if "three" in str(model) else (5, 3, 64, 64)
    viewer.add_image(np.zeros(shape))
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    widget.set(device="cpu")
    widget.choose_model(model)
    qtbot.waitUntil(lambda: widget.estimate is not None)
    assert "15 planes" in widget.progress.eta.text() or "5 planes" in widget.progress.eta.text()
    widget.choose_folders(tmp_path, tmp_path / "out")
    assert widget.estimate is None and not widget.progress.eta.text()  # it says so after its first file
