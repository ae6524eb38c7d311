"""Clean-up and measuring widget: dials with a live preview, numbered objects, and a table of their measurements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import napari
import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QSignalBlocker, QSize, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QPushButton, QWidget

from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.images.image import PIXEL
from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.measures import Measured, RegionTable, Voxel, Wanted, check_skan, measure, write_csv
from napari_metastructure.labels.readings import Meaning, Reading
from napari_metastructure.labels.regions import CleanUp, Numbering, change_stack, clean_up, look_through
from napari_metastructure.plugin._clean_preview import CleanDrawer, CleanPreview, describe
from napari_metastructure.plugin._form import RealSpinBox, choice_editor
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
from napari_metastructure.plugin._layer_order import add_above
from napari_metastructure.plugin._layers import (
    READINGS,
    LayerWatch,
    file_of,
    full,
    is_ours,
    made_from,
    origin_of,
    placement,
    result_name,
    unwrapped,
    visible_plane,
)
from napari_metastructure.plugin._live import LivePreview, StackRun
from napari_metastructure.plugin._measured_layers import (
    fits,
    has_slices,
    image_of,
    intensity_of,
    leading_axes,
    root_of,
    voxel_of,
)
from napari_metastructure.plugin._object_finder import ObjectFinder
from napari_metastructure.plugin._preferences import Memory, Value, of_box, of_choice
from napari_metastructure.plugin._preview_layer import PreviewLayer
from napari_metastructure.plugin._region_table import RegionView
from napari_metastructure.plugin._shortcuts import Keys
from napari_metastructure.plugin.writer import file_name

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_metastructure.labels.classes import PlaneDone

log = logging.getLogger(__name__)

NO_SOURCE = "There is no Labels layer to clean up or measure; open or paint one."

NO_PLANE = "The preview needs the axes Y and X on screen, in 2D, and a slider that stands within the layer."

CANCELLED = "Cancelled; nothing was added or changed."

STALE = "The labels have changed since; measure again."

MOST_SIZE = 1e9

COUNT_AFTER_MS = 150
"""Objects are counted once a dial has stood still for so long."""

Work = Generator["PlaneDone", None, Any]


class MeasureWidget(QWidget):
    """Labels cleaned up with a live preview, their objects numbered, and measured in a table.

    Scripts may call `set_source`, `set_dials`, `apply`, `number_objects`, `measure`, `cancel` and `save_table`. None of
    them raises: what is wrong is said in one sentence, in the widget and in a napari notification, and False returned.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    previewed : Signal(CleanPreview)
        The slice on screen was cleaned up and is shown.
    finished : Signal(Labels)
        `apply`, `number_objects` or `measure` is done; the layer with its result.
    failed : Signal(str)
        One of them came to nothing, and why; also if it was cancelled.
    table : RegionTable or None
        The last measurements.
    """

    previewed = Signal(object)
    finished = Signal(object)
    failed = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer = unwrapped(napari_viewer)
        self.table: RegionTable | None = None
        self._measured: Labels | None = None
        self._finish: Callable[[Any], Labels] | None = None
        self._numbered: WeakKeyDictionary[Layer, Labels] = WeakKeyDictionary()  # layers of objects by their source
        self._refused = ""  # what the status line says of a refusal, until something changes
        self._drawer = CleanDrawer()
        self._no_image = False  # chosen by hand
        self._root: Layer | None = None  # of the labels whose image was chosen
        self._known_voxel: tuple[object, Voxel] | None = None
        self.preview = PreviewLayer(viewer, lambda: self.previewing.setChecked(False))
        self.finder = ObjectFinder(viewer, self._on_clicked, lambda: say(self.stale, STALE))
        self._make_parts()
        self._lay_out()
        self.live = LivePreview(
            viewer,
            self,
            request=self._request,
            show=self._show_preview,
            measure=describe,
            show_measured=lambda text: say(self.counts, text),
            failed=self._show_failure,
            measure_after_ms=COUNT_AFTER_MS,
        )
        self.watch = LayerWatch(viewer, self.live.refresh, instances=True)
        self.live.hold(self.watch, self.preview, self.finder)
        self._connect()
        self._follow()
        self.keys = Keys(self, viewer, {"run": [self.measure_button], "stop": [self.run.cancel_button]})
        kept = {name: of_box(getattr(self, name)) for name in ("volumes", "border", "skeleton")}
        sizes = Value(self._sizes, lambda values: self._show_sizes(*values))
        self.memory = Memory(self, "measure", {"reading": of_choice(self.reading.widget), "sizes": sizes, **kept})
        self.tools.reset_button.clicked.connect(lambda: self.memory.reset())

    def _make_parts(self) -> None:
        viewer = self.viewer
        self.sources = LayerBox(viewer, "Masks, classes or numbered objects. They stay as they are.", self._is_offered)
        self.reading = reading_editor()
        self.volumes = with_tip(
            QCheckBox("3D: objects run through slices"),
            "Treat the slices as one volume; otherwise each slice has its own objects. Not for epochs or time points.",
        )
        self.smallest_object, self.smallest_hole = (
            with_tip(RealSpinBox(0, MOST_SIZE), tip)
            for tip in (
                "Objects smaller than this are removed; 0 for none. Touching pixels belong together, corners included.",
                "Holes smaller than this are filled; 0 for none. A hole is background that one object surrounds.",
            )
        )
        self.unit = choice_editor([])
        with_tip(self.unit.widget, "The unit of both sizes.")
        self.border = with_tip(QCheckBox("Clear border"), "Remove the objects that touch the border of the image.")
        self.previewing = with_tip(
            QCheckBox("Preview"),
            "Show the cleaned slice in place of the layer; it follows the dials, the slider and your brush.",
        )
        self.previewing.setChecked(True)
        self.problem, self.counts, self.status = sentence(f"color: {PROBLEM};"), sentence(), sentence()
        self.images = LayerBox(
            viewer,
            "The image whose intensities are measured.",
            lambda layer: isinstance(layer, Image),
            "no intensities",
        )
        self.skeleton = with_tip(
            QCheckBox("Skeletons"),
            "Thin each object to a line, and measure its length, branches, end points and junctions: for networks. "
            "Needs skan.",
        )
        self.view = RegionView()
        self.found, self.notes, self.stale = sentence(), sentence(), sentence(f"color: {PROBLEM};")
        self.alone = with_tip(QCheckBox("Only the selected"), "Hide the others while a row is selected.")
        self.save_button = with_tip(QPushButton("Save CSV…"), "Write the table to a file, for Excel, R or Python.")
        self.apply_button, self.number_button, self.measure_button = (
            with_tip(QPushButton(text), tip)
            for text, tip in (
                ("Apply", "Clean up every slice, in the background, to a new layer."),
                ("Instances", "Number the connected objects of the layer as it is, in a new Labels layer."),
                (
                    "Measure",
                    "Measure the objects of the layer as it is; of masks and classes they are numbered first.",
                ),
            )
        )
        self.run = StackRun("Clean-up", "How much is done.")

    def _lay_out(self) -> None:
        labels, dials, measuring = QFormLayout(), QFormLayout(), QFormLayout()
        for form in (labels, dials, measuring):
            form.setContentsMargins(0, 0, 0, 0)
            form.setSpacing(4)
            form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        labels.addRow("Layer", self.sources)
        labels.addRow("Labels are", self.reading.widget)
        dials.addRow("Smallest object", self.smallest_object)
        dials.addRow("Smallest hole", self.smallest_hole)
        dials.addRow("Sizes in", self.unit.widget)
        dials.addRow(row(self.border, self.previewing))
        measuring.addRow("Image", self.images)
        labels.addRow(self.volumes)
        measuring.addRow(self.skeleton)
        self.tools = Tools("measure")
        parts = (
            *(row(heading("Labels"), self.tools), labels),
            *(heading("Clean up"), dials, self.problem, self.counts),
            *(heading("Measure"), measuring, self.found, self.stale, self.view, self.notes),
            row(self.alone, self.save_button),
        )
        buttons = row(self.apply_button, self.number_button, self.measure_button)
        scroll = lay_out(self, parts, (buttons, self.run, self.status))
        scroll.widget().layout().setStretchFactor(self.view, 100)  # it takes the room that is left

    def _sizes(self) -> list[Any]:
        return [self.smallest_object.value(), self.smallest_hole.value(), self.unit.get()]

    def _show_sizes(self, smallest_object: float, smallest_hole: float, unit: str) -> None:
        """Show sizes of the last time, if the layer has the unit they are in."""
        if self.unit.widget.findData(unit) < 0:
            raise ValueError(f"There are no sizes in {unit}.")
        self.unit.set(unit)
        self._used_unit = unit
        self.smallest_object.setValue(smallest_object)
        self.smallest_hole.setValue(smallest_hole)

    def _connect(self) -> None:
        self.sources.picked.connect(self._follow)
        self.reading.changed.connect(lambda _: self._follow())
        self.volumes.toggled.connect(lambda _: self._follow())
        for box in (self.smallest_object, self.smallest_hole):
            box.valueChanged.connect(self.live.refresh)
        self.unit.widget.activated.connect(lambda _: self._convert())
        self.border.toggled.connect(self.live.refresh)
        self.previewing.toggled.connect(self.live.refresh)
        self.images.activated.connect(lambda _: self._on_image())
        self.view.picked.connect(self.finder.show)
        self.alone.toggled.connect(self.finder.show_alone)
        self.apply_button.clicked.connect(lambda: self.apply())
        self.number_button.clicked.connect(lambda: self.number_objects())
        self.measure_button.clicked.connect(lambda: self.measure())
        self.save_button.clicked.connect(lambda: self._ask_and_save())
        self.run.cancel_button.clicked.connect(lambda: self.cancel())
        self.run.ended.connect(self._on_ended)
        self.live.closed.connect(self._on_closed)
        self.live.reopened.connect(self._on_reopened)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size for which there is room on a small laptop's screen."""
        return QSize(380, 780)

    # ---- for buttons and scripts -----------------------------------------------------------------------

    def set_source(self, layer: Labels, reading: Reading | None = None) -> bool:
        """Choose the labels, and how they are read; False if the layer cannot be chosen."""
        if reading is not None:
            if reading not in (known := ("auto", *READINGS)):
                return self._refuse(f"There is no reading {reading!r}; choose one of {', '.join(known)}.")
            self.reading.set(reading)
        if not self.sources.choose(layer):
            return self._refuse(f"{layer!s} is not among the Labels layers of this viewer; choose one that is.")
        return True

    def set_dials(self, dials: CleanUp) -> bool:
        """Choose what to clean up, in pixels."""
        self.unit.set(PIXEL)
        self._used_unit = PIXEL
        self.smallest_object.setValue(dials.smallest_object)
        self.smallest_hole.setValue(dials.smallest_hole)
        self.border.setChecked(dials.clear_border)
        return True

    @property
    def busy(self) -> bool:
        """True while a preview, or work on the whole layer, is under way."""
        return self.live.busy or self.run.running

    def apply(self) -> bool:
        """Clean up all planes to a new layer, in the background; False if that cannot begin."""
        if not self._can_begin():
            return False
        layer = self.sources.chosen()
        dials = self._dials()
        if dials.does_nothing:
            return self._refuse("All dials are off; choose a smallest object or hole, or clear the border.")
        stack, volumes = self._stack(layer), self._in_volumes

        def work() -> Work:
            blocks = yield from look_through(stack, stack.shape, volumes)
            numbers = yield from change_stack(blocks, lambda numbers: clean_up(numbers, dials))
            meaning = stack.meaning()
            return stack.written(numbers, meaning), meaning

        how = {
            "clean_up": {
                "smallest_object": dials.smallest_object,
                "smallest_hole": dials.smallest_hole,
                "clear_border": dials.clear_border,
                "3d": volumes,
            }
        }
        return self._begin("Clean-up", work, lambda result: self._add_cleaned(layer, stack, result, how))

    def number_objects(self) -> bool:
        """Give the connected objects numbers in a new layer, in the background; False if that cannot begin."""
        if not self._can_begin():
            return False
        layer = self.sources.chosen()
        stack, volumes = self._stack(layer), self._in_volumes

        def work() -> Work:
            blocks = yield from look_through(stack, stack.shape, volumes)
            return (yield from change_stack(blocks, Numbering()))

        return self._begin("Numbering", work, lambda objects: self._add_objects(layer, objects))

    def measure(self) -> bool:
        """Measure the objects, in the background; False if that cannot begin."""
        if not self._can_begin():
            return False
        layer = self.sources.chosen()
        stack, volumes = self._stack(layer), self._in_volumes
        try:
            if self.skeleton.isChecked():
                check_skan()
            image = self.images.chosen()
            intensity = None if image is None else intensity_of(image, stack.shape, volumes)
            wanted = Wanted(
                voxel_of(layer, self._in_volumes), leading_axes(layer, volumes), intensity, self.skeleton.isChecked()
            )
        except InputError as error:
            return self._refuse(str(error))

        def work() -> Work:
            blocks = yield from look_through(stack, stack.shape, volumes)
            return (yield from measure(blocks, wanted))

        return self._begin("Measuring", work, lambda measured: self._show_measured(layer, measured))

    def cancel(self) -> None:
        """End what is under way, with nothing added or changed."""
        if self.run.running:
            self.run.cancel()
            say(self.status, "Cancelling…")

    def save_table(self, path: str | Path) -> bool:
        """Write the last measurements as CSV; False if there are none, or they cannot be written."""
        if self.table is None:
            return self._refuse("There is no table to save; measure first.")
        try:
            write_csv(path, [self.table])
        except InputError as error:
            return self._refuse(str(error))
        say(self.status, f"The table is in {path}.")
        return True

    # ---- the source ------------------------------------------------------------------------------------

    def _is_offered(self, layer: Layer) -> bool:
        """Whether a layer is offered: Labels with a slice to show, except for this widget's preview."""
        return isinstance(layer, Labels) and len(full(layer).shape) > 1 and layer is not self.preview.layer

    @property
    def _in_volumes(self) -> bool:
        return self.volumes.isEnabled() and self.volumes.isChecked()

    def _reading(self, layer: Labels) -> Reading:
        """How a layer is read: as chosen, but objects that were numbered here are known to be."""
        reading: Reading = self.reading.get()
        return "objects" if reading == "auto" and origin_of(layer).get("numbered") else reading

    def _stack(self, layer: Labels) -> LabelStack:
        """Everything is read again: what is applied never rests on what an earlier preview saw."""
        name = f"Layer {layer.name!r}"
        return LabelStack(full(layer), self._reading(layer), is_ours(layer), name, instances=True)

    def _voxel(self, layer: Labels) -> Voxel:
        """Return the size of a pixel or voxel; what the layer's file says of it is read once."""
        key = layer, self._in_volumes, repr(placement(layer))
        if self._known_voxel is None or self._known_voxel[0] != key:
            self._known_voxel = key, voxel_of(layer, self._in_volumes)
            self._offer_units(self._known_voxel[1])
        return self._known_voxel[1]

    def _follow(self) -> None:
        """Take over another source, or another way to read it."""
        if self.live.resting:
            return
        layer = self.sources.chosen()
        self.live.drop()
        self.preview.hide()
        self._drawer.forget()
        self.watch.follow([] if layer is None else [layer])
        for text in (self.problem, self.counts):
            say(text, "")
        self._known_voxel = None
        if layer is not None:
            self.volumes.setEnabled(has_slices(layer))
            self._voxel(layer)
        if layer is None:
            self.preview.remove()
            say(self.problem, NO_SOURCE)
        else:
            self._choose_image(layer)
        self._let()
        self.live.refresh()

    def _choose_image(self, layer: Labels) -> None:
        """Choose the image of other labels than before, unless none is wanted; what is made of them has the same."""
        before, self._root = self._root, root_of(layer, self.viewer.layers)
        image = self.images.chosen()
        if not self._no_image if image is None else not fits(image, layer) or self._root is not before:
            self.images.choose(image_of(layer, self.viewer.layers))

    def _on_image(self) -> None:
        self._no_image = self.images.chosen() is None

    def _offer_units(self, voxel: Voxel) -> None:
        box, chosen = self.unit.widget, self.unit.get()
        with QSignalBlocker(box):
            box.clear()
            box.addItem("voxels" if len(voxel.steps) == 3 else "pixels", PIXEL)
            if voxel.unit != PIXEL:
                box.addItem(voxel.of_size, voxel.unit)
            self.unit.set(chosen if box.findData(chosen) >= 0 else PIXEL)
        self._used_unit = self.unit.get()

    def _convert(self) -> None:
        """Keep the sizes as another unit is chosen for them."""
        if (unit := self.unit.get()) == self._used_unit or (layer := self.sources.chosen()) is None:
            return
        self._used_unit = unit
        factor = self._voxel(layer).size
        for box in (self.smallest_object, self.smallest_hole):
            box.setValue(box.value() / factor if unit == PIXEL else box.value() * factor)

    def _dials(self) -> CleanUp:
        layer, unit = self.sources.chosen(), self.unit.get()
        size = 1.0 if layer is None or unit == PIXEL else self._voxel(layer).size
        least, hole = (round(box.value() / size, 6) for box in (self.smallest_object, self.smallest_hole))
        return CleanUp(least, hole, self.border.isChecked())

    # ---- the preview -----------------------------------------------------------------------------------

    def _request(self) -> Callable[[Callable[[], bool]], CleanPreview] | None:
        """Return the job that draws what is chosen now, or say what is wrong with it."""
        if self._refused and self.status.text() == self._refused:  # its cause may be gone
            say(self.status, "")
        if (layer := self.sources.chosen()) is None:
            return None
        self._voxel(layer)  # its units may be others now
        dials = self._dials()
        if not self.previewing.isChecked() or dials.does_nothing:
            self.live.drop()
            self.preview.remove()
            for text in (self.problem, self.counts):
                say(text, "")
            return None
        plane = visible_plane(self.viewer, layer)
        if plane is None:
            self._show_problem(NO_PLANE)
            return None
        stack, volumes = self.watch.stack(layer, self._reading(layer)), self._in_volumes
        return lambda wanted: self._drawer.draw(stack, plane, dials, volumes, wanted)

    def _show_preview(self, preview: CleanPreview) -> bool:
        say(self.problem, "")
        source = preview.source
        how = made_from(source, unlabelled=is_ours(source))
        objects = self._numbered.get(source)  # which would show what is removed
        others = () if objects is None or objects not in self.viewer.layers else (objects,)
        self.preview.show(source, preview.index, preview.labels, "clean preview", how, others=others)
        self.previewed.emit(preview)
        return True

    def _show_failure(self, error: Exception) -> None:
        """Report an error in one sentence; one that the user cannot mend also goes to the log, with its traceback."""
        why = str(error)
        if not isinstance(error, MetastructureError):
            log.error("The preview of the clean-up failed", exc_info=error)
            why = f"The labels could not be cleaned up: {type(error).__name__}: {error}"
        self._show_problem(why)

    def _show_problem(self, why: str) -> None:
        self.live.drop()
        self.preview.hide()
        say(self.counts, "")
        say(self.problem, why)

    # ---- work on the whole layer -----------------------------------------------------------------------

    def _can_begin(self) -> bool:
        if self.run.running:
            show_warning(f"{self.run.what} is going on already; wait for it, or cancel it.")
            return False
        return self.sources.chosen() is not None or self._refuse(NO_SOURCE)

    def _begin(self, what: str, work: Callable[[], Work], finish: Callable[[Any], Labels]) -> bool:
        self._finish, self.run.what = finish, what
        say(self.status, "")

        def events() -> Generator[Any, None, None]:
            result = yield from work()
            yield result

        self.run.start(events)
        self._let()
        return True

    def _on_ended(self, result: Any, why: str) -> None:
        finish, self._finish = self._finish, None
        self._let()
        layer = None
        if result is not None and finish is not None:
            try:
                layer = finish(result)
            except InputError as error:
                why = str(error)
        if layer is None:
            say(self.status, why or CANCELLED)
            if why:
                show_error(why)
            self.failed.emit(why or CANCELLED)
            return
        self.finished.emit(layer)

    def _add_cleaned(
        self, source: Labels, stack: LabelStack, result: tuple[np.ndarray, Meaning], how: dict[str, Any]
    ) -> Labels:
        """Add the cleaned labels in the numbers and colours of the source, and go on with them."""
        labels, meaning = result
        unlabelled = is_ours(source) or (meaning.unlabelled and stack.reading != "objects")
        how |= {"reading": stack.reading, "unlabelled": unlabelled, "numbered": stack.numbered(meaning)}
        layer = Labels(
            labels,
            name=result_name(source.name, "clean"),
            colormap=source.colormap.model_copy(),
            metadata={**source.metadata, **made_from(source, **how)},
            **placement(source),
        )
        self.previewing.setChecked(False)  # of what is clean already there is nothing to see
        self._add(source, layer)
        say(self.status, f"The cleaned labels are in layer {layer.name!r}.")
        self.sources.choose(layer)
        return layer

    def _add_objects(self, source: Labels, objects: np.ndarray) -> Labels:
        """Add numbered objects, or put them into the layer of those that were numbered before."""
        layer = self._numbered.get(source)
        if layer is not None and layer in self.viewer.layers and full(layer).shape == objects.shape:
            layer.data = objects
            layer.visible = True
        else:
            how = made_from(source, unlabelled=False, numbered=True)
            layer = Labels(objects, name=result_name(source.name, "objects"), metadata=how, **placement(source))
            self._numbered[source] = layer
            self._add(source, layer)
        source.visible = False
        say(self.status, f"The objects, {int(objects.max())} of them, are numbered in layer {layer.name!r}.")
        return layer

    def _add(self, source: Labels, layer: Labels) -> None:
        self.preview.remove()
        add_above(self.viewer, source, layer)
        source.visible = False

    def _show_measured(self, source: Labels, measured: Measured) -> Labels:
        """Show the table, here and as features of the layer whose objects are in it."""
        table, layer = measured.table, source
        if measured.objects is not None:
            layer = self._add_objects(source, measured.objects)
        elif source not in self.viewer.layers:
            raise InputError(f"Layer {source.name!r} was removed before it was measured; nothing was changed.")
        columns = dict(zip(table.heads(), table.columns.values(), strict=True))
        layer.features = {"index": table.columns["label"], **columns}
        self.table, self._measured = table, layer
        self.view.show_table(table)
        self.finder.follow(layer, table)
        say(self.found, f"{len(table)} objects in layer {layer.name!r}:")
        say(self.notes, " ".join(table.notes))
        say(self.stale, "")
        say(self.status, "")
        self._let()
        return layer

    def _on_clicked(self, found: int) -> None:
        self.view.select(found)

    def _ask_and_save(self) -> None:
        layer = self._measured
        assert layer is not None
        file, name = file_of(layer), f"{file_name(layer.name)}.csv"
        proposed = name if file is None else str(file.resolve().with_name(name))
        chosen, _ = QFileDialog.getSaveFileName(self, "Save table", proposed, "CSV (*.csv)")
        if chosen:
            self.save_table(chosen)

    def _let(self) -> None:
        can = self.sources.chosen() is not None and not self.run.running
        for button in (self.apply_button, self.number_button, self.measure_button):
            button.setEnabled(can)
        for part in (self.save_button, self.alone):
            part.setEnabled(self.table is not None)

    def _on_closed(self) -> None:
        self.run.cancel()
        self.watch.follow([])
        self.preview.remove()
        self.finder.follow(None, None)

    def _on_reopened(self) -> None:
        self._follow()
        self.finder.follow(self._measured, self.table)

    def _refuse(self, why: str) -> bool:
        show_error(why)
        self._refused = why
        say(self.status, why)
        return False
