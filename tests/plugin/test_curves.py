"""The plots show what the events say, in the colours of the theme, and say so where there is no validation."""

import math

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.theme import get_theme

from napari_metastructure.plugin._curves import IGTTCurves, TrainCurves
from napari_metastructure.training.events import BatchFinished, EpochFinished, ScoreCurve, TrainEpoch, TrainStarted
from napari_metastructure.training.metrics import Scores


@pytest.fixture
def curves(qtbot):
    curves = IGTTCurves(ViewerModel())
    qtbot.addWidget(curves)
    return curves


def epoch(number, loss, agreement):
    return EpochFinished(number, 3, loss, agreement, 0.1, (), (), (), (), 1, 0)


def test_loss_and_agreement_by_epoch_without_the_start(curves):
    curves.begin(3)
    curves.add_epoch(epoch(0, np.nan, np.nan))
    curves.add_batches([BatchFinished(1, b, 4, 1 / b) for b in (1, 2, 3, 4)])
    curves.add_epoch(epoch(1, 0.5, 0.8))
    curves.add_epoch(epoch(2, 0.4, 0.9))
    np.testing.assert_allclose(curves._steps.getData(), [[0.25, 0.5, 0.75, 1], [1, 1 / 2, 1 / 3, 1 / 4]])
    np.testing.assert_allclose(curves._loss.getData(), [[1, 2], [0.5, 0.4]])
    np.testing.assert_allclose(curves._agreement.getData(), [[1, 2], [0.8, 0.9]])
    curves.clear()
    assert curves._loss.getData()[0] is None or len(curves._loss.getData()[0]) == 0


@pytest.mark.filterwarnings("error:All-NaN slice:RuntimeWarning")
def test_an_epoch_without_training_draws_no_point(curves):
    curves.begin(2)
    curves.add_epoch(epoch(1, np.nan, np.nan))
    curves.loss.grab()
    assert curves._loss.getData() == (None, None) or not len(curves._loss.getData()[0])
    curves.add_epoch(epoch(2, 0.4, 0.9))
    curves.agreement.grab()
    np.testing.assert_allclose(curves._agreement.getData(), [[2], [0.9]])


def test_the_chosen_threshold_is_marked(curves):
    assert not curves._chosen.isVisible()
    curves.show_score(ScoreCurve(np.linspace(0, 1, 5), np.arange(5.0), 0.25))
    assert curves._chosen.value() == 0.25
    np.testing.assert_allclose(curves._score.getData()[1], np.arange(5))
    assert "0.250" in curves.score.getPlotItem().titleLabel.text


def test_a_long_run_draws_few_points(curves):
    for e in range(1, 11):
        curves.add_batches([BatchFinished(e, b, 1000, 0.1) for b in range(1, 1001)])
    assert len(curves._steps.getData()[0]) <= 2000


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_colours_follow_the_theme(curves, theme):
    curves.viewer.theme = theme
    background = get_theme(theme).background.as_hex()
    for plot in (curves.loss, curves.agreement, curves.score):
        assert plot.backgroundBrush().color().name() == background or len(background) == 4
    curves.release()
    curves.viewer.theme = "light" if theme == "dark" else "dark"
    assert curves.loss.backgroundBrush().color().name() != get_theme(curves.viewer.theme).background.as_hex()


# ---- supervised training -------------------------------------------------------------------------------


@pytest.fixture
def train_curves(qtbot):
    train_curves = TrainCurves(ViewerModel())
    qtbot.addWidget(train_curves)
    return train_curves


def started(validation=1, classes=(0, 1), before=()):
    return TrainStarted(4, 2, 3, validation, classes, "cpu", None, len(before), before)


def train_epoch(number, training, validation, best, losses=(0.5, 0.6)):
    held = None if validation is None else Scores(validation, validation / 2, 1.0)
    loss = math.nan if validation is None else losses[1]
    return TrainEpoch(number, 4, losses[0], 1e-3, Scores(training, training / 2, 1.0), held, loss, best, 1, 0, {})


def drawn(curves, plot, who):
    x, y = curves.curves[getattr(curves, plot), who].getData()
    return [] if x is None else list(zip(x.tolist(), y.tolist(), strict=True))


def test_losses_and_scores_by_epoch_with_the_best_marked(train_curves):
    train_curves.begin(started())
    train_curves.add_batches([BatchFinished(1, b, 2, 1 / b) for b in (1, 2)])
    train_curves.add_epoch(train_epoch(1, 0.5, 0.7, 1))
    train_curves.add_epoch(train_epoch(2, 0.6, 0.65, 1, (0.3, 0.4)))
    np.testing.assert_allclose(train_curves._steps.getData(), [[0.5, 1], [1, 0.5]])
    assert drawn(train_curves, "loss", "training") == [(1, 0.5), (2, 0.3)]
    assert drawn(train_curves, "loss", "validation") == [(1, 0.6), (2, 0.4)]
    assert drawn(train_curves, "score", "training") == [(1, 0.5), (2, 0.6)]
    assert drawn(train_curves, "score", "validation") == [(1, 0.7), (2, 0.65)]
    assert [line.value() for line in train_curves.best] == [1, 1]
    assert all(line.isVisible() for line in train_curves.best)


def test_without_validation(train_curves):
    train_curves.begin(started(validation=0))
    train_curves.add_epoch(train_epoch(1, 0.5, None, 1))
    assert all(note.isVisible() for note in train_curves.notes)
    assert drawn(train_curves, "loss", "validation") == drawn(train_curves, "score", "validation") == []
    assert not any(line.isVisible() for line in train_curves.best)
    assert "validation" not in train_curves.loss.getPlotItem().titleLabel.text
    train_curves.clear()
    assert not any(note.isVisible() for note in train_curves.notes)
    assert drawn(train_curves, "loss", "training") == []


def test_of_many_classes_the_mean_iou(train_curves):
    train_curves.begin(started(classes=(0, 1, 2)))
    train_curves.add_epoch(train_epoch(1, 0.5, 0.7, 1))
    assert drawn(train_curves, "score", "validation") == [(1, 0.35)]
    assert "mIoU" in train_curves.score.getPlotItem().titleLabel.text


def test_a_resumed_run_shows_what_came_before(train_curves):
    row = {"epoch": 1, "loss": 0.9, "validation_loss": 0.8, "training_dice": 0.1, "validation_dice": 0.2}
    train_curves.begin(started(before=({**row, "best_epoch": 1},)))
    train_curves.add_epoch(train_epoch(2, 0.6, 0.65, 2))
    assert drawn(train_curves, "score", "validation") == [(1, 0.2), (2, 0.65)]
    assert drawn(train_curves, "loss", "training") == [(1, 0.9), (2, 0.5)]
    assert train_curves.best[1].value() == 2


def test_colours_follow_the_theme_until_released(train_curves):
    before = train_curves.loss.backgroundBrush().color().name()
    train_curves.viewer.theme = "light"
    light = train_curves.loss.backgroundBrush().color().name()
    assert light != before
    assert "training" in train_curves.loss.getPlotItem().titleLabel.text
    train_curves.release()
    train_curves.viewer.theme = "dark"
    assert train_curves.loss.backgroundBrush().color().name() == light
