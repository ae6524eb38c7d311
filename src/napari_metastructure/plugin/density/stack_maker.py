"""The button "Whole stack": runs the job and adds its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import QObject, Signal

from napari_metastructure import __version__
from napari_metastructure.plugin.density.drawing import COLORMAP, MADE, map_name
from napari_metastructure.plugin.density.stacks import PlaneDone, Stack, StacksDone, stacks_job
from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.runner import Runner
from napari_metastructure.training.control import Control

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_metastructure.errors import MetastructureError
    from napari_metastructure.plugin.density.settings import DensitySettings


class StackMaker(QObject):
    """Makes density layers of whole stacks, one set at a time.

    Signals
    -------
    progress : int, int
        Slices done, and of how many.
    ended : object
        Once per job: the failure, or None.
    """

    progress = Signal(int, int)
    ended = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.made: list[Image] = []
        self._runner = Runner(self)
        self._runner.told.connect(self._on_told)
        self._runner.ended.connect(self._on_ended)

    @property
    def running(self) -> bool:
        """True until ``ended``."""
        return self._runner.running

    def start(self, stacks: Sequence[Stack], settings: DensitySettings) -> None:
        """Begin in the background; ``made`` has the layers once it ``ended``."""
        self.made = []
        self._settings = settings
        control = Control()
        job = stacks_job(stacks, settings.label_class, settings.kernel, settings.edges, settings.reading, control)
        self._runner.start(cast(Any, job), control, "Densities of whole stacks")

    def stop(self) -> None:
        """End after this slice, without layers."""
        self._runner.stop()

    def _on_told(self, event: Any) -> None:
        if isinstance(event, PlaneDone):
            self.progress.emit(event.done, event.of)
        elif isinstance(event, StacksDone):
            self._add(event)

    def _add(self, done: StacksDone) -> None:
        settings = self._settings
        for stack, label, values in done.maps:
            low, high = (0.0, done.top) if settings.one_scale else (float(values.min()), float(values.max()))
            origin = {
                "version": __version__,
                "made": f"{MADE} of a stack",
                "source": stack.name,
                "class": label,
                "settings": settings.described(),
                "bandwidth in pixels": list(stack.bandwidth),
            }
            name = map_name(stack.name, label, settings.several)
            self.made.append(
                self.viewer.add_image(
                    values,
                    name=f"{name} (stack)" if values.ndim > 2 else f"{name} (kept)",
                    colormap=COLORMAP,
                    contrast_limits=(low, high if high > low else low + 1e-9),
                    metadata={ORIGIN: origin},
                    **stack.where,
                )
            )

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.ended.emit(failure)
