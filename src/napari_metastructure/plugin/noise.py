"""Label noise widget: noise by recipe, previewed live on the visible slice and applied to whole Labels layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QPushButton, QWidget
from superqt import QLargeIntSpinBox

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.readings import Reading
from napari_metastructure.labels.recipes import (
    NoisyStack,
    RecipeBase,
    apply_to_stack,
    checksum,
    make_recipe,
    recipe_name,
)
from napari_metastructure.plugin._batch import FolderBatch
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._help import Tools
from napari_metastructure.plugin._inputs import (
    PROBLEM,
    LayerBox,
    heading,
    lay_out,
    reading_editor,
    row,
    say,
    sentence,
    with_tip,
)
from napari_metastructure.plugin._layers import (
    READINGS,
    LayerWatch,
    class_colormap,
    full,
    is_ours,
    placement,
    result_name,
    shown_colors,
    unwrapped,
    visible_plane,
)
from napari_metastructure.plugin._live import LivePreview, StackRun
from napari_metastructure.plugin._noise_preview import NoisePreview, NoiseRequest, draw, measure
from napari_metastructure.plugin._preferences import Memory, Value, of_choice
from napari_metastructure.plugin._preview_layer import PreviewLayer
from napari_metastructure.plugin._recipe_form import RecipeForm
from napari_metastructure.plugin._shortcuts import Keys
from napari_metastructure.plugin._tables import MatrixView

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_metastructure.labels.transition import TransitionMatrix

log = logging.getLogger(__name__)

MOST_SEED = 2**32 - 1

MEASURE_AFTER_MS = 150
"""The retained meta-structure is measured once a dial has stood still for so long."""

NO_SOURCE = "There is no Labels layer to add noise to; open or paint one."

NO_MATRIX = "No matrix: the preview failed, see above."

NO_PLANE = "The preview needs the axes Y and X on screen, in 2D, and the slider inside the layer."

CANCELLED = "Cancelled; nothing was changed."


class NoiseWidget(QWidget):
    """Noise on a Labels layer: previewed on the visible slice, applied to all of them.

    Scripts may call `set_source`, `set_recipe`, `set_seed`, `preview_on`, `apply` and `cancel`. None of them raises:
    what is wrong is said in one sentence, in the widget and, by `apply`, in a napari notification; then False is
    returned.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    previewed : Signal(NoisePreview)
        A plane was drawn; its labels are on screen, in the layer ``preview.layer``.
    applied : Signal(Labels)
        All planes were drawn; the new layer, or the source if it was changed in place.
    failed : Signal(str)
        `apply` came to nothing, and why; also if it was cancelled.
    preview : PreviewLayer
        The live layer.
    live : LivePreview
        What keeps it in step with source, slider, recipe and seed.
    """

    previewed = Signal(object)
    applied = Signal(object)
    failed = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer = unwrapped(napari_viewer)
        self.preview = PreviewLayer(viewer, self._on_preview_removed)
        self._applying: tuple[NoiseRequest, bool] | None = None
        self._preview_removed = self._unusable = False
        self._colors: dict[int, str] = {}  # of the source's classes
        self._refused = ""  # what the status line says of a refusal, until something changes
        self._make_parts()
        self._lay_out()
        self.live = LivePreview(
            viewer,
            self,
            request=self._request,
            show=self._show_preview,
            measure=measure,
            show_measured=self._show_measured,
            failed=self._show_failure,
            measure_after_ms=MEASURE_AFTER_MS,
        )
        self.watch = LayerWatch(viewer, self.live.refresh)
        self.live.hold(self.watch, self.preview)
        self._connect()
        self._follow()
        pressed = {"run": (self.apply_button,), "stop": (self.run.cancel_button,)}
        self.keys = Keys(self, viewer, pressed, results=lambda: [made] if (made := self.preview.layer) else [])
        kept = {
            "recipe": Value(lambda: [self.form.recipe().model_dump(mode="json")], self._show_kept),
            "reading": of_choice(self.reading.widget),
            "seed": Value(self.seed.value, self.seed.setValue),
        }
        self.memory = Memory(self, "noise", kept, lambda known: {"seed": known.seed})
        self.tools.reset_button.clicked.connect(lambda: self.memory.reset())

    def _make_parts(self) -> None:
        self.tools = Tools("noise")
        self.sources = LayerBox(self.viewer, "The clean labels. They stay as they are.", self._is_offered)
        self.reading = reading_editor(automatic=False)
        self.reading.set("foreground")
        self.form = RecipeForm()
        self.seed = QLargeIntSpinBox()
        self.seed.setRange(0, MOST_SEED)
        self.seed_label = QLabel("Seed")
        for part in (self.seed, self.seed_label):
            part.setToolTip(tooltip("The same seed draws the same noise again, here and on the command line."))
        self.new_seed = with_tip(QPushButton("New seed"), "Draw the noise again, from another seed.")
        self.problem = sentence(f"color: {PROBLEM};")
        self.previewing = with_tip(
            QCheckBox("Preview on the visible slice"),
            "Show the noise as a layer over the source; it follows every dial, the slider and your brush. "
            "Apply gives exactly this on the slice.",
        )
        self.previewing.setChecked(True)
        self.matrix = MatrixView()
        self.verdict, self.retained = sentence(), sentence()
        self.retained.setToolTip(
            tooltip(
                "How much of the clean labels' density can still be read from the noisy labels: 100 % for clean "
                "labels and RCL, 0 % for random ones, in between for PCL."
            )
        )
        self.apply_button = with_tip(QPushButton(), "Draw the noise on every slice, in the background.")
        self.in_place = with_tip(
            QCheckBox("In place"),
            "Write into the source layer instead, as classes (0, 1, …, 255 = unlabelled). "
            "Undo (Ctrl-Z on that layer) brings it back.",
        )
        self.run = StackRun(
            "Label noise", "Slices done: each one is read to find its classes, then its noise is drawn."
        )
        self.status = sentence()
        self.batch = FolderBatch(self._task, "clean labels", "<stem>.tif, the noisy labels, and noise.yaml")

    def _lay_out(self) -> None:
        labels = QFormLayout()
        labels.setContentsMargins(0, 0, 0, 0)
        labels.setSpacing(4)
        labels.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        labels.addRow("Layer", self.sources)
        labels.addRow("Labels are", self.reading.widget)
        seed, apply = row(self.seed_label, self.seed, self.new_seed), row(self.apply_button, self.in_place)
        for line, part in ((seed, self.seed), (apply, self.apply_button)):
            line.layout().setStretchFactor(part, 1)
        parts = (
            *(row(heading("Clean labels"), self.tools), labels),
            *(heading("Noise"), self.form, seed, self.problem, self.previewing),
            *(heading("Noise transition matrix"), self.matrix, self.verdict, self.retained),
            self.batch.section(),
        )
        lay_out(self, parts, (apply, self.run, self.status))
        self._name_button()

    def _connect(self) -> None:
        self.sources.picked.connect(self._follow)
        self.sources.activated.connect(lambda _: self.form.let_go())
        self.reading.changed.connect(lambda _: self._follow())
        self.form.changed.connect(self.live.refresh)
        self.seed.valueChanged.connect(self.live.refresh)
        self.new_seed.clicked.connect(lambda: self.seed.setValue(int(np.random.default_rng().integers(1_000_000))))
        self.previewing.toggled.connect(self._on_previewing)
        self.in_place.toggled.connect(self._name_button)
        self.apply_button.clicked.connect(lambda: self.apply())
        self.run.cancel_button.clicked.connect(lambda: self.cancel())
        self.run.ended.connect(self._on_ended)
        self.live.closed.connect(self._on_closed)
        self.live.reopened.connect(self._follow)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size for which there is room on a small laptop's screen."""
        return QSize(380, 780)

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
        """Return the recipe as shown; None, and a sentence below the dials, if a value cannot be used."""
        try:
            return self.form.recipe()
        except InputError as error:
            say(self.problem, str(error))
            return None

    def set_recipe(self, recipe: object) -> bool:
        """Show a recipe and preview it; False if it is none."""
        if not isinstance(recipe, RecipeBase):
            return self._refuse(f"{recipe!r} is no recipe; choose one of napari_metastructure.labels.recipes.")
        self.form.fill(recipe)
        self.live.refresh()
        return True

    def _show_kept(self, kept: list[dict[str, Any]]) -> None:
        """Show a recipe of the last time, whose numbers by class may change with the source."""
        self.set_recipe(make_recipe(**kept[0]))
        self.form.let_go()

    def set_seed(self, seed: int) -> bool:
        """Choose the seed; False if it is none."""
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= MOST_SEED:
            return self._refuse(f"The seed must be a whole number from 0 to {MOST_SEED}, not {seed!r}.")
        self.seed.setValue(int(seed))
        return True

    def _task(self) -> dict[str, Any]:
        """Say what is done with each file of a folder."""
        reading = self.reading.get()
        return {"what": "noise", "recipe": self.form.recipe(), "seed": int(self.seed.value()), "reading": reading}

    def preview_on(self, on: bool) -> None:
        """Show the preview, or remove it."""
        self.previewing.setChecked(on)

    @property
    def busy(self) -> bool:
        """True while a preview, its measurements or `apply` are under way."""
        return self.live.busy or self.run.running

    def apply(self, in_place: bool | None = None) -> bool:
        """Draw the noise on all planes, in the background; False if that cannot begin.

        Parameters
        ----------
        in_place : bool, optional
            Write into the source layer, undoable, instead of adding a layer; as the box says by default.
        """
        if self.run.running:
            show_warning("Noise is being applied already; wait for it, or cancel it.")
            return False
        in_place = self.in_place.isChecked() if in_place is None else in_place
        layer = self.sources.chosen()
        if layer is None:
            return self._refuse(NO_SOURCE)
        try:
            recipe = self.form.recipe()
            if in_place:
                check_can_write(layer)
        except InputError as error:
            return self._refuse(str(error))
        # Everything is read again: what is applied never rests on what an earlier preview saw.
        stack = LabelStack(full(layer), self.reading.get(), is_ours(layer), f"Layer {layer.name!r}")
        request = NoiseRequest(layer, stack, recipe, int(self.seed.value()))
        self._applying = request, in_place
        say(self.status, "")
        self.run.start(lambda: apply_to_stack(recipe, stack, request.seed))
        self._let_apply()
        return True

    def cancel(self) -> None:
        """Let `apply` end at its next plane, with nothing done."""
        if self.run.running:
            self.run.cancel()
            say(self.status, "Cancelling…")

    # ---- the preview -----------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Take over another source, or another way to read it."""
        if self.live.resting:
            return
        layer = self.sources.chosen()
        if self._preview_removed:  # the user did so for the source before
            self._preview_removed = False
            self.previewing.setChecked(True)
        self._unusable = False
        self._let_apply()
        self.live.drop()
        self.preview.hide()
        self.watch.follow([] if layer is None else [layer])
        if layer is None:
            self.preview.remove()
        self._show_matrix(None, NO_SOURCE if layer is None else "")
        say(self.problem, "")
        self.live.refresh()

    def _request(self) -> Callable[[Callable[[], bool]], NoisePreview] | None:
        """Return the job that draws what is chosen now, or say what is wrong with it."""
        if self._refused and self.status.text() == self._refused:  # its cause may be gone
            say(self.status, "")
        for part in (self.seed_label, self.seed, self.new_seed):
            part.setEnabled(self.form.random)
        if (layer := self.sources.chosen()) is None:
            return None
        recipe, problem = None, ""
        try:
            recipe = self.form.recipe()
        except InputError as error:  # the source is read all the same: its classes may show the way out
            problem = str(error)
            self._show_problem(problem, unusable=True)
        plane = visible_plane(self.viewer, layer)
        if plane is None:
            self._show_problem(NO_PLANE)
            return None
        request = NoiseRequest(
            layer, self.watch.stack(layer, self.reading.get()), recipe, int(self.seed.value()), plane.index, problem
        )
        return lambda wanted: draw(request, wanted)

    def _show_preview(self, preview: NoisePreview) -> bool:
        request = preview.request
        self._colors = shown_colors(request.layer, preview.classes, request.stack.reading, preview.foreground)
        self.form.show_colors(self._colors)
        if preview.classes and self.form.offer(preview.classes):  # the dials did not fit the classes, now they do
            self.live.refresh()
            return False
        if preview.problem:
            self._show_problem(preview.problem, unusable=True)
            return False
        self._unusable = False
        self._let_apply()
        say(self.problem, "")
        if self.previewing.isChecked():
            assert preview.noisy is not None
            self.preview.show(
                request.layer,
                request.index,
                preview.noisy,
                "noise preview",
                request.origin(preview.classes, None, **{"preview of plane": request.index}),
                preview.classes,
                colors=self._colors,
            )
        if preview.transition is not None:
            self._show_matrix(preview.transition)
        self.previewed.emit(preview)
        return True

    def _show_measured(self, preview: NoisePreview) -> None:
        found = preview.comparison
        assert found is not None
        self._show_matrix(found.transition)
        if found.verdict is not None:
            how = "" if preview.transition is not None else " Counted on this slice, because PCL depends on the place."
            say(self.verdict, f"{found.verdict.sentence}{how}")
            self.verdict.setToolTip(tooltip("What a network can learn from these labels.", self.verdict.text()))
        if found.retained is not None:
            share, box = f"{100 * found.retained:.0f} %", f"labels counted within {found.bandwidth[0]:g} pixels"
            say(self.retained, f"Meta-structure retained on this slice: {share} ({box}).")

    def _show_failure(self, error: Exception) -> None:
        """Report an error in one sentence; one that the user cannot mend also goes to the log, with its traceback."""
        why = str(error)
        if not isinstance(error, MetastructureError):
            log.error("The preview of label noise failed", exc_info=error)
            why = f"The noise could not be drawn: {type(error).__name__}: {error}"
        self._show_problem(why)

    def _show_problem(self, why: str, unusable: bool = False) -> None:
        """Say why there is no preview; of what is ``unusable`` there is nothing to apply either."""
        self._unusable = unusable
        self._let_apply()
        self.live.drop()
        self.preview.hide()
        self._show_matrix(None, NO_MATRIX)
        say(self.problem, why)

    def _show_matrix(self, transition: TransitionMatrix | None, why_not: str = "") -> None:
        self.matrix.show_matrix(transition, why_not, self._colors)
        if transition is None:
            say(self.verdict, "")
            say(self.retained, "")

    def _on_previewing(self, on: bool) -> None:
        self._preview_removed = False
        if on:
            self.live.refresh()
        else:
            self.preview.remove()

    def _on_preview_removed(self) -> None:
        self.previewing.setChecked(False)
        self._preview_removed = True

    def _on_closed(self) -> None:
        self.run.cancel()
        self.watch.follow([])
        self.preview.remove()

    def _is_offered(self, layer: Layer) -> bool:
        """Whether a layer is offered as clean labels: any with a slice to show, except for this widget's preview."""
        return isinstance(layer, Labels) and len(full(layer).shape) > 1 and layer is not self.preview.layer

    # ---- applying --------------------------------------------------------------------------------------

    def _on_ended(self, stack: NoisyStack | None, why: str) -> None:
        self._let_apply()
        assert self._applying is not None
        (request, in_place), self._applying = self._applying, None
        layer = None
        if stack is not None:
            try:
                layer = self._write(request, stack) if in_place else self._add(request, stack)
            except InputError as error:
                why = str(error)
        if layer is None:
            say(self.status, why or CANCELLED)
            if why:
                show_error(why)
            self.failed.emit(why or CANCELLED)
            return
        say(self.status, f"{_name(request)}, seed {request.seed}, is in layer {layer.name!r}.")
        self.applied.emit(layer)

    def _add(self, request: NoiseRequest, stack: NoisyStack) -> Labels:
        """Add a layer, below the preview, and hide the source: what shows is the result."""
        source, layers = request.layer, self.viewer.layers
        reading, meaning = request.stack.reading, request.stack.meaning()
        layer = Labels(
            stack.labels,
            name=result_name(source.name, _name(request)),
            colormap=class_colormap(stack.classes, shown_colors(source, stack.classes, reading, meaning.foreground)),
            metadata=request.origin(stack.classes, stack.transition),
            **placement(source),
        )
        preview = self.preview.layer
        layers.insert(len(layers) if preview is None else layers.index(preview), layer)
        source.visible = False
        return layer

    def _write(self, request: NoiseRequest, stack: NoisyStack) -> Labels:
        layer = request.layer
        if layer not in self.viewer.layers:
            raise InputError(f"Layer {layer.name!r} was removed before its noise was drawn; nothing was changed.")
        write_in_place(layer, stack.labels, stack.checksums)
        self.previewing.setChecked(False)  # it would show noise on the noise
        return layer

    def _let_apply(self) -> None:
        there = self.sources.chosen() is not None and not self._unusable
        self.apply_button.setEnabled(not self.run.running and there)
        self.in_place.setEnabled(not self.run.running)

    def _name_button(self) -> None:
        self.apply_button.setText("Apply to the source" if self.in_place.isChecked() else "Apply to a new layer")

    def _refuse(self, why: str) -> bool:
        show_error(why)
        self._refused = why
        say(self.status, why)
        return False


def _name(request: NoiseRequest) -> str:
    assert request.recipe is not None
    return recipe_name(request.recipe)


# ---- writing into the source layer, as one edit that napari can undo ---------------------------------------

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
