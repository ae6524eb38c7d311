"""The iGTT widget: from unlabelled image layers to masks, watched and steered live."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Labels, Layer
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QCheckBox, QPushButton

from napari_metastructure.errors import InputError, MetastructureError, counted
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.igtt.outputs import IGTTRun
from napari_metastructure.images.ranges import ALL, Chosen
from napari_metastructure.plugin._asking import AskMe
from napari_metastructure.plugin._batch import FolderBatch
from napari_metastructure.plugin._curves import IGTTCurves
from napari_metastructure.plugin._estimate import Work, igtt_estimate
from napari_metastructure.plugin._form import ConfigPanel, with_tip
from napari_metastructure.plugin._igtt_layers import Extra, RunLayers
from napari_metastructure.plugin._igtt_results import ResultPanel
from napari_metastructure.plugin._inputs import LayerPicker, heading, lay_out, row
from napari_metastructure.plugin._job_widget import Job, JobWidget, RunButtons, RunInFolder
from napari_metastructure.plugin._layer_order import Where, stay_on
from napari_metastructure.plugin._layers import EpochSlider
from napari_metastructure.plugin._live_answer import LiveAnswer
from napari_metastructure.plugin._painting import BACKGROUND, OBJECT, painted_in_words
from napari_metastructure.plugin._preferences import of_box, of_settings
from napari_metastructure.plugin._progress import EpochProgress
from napari_metastructure.plugin._ranges import RangeRows
from napari_metastructure.plugin._saving import ask_file
from napari_metastructure.plugin._source import (
    ColourTaken,
    Source,
    colour_of,
    part_on_screen,
    read_at_once,
    read_planes,
    sources_of,
)
from napari_metastructure.plugin._stroke_list import BrushTag, StrokeList
from napari_metastructure.plugin._worker import EventLoopSteps, LatestOnly, torch_beside_a_window, wait_for
from napari_metastructure.plugin.writer import ask_where, file_name
from napari_metastructure.training import events
from napari_metastructure.training.control import Control
from napari_metastructure.training.run_folder import FoundRun

MAIN = ("preset", "objects", "network", "epochs", "device")

GROUPS = {
    "Flaws of images": ("flaws",),
    "Network": ("encoder", "encoder_weights", "base_channels", "inputs", "weights"),
    "Pseudo-labels": (
        *("start", "criterion", "search", "thresholds", "extraction"),
        *("keep", "radius", "memory", "anchor", "balance"),
    ),
    "Training": (
        *("loss", "optimizer", "learning_rate", "steps_per_epoch", "batch_size", "patch_size"),
        *("stop_agreement", "seed"),
    ),
    "Strokes": ("start_weight", "rounds"),
}


def igtt_job(
    sources: Sequence[Source],
    chosen: Chosen,
    planes: list[np.ndarray] | None,
    config: IGTTConfig,
    ready: threading.Event,
    given: Mapping[str, Any],
) -> Job:
    """Make the job of a run, which begins once ``ready`` is set.

    Parameters
    ----------
    sources : sequence of Source
    chosen : Chosen
        Of RGB layers the channel; of which planes the sources are, for ``run.yaml``.
    planes : list of (Y, X) arrays, or None
        Their checked pixels; None: they are read and checked in the thread.
    config : IGTTConfig
    ready : threading.Event
    given : mapping
        Further arguments of `iterate`.
    """

    def job(control: Control) -> Iterator[events.Event | ColourTaken]:
        wait_for(ready, control)
        torch_beside_a_window()
        from napari_metastructure.igtt.iterate import iterate
        from napari_metastructure.images.channels import COLOURS

        names = [name for source in sources for name in source.names()]
        colour = next((c for c in COLOURS if c == chosen.channel), None) if chosen.channel else colour_of(sources)
        if colour is not None and not chosen.channel:
            yield ColourTaken(colour)
        images = read_planes(sources, chosen.channel or colour, lazily=True) if planes is None else planes
        paths = [Path(path) for source in sources if (path := source.layer.source.path)]
        files = [path for path in paths if path.is_file()]
        more = {"colour": colour, "chosen": chosen, **given}
        yield from iterate(images, config, control, names=names, inputs=files, **more)

    return job


class SettingsPanel(ConfigPanel[IGTTConfig]):
    """Everything in `IGTTConfig`, as a form; choosing a preset fills the form with its values."""

    def __init__(self) -> None:
        super().__init__(IGTTConfig, MAIN, GROUPS)


TRY_EPOCHS = 3
"""Epochs of a try at most."""

UNUSED = "Strokes on the masks before are not used by a new run; Use strokes does that."

FILMS = {".gif": "GIF", ".mp4": "MP4"}

FIGURES = {".png": "PNG", ".pdf": "PDF", ".svg": "SVG"}

RESUMED = (
    "the ticked layers. Its settings are loaded first, unless they are shown already; only Epochs, Device "
    "and Stop agreement may be changed."
)


class IGTTWidget(JobWidget):
    """Segment image layers without labels.

    The buttons call `start`, `pause`, `resume`, `stop`, `resume_run`, `load_run_settings`, `use_epoch`,
    `continue_from_edits` and `save_mask`; scripts may do the same. None of them raises: what is wrong is said in
    one sentence by a napari notification, and the method returns False (or nothing). See `JobWidget` for
    ``finished``, ``failure`` and ``saved``.

    Attributes
    ----------
    result : Finished or None
        How the last run ended; None while it goes on, or if it failed.
    layers : RunLayers or None
        What the last run drew.
    """

    name = "igtt"
    title = "The iGTT run"
    progress: EpochProgress
    run_folder: RunInFolder[IGTTConfig]

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(
            napari_viewer,
            RunButtons("Segment the ticked layers without labels, in the background."),
            EpochProgress(
                "Rounds of training and relabelling; a run may end before the last.",
                "Optimiser steps done in this round.",
            ),
        )
        self.picker = LayerPicker(self.viewer, "Images to segment together: 2D, or T/Z stacks, taken slice by slice.")
        self.ranges = RangeRows("segmented", colours=True)
        self.settings = SettingsPanel()
        self.with_device = self.settings
        self.keep_in(RunInFolder(IGTTRun, self.settings, MAY_CHANGE, RESUMED, self.name, self.ranges))
        self.folder = self.run_folder.row
        self.curves = IGTTCurves(self.viewer)
        self.results = ResultPanel()
        self.strokes = StrokeList(self.viewer)
        self.answer = LiveAnswer(self.viewer, self)
        self.asking = AskMe(self.viewer, self.results, self.strokes, self.answer)
        self.brush_tag = BrushTag(self.viewer, lambda: self.layers, self)
        self.try_button = with_tip(
            QPushButton("Try on what I see"),
            f"Run on the part of the selected image that is on screen, for {TRY_EPOCHS} epochs at most: zoom in to "
            "see soon what the settings do. The next run removes its layers.",
        )
        self.each = with_tip(
            QCheckBox("A run for each file"),
            "Each file trains a network of its own, in a folder of its name; else one run trains on all files.",
        )
        results = "<stem>_mask.tif, <stem>_probability.tif and the run"
        self.batch = FolderBatch(self._task, "images", results, [self.each])
        self.form = (self.ranges, self.settings, self.folder, self.try_button)
        self._trial: tuple[Layer, RunLayers] | None = None
        self.result: events.Finished | None = None
        self.layers: RunLayers | None = None
        self._before: RunLayers | None = None
        self._earlier: FoundRun[IGTTConfig] | None = None
        self._chosen = ALL
        self._scores: dict[int, tuple[events.ScoreCurve, ...]] = {}
        self._reading = LatestOnly(self)
        self._reading.done.connect(lambda part: self._try_on(*part))
        self._reading.failed.connect(lambda error: self.refuse(f"What is on screen could not be read: {error}"))
        self._opening, self._ready = EventLoopSteps(self), threading.Event()
        images = (row(heading("Images"), self.tools), self.picker, self.ranges, self.try_button)
        batch = self.batch.section()
        parts = (
            *images,
            heading("Settings"),
            self.settings,
            self.folder,
            batch,
            self.strokes,
            self.curves,
        )
        lay_out(self, parts, (self.buttons, self.progress, self.asking, self.results))
        self._connect()
        boxes = {name: of_box(getattr(self.results, name)) for name in ("outlines", "probability", "labels")}
        shown = of_settings(IGTTConfig, self.settings.config, self.settings.fill)
        self.remember({"settings": shown, **boxes}, lambda known: {"settings": known.settings(IGTTConfig)})

    def _connect(self) -> None:
        self.try_button.clicked.connect(lambda: self.try_on_screen())
        self.picker.picked.connect(self._show_ranges)
        forms = [form.changed for form in self.settings.forms]
        self.estimate_at(self.ranges.changed, *forms)
        self.forget_refusal_at(self.picker.picked, self.folder.path.changed, self.ranges.changed, *forms)
        self.results.use_button.clicked.connect(lambda: self.use_epoch())
        self.results.edits_button.clicked.connect(lambda: self.continue_from_edits())
        self.results.save.connect(self._ask_where)
        self.results.film.connect(lambda: self._ask_film(FILMS))
        self.results.figure.connect(lambda: self._ask_film(FIGURES))
        self.results.show_extra.connect(self._show_extra)
        self.results.waiting_button.clicked.connect(lambda: self.show_waiting(True))
        self.results.outlines.toggled.connect(self._show_outlines)
        brushes = self.results.brushes.buttons
        self.keys.add(
            {
                "object_brush": [brushes[OBJECT]],
                "background_brush": [brushes[BACKGROUND]],
                "outlines": [self.results.outlines],
            },
            dict.fromkeys(("previous_epoch", "next_epoch", "show_results"), self.results.use_button),
        )
        layers = self.viewer.layers
        self.listen(layers.events.removed, self._on_layer_removed)
        self.listen(layers.selection.events.active, self._show_score)
        self.listen(layers.selection.events.active, self._on_painted)
        self.listen(layers.events.removed, self._on_painted)
        self.listen(self.viewer.dims.events.point, self._show_score)
        self.listen(self.viewer.dims.events.point, lambda _: self._outline_answer())
        for form in self.settings.forms:
            form.changed.connect(lambda name: self._outline_answer() if name == "start_weight" else None)
        self.answer.explained.connect(self.say)
        self.answer.failed.connect(lambda error: self.warn(f"Strokes could not be answered at once: {error}"))
        self.results.brushes.taken.connect(lambda value: self.take_brush(value))
        self.results.brushes.put_away.connect(lambda: self.layers and self.layers.put_brush_away())
        self.release_with(self.picker.release, self.curves.release, self.brush_tag.release, self._let_go_of_strokes)
        self.ranges.show_layers(self.picker.chosen())

    def _task(self) -> dict[str, Any]:
        """Say what is done with the files of a folder."""
        chosen = self.ranges.get()
        task = {"what": "igtt", "config": self.settings.config(), "each": self.each.isChecked()}
        return {**task, **chosen.facts(), "channel": chosen.channel or "auto"}

    def slider(self) -> EpochSlider | None:
        """Return what moves through the epochs of the newest run."""
        return None if self.layers is None else self.layers.slider

    def made_layers(self) -> list[Labels]:
        """Return the masks of the newest run."""
        return [] if self.layers is None else self.layers.mask_layers()

    # ---- begin a run: new, resumed, or from edits ----------------------------------------------------------

    def prepare(self) -> Job:
        """Check the ticked layers, and make room for a new run on them."""
        before = self.estimate
        chosen = self.ranges.get()
        self.doubt([UNUSED] if self.layers is not None and self.layers.unlocked else [])
        job = self._prepare(sources_of(self.picker.chosen(), chosen), self.run_folder.free(), chosen=chosen)
        self.progress.expected = None if before is None else before.epochs or None
        return job

    def try_on_screen(self) -> bool:
        """Run on the part of the selected image that is on screen, or of the first ticked one; False if it cannot.

        What is in memory is taken at once, anything else is read in the background first.
        """
        if self.running:
            return self.begin(self.prepare)  # which says so
        try:
            chosen, active = self.picker.chosen(), self.viewer.layers.selection.active
            (source,) = sources_of([active] if active in chosen else chosen[:1])
            read, look, where = part_on_screen(self.viewer, source)
        except InputError as error:
            return self.refuse(str(error))
        if isinstance(source.data, np.ndarray):
            return self._try_on(source.layer, read(), look, where)
        self.say("Reading what is on screen…")
        self._reading.ask(lambda: (source.layer, read(), look, where))
        return True

    def _try_on(self, layer: Layer, pixels: np.ndarray, look: dict[str, Any], where: Where) -> bool:
        def prepare() -> Job:
            config = self.settings.config()
            config = config.model_copy(update={"epochs": min(config.epochs, TRY_EPOCHS)})
            part = self.viewer.add_image(pixels, **look, **where())
            stay_on(layer, part, where)
            try:
                colour = Chosen(channel=self.ranges.get().channel)
                job = self._prepare(sources_of([part]), None, config=config, chosen=colour)
            except InputError:
                self.viewer.layers.remove(part)
                raise
            if self.layers is not None:
                self._trial = part, self.layers
            return job

        return self.begin(prepare)

    def prepare_resumed(self) -> Job:
        """Make ready the job that goes on with the run in the folder, in its layers if they are there."""
        run, config = self.run_folder.resumed()
        sources, layers = sources_of(self.picker.chosen(), chosen := run.chosen()), self.layers
        if layers is not None and not (
            self.place == run.folder
            and layers.newest == run.epoch
            and [part.source for part in layers.parts] == sources
            and all(part.there for part in layers.parts)
        ):
            layers = None
        return self._prepare(sources, run.folder, run, config, layers, chosen=chosen)

    def continue_from_edits(self) -> bool:
        """Lock the pixels that were painted and train on; False if nothing was painted.

        A run that goes on takes them up at its next relabelling; a paused one is resumed. Otherwise a new run starts
        from the epoch on the slider, in the same layers, and counts its epochs on from the newest.
        """
        if (layers := self._with_masks()) is None:
            return False
        if not self.running and layers.removed:
            return self.refuse(layers.removed)
        painted = layers.corrections()
        if not painted and not layers.locked:  # else all of it was undone
            where = " on a plane that is segmented" if self.strokes.list.count() else ""
            show_warning(f"Nothing was painted{where} yet; paint where masks are wrong first.")
            return False
        if self.running:
            if (control := self._control) is None:
                return self.refuse("The run is about to end; use the strokes once it has.")
            for index, pixels in layers.corrections_for_run().items():
                control.correct(index, pixels)
            self._lock(painted)
            self.resume()
            now = f"{painted_in_words(painted)} are locked" if painted else "What was locked is free again"
            self.say(f"{now} from the next epoch on.")
            return True

        def prepare() -> Job:
            from napari_metastructure.igtt.rounds import is_trained

            sources = [part.source for part in layers.parts]
            config, start = self.settings.config(), layers.masks(layers.epoch)
            first = layers.newest or 0
            config = self.settings.config(epochs=first + config.epochs)
            given: dict[str, Any] = {"corrections": layers.corrections_for_run(), "first_epoch": first}
            if config.rounds == "always" or not (is_trained(config) and config.start == "prior"):
                given["start_masks"] = start  # else strokes are answered from the prior's start, whatever came between
            folder = self.run_folder.free_beside()
            job = self._prepare(sources, folder, None, config, layers, given, chosen=self._chosen)
            self.run_folder.shown_no_more()  # its last epoch is another one than the form says
            self._lock(painted)
            return job

        return self.begin(prepare)

    def show_waiting(self, wanted: bool = False) -> None:
        """Draw the epochs that wait; while a brush or paint holds them, only if they are ``wanted``."""
        if self.layers is not None and self.layers.waiting:
            self._take(self._draw_waiting(self.layers, wanted))

    def _lock(self, painted: Mapping[int, np.ndarray]) -> None:
        """Note the corrections passed to the run, and show new epochs again."""
        if self.layers is not None:
            self.layers.lock(painted)
            self.answer.clear()
            if not self.layers.put_brush_away():  # which says so itself
                self.show_waiting()

    def _locked_in_words(self) -> str:
        locked = self.layers.locked if self.layers is not None else {}
        return f" {painted_in_words(locked)} are locked." if locked else ""

    def _take(self, steps: Iterator[None]) -> None:
        """Take these steps one in a turn of Qt's loop, after those that wait for theirs."""
        if self.running:
            self.runner.spread(steps)
        else:
            self._opening.finish()
            self._opening.start(steps)

    def _prepare(
        self,
        sources: Sequence[Source],
        folder: Path | None,
        earlier: FoundRun[IGTTConfig] | None = None,
        config: IGTTConfig | None = None,
        layers: RunLayers | None = None,
        given: Mapping[str, Any] | None = None,
        *,
        chosen: Chosen,
    ) -> Job:
        """Check what a run needs, and make room for it; ``layers`` are those it goes on in."""
        config = config or self.settings.config()
        # Everything is checked before the thread starts, except what would take long to read.
        planes = read_at_once(sources)
        self.progress.expected = None
        self._ready = threading.Event()  # the thread waits for all layers: beside a busy one they take twice as long
        if layers is not None:
            layers.go_on(config)
            self._ready.set()
        else:
            layers = RunLayers(self.viewer, sources, config, self._on_painted)
            layers.colour = chosen.channel or None
            if self.layers is not None:
                self.layers.hide()
                self.layers.painted = lambda: None
            self.answer.clear()
            layers.shown = self.results.shown()
            layers.outline(self.results.outlines.isChecked())
            self._scores = {}
            self.curves.clear()
            self.results.set_available(False)
            self.results.show_ready(())
            trial, self._trial = self._trial, None
            self._before = None if trial is not None else self.layers
            dropped = () if trial is None else trial[1].drop(trial[0])
            steps = chain(dropped, layers.open())
            self._opening.start(steps, self._ready.set)
        self.layers, self.result, self._earlier, self._chosen = layers, None, earlier, chosen
        self.show_place(folder)
        self.reads((source.layer, source.data) for source in sources)
        run = {"folder": folder, "resume": earlier is not None, **(given or {})}
        return igtt_job(sources, chosen, planes, config, self._ready, run)

    def take_brush(self, value: int) -> None:
        """Take up the brush for objects (1) or background (2), on the strokes of the image on screen, in 2D."""
        if (layers := self._with_masks()) is not None:
            if self.viewer.dims.ndisplay == 3:  # there napari's brushes paint on what is painted, and nowhere else
                self.viewer.dims.ndisplay = 2
            try:
                layers.take_brush(value)
            except InputError as error:
                show_warning(str(error))

    def _on_painted(self, event: Any = None) -> None:
        """Show what was painted, and which brush is in hand; let epochs come if none is."""
        self.strokes.show_strokes(self.layers)
        self.results.brushes.show_brush(self.layers)
        self.brush_tag.follow()
        self._outline_answer()
        self.show_waiting()

    def _outline_answer(self) -> None:
        """Outline what the strokes will give with the settings as they are; with half-typed ones it stays."""
        with suppress(InputError):
            self.answer.ask(self.layers, self.settings.config().start_weight)

    def _let_go_of_strokes(self) -> None:
        if self.layers is not None:
            self.layers.painted = lambda: None

    # ---- while it goes on ------------------------------------------------------------------------------------

    def on_batches(self, batches: list[events.BatchFinished]) -> None:
        """Move the lower bar and append to the loss."""
        self.progress.show_batch(batches[-1])
        self.curves.add_batches(batches)

    def on_event(self, event: object) -> None:
        """Draw epochs; pass on what the job says."""
        match event:
            case events.RunStarted():
                before = self.curves.rounds or (self._earlier.rounds if self._earlier is not None else [])
                last = event.resumed_epoch
                self.curves.begin(event.epochs, [row for row in before if self._goes_on(last) or row[0] < last])
                self.progress.begin_epochs(event)
                if self.layers is not None:
                    self.layers.restore(event.corrections)
                images = counted(event.images, "image")
                self.say(f"{images} on {event.device}, {event.objects} objects.{self._locked_in_words()}")
            case events.EpochFinished() if self._goes_on(event.epoch):  # where it begins: drawn already, and painted on
                self.progress.show_epoch(event)
            case events.EpochFinished() if self.layers is not None:
                self._scores[event.epoch] = event.curves
                self.progress.show_epoch(event)
                self.curves.add_epoch(event)
                self.runner.spread(self._draw(self.layers, event))
            case ColourTaken():
                if self.layers is not None:
                    self.layers.colour = event.colour
                show_info(str(event))
            case events.Warned(message):
                self.warn(message)
            case events.Finished():
                self.result = event

    def on_end(self) -> None:
        """Take away layers that were never filled, and go to the epoch that was taken."""
        self.folder.look()
        if self.layers is None:
            return
        if self.layers.newest is None:
            self._opening.drop()
            self.layers.close()
        else:  # stopped before all layers were there
            self._opening.finish()
        if self.failure is None and self.result is not None:
            self.layers.slider.go_to(self.result.epoch)
            if not self.result.stopped:
                self.progress.show_done(max(self.layers.epochs))
            if self._before is not None:
                self._take(self.layers.replace(self._before))
        self._before = None

    def summary(self) -> str:
        """Say why the run ended; of a resumed one that had nothing left to do, what would give it some."""
        if self.result is None or self.layers is None:
            return self.why_stopped
        idle = self._earlier is not None and self.layers.newest == self._earlier.epoch and not self.result.stopped
        more = " To train on, raise Epochs or Stop agreement and press Resume run." if idle else ""
        return f"{self.why_stopped or self.result.reason}{self._locked_in_words()}{more}{self.kept}"

    def _show_ranges(self) -> None:
        self.ranges.show_layers(self.picker.chosen())
        self.ask_estimate()

    def to_estimate(self) -> Work:
        """Return what finds out how long a run would take."""
        sources = sources_of(self.picker.chosen(), self.ranges.get())
        shapes = [(source.count, *source.shape[-2:]) for source in sources]
        return partial(igtt_estimate, self.settings.config(), shapes)

    def _on_layer_removed(self, event: Any) -> None:
        if self.running and self.layers is not None and self.layers.needs(event.value):
            self.stop(f"Stopped because layer {event.value.name!r} was removed.")

    def _goes_on(self, epoch: int) -> bool:
        """Whether the layers have this epoch already."""
        return self.layers is not None and epoch in (*self.layers.epochs, *self.layers.waiting)

    def _draw(self, layers: RunLayers, event: events.EpochFinished) -> Iterator[None]:
        layers.add(event)
        yield from self._draw_waiting(layers)
        self.results.set_available(True)
        self._show_score()

    def _draw_waiting(self, layers: RunLayers, wanted: bool = False) -> Iterator[None]:
        yield from layers.show_waiting(wanted)
        if layers is self.layers:
            self.results.show_ready(layers.waiting)

    def _show_score(self, event: Any = None) -> None:
        """Draw the threshold search of the image and epoch on screen."""
        if self.layers is not None and (curves := self._scores.get(self.layers.epoch)):
            self.curves.show_score(curves[min(self.layers.plane, len(curves) - 1)])

    # ---- masks in the user's hands -------------------------------------------------------------------------

    def use_epoch(self) -> list[Labels]:
        """Make the epoch on the slider the final mask; the new layers, one per source."""
        if (layers := self._with_masks()) is None:
            return []
        return layers.keep(layers.epoch)

    def save_mask(self, path: str | Path, ome: bool = False) -> list[Path]:
        """Write the final mask, else the epoch on the slider, as TIFF of 0 and 255 with the source's scale.

        Parameters
        ----------
        path : path
            The file, whose ending may be left out; with several sources each one's name comes before its own.
        ome : bool
            OME-TIFF instead of ImageJ TIFF.

        Returns
        -------
        list of Path
            What was written; empty if something was wrong.
        """
        if (layers := self._with_masks()) is None:
            return []
        try:
            return layers.save(Path(path), ome)
        except (MetastructureError, OSError) as error:
            self.refuse(str(error))
            return []

    def _ask_where(self, ome: bool) -> None:
        sources = [part.source.layer for part in self.layers.parts] if self.layers is not None else []
        if sources and (path := ask_where(self, sources, ome)) and (paths := self.save_mask(path, ome)):
            self.say_saved(paths)

    def save_film(self, path: str | Path) -> bool:
        """Draw the epochs of the plane on screen, in the background; `saved` is emitted at the end.

        Parameters
        ----------
        path : path
            A film, ``.gif`` or ``.mp4``, or a figure with the curves, ``.png``, ``.pdf`` or ``.svg``.
        """
        if (layers := self._with_masks()) is None:
            return False
        try:
            read = layers.film(self.curves.rounds)
        except InputError as error:
            return self.refuse(str(error))
        outlines = self.results.outlines.isChecked()

        def draw() -> list[Path]:
            from napari_metastructure.igtt.film import write

            return [write(Path(path), read(), outlines)]

        self.save_in_background(draw)
        return True

    def _ask_film(self, kinds: Mapping[str, str]) -> None:
        if self.layers is None:
            return
        first = file_name(self.layers.parts[0].source.name)
        if path := ask_file(self, "Save the epochs", f"{first}_epochs{next(iter(kinds))}", kinds):
            self.save_film(path)

    def _show_extra(self, kind: Extra, shown: bool) -> None:
        if self.layers is not None:
            self.layers.show(kind, shown)

    def _show_outlines(self, on: bool) -> None:
        if self.layers is not None:
            self.layers.outline(on)

    def _with_masks(self) -> RunLayers | None:
        """Return the layers of a run with masks; None, which is said, without."""
        if self.layers is None or not self.layers.epochs:
            show_warning("There are no masks yet; run first.")
            return None
        return self.layers
