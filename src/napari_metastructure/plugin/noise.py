"""Label noise widget: noise by recipe, previewed live on the visible slice and applied to whole Labels layers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from qtpy import QtCore, QtWidgets
from superqt import QLargeIntSpinBox

from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED, recipes
from napari_metastructure.labels.transition import TransitionMatrix
from napari_metastructure.plugin import _inputs, _layers
from napari_metastructure.plugin._batch import FolderBatch
from napari_metastructure.plugin._form import form_layout, tooltip, with_tip
from napari_metastructure.plugin._labels_widget import NO_PLANE, LabelsWidget
from napari_metastructure.plugin._layer_order import earlier, note_as_made, stay_on
from napari_metastructure.plugin._preferences import Value
from napari_metastructure.plugin._previews import NoisePreview, NoiseRequest, draw_noise, measure_noise
from napari_metastructure.plugin._recipe_form import RecipeForm
from napari_metastructure.plugin._shortcuts import Keys
from napari_metastructure.plugin._tables import MatrixView

MOST_SEED = 2**32 - 1

NO_MATRIX = "No matrix: the preview failed, see above."


class NoiseWidget(LabelsWidget):
    """Noise on a Labels layer: previewed on the visible slice, applied to all of them.

    Scripts may call `set_source`, `set_recipe`, `set_seed`, `preview_on`, `apply` and `cancel`. None of them raises:
    what is wrong is said in one sentence, in the widget and, by `apply`, in a napari notification; then False is
    returned.

    Attributes
    ----------
    previewed : Signal(NoisePreview)
        A plane was drawn; its labels are on screen, in the layer ``preview.layer``.
    applied : Signal(Labels)
        All planes were drawn; the new layer, or the source if it was changed in place.
    failed : Signal(str)
        `apply` came to nothing, and why; also if it was cancelled.
    """

    applied = QtCore.Signal(object)

    name = "noise"
    no_source = (
        "There is no Labels layer to add noise to; open or paint one. "
        f"If a mask was opened as an image, {_layers.CONVERT}"
    )
    fault = "The noise could not be drawn"

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, "The clean labels. They stay as they are.", automatic=False)
        self._preview_removed = self._unusable = False
        self._colors: dict[int, str] = {}  # of the source's classes
        self._make_parts()
        self._lay_out()
        self.go_live(measure_noise, self._show_measured)
        self._connect()
        pressed = {"run": (self.apply_button,), "stop": (self.run.cancel_button,)}
        self.keys = Keys(self, self.viewer, pressed, results=lambda: [made] if (made := self.preview.layer) else [])
        kept = {
            "recipe": Value(lambda: [self.form.recipe().model_dump(mode="json")], self._show_kept),
            "seed": Value(self.seed.value, self.seed.setValue),
        }
        self.remember(kept, lambda known: {"seed": known.seed})

    def _make_parts(self) -> None:
        self.reading.set("foreground")
        self.form = RecipeForm()
        self.seed = QLargeIntSpinBox()
        self.seed.setRange(0, MOST_SEED)
        self.seed_label = QtWidgets.QLabel("Seed")
        for part in (self.seed, self.seed_label):
            part.setToolTip(tooltip("The same seed draws the same noise again, here and on the command line."))
        self.new_seed = with_tip(QtWidgets.QPushButton("New seed"), "Draw the noise again, from another seed.")
        self.previewing = with_tip(
            QtWidgets.QCheckBox("Preview on the visible slice"),
            "Show the noise as a layer over the source; it follows every dial, the slider and your brush. "
            "Apply gives exactly this on the slice.",
        )
        self.previewing.setChecked(True)
        self.matrix = MatrixView()
        self.verdict, self.retained = _inputs.sentence(), _inputs.sentence()
        self.retained.setToolTip(
            tooltip(
                "How much of the clean labels' density can still be read from the noisy labels: 100 % for clean "
                "labels and RCL, 0 % for random ones, in between for PCL."
            )
        )
        self.apply_button = with_tip(QtWidgets.QPushButton(), "Draw the noise on every slice, in the background.")
        self.in_place = with_tip(
            QtWidgets.QCheckBox("In place"),
            "Write into the source layer instead, as classes (0, 1, …, 255 = unlabelled). "
            "Undo (Ctrl-Z on that layer) brings it back.",
        )
        self.batch = FolderBatch(self._task, "clean labels", "<stem>.tif, the noisy labels, and noise.yaml")

    def _lay_out(self) -> None:
        labels = form_layout(("Layer", self.sources), ("Labels are", self.reading.widget))
        seed = _inputs.row(self.seed_label, self.seed, self.new_seed, wide=self.seed)
        apply = _inputs.row(self.apply_button, self.in_place, wide=self.apply_button)
        parts = (
            *(_inputs.row(_inputs.heading("Clean labels"), self.tools), labels),
            *(_inputs.heading("Noise"), self.form, seed, self.problem, self.previewing),
            *(_inputs.heading("Noise transition matrix"), self.matrix, self.verdict, self.retained),
            self.batch.section(),
        )
        _inputs.lay_out(self, parts, (apply, self.run, self.status))
        self._name_button()

    def _connect(self) -> None:
        self.sources.activated.connect(lambda _: self.form.let_go())
        self.form.changed.connect(self.live.refresh)
        self.seed.valueChanged.connect(self.live.refresh)
        self.new_seed.clicked.connect(lambda: self.seed.setValue(int(np.random.default_rng().integers(1_000_000))))
        self.previewing.toggled.connect(self._on_previewing)
        self.in_place.toggled.connect(self._name_button)
        self.apply_button.clicked.connect(lambda: self.apply())

    # ---- for buttons and scripts -----------------------------------------------------------------------

    def recipe(self) -> recipes.RecipeBase | None:
        """Return the recipe as shown; None, and a sentence below the dials, if a value cannot be used."""
        try:
            return self.form.recipe()
        except InputError as error:
            _inputs.say(self.problem, str(error))
            return None

    def set_recipe(self, recipe: object) -> bool:
        """Show a recipe and preview it; False if it is none."""
        if not isinstance(recipe, recipes.RecipeBase):
            return self.refuse(f"{recipe!r} is no recipe; choose one of napari_metastructure.labels.recipes.")
        self.form.fill(recipe)
        self.live.refresh()
        return True

    def _show_kept(self, kept: list[dict[str, Any]]) -> None:
        """Show a recipe of the last time, whose numbers by class may change with the source."""
        self.set_recipe(recipes.make_recipe(**kept[0]))
        self.form.let_go()

    def set_seed(self, seed: int) -> bool:
        """Choose the seed; False if it is none."""
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= MOST_SEED:
            return self.refuse(f"The seed must be a whole number from 0 to {MOST_SEED}, not {seed!r}.")
        self.seed.setValue(int(seed))
        return True

    def _task(self) -> dict[str, Any]:
        """Say what is done with each file of a folder."""
        reading = self.reading.get()
        return {"what": "noise", "recipe": self.form.recipe(), "seed": int(self.seed.value()), "reading": reading}

    def preview_on(self, on: bool) -> None:
        """Show the preview, or remove it."""
        self.previewing.setChecked(on)

    def apply(self, in_place: bool | None = None) -> bool:
        """Draw the noise on all planes, in the background; False if that cannot begin.

        Parameters
        ----------
        in_place : bool, optional
            Write into the source layer, undoable, instead of adding a layer; as the box says by default.
        """
        if not self.can_begin():
            return False
        in_place = self.in_place.isChecked() if in_place is None else in_place
        layer = self.sources.chosen()
        try:
            recipe = self.form.recipe()
            if in_place:
                check_can_write(layer)
        except InputError as error:
            return self.refuse(str(error))
        stack = self.stack(layer)
        request = NoiseRequest(layer, stack, recipe, int(self.seed.value()))

        def finish(noisy: recipes.NoisyStack) -> Labels:
            made = self._write(request, noisy) if in_place else self._add(request, noisy)
            if not in_place:
                self.preview.hide()  # the same pixels: it would cover what is made of the new layer, as its density
            _inputs.say(self.status, f"{_name(request)}, seed {request.seed}, is in layer {made.name!r}.")
            return made

        return self.begin("Label noise", stack, lambda: recipes.apply_to_stack(recipe, stack, request.seed), finish)

    def done(self, layer: Labels) -> None:
        """Tell that the noise is applied."""
        self.applied.emit(layer)

    # ---- the preview -----------------------------------------------------------------------------------

    def take_over(self, layer: Labels | None) -> None:
        """Show another source, or none."""
        if self._preview_removed:  # the user did so for the source before
            self._preview_removed = False
            self.previewing.setChecked(True)
        self._unusable = False
        self._show_matrix(None, self.no_source if layer is None else "")

    def request(self, layer: Labels | None) -> Callable[[Callable[[], bool]], NoisePreview] | None:
        """Return the job that draws what is chosen now, or say what is wrong with it."""
        for part in (self.seed_label, self.seed, self.new_seed):
            part.setEnabled(self.form.random)
        if layer is None:
            return None
        recipe, problem = None, ""
        try:
            recipe = self.form.recipe()
        except InputError as error:  # the source is read all the same: its classes may show the way out
            problem = str(error)
            self.show_problem(problem, unusable=True)
        plane = _layers.visible_plane(self.viewer, layer)
        if plane is None:
            self.show_problem(NO_PLANE)
            return None
        request = NoiseRequest(
            layer, self.watch.stack(layer, self.reading.get()), recipe, int(self.seed.value()), plane.index, problem
        )
        return lambda wanted: draw_noise(request, wanted)

    def show_preview(self, preview: NoisePreview) -> bool:
        """Show the noise of the slice on screen."""
        request = preview.request
        self._colors = _layers.shown_colors(request.layer, preview.classes, request.stack.reading, preview.foreground)
        self.form.show_colors(self._colors)
        if preview.classes and self.form.offer(preview.classes):  # the dials did not fit the classes, now they do
            self.live.refresh()
            return False
        if preview.problem:
            self.show_problem(preview.problem, unusable=True)
            return False
        self._unusable = False
        self.let()
        _inputs.say(self.problem, "")
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
            _inputs.say(self.verdict, f"{found.verdict.sentence}{how}")
            self.verdict.setToolTip(tooltip("What a network can learn from these labels.", self.verdict.text()))
        if found.retained is not None:
            share, box = f"{100 * found.retained:.0f} %", f"labels counted within {found.bandwidth[0]:g} pixels"
            _inputs.say(self.retained, f"Meta-structure retained on this slice: {share} ({box}).")

    def show_problem(self, why: str, unusable: bool = False) -> None:
        """Say why there is no preview; of what is ``unusable`` there is nothing to apply either."""
        self._unusable = unusable
        self.let()
        self._show_matrix(None, NO_MATRIX)
        super().show_problem(why)

    def _show_matrix(self, transition: TransitionMatrix | None, why_not: str = "") -> None:
        self.matrix.show_matrix(transition, why_not, self._colors)
        if transition is None:
            _inputs.say(self.verdict, "")
            _inputs.say(self.retained, "")

    def _on_previewing(self, on: bool) -> None:
        self._preview_removed = False
        if on:
            self.live.refresh()
        else:
            self.preview.remove()

    def on_preview_removed(self) -> None:
        """Draw no preview of this source."""
        self.previewing.setChecked(False)
        self._preview_removed = True

    # ---- applying --------------------------------------------------------------------------------------

    def _add(self, request: NoiseRequest, stack: recipes.NoisyStack) -> Labels:
        """Add a layer, below the preview, and hide the source: what shows is the result."""
        source, layers = request.layer, self.viewer.layers
        reading, meaning = request.stack.reading, request.stack.meaning()
        where = partial(_layers.placement, source, ndim=stack.labels.ndim)
        layer = Labels(
            stack.labels,
            name=_layers.result_name(source.name, _name(request)),
            colormap=_layers.class_colormap(
                stack.classes, _layers.shown_colors(source, stack.classes, reading, meaning.foreground)
            ),
            metadata=request.origin(stack.classes, stack.transition),
            **where(),
        )
        preview = self.preview.layer
        for before in earlier(self.viewer, layer, source, "recipe", "seed", "reading"):
            layers.remove(before)
        _layers.hide_earlier([other for other in layers if other is not preview], source, "recipe")
        layers.insert(len(layers) if preview is None else layers.index(preview), layer)
        stay_on(source, layer, where)
        note_as_made(layer)
        source.visible = False
        return layer

    def _write(self, request: NoiseRequest, stack: recipes.NoisyStack) -> Labels:
        layer = request.layer
        if layer not in self.viewer.layers:
            raise InputError(f"Layer {layer.name!r} was removed before its noise was drawn; nothing was changed.")
        write_in_place(layer, stack.labels, stack.checksums)
        self.previewing.setChecked(False)  # it would show noise on the noise
        return layer

    def let(self) -> None:
        """Let noise be applied where there is a source, and dials that can be used."""
        there = self.sources.chosen() is not None and not self._unusable
        self.apply_button.setEnabled(not self.run.running and there)
        self.in_place.setEnabled(not self.run.running)

    def _name_button(self) -> None:
        self.apply_button.setText("Apply to the source" if self.in_place.isChecked() else "Apply to a new layer")


def _name(request: NoiseRequest) -> str:
    assert request.recipe is not None
    return recipes.recipe_name(request.recipe)


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
    if data.shape != labels.shape or [recipes.checksum(plane) for plane in planes] != list(sums):
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
