"""The label noise widget: turn a dial, see the noisy labels and what they leave to be learned, keep them."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget
from superqt import QLargeIntSpinBox

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import Reading
from napari_metastructure.labels.recipes import RecipeBase, apply_to_plane
from napari_metastructure.labels.transition import TransitionMatrix, count_pairs, from_counts
from napari_metastructure.plugin._form import choice_editor, tooltip
from napari_metastructure.plugin._inputs import LayerBox, heading, lay_out
from napari_metastructure.plugin._layers import ORIGIN, class_colormap, full, placement
from napari_metastructure.plugin._noise_preview import Drawn, Measured, Order, Preview, Source, Superseded, recipe_name
from napari_metastructure.plugin._recipe_form import RecipeForm
from napari_metastructure.plugin._tables import MatrixView
from napari_metastructure.plugin._worker import LatestOnly

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_metastructure.labels.transition import TransitionMatrix


# -------- Noise on all planes of a source, in a background thread.


@dataclass(frozen=True)
class Stack:
    """All planes with noise.

    Attributes
    ----------
    order : Order
    labels : array in the shape of the source
    classes : tuple of int
    transition : TransitionMatrix or None
        In closed form, else counted on all planes; None where nothing could be counted.
    sums : tuple of int
        Checksum of each plane as it was read.
    """

    order: Order
    labels: np.ndarray
    classes: tuple[int, ...]
    transition: TransitionMatrix | None
    sums: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the noise, as part of a layer's: ``RCL flip 0.45``."""
        return "noise" if self.order.recipe is None else recipe_name(self.order.recipe)

    def origin(self) -> dict[str, Any]:
        """For the layer's metadata."""
        return self.order.origin(self.classes, self.transition)


class StackJob:
    """Draws all planes; ``done`` of ``planes`` tells how far it is, ``stop`` ends it at the next plane."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.planes = 2 * order.source.planes  # every plane is read for its classes first
        self.done = 0
        self.stop = threading.Event()

    def __call__(self) -> Stack:
        """Draw.

        Raises
        ------
        InputError
            If recipe and source do not fit.
        Superseded
            If it was stopped.
        """
        source, recipe = self.order.source, self.order.recipe
        assert recipe is not None
        values = source.values(lambda: not self.stop.is_set(), self._looked)
        classes = source.classes(values)
        transition = recipe.transition(classes)
        counts = np.zeros((len(classes), len(classes) + 1), np.int64)
        labels = self._room(classes)
        planes, sums = labels.reshape(-1, *labels.shape[-2:]), []
        for index in range(len(planes)):
            if self.stop.is_set():
                raise Superseded
            sums.append(checksum(source.pixels(index)))
            clean = source.plane(index, values)
            planes[index] = apply_to_plane(recipe, clean, (), self.order.seed, classes, first=index)
            if transition is None:
                counts += count_pairs(clean, planes[index], classes)
            self.done += 1
        if transition is None and counts[:, :-1].any():
            transition = from_counts(classes, counts)
        return Stack(self.order, labels, classes, transition, tuple(sums))

    def _looked(self, planes: int) -> None:
        self.done = planes

    def _room(self, classes: tuple[int, ...]) -> np.ndarray:
        source = self.order.source
        kind = np.uint8 if classes[-1] < UNLABELLED else source.pixels(0).dtype
        try:
            return np.empty(source.shape, kind)
        except MemoryError:
            size = np.prod(source.shape, dtype=float) * np.dtype(kind).itemsize / 2**30
            raise InputError(
                f"{source.name}: its noisy labels need {size:.1f} GiB of memory, more than is free."
            ) from None


def checksum(pixels: np.ndarray) -> int:
    """A number that tells whether pixels have changed."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


# -------- Write noisy labels into their source layer, as one edit that napari can undo.


MOST_CHANGES = 25_000_000
"""Pixels that one edit may change: napari keeps some 30 bytes of each to undo it."""


def check_can_write(layer: Labels) -> None:
    """Refuse a layer that cannot be changed in place.

    Raises
    ------
    InputError
        For pyramids, arrays that are not in memory or are read-only, and types that cannot hold 255.
    """
    data, name = layer.data, f"Layer {layer.name!r}"
    if layer.multiscale:
        raise InputError(f"{name} is a pyramid, which cannot be changed in place; apply to a new layer.")
    if not isinstance(data, np.ndarray) or isinstance(data, np.memmap) or not data.flags.writeable:
        raise InputError(f"{name} is not an array in memory that may be written to; apply to a new layer.")
    if np.iinfo(data.dtype).max < UNLABELLED:
        raise InputError(f"{name}: pixels of type {data.dtype} cannot hold {UNLABELLED}; apply to a new layer.")


def write_in_place(layer: Labels, labels: np.ndarray, sums: Sequence[int]) -> int:
    """Make a layer hold these labels, as one step of its undo list.

    Parameters
    ----------
    layer : napari.layers.Labels
    labels : array of the layer's shape
    sums : sequence of int
        Checksum of each plane of the layer when the labels were made from it.

    Returns
    -------
    int
        How many pixels changed.

    Raises
    ------
    InputError
        As `check_can_write`; if the layer has changed meanwhile, there are too many changes to be undone, or napari
        fails to write. Then the layer is as it was.
    """
    check_can_write(layer)
    data, name = layer.data, f"Layer {layer.name!r}"
    planes = data.reshape(-1, *data.shape[-2:])
    if data.shape != labels.shape or [checksum(plane) for plane in planes] != list(sums):
        raise InputError(f"{name} was changed while its noise was drawn; apply once more.")
    noisy = labels.reshape(planes.shape)
    count = sum(int(np.count_nonzero(a != b)) for a, b in zip(planes, noisy, strict=True))
    if count > MOST_CHANGES:
        raise InputError(f"{name}: {count} pixels would change, too many for napari to undo; apply to a new layer.")
    if not layer.visible:  # napari updates the slice of a hidden layer as well, but does not keep it in step
        layer.visible = True
    failure: Exception | None = None
    with layer.block_history():
        try:
            _write(layer, labels)
        except Exception as error:
            failure = error
    if failure is not None:
        layer.undo()
        raise InputError(f"{name} could not be written to; apply to a new layer.") from failure
    layer.refresh()
    return count


def _write(layer: Labels, labels: np.ndarray) -> None:
    """Plane by plane: the places of the changes need several times the memory of the labels."""
    data = layer.data
    for place in np.ndindex(data.shape[:-2]):
        y, x = np.nonzero(data[place] != labels[place])
        if y.size:
            at = (*(np.full(y.size, i) for i in place), y, x)
            layer.data_setitem(at, labels[place][y, x].astype(data.dtype), refresh=False)


# -------- How the label noise widget looks: its parts in a scroll area. What they do is in `widget`.


PROBLEM = "#e5534b"

READINGS = {
    "foreground": "foreground and background",
    "objects": "objects: any number is foreground",
    "classes": "classes: each number is one",
}

MOST_SEED = 2**32 - 1


class NoiseLayout(QWidget):
    """The parts, top to bottom in the order they are used; it scrolls where a screen is too low."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.sources = LayerBox(viewer, "The clean labels. They stay as they are.", self._offered)
        self.reading = choice_editor([])
        for reading, text in READINGS.items():
            self.reading.widget.addItem(text, reading)
        self.reading.widget.setToolTip(
            tooltip(
                "What the numbers of the layer mean. <b>Foreground and background</b>: 0 and one other number. "
                "<b>Objects</b>: numbered objects, all of them foreground. <b>Classes</b>: 0, 1, 2, … each a class. "
                "255 is unlabelled, except in a mask of 0 and 255."
            )
        )
        self.form = RecipeForm()
        self.seed = QLargeIntSpinBox()
        self.seed.setRange(0, MOST_SEED)
        self.seed.setToolTip(tooltip("The same seed draws the same noise again, here and on the command line."))
        self.new_seed = QPushButton("New seed")
        self.new_seed.setToolTip(tooltip("Draw the noise anew, from another seed."))
        self.problem = _text(f"color: {PROBLEM};")
        self.previewing = QCheckBox("Preview on the slice in sight")
        self.previewing.setChecked(True)
        self.previewing.setToolTip(
            tooltip(
                "Show the noise as a layer over the source; it follows every dial, the slider and your brush. "
                "It is what Apply gives on this slice."
            )
        )
        self.matrix = MatrixView()
        self.verdict, self.left = _text(), _text()
        self.left.setToolTip(
            tooltip(
                "The share of the clean labels' density that the noisy ones still tell: 100 % for clean labels and "
                "RCL, 0 % for random ones, in between for PCL."
            )
        )
        self.apply_button = QPushButton("Apply to a new layer")
        self.apply_button.setToolTip(tooltip("Draw the noise on every slice, in the background."))
        self.in_place = QCheckBox("In place")
        self.in_place.setToolTip(
            tooltip(
                "Write into the source layer instead, as classes (0, 1, …, 255 = unlabelled). "
                "Undo (Ctrl-Z on that layer) brings it back."
            )
        )
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(tooltip("Stop after the slice that is being drawn; nothing is added."))
        self.bar = QProgressBar()
        self.bar.setToolTip(tooltip("Slices done: each is read for its classes, then drawn."))
        self.status = _text()
        self._lay_out()

    def _lay_out(self) -> None:
        labels = QFormLayout()
        labels.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        labels.addRow("Layer", self.sources)
        labels.addRow("Read as", self.reading.widget)
        seed, apply = QHBoxLayout(), QHBoxLayout()
        self.seed_label = QLabel("Seed")
        self.seed_label.setToolTip(self.seed.toolTip())
        seed.addWidget(self.seed_label)
        seed.addWidget(self.seed, 1)
        seed.addWidget(self.new_seed)
        apply.addWidget(self.apply_button, 1)
        apply.addWidget(self.in_place)
        progress = QHBoxLayout()
        progress.addWidget(self.bar, 1)
        progress.addWidget(self.cancel_button)
        self.progress = QWidget()
        self.progress.setLayout(progress)
        for row in (labels, seed, apply, progress):
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(4)

        parts = (
            *(heading("Clean labels"), labels),
            *(heading("Noise"), self.form, seed, self.problem, self.previewing),
            *(heading("Noise transition matrix"), self.matrix, self.verdict, self.left),
            *(heading("Result"), apply, self.progress, self.status),
        )
        lay_out(self, parts)
        self.show_progress(None)
        self.show_verdict("", "")
        self.show_problem("")
        self.say("")

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen."""
        return QSize(380, 780)

    def enable_seed(self, on: bool) -> None:
        """Whether the seed makes a difference."""
        for part in (self.seed_label, self.seed, self.new_seed):
            part.setEnabled(on)

    def say(self, text: str) -> None:
        """Say how applying went."""
        _show(self.status, text)

    def show_problem(self, text: str) -> None:
        """Say what is wrong with the dials or the source; nothing if all is well."""
        _show(self.problem, text)

    def show_verdict(self, verdict: str, left: str) -> None:
        """Say what the noise leaves to learn, and how much of the structure."""
        _show(self.verdict, verdict)
        _show(self.left, left)

    def show_progress(self, part: float | None) -> None:
        """How far applying is, 0 to 1; None while nothing is being applied."""
        self.progress.setVisible(part is not None)
        self.apply_button.setEnabled(part is None)
        self.in_place.setEnabled(part is None)
        self.bar.setRange(0, 1000)
        self.bar.setValue(int(np.clip(1000 * (part or 0), 0, 1000)))

    def _offered(self, layer: Layer) -> bool:
        """Labels with a slice to show, but for the preview of this widget."""
        preview = getattr(self, "preview", None)
        return (
            isinstance(layer, Labels) and len(full(layer).shape) > 1 and (preview is None or layer is not preview.layer)
        )


def _show(label: QLabel, text: str) -> None:
    """Sentences, or no line at all."""
    label.setText(text)
    label.setVisible(bool(text))


def _text(style: str = "") -> QLabel:
    """Sentences: plain text over as many lines as they need."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setStyleSheet(style)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


# -------- Keep the preview and the picture of its matrix in step with the dials; `widget` applies and hears scripts.


log = logging.getLogger(__name__)

NO_SOURCE = "There is no Labels layer to add noise to; open or paint one."

NO_MATRIX = "None: nothing was drawn, see above."


class NoiseLive(NoiseLayout):
    """The parts, with a preview that follows them; `NoiseWidget` applies the noise."""

    previewed = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.preview = Preview(viewer, self)
        self._docked = self._closed = False
        # All that changes within one turn of Qt's loop is drawn once.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._ask)
        self._connect()
        self.sources.choose(viewer.layers.selection.active)
        self._follow()

    def _connect(self) -> None:
        self.sources.picked.connect(self._follow)
        self.sources.activated.connect(lambda _: self.form.let_go())
        self.reading.changed.connect(lambda _: self._follow())
        self.form.changed.connect(self._soon.start)
        self.seed.valueChanged.connect(lambda _: self._soon.start())
        self.new_seed.clicked.connect(lambda: self.seed.setValue(int(np.random.default_rng().integers(1_000_000))))
        self.previewing.toggled.connect(self._on_previewing)
        self.preview.stale.connect(self._soon.start)
        self.preview.drawn.connect(self._on_drawn)
        self.preview.measured.connect(self._on_measured)
        self.preview.failed.connect(lambda error: self.show_problem(in_words(error)))
        self.preview.closed.connect(lambda: self.previewing.setChecked(False))
        sources, preview = self.sources, self.preview

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            sources.release()
            preview.release()

        self.destroyed.connect(release)

    def _follow(self) -> None:
        """Another source, or another way to read it."""
        if self._closed:
            return
        layer = self.sources.chosen()
        source = None if layer is None else Source(layer, self.reading.get())
        self.preview.follow(source)
        self._show_strip(None, NO_SOURCE if layer is None else "")
        self.show_problem("")
        self._soon.start()

    def _on_previewing(self, on: bool) -> None:
        self.preview.switch(on)
        if on:
            self._soon.start()

    def _ask(self) -> None:
        """Draw the preview anew."""
        self.enable_seed(self.form.random)
        source = self.preview.source
        if self._closed or source is None:
            return
        order = Order(source, None, int(self.seed.value()))
        try:
            order = replace(order, recipe=self.form.recipe())
        except InputError as error:  # the source is looked at all the same: its classes may show the way out
            order = replace(order, problem=str(error))
            self._no_preview(str(error))
        if why := self.preview.ask(order):
            self._no_preview(why)

    def _no_preview(self, why: str) -> None:
        self.preview.forget()
        self._show_strip(None, NO_MATRIX)
        self.show_problem(why)

    def _on_drawn(self, drawn: Drawn) -> None:
        if drawn.classes and self.form.offer(drawn.classes):  # the dials did not fit the classes, now they do
            self._soon.start()
            return
        self.show_problem(drawn.problem)
        if drawn.problem:
            self._show_strip(None, NO_MATRIX)
            return
        if drawn.transition is not None:
            self._show_strip(drawn.transition)
        self.previewed.emit(drawn)

    def _on_measured(self, measured: Measured) -> None:
        self._show_strip(measured.transition)
        verdict = left = ""
        if measured.verdict is not None:
            how = "" if measured.drawn.transition is not None else " Counted on this slice: PCL depends on the place."
            verdict = f"{measured.verdict.sentence}{how}"
        if measured.left is not None:
            share, box = f"{100 * measured.left:.0f} %", f"box of {measured.bandwidth:g} px"
            left = f"Meta-structure left on this slice: {share} ({box})."
        self.show_verdict(verdict, left)

    def _show_strip(self, transition: TransitionMatrix | None, why_not: str = "") -> None:
        self.matrix.show_matrix(transition, why_not)
        if transition is None:
            self.show_verdict("", "")

    # ---- closing ---------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        """Notice that the dock closes: napari then takes the widget out of it, and Python may keep it for long."""
        done = bool(super().event(event))
        if event.type() == QEvent.Type.ParentChange:
            self._on_parent()
        return done

    def _on_parent(self) -> None:
        if self.parent() is not None:
            self._docked = True
            if self._closed:  # docked once more
                self._closed = False
                self._follow()
        elif self._docked:
            self._closed = True
            self.preview.follow(None)
            self._on_closed()

    def _on_closed(self) -> None:
        """Let go of what else goes on."""


def in_words(error: Exception) -> str:
    """An error in one sentence; one that the user cannot mend also goes to the log, with its traceback."""
    if isinstance(error, MetastructureError):
        return str(error)
    log.error("Label noise broke", exc_info=error)
    return f"The noise could not be drawn: {type(error).__name__}: {error}"


TICK_MS = 100
"""Time between two looks at how far applying is."""


class NoiseWidget(NoiseLive):
    """Noise on a Labels layer: previewed on the slice in sight, applied to all of them.

    Scripts may call `set_source`, `set_recipe`, `set_seed`, `preview_on`, `apply` and `cancel`. None of them raises:
    what is wrong is said in one sentence, in the widget and, by `apply`, in a napari notification; then False is
    returned.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    previewed : Signal(Drawn)
        A plane was drawn; its labels are on screen, in the layer ``preview.layer``.
    applied : Signal(Labels)
        All planes were drawn; the new layer, or the source if it was changed in place.
    failed : Signal(str)
        `apply` came to nothing, and why; also if it was cancelled.
    preview : Preview
        The live layer.
    """

    applied = Signal(object)
    failed = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._job: StackJob | None = None
        self._in_place = False
        self._applying = LatestOnly(self)
        self._applying.done.connect(self._on_applied)
        self._applying.failed.connect(self._on_not_applied)
        self._tick = QTimer(self)
        self._tick.setInterval(TICK_MS)
        self._tick.timeout.connect(self._show_progress)
        self.apply_button.clicked.connect(lambda: self.apply())
        self.in_place.toggled.connect(self._on_in_place)
        self.cancel_button.clicked.connect(lambda: self.cancel())
        self.destroyed.connect(lambda: self._on_closed())

    # ---- for buttons and scripts -----------------------------------------------------------------------

    def set_source(self, layer: Labels, reading: Reading | None = None) -> bool:
        """Choose the clean labels, and how they are read; False if the layer cannot be chosen."""
        if reading is not None:
            if reading not in READINGS:
                return self._refuse(f"There is no reading {reading!r}; choose one of {', '.join(READINGS)}.")
            self.reading.set(reading)
        if not self.sources.choose(layer):
            return self._refuse(f"{layer!s} is not among the Labels layers of this viewer; choose one that is.")
        return True

    def recipe(self) -> RecipeBase | None:
        """The recipe as shown; None, and a sentence below the dials, if a value cannot be used."""
        try:
            return self.form.recipe()
        except InputError as error:
            self.show_problem(str(error))
            return None

    def set_recipe(self, recipe: object) -> bool:
        """Show a recipe and preview it; False if it is none."""
        if not isinstance(recipe, RecipeBase):
            return self._refuse(f"{recipe!r} is no recipe; choose one of napari_metastructure.labels.recipes.")
        self.form.fill(recipe)
        self._soon.start()
        return True

    def set_seed(self, seed: int) -> bool:
        """Choose the seed; False if it is none."""
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= MOST_SEED:
            return self._refuse(f"The seed must be a whole number from 0 to {MOST_SEED}, not {seed!r}.")
        self.seed.setValue(int(seed))
        return True

    def preview_on(self, on: bool) -> None:
        """Show the preview, or take it away."""
        self.previewing.setChecked(on)

    @property
    def busy(self) -> bool:
        """True while a preview, its measures or `apply` are on their way."""
        return self._soon.isActive() or self.preview.busy or self._applying.busy

    def apply(self, in_place: bool | None = None) -> bool:
        """Draw the noise on all planes, in the background; False if that cannot begin.

        Parameters
        ----------
        in_place : bool, optional
            Write into the source layer, undoable, instead of adding a layer; as the box says by default.
        """
        if self._job is not None:
            show_warning("Noise is being applied already; wait for it, or cancel it.")
            return False
        in_place = self.in_place.isChecked() if in_place is None else in_place
        source = self.preview.source
        if source is None:
            return self._refuse(NO_SOURCE)
        try:
            recipe = self.form.recipe()
            if in_place:
                check_can_write(source.layer)
        except InputError as error:
            return self._refuse(str(error))
        # Everything is looked at anew: what is applied never rests on what an earlier preview saw.
        self._job = job = StackJob(Order(Source(source.layer, source.reading), recipe, int(self.seed.value())))
        self._in_place = in_place
        self.say("")
        self.show_progress(0)
        self._tick.start()
        self._applying.ask(job)
        return True

    def cancel(self) -> None:
        """Let `apply` end at its next plane, with nothing done."""
        if self._job is not None:
            self._job.stop.set()
            self.say("Cancelling…")

    # ---- applying --------------------------------------------------------------------------------------

    def _show_progress(self) -> None:
        if self._job is not None:
            self.show_progress(self._job.done / max(self._job.planes, 1))

    def _end(self) -> None:
        self._tick.stop()
        self._job = None
        self.show_progress(None)

    def _on_applied(self, stack: Stack) -> None:
        self._end()
        try:
            layer = self._write(stack) if self._in_place else self._add(stack)
        except InputError as error:
            self._on_not_applied(error)
            return
        self.say(f"{stack.name}, seed {stack.order.seed}, is in layer {layer.name!r}.")
        self.applied.emit(layer)

    def _on_not_applied(self, error: Exception) -> None:
        self._end()
        why = "Cancelled; nothing was changed." if isinstance(error, Superseded) else in_words(error)
        self.say(why)
        if not isinstance(error, Superseded):
            show_error(why)
        self.failed.emit(why)

    def _add(self, stack: Stack) -> Labels:
        """A new layer, below the preview, with the source out of sight: what shows is the result."""
        source, layers = stack.order.source.layer, self.viewer.layers
        layer = Labels(
            stack.labels,
            name=f"{source.name} {stack.name}",
            colormap=class_colormap(stack.classes),
            metadata={ORIGIN: stack.origin()},
            **placement(source),
        )
        preview = self.preview.layer
        layers.insert(len(layers) if preview is None else layers.index(preview), layer)
        source.visible = False
        return layer

    def _write(self, stack: Stack) -> Labels:
        layer = stack.order.source.layer
        if layer not in self.viewer.layers:
            raise InputError(f"Layer {layer.name!r} was removed before its noise was drawn; nothing was changed.")
        write_in_place(layer, stack.labels, stack.sums)
        self.previewing.setChecked(False)  # it would show noise on the noise
        return layer

    def _on_in_place(self, on: bool) -> None:
        self.apply_button.setText("Apply to the source" if on else "Apply to a new layer")

    def _on_closed(self) -> None:
        if self._job is not None:
            self._job.stop.set()

    def _refuse(self, why: str) -> bool:
        show_error(why)
        self.say(why)
        return False
