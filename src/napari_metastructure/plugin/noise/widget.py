"""The label noise widget: turn a dial, see the noisy labels and what they leave to be learned, keep them."""

from __future__ import annotations

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import Reading
from napari_metastructure.labels.recipes import RecipeBase
from napari_metastructure.plugin.label_colors import class_colormap
from napari_metastructure.plugin.latest import Latest
from napari_metastructure.plugin.noise.draw import Order
from napari_metastructure.plugin.noise.in_place import check_can_write, write_in_place
from napari_metastructure.plugin.noise.layout import MOST_SEED, READINGS
from napari_metastructure.plugin.noise.live import NO_SOURCE, NoiseLive, in_words
from napari_metastructure.plugin.noise.source import Source, Superseded
from napari_metastructure.plugin.noise.stack import Stack, StackJob
from napari_metastructure.plugin.placement import ORIGIN, placement

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
        self._applying = Latest(self)
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
