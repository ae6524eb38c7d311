"""The Compare methods widget: many ways to segment the same images, side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_info
from qtpy import QtCore, QtWidgets
from superqt import QFlowLayout

from napari_metastructure.baselines import results
from napari_metastructure.baselines.compare import runs_of, write_results
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Method, frame_of
from napari_metastructure.baselines.results import (
    CompareEvent,
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.errors import InputError, sized
from napari_metastructure.labels.readings import Reading
from napari_metastructure.plugin import _inputs, _source
from napari_metastructure.plugin._compare_results import CompareProgress, MethodLayers, MethodTable, method_colors
from napari_metastructure.plugin._estimate import Unknown
from napari_metastructure.plugin._form import ConfigPanel, collapsed, form_layout, tooltip, with_tip
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons
from napari_metastructure.plugin._layer_order import bring_to_front
from napari_metastructure.plugin._layers import full, origin_of, shortened
from napari_metastructure.plugin._pairs import apart, shape_of, suggest
from napari_metastructure.plugin._preferences import of_settings
from napari_metastructure.plugin._saving import ask_folder
from napari_metastructure.plugin._tables import AgreementTable
from napari_metastructure.plugin._training_data import TrainingSettings
from napari_metastructure.plugin._worker import throttled, torch_beside_a_window
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Saved, Warned
from napari_metastructure.training.metrics import as_truth

# ---- the job -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanesRead:
    """The images that are compared on, as `compare` takes them.

    Attributes
    ----------
    planes : list of (Y, X) float32 arrays
    truths : list of (Y, X) arrays, or None
        Their ground truth, bool or uint8 of 0, 1 and 255: a copy, so that what is painted later changes nothing.
    names : list of str
    """

    planes: list[np.ndarray]
    truths: list[np.ndarray] | None
    names: list[str]


def compare_job(
    sources: Sequence[_source.Source],
    labels: Sequence[tuple[Labels, Any]],
    planes: list[np.ndarray] | None,
    config: CompareConfig,
) -> Job:
    """Make the job of a comparison: it reads the layers, then runs the methods.

    Parameters
    ----------
    sources : sequence of Source
    labels : sequence of (Labels, array)
        Ground truth of each, and its pixels; or empty.
    planes : list of (Y, X) arrays, or None
        Their checked pixels; None: they are read and checked in the thread.
    config : CompareConfig
    """

    def job(control: Control) -> Iterator[CompareEvent | _source.ColourTaken | PlanesRead | Saved | Warned]:
        torch_beside_a_window()
        from napari_metastructure.baselines.compare import compare

        try:
            control.checkpoint()
            if (colour := _source.colour_of(sources)) is not None:
                yield _source.ColourTaken(colour)
            images = planes or _source.read_planes(sources, colour)
            truths, notes = truth_planes(labels, config.reading, control.checkpoint)
        except Stopped:
            yield CompareFinished(True, "Stopped by the user before the first run began.", (), None)
            return
        read = PlanesRead(images, truths or None, [name for source in sources for name in source.names()])
        yield read
        yield from map(Warned, notes)
        groups = [frame_of(source.name) for source in sources for _ in range(source.count)]
        events = compare(images, config, control, masks=read.truths, names=read.names, groups=groups)
        yield from throttled(events, lambda event: isinstance(event, MethodProgress))

    return job


def truth_planes(
    labels: Sequence[tuple[Labels, Any]], reading: Reading = "auto", checkpoint: Callable[[], None] = lambda: None
) -> tuple[list[np.ndarray], list[str]]:
    """Read pixels of Labels layers, ``([T, Z, ...], Y, X)``, as ground truth, see `training.metrics.as_truth`.

    Raises
    ------
    InputError
        As `training.metrics.as_truth`.
    """
    planes: list[np.ndarray] = []
    names: list[str] = []
    for layer, data in labels:
        checkpoint()
        pixels = np.array(data)  # a copy: what is painted later changes nothing
        planes += list(pixels.reshape(-1, *pixels.shape[-2:]))
        names += [f"Ground truth {layer.name!r}"] * (len(planes) - len(names))
    return as_truth(planes, reading, names) if planes else ([], [])


# ---- the form: methods, ground truth, settings --------------------------------------------------------------


class MethodBoxes(QtWidgets.QWidget):
    """A check box per method; those that learn from ground truth can be ticked once there is some."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes = {name: QtWidgets.QCheckBox(method.title) for name, method in METHODS.items()}
        self._wanted: set[str] = set()  # ticked, and to be ticked again as soon as there is ground truth
        flow = QFlowLayout(self)
        flow.setContentsMargins(0, 0, 0, 0)
        for box in self.boxes.values():
            flow.addWidget(box)
        self.choose(CompareConfig().methods)
        self.set_labelled(False)

    def chosen(self) -> tuple[str, ...]:
        """Return the ticked methods, in the order of `METHODS`."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def choose(self, names: Iterable[str]) -> None:
        """Tick these methods and no others, as far as they can be."""
        names = set(names)
        self._wanted = {name for name in names if METHODS[name].needs_masks}
        for name, box in self.boxes.items():
            box.setChecked(name in names and box.isEnabled())

    def set_labelled(self, labelled: bool) -> None:
        """Offer the methods that learn from ground truth, if there is some."""
        for name, box in self.boxes.items():
            method = METHODS[name]
            box.setToolTip(tooltip(_describe(method, labelled)))
            if not method.needs_masks or box.isEnabledTo(self) == labelled:
                continue
            if not labelled:
                self._wanted = self._wanted - {name} | ({name} if box.isChecked() else set())
            box.setEnabled(labelled)
            box.setChecked(labelled and name in self._wanted)


def _describe(method: Method, labelled: bool) -> str:
    if not method.needs_masks:
        return (
            "Needs no ground truth. It depends on a seed and runs as often as Repeats says."
            if method.random
            else "Needs neither ground truth nor training; it does not depend on a seed and runs once."
        )
    why = "" if labelled else "<b>Choose ground truth above to be able to tick it.</b> "
    return (
        f"{why}Trained on the ground truth of one half of the images, it segments the other half, and the other way "
        "round: two images or more are needed. The slices of a stack count as one."
    )


MAIN = ("repeats", "objects", "reading", "seed", "device")

GROUPS = {"iGTT": ("rounds", "flaws"), "DFC and AC": ("dfc_iterations", "ac_steps")}

WITHOUT = ("network", "seed", "device", "classes", "validation_fraction", "patience", "base_channels", "reading")
"""Of a training, what the comparison sets itself, and what is of another network."""


class CompareSettings(QtWidgets.QWidget):
    """Repeats, polarity, seed and device; rounds of iGTT, steps of DFC and AC, the training of supervised networks."""

    def __init__(self) -> None:
        super().__init__()
        self.main = ConfigPanel(
            CompareConfig, MAIN, GROUPS, ("methods", "train"), {"reading": _inputs.reading_editor()}
        )
        self.train = TrainingSettings(("preset", "epochs"), WITHOUT)
        supervised = collapsed("Supervised networks", self.train, "How networks are trained on the ground truth.")
        _inputs.column(self.main, supervised, into=self)

    def config(self, methods: Sequence[str]) -> CompareConfig:
        """Return the settings as shown, for these methods.

        Raises
        ------
        InputError
            If there is no method, or a value cannot be used.
        """
        if not methods:
            raise InputError("No method is ticked; tick at least one.")
        return self.main.config(methods=tuple(methods), train=self.train.config())

    def fill(self, config: CompareConfig) -> None:
        """Show these settings."""
        self.main.fill(config)
        self.train.fill(config.train)


NONE = "none"

TIP = (
    "Labels of this image by which the methods are scored: 0 is background, anything else foreground; beside 0 and "
    "1, 255 is unlabelled. Without ground truth, methods are compared with each other."
)


@dataclass(eq=False)
class _Row:
    image: Image
    box: _inputs.LayerBox
    label: QtWidgets.QLabel
    by_hand: bool = False

    def show_name(self) -> None:
        self.label.setText(shortened(self.image.name, 22))  # the box beside it needs room as well
        self.label.setToolTip(self.image.name)


class TruthRows(QtWidgets.QWidget):
    """A Labels layer, or none, as ground truth of each image.

    Labels with the image's name ("nuclei mask") are chosen by themselves, unless the user chose.

    Signals
    -------
    changed
        There may be other ground truth now.
    """

    changed = QtCore.Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._rows: list[_Row] = []
        self._form = QtWidgets.QWidget()
        _inputs.column(self._form, into=self)
        self.release = _inputs.follow_layers(viewer, self.reset_choices)

    def show_images(self, images: Sequence[Image]) -> None:
        """Show a box for each of these; what was chosen for one stays chosen."""
        before = {id(row.image): row for row in self._rows}
        old, self._form = self._form, QtWidgets.QWidget()
        self._rows = [self._row(image, before.get(id(image))) for image in images]
        form = form_layout(*((row.label, row.box) for row in self._rows), into=self._form)
        # a narrow dock has no room for two names
        form.setRowWrapPolicy(QtWidgets.QFormLayout.RowWrapPolicy.WrapLongRows)
        if not images:
            form.addRow(QtWidgets.QLabel("No image is ticked."))
        self.layout().replaceWidget(old, self._form)
        for row in before.values():
            row.box.release()
        old.hide()
        old.deleteLater()
        self.reset_choices()
        self.changed.emit()

    def choose(self, image: Image, labels: Labels | None) -> bool:
        """Choose the ground truth of a ticked image, or none; return False if that cannot be."""
        for row in self._rows:
            if row.image is image:
                row.by_hand = True
                return row.box.choose(labels)
        return False

    def chosen(self) -> list[Any]:
        """Return a Labels layer or None for each ticked image."""
        return [row.box.chosen() for row in self._rows]

    def truths(self) -> list[Any]:
        """Return a Labels layer for each ticked image; none at all if no image has one.

        Raises
        ------
        InputError
            If only some images have one, or one does not fit its image.
        """
        chosen = self.chosen()
        if all(labels is None for labels in chosen):
            return []
        for row, labels in zip(self._rows, chosen, strict=True):
            if labels is None:
                raise InputError(
                    f"Image layer {row.image.name!r} has no ground truth while others have; choose its Labels layer, "
                    f"or {NONE} for all of them."
                )
            shapes = [shape_of(layer) for layer in (row.image, labels)]
            if shapes[0] != shapes[1]:
                raise InputError(
                    f"Ground truth {labels.name!r} has {sized(shapes[1])} and image {row.image.name!r} has "
                    f"{sized(shapes[0])}; choose labels of that image."
                )
        return chosen

    def reset_choices(self) -> None:
        """Offer the layers there are, and choose those that bear the name of an image.

        By name alone: labels that merely have the same shape may be of anything.
        """
        for row in self._rows:
            row.box.reset_choices()  # whichever of us hears of a new layer first
            row.show_name()
        free = [row for row in self._rows if row.box.chosen() is None and not row.by_hand]
        taken = {id(labels) for labels in self.chosen()}
        labels = [layer for layer in self.viewer.layers if _is_truth(layer) and id(layer) not in taken]
        for found in suggest([*(row.image for row in free), *labels]):
            if found.by == "name":
                next(row for row in free if row.image is found.image).box.choose(found.labels)

    def _row(self, image: Image, before: _Row | None) -> _Row:
        row = _Row(image, _inputs.LayerBox(self.viewer, TIP, _is_truth, NONE), QtWidgets.QLabel())
        if before is not None:
            row.box.choose(before.box.chosen())
            row.by_hand = before.by_hand
        row.label.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        row.box.activated.connect(lambda _: setattr(row, "by_hand", True))
        row.box.picked.connect(self.changed)
        return row


def _is_truth(layer: Layer) -> bool:
    """Return whether a layer holds labels that no comparison made."""
    return isinstance(layer, Labels) and "method" not in origin_of(layer)


# ---- the widget ----------------------------------------------------------------------------------------------


RESULTS = 1
"""Number of the Results page."""


class CompareWidget(JobWidget):
    """Compare methods of segmentation on image layers, with ground truth or without.

    The buttons call `start`, `pause`, `resume`, `stop` and `save_results`; scripts may do the same, and
    ``picker.choose``, ``truth.choose``, ``methods.choose``, ``settings.fill`` and ``table.select``. What is wrong is
    said in one sentence by a napari notification, and `start` and `save_results` return False. See `JobWidget` for
    ``finished``, ``failure`` and ``saved``.

    Attributes
    ----------
    results : tuple of MethodResult
        The finished runs of the current comparison or the last one.
    layers : MethodLayers or None
        The masks of the current comparison or the last one.
    """

    name = "compare"
    title = "The comparison"
    preparing = "Reading the images…"
    size = (540, 780)
    progress: CompareProgress

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(
            napari_viewer,
            RunButtons("Run the ticked methods on the ticked images, one after the other."),
            CompareProgress(),
        )
        self.picker = _inputs.LayerPicker(
            self.viewer, "Images to compare methods on: 2D, or T/Z stacks, slice by slice."
        )
        self.truth = TruthRows(self.viewer)
        self.methods = MethodBoxes()
        self.settings = CompareSettings()
        self.with_device = self.settings.main
        self.form = (self.picker, self.truth, self.methods, self.settings)
        self.table = MethodTable()
        self.agreement = AgreementTable()
        self.agreement_heading = _inputs.heading("Agreement between methods")
        self.save_button = with_tip(
            QtWidgets.QPushButton("Save results…"),
            "Write results.csv, table.csv, agreement.csv, table.md and compare.png into a folder.",
        )
        self.results: tuple[MethodResult, ...] = ()
        self.layers: MethodLayers | None = None
        self._config = CompareConfig()
        self._sources: Sequence[_source.Source] = ()
        self._read: PlanesRead | None = None
        self._masks: dict[str, tuple[np.ndarray, ...]] = {}  # of the first repeat of each finished method, 0 and 1
        self._current: MethodStarted | None = None
        self._newest: str | None = None  # the row that was selected as its method ended
        self._polarity = "bright"
        self._end = self._warning = ""
        choice = (
            *(_inputs.heading("Images"), self.picker, _inputs.heading("Ground truth (optional)"), self.truth),
            *(_inputs.heading("Methods"), self.methods, _inputs.heading("Settings"), self.settings),
        )
        results = (self.table, self.agreement_heading, self.agreement, self.save_button)
        pages = {"Methods": choice, "Results": results}
        self.tabs = _inputs.pages_above(self, pages, self.tools, (self.buttons, self.progress))
        self._clear_results()
        self._connect()

    def _connect(self) -> None:
        self.save_button.clicked.connect(self._ask_where)
        self.picker.picked.connect(self._show_truth)
        boxes = [box.toggled for box in self.methods.boxes.values()]
        forms = [form.changed for panel in (self.settings.main, self.settings.train) for form in panel.forms]
        self.forget_refusal_at(self.picker.picked, self.truth.changed, *boxes, *forms)
        self.truth.changed.connect(lambda: self.methods.set_labelled(self._is_labelled()))
        self.table.picked.connect(self._show_method)
        self.listen(self.viewer.layers.events.removed, self._on_layer_removed)
        self.release_with(self.picker.release, self.truth.release)
        self.truth.changed.connect(lambda: _inputs.order_tabs(self))
        self._show_truth()
        self.remember(
            {"settings": of_settings(CompareConfig, self.config, self.show_config)},
            lambda known: {
                "settings": {"device": known.device, "seed": known.seed, "train": known.settings(TrainConfig)}
            },
        )

    def _show_truth(self) -> None:
        self.truth.show_images(self.picker.chosen())

    def _is_labelled(self) -> bool:
        chosen = self.truth.chosen()
        return bool(chosen) and all(labels is not None for labels in chosen)

    # ---- begin a comparison ----------------------------------------------------------------------------------

    def prepare(self) -> Job:
        """Check what was chosen, and make room for a new comparison."""
        sources = _source.sources_of(self.picker.chosen())
        labels = [(layer, full(layer)) for layer in self.truth.truths()]
        config = self.config()
        # Everything is checked before the thread starts, except what would take long to read.
        planes = _source.read_at_once(sources)
        if self.layers is not None:
            self.layers.hide()
        self._config, self._sources = config, sources
        self.reads([*((source.layer, source.data) for source in sources), *labels])
        self.doubt(apart(source.layer, truth) for source, (truth, _) in zip(sources, labels, strict=False))
        self.layers = MethodLayers(self.viewer, sources, config)
        bring_to_front(self.viewer, [source.layer for source in sources])
        self._clear_results()
        self.tabs.setCurrentIndex(RESULTS)
        return compare_job(sources, labels, planes, config)

    def config(self) -> CompareConfig:
        """Return methods and settings as shown.

        Raises
        ------
        InputError
            If there is no method, or a value cannot be used.
        """
        return self.settings.config(self.methods.chosen())

    def show_config(self, config: CompareConfig) -> None:
        """Show these methods and settings."""
        self.methods.choose(config.methods)
        self.settings.fill(config)

    def made_layers(self) -> list[Labels]:
        """Return the masks of the method that is shown."""
        return [] if self.layers is None else self.layers.layers.get(self.layers.shown or "", [])

    def to_estimate(self) -> Unknown:
        """Say why it is not known how long a comparison would take."""
        return Unknown("Time: known once each method has run", "Methods differ in time by a factor of a thousand.")

    def after_closing(self) -> str:
        """Say what is left of the comparison if its panel is closed."""
        return "The masks that it has made stay; its table is lost unless you save it first, by Save results."

    def _clear_results(self) -> None:
        self.results, self._masks, self._read = (), {}, None
        self._current = self._newest = None
        self._end = self._warning = ""
        self.table.begin((), {}, False)
        self.agreement.begin(())
        for part in (self.table, self.agreement_heading, self.agreement):
            part.setVisible(False)
        self.save_button.setEnabled(False)

    # ---- while it runs ---------------------------------------------------------------------------------------

    def on_event(self, event: object) -> None:
        """Show masks, rows and bars of what the comparison reports."""
        match event:
            case _source.ColourTaken():
                show_info(str(event))
            case PlanesRead():
                self._read = event
            case CompareStarted():
                self._on_started(event)
            case MethodStarted():
                self._show_failure()
                self._current, self._warning = event, ""
                self.progress.begin_run(event)
                self.table.show_running(event.method)
            case MethodProgress():
                self.progress.show_share(event)
            case MethodFinished():
                self._on_method(event)
            case Warned(message):
                self._warning = message
                self.warn(message)
            case CompareFinished():
                if not event.stopped:
                    self._show_failure()
                self._end = event.reason

    def on_end(self) -> None:
        """Mark no method as running any more."""
        self._current = None
        self.table.show_running(None)

    def summary(self) -> str:
        """Say why the comparison ended."""
        return self.why_stopped or self._end

    def _on_started(self, event: CompareStarted) -> None:
        self._polarity = event.polarity
        self.progress.begin_comparison(event, runs_of(self._config))
        self.table.begin(event.methods, method_colors(event.methods), event.labelled)
        self.agreement.begin(event.methods)
        self.table.setVisible(True)
        for part in (self.agreement_heading, self.agreement):
            part.setVisible(len(event.methods) > 1)

    def _on_method(self, event: MethodFinished) -> None:
        """Note the result, and draw its masks."""
        method, repeat = event.result.method, event.result.repeat
        self._current = None
        self.results = (*self.results, event.result)
        self.progress.end_run(event)
        self.table.show_results(self.results)
        self.save_button.setEnabled(True)
        if repeat == 0:
            self._masks[method] = event.masks
            if event.agreement is not None:
                self.agreement.show_agreement(event.agreement)
        if self.layers is None:
            return
        steps = self._draw(self.layers, event)
        next(steps, None)
        self.runner.spread(steps)

    def _draw(self, layers: MethodLayers, event: MethodFinished) -> Iterator[None]:
        """Lay the masks over the images, in view if the user still looks at the newest ones."""
        method = event.result.method
        new = method not in layers.layers
        for _ in layers.put(method, event.result.repeat, event.masks, self._polarity):
            if new and self.table.selected() in (self._newest, method):
                self._newest = method
                self.table.select(method)
                layers.show(method)
            new = False
            yield

    def _show_failure(self) -> None:
        """Mark a run that began and gave nothing as failed; the last warning says why."""
        if self._current is not None:
            self.table.show_failed(self._current.method, self._warning)
            self._current = None

    def _show_method(self, method: str) -> None:
        if self.layers is not None:
            self.layers.show(method)

    def _on_layer_removed(self, event: Any) -> None:
        if self.running and any(event.value is source.layer for source in self._sources):
            self.stop(f"Stopped because layer {event.value.name!r} was removed; what is done is kept.")

    # ---- files -----------------------------------------------------------------------------------------------

    def save_results(self, folder: str | Path) -> bool:
        """Write tables and picture of the finished runs, in the background; `saved` is emitted at the end.

        Parameters
        ----------
        folder : path
            Made if it is not there. It gets ``results.csv``, ``table.csv``, ``agreement.csv`` (of two methods or
            more), ``table.md`` and ``compare.png``.
        """
        if not self.results or (read := self._read) is None:
            return self.refuse("There are no results yet; run first.")
        masks = dict(self._masks)
        self.save_in_background(
            partial(write_results, Path(folder), self.results, read.planes, read.truths, masks, read.names)
        )
        return True

    def _ask_where(self) -> None:
        files = (results.RESULTS, results.TABLE, results.AGREEMENT, results.MARKDOWN, results.FIGURE)
        if folder := ask_folder(self, files):
            self.save_results(folder)
