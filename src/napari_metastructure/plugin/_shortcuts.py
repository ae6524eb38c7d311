"""Keys of the widgets, as actions of napari's: they show in tooltips and can be changed in napari's preferences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakSet

import napari
from app_model.types import KeyBinding, KeyCode
from napari.layers import Labels, Layer
from napari.utils.action_manager import action_manager
from napari.utils.interactions import Shortcut
from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractButton, QApplication, QDockWidget, QWidget

from napari_metastructure.plugin._layers import EpochSlider, ReleaseOnClose
from napari_metastructure.plugin._preferences import keep, kept

PACKAGE = "napari-metastructure"


@dataclass(frozen=True)
class Key:
    """Shortcut: its description, the key, and the function of the viewer that it calls."""

    text: str
    key: str
    act: Callable[[Any], None]
    repeats: bool = False


def _presses(name: str, otherwise: str) -> Callable[[Any], None]:
    """Make the function that presses a button of this name in the foremost widget where it can be pressed."""

    def press(viewer: Any) -> None:
        if not any(keys.press(name) for keys in in_front(viewer)):
            show_info(otherwise)

    return press


def _steps(by: int) -> Callable[[Any], None]:
    """Make the function that moves the slider of the front widget's epochs."""

    def step(viewer: Any) -> None:
        for keys in in_front(viewer):
            slider = keys.slider()
            if slider is not None and slider.epochs and (axis := slider.axis) is not None:
                at = slider.epochs.index(min(slider.epochs, key=lambda epoch: abs(epoch - slider.epoch)))
                viewer.dims.set_point(axis, slider.epochs[min(max(at + by, 0), len(slider.epochs) - 1)])
                return

    return step


def _brushes(name: str, on: bool) -> Callable[[Any], None]:
    """Make the function that takes up a brush: that of the front widget, else one on the selected Labels layer."""

    def brush(viewer: Any) -> None:
        if any(keys.press(name) for keys in in_front(viewer)[:1]):
            return
        layer = viewer.layers.selection.active
        if not isinstance(layer, Labels) or not layer.editable:
            show_info("There is nothing to paint on yet; run iGTT, or select a Labels layer.")
            return
        if on:
            layer.selected_label = layer.selected_label or 1
        layer.mode = "paint" if on else "erase"

    return brush


def _show_or_hide(viewer: Any) -> None:
    """Hide the front widget's results that are seen; show them again if none is."""
    for keys in in_front(viewer):
        if results := [layer for layer in keys.results() if layer in viewer.layers]:
            seen = [layer for layer in results if layer.visible]
            for layer in seen or [layer for layer in results if layer in keys.hidden] or results:
                layer.visible = not seen
            keys.hidden = WeakSet(seen)
            return


NO_RUN = "No widget of Meta-structure is open that could run now."

NO_OUTLINES = "No widget is open that draws outlines."

KEYS = {
    "run": Key("Run the open widget of Meta-structure", "Ctrl+Enter", _presses("run", NO_RUN)),
    "pause": Key("Pause its run, or let it go on", "Ctrl+P", _presses("pause", "No run is going on that could pause.")),
    "stop": Key("Stop its run", "Ctrl+.", _presses("stop", "No run is going on.")),
    "previous_epoch": Key("Previous epoch of its run", ",", _steps(-1), repeats=True),
    "next_epoch": Key("Next epoch of its run", ".", _steps(1), repeats=True),
    "object_brush": Key("Paint objects on its masks", "J", _brushes("object_brush", True)),
    "background_brush": Key("Paint background on its masks", "K", _brushes("background_brush", False)),
    "outlines": Key("Draw its masks as outlines, or filled", "Shift+C", _presses("outlines", NO_OUTLINES)),
    "show_results": Key("Show or hide its masks", "Shift+M", _show_or_hide),
}
"""By name. No key is one of napari's own, of any layer."""


@cache
def register() -> None:
    """Make the actions known to napari, with the keys that its preferences say; once, before the first widget."""
    from napari.components import ViewerModel
    from napari.settings import get_settings

    settings = get_settings().shortcuts

    def take_over(event: Any = None) -> None:
        """Keep the keys of these actions here: at each start napari warns of all whose plugin is not loaded yet."""
        ours = {name: list(map(str, keys)) for name, keys in settings.shortcuts.items() if name.startswith(PACKAGE)}
        if ours:
            keep("keys", ours)
            settings.shortcuts = {name: keys for name, keys in settings.shortcuts.items() if name not in ours}

    take_over()
    settings.events.shortcuts.connect(take_over)
    chosen = kept().get("keys")
    taken = {str(key) for keys in settings.shortcuts.values() for key in keys}
    for name, key in KEYS.items():

        def command(viewer: Any, act: Callable[[Any], None] = key.act) -> None:
            act(viewer)

        command.__name__ = f"metastructure_{name}"  # napari tells by it which keys repeat
        action = f"{PACKAGE}:{name}"
        action_manager.register_action(action, command, key.text, ViewerModel, key.repeats)
        action_manager.unbind_shortcut(action)  # what napari found in its settings
        keys = chosen.get(action) if isinstance(chosen, dict) else None
        for shortcut in keys if isinstance(keys, list) else [key.key]:
            if shortcut not in taken:
                with suppress(TypeError, ValueError, KeyError):  # damaged
                    pressed = KeyBinding.from_str(str(shortcut))
                    if pressed.parts and all(part.key != KeyCode.UNKNOWN for part in pressed.parts):
                        action_manager.bind_shortcut(action, pressed)


_all: WeakSet[Keys] = WeakSet()


class Keys(QObject):
    """Shortcuts of one widget.

    Parameters
    ----------
    widget : QWidget
    viewer : napari.Viewer
    buttons : mapping of str to sequence of QAbstractButton
        Which one of `KEYS` presses, the first that can be pressed; their tooltips say so.
    slider : callable
        Returns what tells the epochs of the run that is shown, or None.
    results : callable
        Returns the layers that it made.
    """

    def __init__(
        self,
        widget: QWidget,
        viewer: napari.Viewer,
        buttons: Mapping[str, Sequence[QAbstractButton]],
        slider: Callable[[], EpochSlider | None] = lambda: None,
        results: Callable[[], Sequence[Layer]] = lambda: (),
    ) -> None:
        super().__init__(widget)
        self.widget, self.viewer = widget, viewer
        self.buttons: dict[str, Sequence[QAbstractButton]] = {}
        self.slider, self.results = slider, results
        self.hidden: WeakSet[Layer] = WeakSet()
        self._tips: dict[QWidget, tuple[str, list[str]]] = {}
        self._docked = False
        widget.installEventFilter(self)
        register()
        _all.add(self)
        ReleaseOnClose(self).listen(action_manager.events.shortcut_changed, self._tell)
        self.add(buttons)

    def add(self, buttons: Mapping[str, Sequence[QAbstractButton]], tell: Mapping[str, QWidget] | None = None) -> None:
        """Press these buttons too; say in the tooltips of further parts which key does what."""
        self.buttons.update(buttons)
        parts = [(part, name) for name, pressed in buttons.items() for part in pressed]
        for part, name in (*parts, *((part, name) for name, part in (tell or {}).items())):
            self._tips.setdefault(part, (part.toolTip(), []))[1].append(name)
        self._tell()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Notice that the widget is put into a dock."""
        if event.type() == QEvent.Type.ParentChange and watched is self.widget:
            self._docked = self._docked or self.widget.parentWidget() is not None
        return False

    @property
    def closed(self) -> bool:
        """Whether the dock that the widget was in was closed, or is hidden; behind another tab it is not."""
        part = self.widget
        while part is not None and not isinstance(part, QDockWidget):
            part = part.parentWidget()
        if part is None:
            return self._docked
        # one that was added just now is not shown yet, but nobody has hidden it
        return part.isHidden() and part.testAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide)

    def press(self, name: str) -> bool:
        """Press the first button of this name that can be pressed; False if none can."""
        for button in self.buttons.get(name, ()):
            if button.isEnabled() and not button.isHidden():
                button.click()
                return True
        return False

    def _tell(self, event: Any = None) -> None:
        for part, (tip, names) in self._tips.items():
            if isalive(part):
                part.setToolTip(
                    f"<qt>{tip.removeprefix('<qt>').removesuffix('</qt>')}{''.join(map(_said, names))}</qt>"
                )


def _said(name: str) -> str:
    """Say the keys of an action, as a paragraph."""
    keys = " or ".join(str(Shortcut(key)) for key in action_manager._shortcuts.get(f"{PACKAGE}:{name}", ()))
    return f"<p>{KEYS[name].text}: <b>{keys}</b></p>" if keys else ""


def in_front(viewer: napari.Viewer) -> list[Keys]:
    """Return the widgets of a viewer: the one in use, then the visible ones, then those behind."""
    mine = [keys for keys in _all if isalive(keys) and keys.viewer is viewer and not keys.closed]
    focus = QApplication.focusWidget()

    def place(keys: Keys) -> tuple[bool, bool]:
        widget = keys.widget
        return focus is None or not widget.isAncestorOf(focus), widget.visibleRegion().isEmpty()

    return sorted(mine, key=place)
