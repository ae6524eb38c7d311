"""The live preview: noise on the plane that is on screen, drawn anew whenever something it follows from changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.noise.draw import Drawn, Order, draw_plane, measure
from napari_metastructure.plugin.noise.preview_layer import PreviewLayer
from napari_metastructure.plugin.noise.source import Source, Superseded
from napari_metastructure.plugin.noise.watch import Watch
from napari_metastructure.plugin.visible import visible_plane

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

MEASURE_AFTER_MS = 150
"""What is left of the structure is measured once a dial has stood still for so long."""

ELSEWHERE = "The preview needs the axes Y and X on screen, in 2D, and a slider that stands within the layer."


class Preview(QObject):
    """Keeps one 2D layer in step with source, slider, recipe and seed.

    Signals
    -------
    stale :
        Something changed that the preview follows from; `ask` anew.
    drawn : Drawn
        A plane was drawn and is on screen, unless there is a problem or the layer is switched off.
    measured : Measured
        What its noise leaves.
    failed : Exception
        A plane could not be drawn, for no reason the user could mend.
    closed :
        The user took the layer away.
    """

    stale = Signal()
    drawn = Signal(object)
    measured = Signal(object)
    failed = Signal(object)
    closed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.watch = Watch(viewer, self._on_stale)
        self.view = PreviewLayer(viewer, self._on_closed)
        self._ticket = _Ticket()
        self._on = True
        self._drawing, self._measuring = Latest(self), Latest(self)
        self._drawing.done.connect(self._on_drawn)
        self._drawing.failed.connect(self._on_failed)
        self._measuring.done.connect(self._on_measured)
        self._measuring.failed.connect(self.failed)
        self._last: Drawn | None = None
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(MEASURE_AFTER_MS)
        self._pause.timeout.connect(self._measure)

    @property
    def layer(self) -> Labels | None:
        """The layer on screen, as long as there is one."""
        return self.view.layer

    @property
    def source(self) -> Source | None:
        """What is followed."""
        return self.watch.source

    @property
    def busy(self) -> bool:
        """True while something is being drawn or measured, or is about to be."""
        return self._drawing.busy or self._measuring.busy or self._pause.isActive()

    def follow(self, source: Source | None) -> None:
        """Follow another source, or none; with none the layer goes."""
        self.forget()
        self.watch.follow(source)
        if source is None:
            self.view.remove()

    def ask(self, order: Order) -> str:
        """Draw the plane on screen in the background; why that cannot be, else nothing."""
        plane = visible_plane(self.viewer, order.source.layer)
        if plane is None:
            self.forget()
            return ELSEWHERE
        self._ticket.wanted = False
        ticket = self._ticket = _Ticket()
        self._drawing.ask(lambda: draw_plane(order, plane.index, ticket))
        return ""

    def switch(self, on: bool) -> None:
        """Show the layer, from the next plane on, or take it away; planes are drawn all the same."""
        self._on = on
        if not on:
            self.view.remove()

    def forget(self) -> None:
        """Let what is being drawn or measured go, and hide what was drawn: it is not what was asked for."""
        self._ticket.wanted = False
        self._pause.stop()
        self._drawing.drop()
        self._measuring.drop()
        self._last = None
        self.view.hide()

    def release(self) -> None:
        """Let go of viewer and layers, and take the preview away; also after this object was deleted by Qt."""
        self._ticket.wanted = False
        self.watch.release()
        self.view.release()

    def _on_stale(self) -> None:
        self.stale.emit()

    def _on_drawn(self, drawn: Drawn) -> None:
        if drawn.order.source is not self.source:
            return
        if drawn.problem:
            self.view.hide()
            self._last = None
        else:
            if self._on:
                self.view.show(drawn)
            self._last = drawn
            self._pause.start()
        self.drawn.emit(drawn)

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, Superseded):
            self.view.hide()
            self.failed.emit(error)

    def _measure(self) -> None:
        drawn = self._last
        if drawn is not None:
            self._measuring.ask(lambda: measure(drawn))

    def _on_measured(self, measured: Any) -> None:
        if measured.drawn is self._last:
            self.measured.emit(measured)

    def _on_closed(self) -> None:
        self.closed.emit()


class _Ticket:
    """Whether an answer is still wanted; asked by the thread."""

    def __init__(self) -> None:
        self.wanted = True

    def __call__(self) -> bool:
        return self.wanted
