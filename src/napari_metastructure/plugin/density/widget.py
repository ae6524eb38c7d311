"""The density widget: the meta-structure of label layers, seen, plotted and measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import napari
from napari.layers import Image, Layer, Shapes
from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.plugin.density.line import add_line_layer
from napari_metastructure.plugin.density.live import DensityLive
from napari_metastructure.plugin.density.scale import bandwidth_in_pixels
from napari_metastructure.plugin.density.stack_maker import StackMaker
from napari_metastructure.plugin.density.stacks import Stack
from napari_metastructure.plugin.density.truth import is_ours
from napari_metastructure.plugin.visible import full, visible_plane

if TYPE_CHECKING:
    from napari_metastructure.plugin.density.humps import Humps
    from napari_metastructure.plugin.density.line import Profile
    from napari_metastructure.plugin.density.measure import Numbers


class DensityWidget(DensityLive):
    """Shows the density of labels, eq. (8), and what it says about them.

    Buttons call `draw_line`, `make_stacks`, `stop_stacks` and `show_figure_6`; scripts may do the same, and `choose`,
    `choose_truth` and `set`. None of them raises: what is wrong is said in one sentence by a napari notification and
    in the widget, and the method returns False (or None).

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    updated : Signal
        The maps on screen are of the newest labels and settings that could be followed.
    measured : Signal
        So are histograms and numbers; comes after ``updated``, once the newest maps are drawn.
    stacks_ended : Signal
        The layers of whole stacks are there, or will not come.
    problem : str
        What is wrong, in one sentence; empty if nothing is.
    """

    stacks_ended = Signal()

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.stacks = StackMaker(napari_viewer, self)
        self.stacks.progress.connect(self._show_progress)
        self.stacks.ended.connect(self._on_stacks_ended)
        self.draw_button.clicked.connect(lambda: self.draw_line())
        self.stack_button.clicked.connect(lambda: self.make_stacks())
        self.stop_button.clicked.connect(lambda: self.stop_stacks())
        self.figure_button.clicked.connect(lambda: self.show_figure_6())
        self._let_make(True)

    # ---- for scripts -------------------------------------------------------------------------------------

    def choose(self, layers: Sequence[Layer]) -> bool:
        """Tick these Labels layers and no others."""
        return self._try(lambda: self.picker.choose(layers))

    def choose_truth(self, layer: Layer | None) -> bool:
        """Take the true classes from this Labels layer; None: from what each layer was made from."""
        if self.truth.choose(layer):
            return True
        name = layer.name if layer is not None else "none"
        return self._refuse(f"Layer {name!r} has no true classes; choose a Labels layer of this viewer.")

    def set(self, **settings: Any) -> bool:
        """Change settings, those of `DensitySettings`: ``set(bandwidth=12, kernel="gaussian")``."""

        def fill() -> None:
            self._fit_slider()  # the layers may have been ticked just now
            before = self.settings.settings()
            after = before.changed(**settings)
            if not self.settings.bandwidth.offers(after.unit):
                raise InputError("The ticked layers have no unit but pixels; give the bandwidth in pixels.")
            self.settings.fill(after)
            for name in [name for name in settings if settings[name] != getattr(before, name)]:
                self._on_setting(name)

        return self._try(fill)

    def refresh(self) -> None:
        """Read all labels anew, after a write in place that napari was not told of."""
        self._watch.forget()
        self._later()

    @property
    def images(self) -> list[Image]:
        """The density layers on screen."""
        return [shown.image for shown in self.maps.shown.values()]

    @property
    def humps(self) -> tuple[Humps, ...]:
        """The histograms on screen."""
        return self.histograms.shown

    @property
    def numbers(self) -> tuple[Numbers, ...]:
        """The table on screen."""
        return self.table.shown

    @property
    def curves(self) -> tuple[Profile, ...]:
        """The profiles on screen."""
        return self.profiles.shown

    def draw_line(self) -> Shapes:
        """Put a Shapes layer into line mode, over the first ticked layer; profiles follow its last line."""
        layer = self.lines.chosen()
        if layer is None:
            chosen = self.picker.chosen()
            layer = add_line_layer(self.viewer, visible_plane(self.viewer, chosen[0]) if chosen else None)
            self.lines.choose(layer)
        self.viewer.layers.selection.active = layer
        layer.mode = "add_line"
        return layer

    def make_stacks(self) -> bool:
        """Make density layers of all slices of the ticked layers, in the background."""
        if self.stacks.running:
            return self._refuse("Stack layers are being made already; stop them first.")

        def start() -> None:
            layers = self.picker.chosen()
            if not layers:
                raise InputError("No Labels layer is ticked; open labels and tick their layer in the list.")
            settings = self.settings.settings()
            self.stacks.start(
                [
                    Stack.of(layer, full(layer), is_ours(layer), bandwidth_in_pixels(settings, layer, layers[0]))
                    for layer in layers
                ],
                settings,
            )
            self._let_make(False)

        return self._try(start)

    def stop_stacks(self) -> None:
        """Make no stack layers after all."""
        self.stacks.stop()

    def show_figure_6(self) -> bool:
        """Open the paper's Figure 6, unless it is open, and follow its three labels."""
        from napari_metastructure.plugin.figure6 import CELLS, figure_6_layers, find_figure, settings_of

        def show() -> None:
            if not find_figure(self.viewer.layers):
                for made in figure_6_layers():
                    self.viewer.add_layer(Layer.create(*made))
            figure = find_figure(self.viewer.layers)
            self.truth.choose(None)
            self.picker.choose(figure[: len(CELLS)])
            self.settings.fill(settings_of(figure))
            self._later()
            self.viewer.layers.selection.active = figure[0]
            self.viewer.reset_view()

        return self._try(show)

    # ---- what happens ------------------------------------------------------------------------------------

    def _try(self, action: Any) -> bool:
        try:
            action()
        except MetastructureError as error:
            return self._refuse(str(error))
        return True

    def _refuse(self, why: str) -> bool:
        show_error(why)
        self.say(why, problem=True)
        return False

    def _show_progress(self, done: int, of: int) -> None:
        self.progress.setMaximum(of)
        self.progress.setValue(done)

    def _on_stacks_ended(self, failure: MetastructureError | None) -> None:
        self._let_make(True)
        if failure is not None:
            self._refuse(str(failure))
        self.stacks_ended.emit()

    def _let_make(self, free: bool) -> None:
        self.stack_button.setEnabled(free)
        self.stop_button.setEnabled(not free)
        self.progress.setVisible(not free)
        self.progress.setValue(0)
