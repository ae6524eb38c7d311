from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from app_model.types import KeyBinding
from napari import layers
from napari._app_model import get_app_model
from napari.components import ViewerModel
from napari.layers.base import Layer
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import KeymapProvider, coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_metastructure.plugin._painting import BACKGROUND, OBJECT
from napari_metastructure.plugin._shortcuts import KEYS, NO_RUN, PACKAGE, Keys, in_front, register

CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
NONE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def press(qtbot):
    """Presses a key in a viewer's canvas."""

    def key(viewer, code, modifier=NONE):
        QTest.keyClick(viewer.window._qt_window, code, modifier)

    return key


def test_no_key_is_one_of_naparis(make_napari_viewer):
    make_napari_viewer()  # its menus bring their keys
    register()
    ours = {name: coerce_keybinding(key.key) for name, key in KEYS.items()}
    assert len(set(map(str, ours.values()))) == len(ours)
    theirs = {str(key) for keys in default_shortcuts.values() for key in keys}
    theirs |= {str(rule.keybinding) for rule in get_app_model().keybindings}
    providers = [kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, KeymapProvider)]
    for provider in (ViewerModel, Layer, *providers):
        bound = {name for name, action in action_manager._actions.items() if name.startswith(PACKAGE)}
        theirs |= {
            str(key)
            for key, function in provider.class_keymap.items()
            if function.__name__ not in {action_manager._actions[name].command.__name__ for name in bound}
        }
    assert not theirs & set(map(str, ours.values()))


def test_napari_lists_and_changes_the_keys(make_napari_viewer, open_widget, blobs):
    from napari._qt.widgets.qt_keyboard_settings import ShortcutEditor

    _, widget = open_widget(blobs())
    run = widget.buttons.run
    assert "Ctrl" in run.toolTip()
    make_napari_viewer()
    editor = ShortcutEditor()
    offered = editor.key_bindings_strs[ShortcutEditor.VIEWER_KEYBINDINGS]
    assert {f"{PACKAGE}:{name}" for name in KEYS} <= set(offered)
    editor.deleteLater()
    name = f"{PACKAGE}:run"
    before = action_manager.unbind_shortcut(name)
    try:
        assert "<b>" not in run.toolTip()
        action_manager.bind_shortcut(name, KeyBinding.from_str("Ctrl+G"))
        assert "G</b>" in run.toolTip()
    finally:
        action_manager.unbind_shortcut(name)
        for key in before:
            action_manager.bind_shortcut(name, key)


def test_keys_run_pause_resume_and_stop(open_widget, blobs, press, qtbot, hold):
    viewer, widget = open_widget(blobs(), config={"epochs": 500}, show=True)
    press(viewer, Qt.Key.Key_Return, CTRL)
    qtbot.waitUntil(lambda: widget.running)
    held = hold(widget.runner.control)
    press(viewer, Qt.Key.Key_P, CTRL)
    qtbot.waitUntil(held.is_set)
    assert widget.runner.control.paused
    press(viewer, Qt.Key.Key_P, CTRL)
    assert not widget.runner.control.paused
    press(viewer, Qt.Key.Key_Period, CTRL)
    qtbot.waitUntil(lambda: not widget.running)


def test_a_key_works_while_a_field_of_the_widget_is_in_use(open_widget, blobs, press, qtbot):
    _, widget = open_widget(blobs(), show=True)
    box = widget.settings.main.editors["epochs"].widget
    box.setFocus()
    QTest.keyClick(box, Qt.Key.Key_Return, CTRL)
    qtbot.waitUntil(lambda: widget.running)


def test_a_key_with_nothing_to_do_says_so(open_widget, blobs, press, said):
    viewer, _ = open_widget(blobs(), show=True)
    press(viewer, Qt.Key.Key_Period, CTRL)
    press(viewer, Qt.Key.Key_P, CTRL)
    assert said() == ["No run is going on.", "No run is going on that could pause."]
    for code in (Qt.Key.Key_Comma, Qt.Key.Key_Period, Qt.Key.Key_J):
        press(viewer, code)
    press(viewer, Qt.Key.Key_M, SHIFT)
    assert said()[2:] == ["There is nothing to paint on yet; run iGTT, or select a Labels layer."]


def test_keys_go_through_epochs_paint_and_hide(open_widget, blobs, run, press):
    viewer, widget = open_widget(blobs(), config={"epochs": 2, "rounds": "always"}, show=True)
    run(widget)
    masks = widget.layers.parts[0].masks
    newest = widget.layers.epochs[-1]
    assert newest >= 1
    viewer.dims.set_point(0, newest)
    press(viewer, Qt.Key.Key_Comma)
    assert widget.layers.epoch == newest - 1
    for _ in range(5):
        press(viewer, Qt.Key.Key_Comma)
    assert widget.layers.epoch == widget.layers.epochs[0]
    press(viewer, Qt.Key.Key_Period)
    assert widget.layers.epoch == widget.layers.epochs[0] + 1
    viewer.layers.selection.active = viewer.layers["a"]
    press(viewer, Qt.Key.Key_K)
    strokes = viewer.layers.selection.active
    assert (strokes, strokes.mode, strokes.selected_label) == (widget.layers.parts[0].canvas, "paint", BACKGROUND)
    press(viewer, Qt.Key.Key_J)
    assert strokes.selected_label == OBJECT
    press(viewer, Qt.Key.Key_J)
    assert strokes.mode == "pan_zoom"
    press(viewer, Qt.Key.Key_C, SHIFT)
    assert masks.contour > 0
    press(viewer, Qt.Key.Key_C, SHIFT)
    assert masks.contour == 0
    press(viewer, Qt.Key.Key_M, SHIFT)
    assert not masks.visible
    press(viewer, Qt.Key.Key_M, SHIFT)
    assert masks.visible


def test_a_brush_takes_the_selected_layer_if_it_can_be_painted_on(open_widget, blobs, press):
    viewer, _ = open_widget(blobs(), show=True)
    labels = viewer.add_labels(np.zeros((64, 64), np.uint8))
    press(viewer, Qt.Key.Key_J)
    assert (labels.mode, labels.selected_label) == ("paint", 1)
    labels.mode = "pan_zoom"
    labels.editable = False
    press(viewer, Qt.Key.Key_J)
    assert labels.mode == "pan_zoom"


def test_the_widget_in_use_comes_first(open_widget, blobs, qtbot):
    from napari_metastructure.plugin.predict import PredictWidget

    viewer, widget = open_widget(blobs(), show=True)
    other = PredictWidget(viewer)
    viewer.window.add_dock_widget(other, name="Predict")
    qtbot.waitUntil(lambda: not other.visibleRegion().isEmpty())
    qtbot.waitUntil(lambda: widget.visibleRegion().isEmpty())  # a tab behind
    assert [keys.widget for keys in in_front(viewer)] == [other, widget]


def test_a_closed_dock_hears_no_key(open_widget, blobs, press, said, qtbot):
    viewer, widget = open_widget(blobs(), config={"epochs": 500}, show=True)
    (dock,) = (dock for dock in viewer.window._wrapped_dock_widgets.values() if dock.isAncestorOf(widget))
    dock.hide()
    assert in_front(viewer) == []
    dock.show()
    assert [keys.widget for keys in in_front(viewer)] == [widget]
    viewer.window.remove_dock_widget(widget)
    qtbot.addWidget(widget)  # which deletes it: nobody else does now
    press(viewer, Qt.Key.Key_Return, CTRL)
    assert not widget.running
    assert said() == [NO_RUN]


def test_a_widget_that_is_gone_hears_no_key(qtbot, blobs):
    from qtpy.QtWidgets import QPushButton, QWidget

    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 4)))
    widget = QWidget()
    keys = Keys(widget, viewer, {"run": (QPushButton(widget),)})
    assert in_front(viewer) == [keys]
    widget.deleteLater()
    del widget
    qtbot.waitUntil(lambda: in_front(viewer) == [])
    action_manager.events.shortcut_changed(name="napari-metastructure:run", shortcut="", tooltip="")


def test_changed_keys_are_kept_here_and_not_by_napari(plugin_settings, npe2pm, tmp_path):
    """napari would warn of each at its next start: the plugin is loaded with its first widget alone."""
    from napari.settings import get_settings

    npe2pm.register(PluginManifest.from_distribution(PACKAGE))
    name, settings = f"{PACKAGE}:run", get_settings().shortcuts
    try:
        register.cache_clear()
        register()
        settings.shortcuts = {**settings.shortcuts, name: [KeyBinding.from_str("Ctrl+J")]}
        assert not any(action.startswith(PACKAGE) for action in settings.shortcuts)
        register.cache_clear()
        register()
        assert list(map(str, action_manager._shortcuts[name])) == ["Ctrl+J"]
        for damaged in ('{"keys": 3}', json.dumps({"keys": {name: 3}}), json.dumps({"keys": {name: ["", 3, "?-?"]}})):
            (tmp_path / f"{PACKAGE}-last.json").write_text(damaged)
            register.cache_clear()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                register()
            assert "" not in map(str, action_manager._shortcuts[name])
    finally:
        (tmp_path / f"{PACKAGE}-last.json").unlink()
        register.cache_clear()
        register()
    assert list(map(str, action_manager._shortcuts[name])) == ["Ctrl+Enter"]
