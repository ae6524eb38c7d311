"""The Compare methods widget: many ways to segment the same images, side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_metastructure.baselines.compare import runs_of
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Method, frame_of
from napari_metastructure.baselines.results import (
    Agreement,
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
)
from napari_metastructure.errors import InputError, MetastructureError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_labels, values_in
from napari_metastructure.plugin._compare_results import MethodLayers, MethodTable, method_colors
from napari_metastructure.plugin._form import ConfigPanel, collapsed, tooltip
from napari_metastructure.plugin._inputs import LayerBox, LayerPicker, heading, pages_above
from napari_metastructure.plugin._job_widget import OneRun, ProgressPanel, RunButtons, duration, left_in_words
from napari_metastructure.plugin._layers import ORIGIN, full
from napari_metastructure.plugin._pairs import shape_of, suggest
from napari_metastructure.plugin._source import ColourTaken, Source, colour_of, read_at_once, read_planes, sources_of
from napari_metastructure.plugin._tables import AgreementTable
from napari_metastructure.plugin._worker import LatestOnly, Runner, throttled, torch_beside_a_window
from napari_metastructure.plugin.study import GROUPS
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Warned

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_metastructure.baselines.results import CompareEvent
    from napari_metastructure.networks.device import Device
    from napari_metastructure.training.events import Saved, Warned


# -------- What the background thread of a comparison does, from layers to events.


class CompareJob:
    """The comparison, as `Runner` wants it: call it in the thread.

    Attributes
    ----------
    planes : list of (Y, X) float32 arrays
        The images; there before the first event.
    truths : list of (Y, X) arrays, or None
        Their ground truth, bool or uint8 of 0, 1 and 255.
    names : list of str
    masks : dict of str to tuple of (Y, X) uint8 arrays
        Of the first repeat of each method that is done, 0 and 1.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        labels: Sequence[Labels] | None,
        planes: list[np.ndarray] | None,
        config: CompareConfig,
        control: Control,
    ) -> None:
        self.sources, self.labels, self.config, self.control = sources, labels, config, control
        self.planes = planes or []
        self.names = [name for source in sources for name in source.names()]
        self.masks: dict[str, tuple[np.ndarray, ...]] = {}
        self.truths: list[np.ndarray] | None = None

    def __call__(self) -> Iterator[CompareEvent | Agreement | ColourTaken | Saved | Warned]:
        """Read the layers, then compare."""
        torch_beside_a_window()
        from napari_metastructure.baselines.compare import compare

        try:
            yield from self._read()
        except Stopped:
            yield CompareFinished(True, "Stopped by the user before the first run began.", (), None)
            return
        groups = [frame_of(source.name) for source in self.sources for _ in range(source.count)]
        events = compare(
            self.planes, self.config, self.control, masks=self.truths, names=self.names, groups=groups
        )  # fmt: skip
        yield from self._with_agreement(throttled(events, _is_progress))

    def _read(self) -> Iterator[ColourTaken]:
        """Ground truth is copied: what is painted on it later changes nothing."""
        self.control.checkpoint()
        colour = colour_of(self.sources)
        if colour is not None:
            yield ColourTaken(colour)
        self.planes = self.planes or read_planes(self.sources, colour)
        for labels in self.labels or ():
            self.control.checkpoint()
            self.truths = [*(self.truths or []), *truth_planes(labels)]

    def _with_agreement(self, events: Iterable[Any]) -> Iterator[Any]:
        """How alike the masks so far are, after each method: without ground truth there is nothing else to see."""
        for event in events:
            yield event
            if isinstance(event, MethodFinished) and not event.result.repeat:
                self.masks[event.result.method] = event.masks
                if event.agreement is not None:
                    yield event.agreement


def truth_planes(labels: Labels) -> list[np.ndarray]:
    """A Labels layer as ground truth of each plane.

    Parameters
    ----------
    labels : napari.layers.Labels
        ``([T, Z, ...], Y, X)``, integers.

    Returns
    -------
    list of (Y, X) arrays
        In C order of the leading axes: uint8 of 0, 1 and 255 (unlabelled) if the layer holds 1 and 255 and nothing
        else above 0; else bool, True where it is not 0: masks of 0 and 255, and numbered objects.

    Raises
    ------
    InputError
        If a label is negative.
    """
    pixels = check_labels(np.asarray(full(labels)), f"Ground truth {labels.name!r}")
    partly = set(values_in(pixels)) - {0} == {1, UNLABELLED}
    truth = pixels.astype(np.uint8) if partly else pixels > 0
    return list(truth.reshape(-1, *truth.shape[-2:]))


def _is_progress(event: Any) -> bool:
    return isinstance(event, MethodProgress)


# -------- The methods there are, to be ticked.


COLUMNS = 2


class MethodBoxes(QWidget):
    """A check box per method; those that learn from ground truth can be ticked once there is some."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxes = {name: QCheckBox(method.title) for name, method in METHODS.items()}
        self._wanted: set[str] = set()  # ticked, and to be ticked again as soon as there is ground truth
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for place, box in enumerate(self.boxes.values()):
            grid.addWidget(box, place // COLUMNS, place % COLUMNS)
        self.choose(CompareConfig().methods)
        self.set_labelled(False)

    def chosen(self) -> tuple[str, ...]:
        """The ticked methods, in the order of `METHODS`."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def choose(self, names: Iterable[str]) -> None:
        """Tick these methods and no others, as far as they can be."""
        names = set(names)
        self._wanted = {name for name in names if METHODS[name].needs_masks}
        for name, box in self.boxes.items():
            box.setChecked(name in names and box.isEnabled())

    def set_labelled(self, labelled: bool) -> None:
        """Whether there is ground truth to learn from."""
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
            else "Needs no ground truth, nor training; it depends on no seed and runs once."
        )
    why = "" if labelled else "<b>Choose ground truth above to be able to tick it.</b> "
    return (
        f"{why}Trained on the ground truth of one half of the images, it segments the other half, and the other way "
        "round: two images or more are needed. The slices of a stack count as one."
    )


# -------- The bars of a comparison: runs done, and how far the one at work is.


class CompareProgress(ProgressPanel):
    """The upper bar counts runs, the lower one shows the run at work.

    Methods differ in time by a factor of a thousand. So the time left is that of the method at work, and of all runs
    only once every method that is still to come has been timed.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "Runs done: each method once, and again for each repeat if it needs a seed.",
            "The method at work.",
            parent=parent,
        )
        self.eta.setToolTip(
            tooltip("Time left, from the pace so far; of all runs once each method has been timed in its first repeat.")
        )
        self._runs: list[str] = []
        self._seconds: dict[str, float] = {}
        self._images = 1

    def start(self, event: CompareStarted, runs: Sequence[tuple[str, int]]) -> None:
        """Begin once the images are read and checked; ``runs`` are method and repeat of all that is to come."""
        self._runs, self._seconds, self._images = [method for method, _ in runs], {}, event.images
        self.begin(0, event.runs, f"0 of {event.runs} runs")
        images = "1 image" if event.images == 1 else f"{event.images} images"
        truth = "with" if event.labelled else "without"
        self.say(f"{images} {truth} ground truth, {event.polarity} objects.")

    def begin_run(self, event: MethodStarted) -> None:
        """Show the run that begins."""
        self._runs = self._runs[-(event.runs - event.number + 1) :]  # this one first
        self.begin(event.number - 1, event.runs, f"{event.number - 1} of {event.runs} runs")
        self.show_inner(0.0, 1, METHODS[event.method].title)

    def progress(self, event: MethodProgress) -> None:
        """Show how far a run has got."""
        self.show_inner(float(event.done), 1, METHODS[event.method].title)

    def end_run(self, event: MethodFinished) -> None:
        """Show a run as done."""
        self._seconds[event.result.method] = event.result.seconds * self._images
        runs, done = self.outer.maximum(), self.outer.value() + 1
        self.show_inner(1.0, 1, METHODS[event.result.method].title)
        self.show_outer(done, runs, f"{done} of {runs} runs")

    def time_left(self) -> str:
        """Estimate the time left of the method at work, or of all."""
        left = self.clock.left(self._within)
        if left is None or not self._runs:
            return ""
        ahead = self._runs[1:]
        unknown = {method for method in ahead if method not in self._seconds}
        if not unknown:
            return left_in_words(left + sum(self._seconds[method] for method in ahead))
        more = "1 method" if len(unknown) == 1 else f"{len(unknown)} methods"
        return f"{METHODS[self._runs[0]].title}: {duration(left)} left, then {more} not timed yet"


# -------- The settings of a comparison but its methods: four in sight, those of networks collapsed.


MAIN = ("repeats", "objects", "seed", "device")

GROUPED = {"iGTT": ("rounds",), "DFC and AC": ("dfc_iterations", "ac_steps")}

GIVEN = ("network", "seed", "device", "classes", "validation_fraction", "patience", "base_channels")
"""Of a training, what the comparison sets itself, and what is of another network."""


class CompareSettings(QWidget):
    """Repeats, polarity, seed and device; rounds of iGTT, steps of DFC and AC, the training of supervised networks."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.main = ConfigPanel(CompareConfig, MAIN, GROUPED, ("methods", "train"))
        self.train = _Training()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.main)
        layout.addWidget(collapsed("Supervised networks", self.train))

    def config(self, methods: Sequence[str]) -> CompareConfig:
        """The settings as shown, for these methods.

        Raises
        ------
        InputError
            If there is no method, or a value cannot be used.
        """
        if not methods:
            raise InputError("No method is ticked; tick one at least.")
        return self.main.config(methods=tuple(methods), train=self.train.config())

    def fill(self, config: CompareConfig) -> None:
        """Show these settings."""
        self.main.fill(config)
        self.train.fill(config.train)

    def set_devices(self, devices: list[Device]) -> None:
        """Offer these devices."""
        self.main.set_devices(devices)


class _Training(ConfigPanel[TrainConfig]):
    """The settings of each training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(TrainConfig, ("preset", "epochs"), GROUPS, GIVEN, parent)

    def of_preset(self, preset: str) -> TrainConfig:
        """What a preset fills in."""
        return TrainConfig.from_preset(preset)


# -------- Ground truth for each ticked image: a Labels layer, or none.


NONE = "none"

TIP = (
    "Labels of this image that the methods are measured by: 0 is background, anything else foreground; beside 0 and "
    "1, 255 is unlabelled. Without any, methods are compared with each other."
)

LONGEST = 22
"""Letters of a name; the box beside it needs room as well."""


@dataclass(eq=False)
class _Row:
    image: Image
    box: LayerBox
    label: QLabel
    by_hand: bool = False

    def show_name(self, event: Any = None) -> None:
        name = self.image.name
        self.label.setText(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")
        self.label.setToolTip(name)


class TruthRows(QWidget):
    """A box per image. Labels with the image's name ("nuclei mask") are chosen by themselves, unless the user did.

    Signals
    -------
    changed
        There may be other ground truth now.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._rows: list[_Row] = []
        self._form = QWidget()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._form)
        self._inserted = viewer.layers.events.inserted
        self._inserted.connect(self._suggest)

    def show_images(self, images: Sequence[Image]) -> None:
        """A box for each of these; what was chosen for one stays chosen."""
        before = {id(row.image): row for row in self._rows}
        rows = [self._row(image, before.get(id(image))) for image in images]
        self._release_rows()
        self._rows = rows
        self._layout.removeWidget(self._form)
        self._form.deleteLater()
        self._form = QWidget()
        form = QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for row in rows:
            form.addRow(row.label, row.box)
        if not rows:
            form.addRow(QLabel("No image is ticked."))
        self._layout.addWidget(self._form)
        self._inserted.disconnect(self._suggest)
        self._inserted.connect(self._suggest, position="last")  # the boxes have to hear of a new layer first
        self._suggest()
        self.changed.emit()

    def choose(self, image: Image, labels: Labels | None) -> bool:
        """Choose the ground truth of a ticked image, or none; False if that cannot be."""
        for row in self._rows:
            if row.image is image:
                row.by_hand = True
                return row.box.choose(labels)
        return False

    def chosen(self) -> list[Any]:
        """A Labels layer or None for each ticked image."""
        return [row.box.chosen() for row in self._rows]

    def truths(self) -> list[Any] | None:
        """A Labels layer for each ticked image, or None if no image has one.

        Raises
        ------
        InputError
            If only some images have one, or one does not fit its image.
        """
        chosen = self.chosen()
        if all(labels is None for labels in chosen):
            return None
        for row, labels in zip(self._rows, chosen, strict=True):
            if labels is None:
                raise InputError(
                    f"Image layer {row.image.name!r} has no ground truth while others have; choose its Labels layer, "
                    f"or {NONE} for all of them."
                )
            shapes = [shape_of(layer) for layer in (row.image, labels)]
            if shapes[0] != shapes[1]:
                sizes = [" x ".join(map(str, shape)) for shape in shapes]
                raise InputError(
                    f"Ground truth {labels.name!r} has {sizes[1]} pixels and image {row.image.name!r} has {sizes[0]}; "
                    "choose labels of that image."
                )
        return chosen

    def release(self) -> None:
        """Let go of the viewer."""
        self._inserted.disconnect(self._suggest)
        self._release_rows()

    def _row(self, image: Image, before: _Row | None) -> _Row:
        row = _Row(image, LayerBox(self.viewer, TIP, _is_truth, NONE), QLabel())
        if before is not None:
            row.box.choose(before.box.chosen())
            row.by_hand = before.by_hand
        row.label.setTextFormat(Qt.TextFormat.PlainText)
        row.show_name()
        image.events.name.connect(row.show_name)
        row.box.activated.connect(lambda _: setattr(row, "by_hand", True))
        row.box.picked.connect(self.changed)
        return row

    def _release_rows(self) -> None:
        for row in self._rows:
            row.box.release()
            row.image.events.name.disconnect(row.show_name)
        self._rows = []

    def _suggest(self, event: Any = None) -> None:
        """By name alone: of labels that merely have the same shape nobody knows what they are."""
        free = [row for row in self._rows if row.box.chosen() is None and not row.by_hand]
        taken = {id(labels) for labels in self.chosen()}
        labels = [layer for layer in self.viewer.layers if _is_truth(layer) and id(layer) not in taken]
        for found in suggest([*(row.image for row in free), *labels]):
            if found.by == "name":
                next(row for row in free if row.image is found.image).box.choose(found.labels)


def _is_truth(layer: Layer) -> bool:
    """Labels that a comparison did not make."""
    origin = layer.metadata.get(ORIGIN)
    return isinstance(layer, Labels) and not (isinstance(origin, dict) and "method" in origin)


# -------- How the Compare widget looks: what to compare, what came out, and always in sight the buttons and bars.


class CompareLayout(QWidget):
    """Two pages, Methods and Results, above the buttons and bars that both need."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.picker = LayerPicker(viewer, "Images to compare methods on: 2D, or T/Z stacks, taken slice by slice.")
        self.truth = TruthRows(viewer)
        self.methods = MethodBoxes()
        self.settings = CompareSettings()
        self.table = MethodTable()
        self.agreement = AgreementTable()
        self.save_button = QPushButton("Save results…")
        self.save_button.setToolTip(
            tooltip("Write results.csv, table.csv, agreement.csv, table.md and compare.png into a folder.")
        )
        self.buttons = RunButtons("Run the ticked methods on the ticked images, one after the other.")
        self.progress = CompareProgress()
        choice = (
            heading("Images"),
            self.picker,
            heading("Ground truth (optional)"),
            self.truth,
            heading("Methods"),
            self.methods,
            heading("Settings"),
            self.settings,
        )
        self.agreement_heading = heading("Agreement between methods")
        results = (self.table, self.agreement_heading, self.agreement, self.save_button)
        self.tabs = pages_above(self, {"Methods": choice, "Results": results}, (self.buttons, self.progress))
        self.save_button.setEnabled(False)
        for part in (self.table, self.agreement_heading, self.agreement):
            part.setVisible(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as there is room for, within a small laptop's screen; wide enough for the table."""
        return QSize(540, 780)


# Watch and steer the comparison that goes on: its events become layers, rows and bars, its buttons a control.


class CompareLive(OneRun, CompareLayout):
    """The panels in step with one comparison at a time; `CompareWidget` begins comparisons and saves them."""

    settings: Any
    progress: Any
    finished = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.results: tuple[MethodResult, ...] = ()
        self.failure: MetastructureError | None = None
        self.layers: MethodLayers | None = None
        self.runner = Runner(self)
        self._config: CompareConfig | None = None
        self._job: CompareJob | None = None
        self._going: MethodStarted | None = None
        self._polarity = "bright"
        self._newest: str | None = None  # the row that was selected as its method ended
        self._end = self._why_stopped = self._warning = ""
        self._opening: Iterator[None] = iter(())
        self._turns = QTimer(self)
        self._turns.timeout.connect(self._open_layers)
        self._connect()

    def _on_event(self, event: Any) -> None:
        match event:
            case CompareStarted():
                self._on_started(event)
            case MethodStarted():
                self._tell_failure()
                self._going, self._warning = event, ""
                self.progress.begin_run(event)
                self.table.show_going(event.method)
            case MethodProgress():
                if not self._stopping:
                    self.progress.progress(event)
            case MethodFinished():
                self._on_method(event)
            case Agreement():
                self.agreement.show_agreement(event)
            case ColourTaken():
                show_info(str(event))
            case Warned(message):
                self._warning = message
                show_warning(message)
                self.progress.say(message)
            case CompareFinished():
                if not event.stopped:
                    self._tell_failure()
                self._end = event.reason
                if event.agreement is not None:
                    self.agreement.show_agreement(event.agreement)

    def _on_started(self, event: CompareStarted) -> None:
        assert self._config is not None
        self._polarity = event.polarity
        self.progress.start(event, runs_of(self._config))
        self.table.begin(event.methods, method_colors(event.methods), event.labelled)
        self.agreement.begin(event.methods)
        self.table.setVisible(True)
        for part in (self.agreement_heading, self.agreement):
            part.setVisible(len(event.methods) > 1)

    def _on_method(self, event: MethodFinished) -> None:
        """Its masks are laid over the images, and shown if the user still looks at the newest ones."""
        assert self.layers is not None
        result = event.result
        self._going = None
        self.results = (*self.results, result)
        self.progress.end_run(event)
        self.table.show_results(self.results)
        self.save_button.setEnabled(True)
        new = result.method not in self.layers.layers
        self._open_rest()
        self._opening = self.layers.put(result.method, result.repeat, event.masks, self._polarity)
        self._open_layers()
        self._turns.start(0)
        if new and self.table.selected() in (self._newest, result.method):
            self._newest = result.method
            self.table.select(result.method)
            self.layers.show(result.method)

    def _open_layers(self) -> None:
        """One layer more, each in a turn of its own of Qt's loop: napari takes a tenth of a second for one."""
        if next(self._opening, "all") == "all":
            self._turns.stop()

    def _open_rest(self) -> None:
        deque(self._opening, maxlen=0)

    def _tell_failure(self) -> None:
        """A run that began and gave nothing has failed; the last warning says why."""
        if self._going is not None:
            self.table.show_failed(self._going.method, self._warning)
            self._going = None

    def _on_ended(self, failure: MetastructureError | None) -> None:
        self.failure = failure
        self._turns.stop()
        self._open_rest()
        self._going = None
        self.table.show_going(None)
        self.buttons.show_state("idle")
        self._let_choose(True)
        if failure is not None:
            show_error(str(failure))
            self.progress.end(str(failure))
        else:
            self.progress.end(self._why_stopped or self._end)
        self.finished.emit()

    def _let_choose(self, free: bool) -> None:
        """What is compared cannot be changed while it goes on."""
        for part in (self.picker, self.truth, self.methods, self.settings):
            part.setEnabled(free)

    @property
    def _stopping(self) -> bool:
        return self.runner.control is not None and self.runner.control.stopped

    # ---- what happens around it ------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connect_buttons()
        self.runner.event_received.connect(self._on_event)
        self.runner.finished.connect(self._on_ended)
        self.picker.picked.connect(self._show_truth)
        self.truth.changed.connect(lambda: self.methods.set_labelled(self._is_labelled()))
        self.table.picked.connect(self._show_method)
        self._show_truth()
        removed, on_removed = self.viewer.layers.events.removed, self._on_layer_removed
        removed.connect(on_removed)
        picker, truth = self.picker, self.truth

        def release() -> None:
            """The viewer may outlive the widget and must not call it then."""
            picker.release()
            truth.release()
            removed.disconnect(on_removed)

        self.destroyed.connect(release)

    def _show_truth(self) -> None:
        self.truth.show_images(self.picker.chosen())

    def _is_labelled(self) -> bool:
        chosen = self.truth.chosen()
        return bool(chosen) and all(labels is not None for labels in chosen)

    def _show_method(self, method: str) -> None:
        if self.layers is not None:
            self.layers.show(method)

    def _on_layer_removed(self, event: Any) -> None:
        if not self.running or self._job is None:
            return
        if any(event.value is source.layer for source in self._job.sources) and not self._why_stopped:
            self._why_stopped = f"Stopped because layer {event.value.name!r} was removed; what is done is kept."
            self.stop()


RESULTS = 1


class CompareWidget(CompareLive):
    """Compare methods of segmentation on image layers, with ground truth or without.

    The buttons call `start`, `pause`, `resume`, `stop` and `save_results`; scripts may do the same, and
    ``picker.choose``, ``truth.choose``, ``methods.choose``, ``settings.fill`` and ``table.select``. What is wrong is
    said in one sentence by a napari notification, and `start` and `save_results` return False.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        napari gives it when the widget is opened from its menus.

    Attributes
    ----------
    finished : Signal
        Emitted in the main thread once for each comparison that began, however it ended.
    saved : Signal(list of Path)
        What `save_results` wrote; empty if it could not.
    results : tuple of MethodResult
        The runs that are done, of the comparison at work or the last one.
    failure : MetastructureError or None
        Why the last comparison failed.
    layers : MethodLayers or None
        The masks of the comparison at work or the last one.
    """

    saved = Signal(list)

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._saving = LatestOnly(self)
        self._saving.done.connect(self._on_saved)
        self._saving.failed.connect(self._on_not_saved)
        self.buttons.run.clicked.connect(lambda: self.start())
        self.save_button.clicked.connect(self._ask_where)

    def start(self) -> bool:
        """Check what was chosen and run the methods in the background; False if something is wrong."""
        if self._is_busy():
            return False
        try:
            sources = sources_of(self.picker.chosen())
            labels = self.truth.truths()
            config = self.settings.config(self.methods.chosen())
            # Everything is checked before the thread starts, except what would take long to read.
            planes = read_at_once(sources)
        except InputError as error:
            return self._refuse(str(error))
        control = Control()
        self._reset(config, MethodLayers(self.viewer, sources, config))
        self._job = CompareJob(sources, labels, planes, config, control)
        self.runner.start(self._job, control, "The comparison")
        return True

    def save_results(self, folder: str | Path) -> bool:
        """Write tables and picture of the runs that are done, in the background; `saved` tells the end.

        Parameters
        ----------
        folder : path
            Made if it is not there. It gets ``results.csv``, ``table.csv``, ``agreement.csv`` (of two methods or
            more), ``table.md`` and ``compare.png``.
        """
        if not self.results or self._job is None:
            return self._refuse("There are no results yet; run first.")
        self._saving.ask(partial(write_results, Path(folder), self.results, self._job))
        return True

    def _ask_where(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save results into")
        if folder:
            self.save_results(folder)

    def _on_saved(self, paths: list[Path]) -> None:
        if not self.running:
            self.progress.say(f"Saved {', '.join(path.name for path in paths)} in {paths[0].parent}.")
        self.saved.emit(paths)

    def _on_not_saved(self, error: Exception) -> None:
        show_error(str(error) if isinstance(error, MetastructureError) else f"The results could not be saved: {error}")
        self.saved.emit([])

    def _reset(self, config: CompareConfig, layers: MethodLayers) -> None:
        """Make room for a new comparison."""
        if self.layers is not None:
            self.layers.hide()
        self._config, self.layers = config, layers
        self.results, self.failure = (), None
        self._going, self._newest = None, None
        self._end = self._why_stopped = self._warning = ""
        self.table.begin((), {}, False)
        self.agreement.begin(())
        for part in (self.table, self.agreement_heading, self.agreement):
            part.setVisible(False)
        self.save_button.setEnabled(False)
        self.progress.reset("Reading the images…")
        self.buttons.show_state("running")
        self._let_choose(False)
        self.tabs.setCurrentIndex(RESULTS)


def write_results(folder: Path, results: Sequence[MethodResult], job: CompareJob) -> list[Path]:
    """Write what `baselines.compare` writes into a folder; draws with matplotlib, which takes seconds.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    from napari_metastructure.baselines.compare import write_results as write

    masks = dict(job.masks)  # the thread may add one meanwhile
    return write(folder, results, job.planes, job.truths, masks, job.names)
