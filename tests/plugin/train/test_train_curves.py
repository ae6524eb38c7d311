"""The plots show what the events say, and say so where there is no validation."""

import math

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.plugin._curves import TrainCurves
from napari_metastructure.training.events import BatchFinished, TrainEpoch, TrainStarted
from napari_metastructure.training.metrics import Scores


@pytest.fixture
def curves(qtbot):
    curves = TrainCurves(ViewerModel())
    qtbot.addWidget(curves)
    return curves


def started(validation=1, classes=(0, 1), before=()):
    return TrainStarted(4, 2, 3, validation, classes, "cpu", None, len(before), before)


def epoch(number, training, validation, best, losses=(0.5, 0.6)):
    held = None if validation is None else Scores(validation, validation / 2, 1.0)
    loss = math.nan if validation is None else losses[1]
    return TrainEpoch(number, 4, losses[0], 1e-3, Scores(training, training / 2, 1.0), held, loss, best, 1, 0, {})


def drawn(curves, plot, who):
    x, y = curves.curves[getattr(curves, plot), who].getData()
    return [] if x is None else list(zip(x.tolist(), y.tolist(), strict=True))


def test_losses_and_scores_by_epoch_with_the_best_marked(curves):
    curves.begin(started())
    curves.add_batches([BatchFinished(1, b, 2, 1 / b) for b in (1, 2)])
    curves.add_epoch(epoch(1, 0.5, 0.7, 1))
    curves.add_epoch(epoch(2, 0.6, 0.65, 1, (0.3, 0.4)))
    np.testing.assert_allclose(curves._steps.getData(), [[0.5, 1], [1, 0.5]])
    assert drawn(curves, "loss", "training") == [(1, 0.5), (2, 0.3)]
    assert drawn(curves, "loss", "validation") == [(1, 0.6), (2, 0.4)]
    assert drawn(curves, "score", "training") == [(1, 0.5), (2, 0.6)]
    assert drawn(curves, "score", "validation") == [(1, 0.7), (2, 0.65)]
    assert [line.value() for line in curves.best] == [1, 1]
    assert all(line.isVisible() for line in curves.best)


def test_without_validation(curves):
    curves.begin(started(validation=0))
    curves.add_epoch(epoch(1, 0.5, None, 1))
    assert all(note.isVisible() for note in curves.notes)
    assert drawn(curves, "loss", "validation") == drawn(curves, "score", "validation") == []
    assert not any(line.isVisible() for line in curves.best)
    assert "validation" not in curves.loss.getPlotItem().titleLabel.text
    curves.clear()
    assert not any(note.isVisible() for note in curves.notes)
    assert drawn(curves, "loss", "training") == []


def test_of_many_classes_the_mean_iou(curves):
    curves.begin(started(classes=(0, 1, 2)))
    curves.add_epoch(epoch(1, 0.5, 0.7, 1))
    assert drawn(curves, "score", "validation") == [(1, 0.35)]
    assert "mIoU" in curves.score.getPlotItem().titleLabel.text


def test_a_resumed_run_shows_what_came_before(curves):
    row = {"epoch": 1, "loss": 0.9, "validation_loss": 0.8, "training_dice": 0.1, "validation_dice": 0.2}
    curves.begin(started(before=({**row, "best_epoch": 1},)))
    curves.add_epoch(epoch(2, 0.6, 0.65, 2))
    assert drawn(curves, "score", "validation") == [(1, 0.2), (2, 0.65)]
    assert drawn(curves, "loss", "training") == [(1, 0.9), (2, 0.5)]
    assert curves.best[1].value() == 2


def test_colours_follow_the_theme_until_released(curves):
    before = curves.loss.backgroundBrush().color().name()
    curves.viewer.theme = "light"
    light = curves.loss.backgroundBrush().color().name()
    assert light != before
    assert "training" in curves.loss.getPlotItem().titleLabel.text
    curves.release()
    curves.viewer.theme = "dark"
    assert curves.loss.backgroundBrush().color().name() == light
