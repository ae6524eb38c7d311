"""Progress and results of a comparison: time left, a table of scores by method, masks as layers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Signal

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.baselines.results import (
    ORACLE,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodResult,
    MethodStarted,
    summary,
)
from napari_metastructure.errors import counted
from napari_metastructure.plugin import _layers
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._layer_order import add_above, earlier, is_untouched
from napari_metastructure.plugin._progress import ProgressPanel, duration, left_in_words
from napari_metastructure.plugin._source import Source
from napari_metastructure.plugin._tables import NOTHING, ResultTable, fit_rows, patch

# ---- progress ------------------------------------------------------------------------------------------------


class CompareProgress(ProgressPanel):
    """Progress of a comparison: the upper bar counts runs, the lower one shows the current run.

    Methods differ in time by a factor of a thousand. So the time left is that of the current method, and of all runs
    only once each method that is still to come has been timed.
    """

    def __init__(self) -> None:
        super().__init__(
            "Runs done: each method once, and again for each repeat if it needs a seed.",
            "Progress of the current method.",
        )
        self.eta.setToolTip(
            tooltip("Time left, at the pace so far; of all runs once each method has been timed in its first repeat.")
        )
        self._runs: list[str] = []
        self._seconds: dict[str, float] = {}
        self._images = 1

    def begin_comparison(self, event: CompareStarted, runs: Sequence[tuple[str, int]]) -> None:
        """Begin once the images are read and checked; ``runs`` are method and repeat of all that is to come."""
        self._runs, self._seconds, self._images = [method for method, _ in runs], {}, event.images
        self.begin(0, event.runs, f"0 of {counted(event.runs, 'run')}")
        images = counted(event.images, "image")
        truth = "with" if event.labelled else "without"
        self.say(f"{images} {truth} ground truth, {event.polarity} objects.")

    def begin_run(self, event: MethodStarted) -> None:
        """Show the run that begins."""
        self._runs = self._runs[-(event.runs - event.number + 1) :]  # this one first
        self.begin(event.number - 1, event.runs, f"{event.number - 1} of {counted(event.runs, 'run')}")
        self.show_inner(0.0, 1, METHODS[event.method].title)

    def show_share(self, event: MethodProgress) -> None:
        """Show how far a run has got."""
        self.show_inner(float(event.done), 1, METHODS[event.method].title)

    def end_run(self, event: MethodFinished) -> None:
        """Show a run as done."""
        self._seconds[event.result.method] = event.result.seconds * self._images
        runs, done = self.outer.maximum(), self.outer.value() + 1
        self.show_inner(1.0, 1, METHODS[event.result.method].title)
        self.show_outer(done, runs, f"{done} of {counted(runs, 'run')}")

    def time_left(self) -> str:
        """Estimate the time left of the current method, or of all runs."""
        left = self.clock.left(self._within)
        if left is None or not self._runs:
            return ""
        ahead = self._runs[1:]
        unknown = {method for method in ahead if method not in self._seconds}
        if not unknown:
            return left_in_words(left + sum(self._seconds[method] for method in ahead))
        more = counted(len(unknown), "method")
        return f"{METHODS[self._runs[0]].title}: {duration(left)} left, then {more} not timed yet"


# ---- the table ---------------------------------------------------------------------------------------------

METHOD, DICE, AUC, ACCURACY, SECONDS, MEMORY = range(6)

MEASURES = {DICE: "dice", AUC: "auc", ACCURACY: "accuracy", SECONDS: "seconds", MEMORY: "memory"}

OVER = "mean over the images, ± standard deviation over the repeats"

HEADS = {
    "Method": "Click a row to show the masks of its method and hide the others.",
    "Dice": f"Overlap with the ground truth, 0 to 1: {OVER}.",
    "AUC": f"Area under the ROC curve of what was thresholded, 0 to 1: {OVER}.",
    "Accuracy": f"Share of pixels that are right: {OVER}.",
    "s/image": "Seconds per image, training included: mean over the repeats.",
    "MB": "Peak of memory above what was in use before, in 10<sup>6</sup> bytes: mean over the repeats.",
}

FAILED = "failed"


class MethodTable(ResultTable):
    """Scores, time and memory of each method of a comparison.

    Signals
    -------
    picked : str
        A method is selected, or its row clicked again.
    """

    picked = Signal(str)

    def __init__(self) -> None:
        super().__init__(HEADS)
        self.itemSelectionChanged.connect(self._on_selected)
        self.cellClicked.connect(lambda *_: self._on_selected())  # also on the row that is selected already

    def begin(self, methods: Sequence[str], colors: Mapping[str, str], labelled: bool) -> None:
        """Show a row for each method, without numbers; without ground truth there are no scores."""
        self.show_rows({method: METHODS[method].title for method in methods})
        for method in methods:
            self.cell(method, METHOD).setIcon(patch(colors[method]))
            self.cell(method, METHOD).setToolTip(tooltip(METHODS[method].title))
        for column in (DICE, AUC, ACCURACY):
            self.setColumnHidden(column, not labelled)

    def show_results(self, results: Sequence[MethodResult]) -> None:
        """Show the numbers of finished runs."""
        for line in summary(results):
            for column, measure in MEASURES.items():
                self.write(line["method"], column, _cell(line, measure), _detail(line, measure))
        fit_rows(self)

    def show_failed(self, method: str, why: str) -> None:
        """Say that a run gave nothing; the numbers of earlier repeats stay."""
        for column in range(len(HEADS)):
            self.cell(method, column).setToolTip(tooltip(why))
        if self.text(method, SECONDS) == NOTHING:
            self.write(method, SECONDS, FAILED)

    def select(self, method: str) -> None:
        """Select the row of a method."""
        self.selectRow(self.keys.index(method))

    def _on_selected(self) -> None:
        if (method := self.selected()) is not None:
            self.picked.emit(method)


def _cell(line: Mapping[str, Any], measure: str) -> str:
    mean, std = line[f"{measure}_mean"], line[f"{measure}_std"]
    if math.isnan(mean):
        return NOTHING
    if measure in ("seconds", "memory"):  # their spread is in the tooltip: there is no room for all
        return f"{mean:.0f}" if mean >= 100 or measure == "memory" else f"{mean:.{3 if mean < 1 else 1}f}"
    return f"{mean:.3f}" + ("" if math.isnan(std) else f" ± {std:.3f}")


def _detail(line: Mapping[str, Any], measure: str) -> str:
    """Say what the cell has no room for."""
    runs = counted(line["repeats"], "run")
    spread = "" if math.isnan(line[f"{measure}_std"]) else f" ± {line[f'{measure}_std']:.3g}"
    detail = f"{runs}: {line[f'{measure}_mean']:.4g}{spread}"
    if measure == "dice" and not math.isnan(line["oracle_mean"]):
        detail += f"; {ORACLE}: {line['oracle_mean']:.3f}"
    return f"{detail}."


# ---- masks as layers ---------------------------------------------------------------------------------------


class MethodLayers:
    """A Labels layer for each method and image of a comparison; only those of the method `shown` are visible."""

    def __init__(self, viewer: napari.Viewer, sources: Sequence[Source], config: CompareConfig) -> None:
        self.viewer = viewer
        self.sources = sources
        self.config = config
        self.layers: dict[str, list[Labels]] = {}
        self.shown: str | None = None
        self._colors = method_colors(config.methods)

    def put(self, method: str, repeat: int, masks: Sequence[np.ndarray], polarity: str) -> Iterator[None]:
        """Lay the masks of a run over their images, a layer at a step, so that the window is drawn in between.

        Later repeats are drawn into the layers of the first, unless the user has painted on or renamed them; those
        the user took out of the viewer stay out.

        Parameters
        ----------
        method : str
        repeat : int
        masks : sequence of (Y, X) uint8 arrays of 0 and 1
            One per plane of all sources, in turn.
        polarity : {"bright", "dark"}
        """
        layers = self.layers.setdefault(method, [])
        start = 0
        for number, source in enumerate(self.sources):
            pixels = source.join(masks[start : start + source.count])
            start += source.count
            origin = self._origin(source, method, repeat, polarity)
            layer = layers[number] if number < len(layers) else None
            if layer is None:
                layers.append(self._add(source, method, pixels, origin))
            elif is_untouched(layer):
                layer.data[...] = pixels  # same shape: neither extent nor sliders need a look
                layer.refresh(extent=False)
                layer.metadata = origin
            else:  # it is the user's now
                layers[number] = self._add(source, method, pixels, origin)
                _set_visible(layer, False)
            yield

    def show(self, method: str) -> None:
        """Show the layers of a method and hide those of the others; does nothing before it has any."""
        layers = self.layers.get(method)
        if not layers:
            return
        # masks stay in view even where the user hid their image
        before = {number for number, layer in enumerate(self.layers.get(self.shown or "", ())) if layer.visible}
        self.shown = method
        for number, layer in enumerate(layers):
            if layer not in self.viewer.layers:  # the user took it out, and asks for it now
                add_above(self.viewer, self.sources[number].layer, layer)
            _set_visible(layer, self.sources[number].layer.visible or number in before)
        self.hide(but=method)

    def hide(self, but: str = "") -> None:
        """Hide the layers of all methods, or of all but one."""
        for method, layers in self.layers.items():
            for layer in layers if method != but else ():
                _set_visible(layer, False)

    def _add(self, source: Source, method: str, pixels: np.ndarray, origin: dict[str, Any]) -> Labels:
        color = self._colors[method]
        layer = Labels(
            pixels,
            name=_layers.result_name(source.name, f"[{METHODS[method].title}]"),
            colormap=_layers.colormap({0: "transparent", 1: color}, others=color),
            opacity=0.6,
            metadata=origin,
            visible=method == self.shown and source.layer.visible,  # of images that lie over each other, one shows
            **source.placement(),
        )
        layer.selected_label = 1
        before = earlier(self.viewer, layer, source.layer, "method", "config")
        add_above(self.viewer, source.layer, layer, source.placement, before)
        return layer

    def _origin(self, source: Source, method: str, repeat: int, polarity: str) -> dict[str, Any]:
        """Return how the masks were made, for a layer's metadata."""
        how = {"method": method, "repeat": repeat, "seed": self.config.seed + repeat, "objects": polarity}
        return _layers.made_from(source.layer, **how, config=self.config.model_dump(mode="json"))


def _set_visible(layer: Labels, visible: bool) -> None:
    if layer.visible != visible:  # napari redraws even if nothing changed
        layer.visible = visible


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """Return a colour for each method, in turn."""
    return {method: _layers.class_color(1 + number) for number, method in enumerate(methods)}
