"""What holds for all widgets: tooltips, the way of the Tab key, pages of the documentation, keys."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from napari.utils.action_manager import action_manager
from qtpy.QtCore import QLocale, QPoint, Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QTabBar,
    QTableWidget,
    QToolButton,
    QWidget,
)
from superqt import QCollapsible

from napari_metastructure.labels.recipes import DisplaceBoundary
from napari_metastructure.plugin import _help
from napari_metastructure.plugin._density_form import BandwidthRow
from napari_metastructure.plugin._form import slider_editor
from napari_metastructure.plugin._inputs import NARROWEST, TABBED
from napari_metastructure.plugin._job_widget import RunButtons
from napari_metastructure.plugin._recipe_form import dial_editor
from napari_metastructure.plugin._tables import _Share
from napari_metastructure.plugin.compare import CompareWidget
from napari_metastructure.plugin.density import DensityWidget
from napari_metastructure.plugin.igtt import IGTTWidget
from napari_metastructure.plugin.measure import MeasureWidget
from napari_metastructure.plugin.noise import NoiseWidget
from napari_metastructure.plugin.predict import PredictWidget
from napari_metastructure.plugin.study import StudyWidget
from napari_metastructure.plugin.train import TrainWidget

WIDGETS = {
    "igtt": IGTTWidget,
    "train": TrainWidget,
    "predict": PredictWidget,
    "noise": NoiseWidget,
    "density": DensityWidget,
    "measure": MeasureWidget,
    "study": StudyWidget,
    "compare": CompareWidget,
}

INPUTS = (QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)

OF_QT = (QScrollBar, QHeaderView)
"""Inputs that belong to others, which say what they are for."""


@pytest.fixture(params=WIDGETS)
def opened(request, make_napari_viewer, settle):
    """Each widget in a window, with an image and labels of it, all its groups open."""
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.zeros((48, 48), np.float32), name="cells")
    viewer.add_labels(np.eye(48, dtype=np.uint8), name="cells mask")
    widget = WIDGETS[request.param](viewer)
    viewer.window.add_dock_widget(widget, name=request.param)
    for group in widget.findChildren(QCollapsible):
        group.expand(animate=False)
    if request.param in ("noise", "density", "measure"):
        settle(widget)
    return viewer, widget


def explained(part: QWidget, top: QWidget) -> str:
    """What the mouse shows over a part: its own tooltip, else that of what it is in."""
    while part is not top:
        if part.toolTip():
            return part.toolTip()
        part = part.parentWidget()
    return ""


def test_every_input_says_what_it_is_for(opened):
    _, widget = opened
    silent = [
        f"{type(part).__name__} {part.text() if isinstance(part, QAbstractButton) else ''}"
        for part in widget.findChildren(QWidget)
        if isinstance(part, INPUTS)
        and not isinstance(part, OF_QT)
        and not isinstance(part.parentWidget(), (QTabBar, QComboBox))
        and not (isinstance(part.parentWidget(), QAbstractItemView) and isinstance(part, QAbstractButton))  # its corner
        and not explained(part, widget)
    ]
    assert silent == []


def test_nothing_is_cut_off_in_the_narrowest_dock(opened, qtbot):
    viewer, widget = opened
    for layer in viewer.layers:
        layer.name = f"{layer.name}_{'of_one_word_' * 9}"
    dock = widget.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.setFloating(True)  # where no other dock has a say
    dock.resize(NARROWEST // 2, 700)
    QApplication.processEvents()
    assert NARROWEST <= widget.width() <= 1.25 * NARROWEST
    buttons = [part for part in widget.findChildren(QAbstractButton) if part.isVisible() and part.text()]
    assert [button.text() for button in buttons if button.width() < button.minimumSizeHint().width()] == []
    qtbot.wait(200)  # previews may have come
    shown = [scroll for scroll in widget.findChildren(QScrollArea) if scroll.isVisible()]
    assert [scroll.horizontalScrollBar().maximum() for scroll in shown] == [0] * len(shown)


def test_a_button_that_is_always_in_sight_has_a_name_of_its_own(opened):
    _viewer, widget = opened
    buttons = [part for part in widget.findChildren(QPushButton) if not isinstance(part.parentWidget(), RunButtons)]
    scrolled = {part for scroll in widget.findChildren(QScrollArea) for part in scroll.findChildren(QPushButton)}
    names = Counter(part.text() for part in buttons)
    assert [name for part in buttons if part not in scrolled and names[name := part.text()] > 1] == []


def test_tab_goes_through_a_widget_as_one_reads(opened, qtbot):
    viewer, widget = opened
    widget.tools.reset_button.setFocus()
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(widget.tools.reset_button.hasFocus)
    passed = [widget.tools.reset_button]
    for _ in range(300):
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        now = QApplication.focusWidget()
        if now is None or not widget.isAncestorOf(now):
            break
        assert now not in passed, f"Tab is caught: {now} comes again"
        passed.append(now)
    wanted = {
        part
        for part in widget.findChildren(QWidget)
        if part.focusPolicy() in TABBED
        and part.isEnabled()
        and part.isVisible()
        and part.focusProxy() is None
        and not isinstance(part, (QScrollArea, QTabBar))
    }
    missing = {(type(part).__name__, part.toolTip()[:60]) for part in wanted - set(passed)}
    assert missing == set()
    bottom = next((scroll for scroll in widget.findChildren(QScrollArea) if scroll.isVisible()), widget)
    places = [part for part in passed if bottom.isAncestorOf(part)]
    middles = [part.mapTo(bottom.widget(), QPoint(0, part.height() // 2)).y() for part in places]
    for one, following in pairwise(zip(middles, places, strict=True)):
        assert following[0] > one[0] - 14, f"{one[1].toolTip()!r} comes before {following[1].toolTip()!r}"
    assert passed[-1] not in places  # what is pinned below comes last
    assert all(part not in places for part in passed[passed.index(places[-1]) + 1 :])


def test_help_opens_the_page_of_the_widget(opened, monkeypatch, root):
    _, widget = opened
    asked = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: asked.append(url.toString()) or True)
    widget.tools.help_button.click()
    name = next(name for name, kind in WIDGETS.items() if isinstance(widget, kind))
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert asked == [f"{urls['Documentation']}{_help.PAGES[name]}/"]
    assert (root / "docs" / f"{_help.PAGES[name]}.md").is_file()


def test_run_pause_and_stop_say_their_keys(opened):
    _, widget = opened
    for pressed, key in (("run", "Ctrl"), ("pause", "Ctrl"), ("stop", "Ctrl")):
        for button in widget.keys.buttons.get(pressed, ()):
            assert isinstance(button, (QPushButton, QToolButton))
            assert re.search(rf"<b>[^<]*({key}|⌃|⌘)", button.toolTip()), button.toolTip()
    assert action_manager._shortcuts["napari-metastructure:run"]


# ---- numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["de_DE", "en_US"])
@pytest.mark.parametrize("text", ["0.35", "0,35"])
@pytest.mark.parametrize("name", ["share", "pixels", "bandwidth", "matrix"])
def test_a_point_and_a_comma_mean_the_same_whatever_the_locale(qtbot, name, text, locale):
    before = QLocale()
    QLocale.setDefault(QLocale(locale))
    try:
        if name == "share":
            editor = slider_editor(0, 1)
            widget, box, value = editor.widget, editor.widget.findChild(QLineEdit), editor.get
        elif name == "pixels":
            editor = dial_editor(DisplaceBoundary.model_fields["amplitude"])
            widget, box, value = editor.widget, editor.widget, editor.get
        elif name == "bandwidth":
            widget = BandwidthRow()
            box, value = widget.number, widget.value
        else:
            widget = QTableWidget(1, 1)
            box = _Share(widget).createEditor(widget, None, widget.model().index(0, 0))
            value = box.value
        qtbot.addWidget(widget)
        widget.show()
        box.setFocus()
        box.selectAll()
        QTest.keyClicks(box, text)
        QTest.keyClick(box, Qt.Key.Key_Return)
        assert value() == 0.35
    finally:
        QLocale.setDefault(before)
