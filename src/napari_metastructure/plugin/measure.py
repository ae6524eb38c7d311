"""Clean-up and measuring widget: dials with a live preview, numbered objects, and a table of their measurements."""

from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import napari
import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_warning
from qtpy import QtCore, QtWidgets

from napari_metastructure.errors import InputError, counted
from napari_metastructure.images.image import PIXEL
from napari_metastructure.labels import measures, regions
from napari_metastructure.labels.classes import LabelStack, PlaneDone
from napari_metastructure.labels.measures import measure
from napari_metastructure.labels.readings import Meaning, Reading
from napari_metastructure.plugin import _inputs, _layers, _measured_layers
from napari_metastructure.plugin._form import RealSpinBox, choice_editor, form_layout, with_tip
from napari_metastructure.plugin._labels_widget import NO_PLANE, LabelsWidget
from napari_metastructure.plugin._layer_order import Where, add_above, is_untouched, note_as_made
from napari_metastructure.plugin._object_finder import ObjectFinder
from napari_metastructure.plugin._pairs import apart
from napari_metastructure.plugin._preferences import Value, of_box
from napari_metastructure.plugin._previews import CleanDrawer, CleanPreview, describe
from napari_metastructure.plugin._region_table import RegionView
from napari_metastructure.plugin._saving import ask_file
from napari_metastructure.plugin._shortcuts import Keys
from napari_metastructure.plugin.writer import file_name

STALE = "The labels have changed since; measure again."

MOST_SIZE = 1e9

Work = Generator[PlaneDone, None, Any]


def _blocks_of(stack: LabelStack, volumes: bool) -> Generator[PlaneDone, None, regions.Blocks]:
    """Look for the values of all slices, once the grey values of an image are refused."""
    stack.refuse_picture(len(stack) // 2)
    return (yield from regions.look_through(stack, stack.shape, volumes))


class MeasureWidget(LabelsWidget):
    """Labels cleaned up with a live preview, their objects numbered, and measured in a table.

    Scripts may call `set_source`, `set_dials`, `apply`, `number_objects`, `measure`, `cancel` and `save_table`. None of
    them raises: what is wrong is said in one sentence, in the widget and in a napari notification, and False returned.

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

    finished = QtCore.Signal(object)

    name = "measure"
    no_source = (
        "There is no Labels layer to clean up or measure; open or paint one. "
        f"If a mask was opened as an image, {_layers.CONVERT}"
    )
    fault = "The labels could not be cleaned up"
    instances = True

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, "Masks, classes or numbered objects. They stay as they are.")
        self.table: measures.RegionTable | None = None
        self._measured: Labels | None = None
        self._measured_from: Labels | None = None
        self._numbered: WeakKeyDictionary[Layer, Labels] = WeakKeyDictionary()  # layers of objects by their source
        self._drawer = CleanDrawer()
        self._no_image = False  # chosen by hand
        self._root: Layer | None = None  # of the labels whose image was chosen
        self._known_voxel: tuple[object, measures.Voxel] | None = None
        self.finder = ObjectFinder(self.viewer, self._on_clicked, lambda: _inputs.say(self.stale, STALE))
        self._make_parts()
        self._lay_out()
        self.go_live(describe, lambda text: _inputs.say(self.counts, text), self.finder)
        self._connect()
        self.keys = Keys(self, self.viewer, {"run": [self.measure_button], "stop": [self.run.cancel_button]})
        kept = {name: of_box(getattr(self, name)) for name in ("volumes", "border", "skeleton")}
        sizes = Value(self._sizes, lambda values: self._show_sizes(*values))
        self.remember({"sizes": sizes, **kept})

    def _make_parts(self) -> None:
        self.volumes = with_tip(
            QtWidgets.QCheckBox("3D: objects run through slices"),
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
        self.border = with_tip(
            QtWidgets.QCheckBox("Clear border"), "Remove the objects that touch the border of the image."
        )
        self.previewing = with_tip(
            QtWidgets.QCheckBox("Preview"),
            "Show the cleaned slice in place of the layer; it follows the dials, the slider and your brush.",
        )
        self.previewing.setChecked(True)
        self.counts = _inputs.sentence()
        self.images = _inputs.LayerBox(
            self.viewer,
            "The image whose intensities are measured.",
            lambda layer: isinstance(layer, Image),
            "no intensities",
        )
        self.skeleton = with_tip(
            QtWidgets.QCheckBox("Skeletons"),
            "Thin each object to a line, and measure its length, branches, end points and junctions: for networks. "
            "Needs skan.",
        )
        self.view = RegionView()
        self.found, self.notes, self.stale = (
            _inputs.sentence(),
            _inputs.sentence(),
            _inputs.sentence(f"color: {_inputs.PROBLEM};"),
        )
        self.alone = with_tip(QtWidgets.QCheckBox("Only the selected"), "Hide the others while a row is selected.")
        self.save_button = with_tip(
            QtWidgets.QPushButton("Save CSV…"), "Write the table to a file, for Excel, R or Python."
        )
        self.apply_button, self.number_button, self.measure_button = (
            with_tip(QtWidgets.QPushButton(text), tip)
            for text, tip in (
                ("Apply", "Clean up every slice, in the background, to a new layer."),
                ("Instances", "Number the connected objects of the layer as it is, in a new Labels layer."),
                (
                    "Measure",
                    "Measure the objects of the layer as it is; of masks and classes they are numbered first.",
                ),
            )
        )

    def _lay_out(self) -> None:
        labels = form_layout(("Layer", self.sources), ("Labels are", self.reading.widget), (self.volumes,))
        dials = form_layout(
            ("Smallest object", self.smallest_object),
            ("Smallest hole", self.smallest_hole),
            ("Sizes in", self.unit.widget),
            (_inputs.row(self.border, self.previewing),),
        )
        measuring = form_layout(("Image", self.images), (self.skeleton,))
        parts = (
            *(_inputs.row(_inputs.heading("Labels"), self.tools), labels),
            *(_inputs.heading("Clean up"), dials, self.problem, self.counts),
            *(_inputs.heading("Measure"), measuring, self.found, self.stale, self.view, self.notes),
            _inputs.row(self.alone, self.save_button),
        )
        buttons = _inputs.row(self.apply_button, self.number_button, self.measure_button)
        scroll = _inputs.lay_out(self, parts, (buttons, self.run, self.status))
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
        self.volumes.toggled.connect(lambda _: self.follow())
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
        self.live.reopened.connect(lambda: self.finder.follow(self._measured, self.table, self._measured_from))

    # ---- for buttons and scripts -----------------------------------------------------------------------

    def set_dials(self, dials: regions.CleanUp) -> bool:
        """Choose what to clean up, in pixels."""
        self.unit.set(PIXEL)
        self._used_unit = PIXEL
        self.smallest_object.setValue(dials.smallest_object)
        self.smallest_hole.setValue(dials.smallest_hole)
        self.border.setChecked(dials.clear_border)
        return True

    def apply(self) -> bool:
        """Clean up all planes to a new layer, in the background; False if that cannot begin."""
        if not self.can_begin():
            return False
        layer = self.sources.chosen()
        dials = self._dials()
        if dials.does_nothing:
            return self.refuse("All dials are off; choose a smallest object or hole, or clear the border.")
        stack, volumes = self.stack(layer), self._in_volumes

        def work() -> Work:
            blocks = yield from _blocks_of(stack, volumes)
            numbers = yield from regions.change_stack(blocks, lambda numbers: regions.clean_up(numbers, dials))
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
        return self._begin("Clean-up", stack, work, lambda result: self._add_cleaned(layer, stack, result, how))

    def number_objects(self) -> bool:
        """Give the connected objects numbers in a new layer, in the background; False if that cannot begin."""
        if not self.can_begin():
            return False
        layer = self.sources.chosen()
        stack, volumes = self.stack(layer), self._in_volumes

        def work() -> Work:
            blocks = yield from _blocks_of(stack, volumes)
            return (yield from regions.change_stack(blocks, regions.Numbering()))

        return self._begin("Numbering", stack, work, lambda objects: self._add_objects(layer, objects))

    def measure(self) -> bool:
        """Measure the objects, in the background; False if that cannot begin."""
        if not self.can_begin():
            return False
        layer = self.sources.chosen()
        stack, volumes = self.stack(layer), self._in_volumes
        try:
            if self.skeleton.isChecked():
                measures.check_skan()
            image = self.images.chosen()
            doubt = "" if image is None else apart(image, layer)
            intensity = None if image is None else _measured_layers.intensity_of(image, stack.shape, volumes)
            wanted = measures.Wanted(
                _measured_layers.voxel_of(layer, self._in_volumes),
                _measured_layers.leading_axes(layer, volumes),
                intensity,
                self.skeleton.isChecked(),
            )
        except InputError as error:
            return self.refuse(str(error))

        def work() -> Work:
            blocks = yield from _blocks_of(stack, volumes)
            return (yield from measure(blocks, wanted))

        if doubt:
            show_warning(doubt)

        return self._begin("Measuring", stack, work, lambda measured: self._show_measured(layer, measured, doubt))

    def save_table(self, path: str | Path) -> bool:
        """Write the last measurements as CSV; False if there are none, or they cannot be written."""
        if self.table is None:
            return self.refuse("There is no table to save; measure first.")
        try:
            measures.write_csv(path, [self.table])
        except InputError as error:
            return self.refuse(str(error))
        _inputs.say(self.status, f"The table is in {path}.")
        return True

    # ---- the source ------------------------------------------------------------------------------------

    @property
    def _in_volumes(self) -> bool:
        return self.volumes.isEnabled() and self.volumes.isChecked()

    def reading_of(self, layer: Labels) -> Reading:
        """Return how a layer is read: as chosen, but objects that were numbered here are known to be."""
        reading: Reading = self.reading.get()
        return "objects" if reading == "auto" and _layers.origin_of(layer).get("numbered") else reading

    def _voxel(self, layer: Labels) -> measures.Voxel:
        """Return the size of a pixel or voxel; what the layer's file says of it is read once."""
        key = layer, self._in_volumes, repr(_layers.placement(layer))
        if self._known_voxel is None or self._known_voxel[0] != key:
            self._known_voxel = key, _measured_layers.voxel_of(layer, self._in_volumes)
            self._offer_units(self._known_voxel[1])
        return self._known_voxel[1]

    def take_over(self, layer: Labels | None) -> None:
        """Show another source, or none."""
        self._drawer.forget()
        self._known_voxel = None
        _inputs.say(self.counts, "")
        if layer is None:
            _inputs.say(self.problem, self.no_source)
            return
        self.volumes.setEnabled(_measured_layers.has_slices(layer))
        self._voxel(layer)
        self._choose_image(layer)

    def _choose_image(self, layer: Labels) -> None:
        """Choose the image of other labels than before, unless none is wanted; what is made of them has the same."""
        before, self._root = self._root, _measured_layers.root_of(layer, self.viewer.layers)
        image = self.images.chosen()
        if not self._no_image if image is None else not _measured_layers.fits(image, layer) or self._root is not before:
            self.images.choose(_measured_layers.image_of(layer, self.viewer.layers))

    def _on_image(self) -> None:
        self._no_image = self.images.chosen() is None

    def _offer_units(self, voxel: measures.Voxel) -> None:
        box, chosen = self.unit.widget, self.unit.get()
        with QtCore.QSignalBlocker(box):
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

    def _dials(self) -> regions.CleanUp:
        layer, unit = self.sources.chosen(), self.unit.get()
        size = 1.0 if layer is None or unit == PIXEL else self._voxel(layer).size
        least, hole = (round(box.value() / size, 6) for box in (self.smallest_object, self.smallest_hole))
        return regions.CleanUp(least, hole, self.border.isChecked())

    # ---- the preview -----------------------------------------------------------------------------------

    def request(self, layer: Labels | None) -> Callable[[Callable[[], bool]], CleanPreview] | None:
        """Return the job that draws what is chosen now, or say what is wrong with it."""
        if layer is None:
            return None
        self._voxel(layer)  # its units may be others now
        dials = self._dials()
        if not self.previewing.isChecked() or dials.does_nothing:
            self.live.drop()
            self.preview.remove()
            for text in (self.problem, self.counts):
                _inputs.say(text, "")
            return None
        plane = _layers.visible_plane(self.viewer, layer)
        if plane is None:
            self.show_problem(NO_PLANE)
            return None
        stack, volumes = self.watch.stack(layer, self.reading_of(layer)), self._in_volumes
        return lambda wanted: self._drawer.draw(stack, plane, dials, volumes, wanted)

    def show_preview(self, preview: CleanPreview) -> bool:
        """Show the slice cleaned up."""
        _inputs.say(self.problem, "")
        source = preview.source
        how = _layers.made_from(source, unlabelled=_layers.is_ours(source))
        objects = self._numbered.get(source)  # which would show what is removed
        others = () if objects is None or objects not in self.viewer.layers else (objects,)
        self.preview.show(source, preview.index, preview.labels, "clean preview", how, others=others)
        self.previewed.emit(preview)
        return True

    def show_problem(self, why: str) -> None:
        """Say why there is no preview."""
        _inputs.say(self.counts, "")
        super().show_problem(why)

    def on_preview_removed(self) -> None:
        """Draw no preview."""
        self.previewing.setChecked(False)

    # ---- work on the whole layer -----------------------------------------------------------------------

    def _begin(self, what: str, stack: LabelStack, work: Callable[[], Work], finish: Callable[[Any], Labels]) -> bool:
        def events() -> Iterator[Any]:
            result = yield from work()
            yield result

        return self.begin(what, stack, events, finish)

    def done(self, layer: Labels) -> None:
        """Tell that work is done."""
        self.finished.emit(layer)

    def _add_cleaned(
        self, source: Labels, stack: LabelStack, result: tuple[np.ndarray, Meaning], how: dict[str, Any]
    ) -> Labels:
        """Add the cleaned labels in the numbers and colours of the source, and go on with them."""
        labels, meaning = result
        unlabelled = _layers.is_ours(source) or (meaning.unlabelled and stack.reading != "objects")
        how |= {"reading": stack.reading, "unlabelled": unlabelled, "numbered": stack.numbered(meaning)}
        where = partial(_layers.placement, source, ndim=labels.ndim)
        layer = Labels(
            labels,
            name=_layers.result_name(source.name, "clean"),
            colormap=source.colormap.model_copy(),
            metadata={**source.metadata, **_layers.made_from(source, **how)},
            **where(),
        )
        self.previewing.setChecked(False)  # of what is clean already there is nothing to see
        self._add(source, layer, where)
        self.sources.choose(layer)
        _inputs.say(self.status, f"The cleaned labels are in layer {layer.name!r}.")
        return layer

    def _add_objects(self, source: Labels, objects: np.ndarray) -> Labels:
        """Add numbered objects, or put them into the layer of those that were numbered before, if it was left alone."""
        before = layer = self._numbered.get(source)
        there = layer is not None and layer in self.viewer.layers and is_untouched(layer)
        if layer is not None and there and layer.data.shape == objects.shape:
            layer.data = objects
            layer.visible = True
            note_as_made(layer)
        else:
            how = {"metadata": _layers.made_from(source, unlabelled=False, numbered=True)}
            where = partial(_layers.placement, source, ndim=objects.ndim)
            layer = Labels(objects, name=_layers.result_name(source.name, "objects"), **how, **where())
            self._numbered[source] = layer
            self._add(source, layer, where)
            if before is not None:
                before.visible = False
        source.visible = False
        _inputs.say(self.status, f"{counted(int(objects.max()), 'object')} numbered in layer {layer.name!r}.")
        return layer

    def _add(self, source: Labels, layer: Labels, where: Where) -> None:
        self.preview.remove()
        add_above(self.viewer, source, layer, where)
        source.visible = False

    def _show_measured(self, source: Labels, measured: measures.Measured, doubt: str) -> Labels:
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
        self._measured_from = source
        self.finder.follow(layer, table, source)
        _inputs.say(self.found, f"{counted(len(table), 'object')} in layer {layer.name!r}:")
        _inputs.say(self.notes, " ".join(filter(None, (*table.notes, doubt))))
        _inputs.say(self.stale, STALE if self.changed_meanwhile else "")
        _inputs.say(self.status, "")
        self.let()
        return layer

    def _on_clicked(self, found: int) -> None:
        self.view.select(found)

    def _ask_and_save(self) -> None:
        layer = self._measured
        assert layer is not None
        file, name = _layers.file_of(layer), f"{file_name(layer.name)}.csv"
        proposed = name if file is None else file.resolve().with_name(name)
        if path := ask_file(self, "Save table", proposed, {".csv": "CSV"}):
            self.save_table(path)

    def let(self) -> None:
        """Enable what can be done with the labels, and with the table."""
        can = self.sources.chosen() is not None and not self.run.running
        for button in (self.apply_button, self.number_button, self.measure_button):
            button.setEnabled(can)
        for part in (self.save_button, self.alone):
            part.setEnabled(self.table is not None)

    def on_closed(self) -> None:
        """End what is under way, and let go of the objects."""
        super().on_closed()
        self.finder.follow(None, None)
