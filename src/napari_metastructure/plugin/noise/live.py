"""Keep the preview and the picture of its matrix in step with the dials; `widget` applies and hears scripts."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtCore import QEvent, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin.noise.draw import Drawn, Measured, Order
from napari_metastructure.plugin.noise.layout import NoiseLayout
from napari_metastructure.plugin.noise.preview import Preview
from napari_metastructure.plugin.noise.source import Source

if TYPE_CHECKING:
    from napari_metastructure.labels.transition import TransitionMatrix

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
