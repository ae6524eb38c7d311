"""The plots show what the events say, in the colours of the theme."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.theme import get_theme

from napari_metastructure.plugin._curves import Curves
from napari_metastructure.training.events import BatchFinished, EpochFinished, ScoreCurve


@pytest.fixture
def curves(qtbot):
    curves = Curves(ViewerModel())
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
