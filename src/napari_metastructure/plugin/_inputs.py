"""Inputs of the widgets: boxes and lists of the viewer's layers, lines for paths, and how parts are laid out."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakMethod

import napari
from magicgui.widgets import ComboBox
from napari.layers import Image, Layer
from qtpy import QtCore, QtWidgets
from qtpy.compat import isalive

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._dock import Docking
from napari_metastructure.plugin._form import Editor, choice_editor, narrow, tooltip, with_tip
from napari_metastructure.plugin._glossary import explain_terms
from napari_metastructure.plugin._layers import ORIGIN, READING_TIP, READINGS, full
from napari_metastructure.training.run_folder import FoundRun


def follow_layers(viewer: napari.Viewer, refresh: Callable[[], None]) -> Callable[[], None]:
    """Call a method when layers come, go, move or are renamed; return what ends that."""
    events = viewer.layers.events
    return follow((events.inserted, events.removed, events.reordered, events.renamed), refresh)


def follow(emitters: Sequence[Any], refresh: Callable[[], None]) -> Callable[[], None]:
    """Call a widget's method at these events of napari; return what ends that.

    napari does so for a docked widget that has ``reset_choices``. Ours need it in a window of their own as well, and in
    a docked widget that holds them. The method's widget is not kept alive, and it ends with the widget. Not by the
    widget's ``destroyed``: Python may have cleared a function that only a dying widget knows, and Qt would call it.
    """
    method: WeakMethod[Any] = WeakMethod(refresh)

    def on_layers(event: Any = None) -> None:
        call: Any = method()
        if call is None or not isalive(call.__self__):
            release()
        else:
            call()

    for emitter in emitters:
        emitter.connect(on_layers)

    def release() -> None:
        for emitter in emitters:
            emitter.disconnect(on_layers)

    return release


def in_sight(viewer: napari.Viewer, offered: Callable[[Layer], bool]) -> list[Any]:
    """Return the selected layers of those offered, else the topmost visible one, else the topmost."""
    layers = [layer for layer in viewer.layers if offered(layer)]
    selected = [layer for layer in layers if layer in viewer.layers.selection]
    return selected or [layer for layer in layers if layer.visible][-1:] or layers[-1:]


class LayerBox(QtWidgets.QWidget):
    """Choose one of the viewer's layers; ``picked`` says that it is another one now, ``activated`` that a user chose.

    Parameters
    ----------
    viewer : napari.Viewer
    tip : str
        What the layer is for.
    offered : callable
        Whether a layer is in the list.
    none : str, optional
        Text of an entry for no layer, which stands first; without it the visible one is chosen automatically.
    """

    picked = QtCore.Signal()

    def __init__(
        self, viewer: napari.Viewer, tip: str, offered: Callable[[Layer], bool], none: str | None = None
    ) -> None:
        super().__init__()
        self._near = partial(in_sight, viewer, offered) if none is None else None
        self._listed: list[tuple[str, Layer]] | None = None
        self._there = lambda: [(layer.name, layer) for layer in viewer.layers if offered(layer)]
        self.combo = ComboBox(choices=lambda _: self._listed or (), nullable=none is not None)
        self.combo.null_string = none or ""
        narrow(self.combo.native)
        self.combo.native.setToolTip(tooltip(tip))
        row(self.combo.native, into=self)
        self.activated = self.combo.native.activated
        self._before: Any = None
        self._choose_near()
        self.reset_choices()
        self.combo.native.currentIndexChanged.connect(lambda _: self._say())
        self.release = follow_layers(viewer, self.reset_choices)

    def chosen(self) -> Any:
        """Return the chosen layer, or None."""
        return self.combo.value

    def choose(self, layer: Layer | None) -> bool:
        """Choose a layer, or none; return False if it is not in the list."""
        if known := layer in self.combo.choices:
            self.combo.value = layer
        return known

    def reset_choices(self) -> None:
        """List the layers there are, in the viewer's order; the chosen one stays chosen, under whatever name."""
        if (there := self._there()) == self._listed:  # with many boxes each layer that comes would take seconds
            return
        self._listed, chosen = there, self.chosen()
        with QtCore.QSignalBlocker(self.combo.native):
            self.combo.choices = ()  # magicgui leaves known names where they are, and drops a renamed layer
            self.combo.reset_choices()
            if not self.choose(chosen):
                self._choose_near()
        self._say()

    def _choose_near(self) -> None:
        if self._near is not None and (near := self._near()):
            self.choose(near[-1])

    def _say(self) -> None:
        if (now := self.chosen()) is not self._before:
            self._before = now
            self.picked.emit()


ROLE = QtCore.Qt.ItemDataRole.UserRole

NARROWEST = 270
"""Pixels that a widget needs across; in a window of 1280 the canvas keeps more than half beside it."""

MOST_ROWS = 4
"""The list of layers grows to this many rows and scrolls beyond."""


class LayerPicker(QtWidgets.QWidget):
    """Tick one or many of the viewer's layers; ``picked`` says that the choice changed.

    The layers selected in the viewer are ticked, until the user ticks others here.

    Parameters
    ----------
    viewer : napari.Viewer
    tip : str
        What the layers are for.
    offered : callable, optional
        Whether a layer is in the list; by default images this plugin did not make.
    """

    picked = QtCore.Signal()

    def __init__(self, viewer: napari.Viewer, tip: str, offered: Callable[[Layer], bool] | None = None) -> None:
        super().__init__()
        self.viewer = viewer
        self.list = with_tip(QtWidgets.QListWidget(), tip)
        self.list.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(QtCore.Qt.TextElideMode.ElideMiddle)  # names differ at their ends, and sizes follow
        self.all_button, self.none_button = QtWidgets.QPushButton("Tick all"), QtWidgets.QPushButton("Tick none")
        self.all_button.setToolTip(tooltip("Tick all layers of this list."))
        self.none_button.setToolTip(tooltip("Tick no layer."))
        self.count = with_tip(QtWidgets.QLabel(), "How many layers of this list are ticked.")
        self._buttons = row(self.count, self.all_button, self.none_button)
        column(self.list, self._buttons, into=self)
        self._offered = offered or _is_source
        self._by_hand = False
        self.reset_choices()
        self.list.itemChanged.connect(self._on_ticked)
        self.all_button.clicked.connect(lambda: self.choose([item.data(ROLE) for item in self._items()]))
        self.none_button.clicked.connect(lambda: self.choose([]))
        releases = (
            follow_layers(viewer, self.reset_choices),
            follow([viewer.layers.selection.events.changed], self._on_selected),
        )
        self.release = lambda: [release() for release in releases]

    def chosen(self) -> list[Any]:
        """Return the ticked layers, in the order of the viewer."""
        return [item.data(ROLE) for item in self._items() if item.checkState() == QtCore.Qt.CheckState.Checked]

    def choose(self, layers: Sequence[Layer]) -> None:
        """Tick these layers and no others.

        Raises
        ------
        InputError
            If one is not in the list.
        """
        for layer in layers:
            if not self._offered(layer):
                raise InputError(f"Layer {layer.name!r} is a {type(layer).__name__} layer that cannot be chosen here.")
        self._by_hand = self.list.count() > 0
        self._tick(layers)

    def reset_choices(self) -> None:
        """List the layers there are. Ticks made by hand stay; before any, the visible layers are ticked."""
        before = self.chosen()
        layers = [layer for layer in self.viewer.layers if self._offered(layer)]
        chosen = [layer for layer in before if layer in layers]
        if not layers or (before and not chosen):
            self._by_hand = False
        with QtCore.QSignalBlocker(self.list):
            self.list.clear()
            for layer in layers:
                item = QtWidgets.QListWidgetItem(f"{layer.name}  ({_size(layer)})", self.list)
                item.setData(ROLE, layer)
                item.setToolTip(layer.name)
                item.setFlags(item.flags() | QtCore.Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(_state(layer in chosen))
            height = max(self.list.sizeHintForRow(0), self.fontMetrics().height() + 2)
            for item in self._items():
                item.setSizeHint(QtCore.QSize(1, height))  # as wide as the list: a longer name is shortened
        rows = min(max(len(layers), 1), MOST_ROWS)
        self.list.setFixedHeight(rows * height + 2 * self.list.frameWidth() + 6)
        self._buttons.setVisible(len(layers) > 1)
        if not self._by_hand:
            self._show(self._selected() or chosen or in_sight(self.viewer, self._offered))
        self._show_count()
        if self.chosen() != before:
            self.picked.emit()

    def _on_ticked(self) -> None:
        self._by_hand = True
        self._show_count()
        self.picked.emit()

    def _on_selected(self) -> None:
        """Tick what was selected; a selection of other layers, masks to be painted on say, changes nothing."""
        if not self._by_hand and self.isEnabled() and (selected := self._selected()):
            self._tick(selected)

    def _selected(self) -> list[Layer]:
        return [layer for layer in self.viewer.layers.selection if self._offered(layer)]

    def _tick(self, layers: Sequence[Layer]) -> None:
        before = self.chosen()
        self._show(layers)
        if self.chosen() != before:
            self.picked.emit()

    def _show(self, layers: Sequence[Layer]) -> None:
        with QtCore.QSignalBlocker(self.list):
            for item in self._items():
                item.setCheckState(_state(item.data(ROLE) in layers))
        self.list.viewport().update()  # blocked signals do not redraw it
        if not self._by_hand and (ticked := next((item for item in self._items() if item.data(ROLE) in layers), None)):
            self.list.scrollToItem(ticked)  # nobody has seen yet which they are
        self._show_count()

    def _show_count(self) -> None:
        self.count.setText(f"{len(self.chosen())} of {self.list.count()}")

    def _items(self) -> list[QtWidgets.QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]


def _is_source(layer: Layer) -> bool:
    return isinstance(layer, Image) and ORIGIN not in layer.metadata


def _size(layer: Layer) -> str:
    rgb = getattr(layer, "rgb", False)
    shape = full(layer).shape
    text = " x ".join(map(str, shape[:-1] if rgb else shape))
    return f"{text} RGB" if rgb else text


def _state(on: bool) -> QtCore.Qt.CheckState:
    return QtCore.Qt.CheckState.Checked if on else QtCore.Qt.CheckState.Unchecked


class PathEdit(QtWidgets.QWidget):
    """Name a folder, or a file: a line of text and file dialogs; ``changed`` says that it is another one.

    Not magicgui's FileEdit: its dialog belongs to no window and may open behind napari, and "~" is not understood.

    Parameters
    ----------
    hint : str
        What stands in the empty line, and above the dialog.
    tip : str
    files : str, optional
        Which files can be chosen too, as Qt's dialogs have it: "Models (*.safetensors)". By default only folders.
    """

    changed = QtCore.Signal()

    def __init__(self, hint: str, tip: str, files: str = "") -> None:
        super().__init__()
        self.line = QtWidgets.QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setClearButtonEnabled(True)
        self.folder_button, self.file_button = (
            QtWidgets.QPushButton("Folder…" if files else "Browse…"),
            QtWidgets.QPushButton("File…"),
        )
        parts = (self.line, self.folder_button, *([self.file_button] if files else []))
        for part in parts:
            part.setToolTip(tooltip(tip))
        row(*parts, into=self)
        self.files = files
        self.folder_button.clicked.connect(self._ask_folder)
        self.file_button.clicked.connect(self._ask_file)
        self.line.textChanged.connect(lambda _: self.changed.emit())

    def get(self) -> Path | None:
        """Return the path, or None."""
        text = self.line.text().replace("\0", "").strip()  # which no path may hold
        return Path(os.path.expanduser(text)) if text else None  # pathlib's own raises at a "~" it does not know

    def set(self, path: Path | str | None) -> None:
        """Show this path."""
        self.line.setText("" if path is None else str(path))

    def _ask_folder(self) -> None:
        self._take(QtWidgets.QFileDialog.getExistingDirectory(self, self.line.placeholderText(), self.line.text()))

    def _ask_file(self) -> None:
        self._take(
            QtWidgets.QFileDialog.getOpenFileName(self, self.line.placeholderText(), self.line.text(), self.files)[0]
        )

    def _take(self, path: str) -> None:
        if path:
            self.set(path)


class FolderRow(QtWidgets.QWidget):
    """Line for the run folder; empty means that nothing is written. A folder with a run in it offers to resume it.

    Parameters
    ----------
    kind : type
        How a run in the folder is read.
    resumed : str
        What a run goes on with, and what may be changed then, as the tooltip of the button says.
    """

    def __init__(self, kind: type[FoundRun[Any]], resumed: str) -> None:
        super().__init__()
        self.kind = kind
        self.path = PathEdit(
            "run folder (optional)",
            "Where the run keeps its settings, curves and network. Leave empty to keep nothing.",
        )
        self.found = yielding("The last epoch that the run in this folder finished.")
        self.load_button = with_tip(
            QtWidgets.QPushButton("Load settings"),
            "Load the settings of the run in this folder, for example to raise Epochs and go on.",
        )
        self.resume_button = with_tip(
            QtWidgets.QPushButton("Resume run"),
            f"Go on with the run in this folder from the last epoch it saved, on {resumed}",
        )
        column(self.path, row(self.found, self.load_button, self.resume_button), into=self)
        self.path.changed.connect(self.look)
        self.look()

    def get(self) -> Path | None:
        """Return the folder, or None."""
        return self.path.get()

    def set(self, folder: Path | str | None) -> None:
        """Show this folder."""
        self.path.set(folder)

    def look(self) -> None:
        """See whether the folder holds a run, and offer what can be done with it."""
        run = self.kind.find(self.get())
        for part in (self.found, self.load_button, self.resume_button):
            part.setVisible(run is not None)
        if run is not None:
            self.found.setText(f"Run at epoch {run.epoch}" if run.can_go_on else "Holds a run")
            self.resume_button.setEnabled(run.can_go_on)


Part: TypeAlias = QtWidgets.QWidget | QtWidgets.QLayout


def row(
    *parts: Part, into: QtWidgets.QWidget | None = None, spacing: int = 4, margin: int = 0, wide: Part | None = None
) -> QtWidgets.QWidget:
    """Put parts beside each other, into a widget or a new one; a ``wide`` one takes the room that is left."""
    return _fill(QtWidgets.QHBoxLayout(), parts, into, spacing, margin, wide)


def column(*parts: Part, into: QtWidgets.QWidget | None = None, spacing: int = 4, margin: int = 0) -> QtWidgets.QWidget:
    """Put parts below each other, into a widget or a new one."""
    return _fill(QtWidgets.QVBoxLayout(), parts, into, spacing, margin, None)


def _fill(
    layout: Any, parts: Iterable[Part], into: QtWidgets.QWidget | None, spacing: int, margin: int, wide: Part | None
) -> QtWidgets.QWidget:
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(spacing)
    for part in parts:
        layout.addWidget(part, int(part is wide)) if isinstance(part, QtWidgets.QWidget) else layout.addLayout(part)
    widget = QtWidgets.QWidget() if into is None else into
    widget.setLayout(layout)
    return widget


def lay_out(
    widget: QtWidgets.QWidget,
    parts: Iterable[Part],
    below: Iterable[QtWidgets.QWidget] = (),
) -> QtWidgets.QScrollArea:
    """Put parts, widgets or rows of them, into a widget, top to bottom; return what scrolls them on a low screen.

    Those ``below`` do not scroll: they are always visible.
    """
    scroll = _scrolled(parts, widget)
    _pin(widget, below)
    return scroll


def pages_above(
    widget: QtWidgets.QWidget,
    pages: Mapping[str, Iterable[QtWidgets.QWidget]],
    corner: QtWidgets.QWidget,
    below: Iterable[QtWidgets.QWidget],
) -> QtWidgets.QTabWidget:
    """Put pages of parts, by their titles, into a widget, and below them what all pages need; return the tabs.

    A part in the ``corner`` stands beside the titles.
    """
    tabs = QtWidgets.QTabWidget()
    tabs.setDocumentMode(True)
    tabs.tabBar().setDrawBase(False)
    tabs.setCornerWidget(corner)
    for title, parts in pages.items():
        page = QtWidgets.QWidget()
        _scrolled(parts, page)
        tabs.addTab(page, title)
    column(tabs, into=widget, spacing=6)
    widget.layout().setContentsMargins(0, 6, 0, 0)  # napari's title would cut the tabs
    _pin(widget, below)
    return tabs


class _Scroll(QtWidgets.QScrollArea):
    """What scrolls up and down, and is as wide as what is in it needs, so that nothing is cut."""

    def minimumSizeHint(self) -> QtCore.QSize:  # noqa: N802 - Qt's name
        """Return the width of the content, with the bar beside it."""
        beside = self.verticalScrollBar().sizeHint().width() + self.width() - self.contentsRect().width()
        needed = self.widget().minimumSizeHint().width() + beside
        return QtCore.QSize(max(needed, NARROWEST), super().minimumSizeHint().height())

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Follow content that gets wider."""
        if event.type() == QtCore.QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def _scrolled(parts: Iterable[Part], into: QtWidgets.QWidget) -> QtWidgets.QScrollArea:
    content = column(*parts, spacing=6, margin=2)  # with more, the widest leave the canvas too little
    content.layout().addStretch(1)
    scroll = _Scroll()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
    scroll.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)  # Tab goes to what is in it, and scrolls there
    scroll.setWidget(content)
    column(scroll, into=into)
    return scroll


def _pin(widget: QtWidgets.QWidget, below: Iterable[QtWidgets.QWidget]) -> None:
    """Put parts below what scrolls, and let the widget find its place in the window."""
    bottom = column(*below, spacing=4)
    bottom.layout().setContentsMargins(3, 0, 3, 4)
    widget.layout().addWidget(bottom)
    widget.layout().setStretch(0, 1)
    for label in widget.findChildren(QtWidgets.QLabel):
        if label.wordWrap():  # a long name in a sentence widens no dock
            policy = label.sizePolicy()
            policy.setHorizontalPolicy(QtWidgets.QSizePolicy.Policy.Ignored)
            label.setSizePolicy(policy)
    Docking(widget)
    order_tabs(widget)


TABBED = (QtCore.Qt.FocusPolicy.TabFocus, QtCore.Qt.FocusPolicy.StrongFocus, QtCore.Qt.FocusPolicy.WheelFocus)


def order_tabs(widget: QtWidgets.QWidget) -> None:
    """Let the Tab key go through a widget as one reads; by itself it goes in the order in which parts were made."""
    for one, next_one in pairwise(part for part in _as_read(widget) if part.focusPolicy() in TABBED):
        QtWidgets.QWidget.setTabOrder(one, next_one)


def _as_read(widget: QtWidgets.QWidget) -> Iterator[QtWidgets.QWidget]:
    yield widget
    if isinstance(widget, QtWidgets.QTabWidget):
        inside = [widget.tabBar(), widget.cornerWidget(), *(widget.widget(i) for i in range(widget.count()))]
    elif isinstance(widget, QtWidgets.QScrollArea):
        inside = [widget.widget()]
    else:
        inside = _laid_out(widget.layout())
    for part in inside:
        if part is not None:
            yield from _as_read(part)


def _laid_out(layout: QtWidgets.QLayout | None) -> list[QtWidgets.QWidget]:
    if layout is None:
        return []
    places: Sequence[int] = range(layout.count())
    if isinstance(layout, QtWidgets.QGridLayout):
        places = sorted(places, key=layout.getItemPosition)
    items = [layout.itemAt(place) for place in places]
    parts = [[item.widget()] if item.widget() is not None else _laid_out(item.layout()) for item in items]
    return [part for found in parts for part in found]


def reading_editor(automatic: bool = True) -> Editor:
    """Make the box of the row "Labels are": what the numbers in labels mean, or that they decide it themselves."""
    editor = choice_editor(({"auto": "as their numbers suggest"} if automatic else {}) | READINGS)
    about = "<b>As their numbers suggest</b>: refused where they leave it open. " if automatic else ""
    with_tip(editor.widget, about + READING_TIP)
    return editor


def heading(text: str) -> QtWidgets.QLabel:
    """Make the title of what stands below it; the mouse tells what the terms in it mean."""
    label = QtWidgets.QLabel(f"<b>{text}</b>")
    label.setToolTip(explain_terms(text))
    label.setTextFormat(QtCore.Qt.TextFormat.RichText)
    return label


PROBLEM = "#e5534b"
"""Colour of a sentence about what is wrong."""


def sentence(style: str = "") -> QtWidgets.QLabel:
    """Make a label for sentences: plain text over as many lines as they need, without a line for none."""
    label = QtWidgets.QLabel()
    label.setTextFormat(QtCore.Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setStyleSheet(style)
    label.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
    say(label, "")
    return label


def yielding(tip: str) -> QtWidgets.QLabel:
    """Make a label that gives way to what stands beside it, and widens no dock."""
    label: QtWidgets.QLabel = with_tip(QtWidgets.QLabel(), tip)
    label.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred)
    return label


def say(label: QtWidgets.QLabel, text: str) -> None:
    """Show sentences, or no line at all."""
    label.setText(text)
    label.setVisible(bool(text))
