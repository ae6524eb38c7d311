"""A row per method: what came out, as soon as there is any."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QTableWidgetItem, QWidget

from napari_metastructure import __version__
from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.baselines.results import ORACLE, MethodResult, summary
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._layers import ORIGIN, class_color, colormap, placement
from napari_metastructure.plugin._tables import ResultTable, patch

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

    from napari_metastructure.plugin._source import Source


METHOD, DICE, AUC, ACCURACY, SECONDS, MEMORY = range(6)

MEASURES = {DICE: "dice", AUC: "auc", ACCURACY: "accuracy", SECONDS: "seconds", MEMORY: "memory"}

OVER = "mean over the images, ± standard deviation over the repeats"

HEADS = {
    "Method": "Click a row to see the masks of its method, and of no other.",
    "Dice": f"Overlap with the ground truth, 0 to 1: {OVER}.",
    "AUC": f"Area under the ROC curve of what was thresholded, 0 to 1: {OVER}.",
    "Accuracy": f"Share of pixels that are right: {OVER}.",
    "s/image": "Seconds per image, training included: mean over the repeats.",
    "MB": "Peak of memory over what was taken before, in 10<sup>6</sup> bytes: mean over the repeats.",
}

NOTHING, FAILED = "–", "failed"


class MethodTable(ResultTable):
    """What each method of a comparison reached.

    Signals
    -------
    picked : str
        A method is selected, or its row clicked again.
    """

    picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(HEADS, METHOD, parent)
        self._methods: tuple[str, ...] = ()
        self.itemSelectionChanged.connect(self._on_selected)
        self.cellClicked.connect(lambda *_: self._on_selected())  # also on the row that is selected already

    def begin(self, methods: Sequence[str], colors: Mapping[str, str], labelled: bool) -> None:
        """A row for each method, without numbers; without ground truth there are no scores to have."""
        self._methods = tuple(methods)
        self.clearSelection()
        self.clearContents()
        self.setRowCount(len(methods))
        for row, method in enumerate(methods):
            for column in range(len(HEADS)):
                item = QTableWidgetItem(NOTHING if column else METHODS[method].title)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                if column:
                    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                self.setItem(row, column, item)
            self.item(row, METHOD).setIcon(patch(colors[method]))
            self.item(row, METHOD).setToolTip(tooltip(METHODS[method].title))
        for column in (DICE, AUC, ACCURACY):
            self.setColumnHidden(column, not labelled)
        self._fit()

    def show_results(self, results: Sequence[MethodResult]) -> None:
        """Fill in what came out."""
        for line in summary(results):
            for column, measure in MEASURES.items():
                item = self._item(line["method"], column)
                item.setText(_cell(line, measure))
                item.setToolTip(tooltip(_detail(line, measure)))
        self._fit()

    def show_going(self, method: str | None) -> None:
        """Mark the method at work."""
        for name in self._methods:
            item = self._item(name, METHOD)
            font = item.font()
            font.setBold(name == method)
            item.setFont(font)

    def show_failed(self, method: str, why: str) -> None:
        """Say that a run gave nothing; what earlier repeats gave stays."""
        for column in range(len(HEADS)):
            self._item(method, column).setToolTip(tooltip(why))
        if self.text(method, SECONDS) == NOTHING:
            self._item(method, SECONDS).setText(FAILED)

    def text(self, method: str, column: int) -> str:
        """What stands in a cell."""
        return str(self._item(method, column).text())

    def select(self, method: str) -> None:
        """Select the row of a method."""
        self.selectRow(self._methods.index(method))

    def selected(self) -> str | None:
        """The method of the selected row, or None."""
        rows = self.selectionModel().selectedRows()
        return self._methods[rows[0].row()] if rows else None

    def _item(self, method: str, column: int) -> QTableWidgetItem:
        return self.item(self._methods.index(method), column)

    def _on_selected(self) -> None:
        if (method := self.selected()) is not None:
            self.picked.emit(method)

    def _fit(self) -> None:
        """As high as its rows, so that the panel scrolls and not the table."""
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(rows + self.horizontalHeader().sizeHint().height() + 4)


def _cell(line: Mapping[str, Any], measure: str) -> str:
    mean, std = line[f"{measure}_mean"], line[f"{measure}_std"]
    if math.isnan(mean):
        return NOTHING
    if measure in ("seconds", "memory"):  # their spread is in the tooltip: there is no room for all
        return f"{mean:.0f}" if mean >= 100 or measure == "memory" else f"{mean:.{3 if mean < 1 else 1}f}"
    return f"{mean:.3f}" + ("" if math.isnan(std) else f" ± {std:.3f}")


def _detail(line: Mapping[str, Any], measure: str) -> str:
    """What the cell has no room for."""
    runs = "1 run" if line["repeats"] == 1 else f"{line['repeats']} runs"
    spread = "" if math.isnan(line[f"{measure}_std"]) else f" ± {line[f'{measure}_std']:.3g}"
    detail = f"{runs}: {line[f'{measure}_mean']:.4g}{spread}"
    if measure == "dice" and not math.isnan(line["oracle_mean"]):
        detail += f"; {ORACLE}: {line['oracle_mean']:.3f}"
    return f"{detail}."


# -------- A Labels layer for each method and image, of which those of one method are in sight.


class MethodLayers:
    """The layers of one comparison; `shown` is the method in sight."""

    def __init__(self, viewer: napari.Viewer, sources: Sequence[Source], config: CompareConfig) -> None:
        self.viewer = viewer
        self.sources = sources
        self.config = config
        self.layers: dict[str, list[Labels]] = {}
        self.shown: str | None = None
        self._colors = method_colors(config.methods)

    def put(self, method: str, repeat: int, masks: Sequence[np.ndarray], polarity: str) -> Iterator[None]:
        """Lay the masks of a run over their images, a layer at a time, so that the window is drawn in between.

        Later repeats are drawn into the layers of the first; those the user took out of the viewer stay out.

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
            origin = {ORIGIN: self._origin(source, method, repeat, polarity)}
            if number < len(layers):
                layers[number].data[...] = pixels  # same shape: neither extent nor sliders need a look
                layers[number].refresh(extent=False)
                layers[number].metadata = origin
            else:
                layers.append(self._add(source, method, pixels, origin))
            yield

    def show(self, method: str) -> None:
        """Show the layers of a method and hide those of the others; does nothing before it has any."""
        layers = self.layers.get(method)
        if not layers:
            return
        before, self.shown = self._in_sight(), method
        for number, layer in enumerate(layers):
            if layer not in self.viewer.layers:  # the user took it out, and asks for it now
                self.viewer.add_layer(layer)
            _set_visible(layer, self.sources[number].layer.visible or number in before)
        for other, theirs in self.layers.items():
            for layer in theirs if other != method else ():
                _set_visible(layer, False)

    def hide(self) -> None:
        """Put all of them out of sight: a new comparison draws its own."""
        for layers in self.layers.values():
            for layer in layers:
                _set_visible(layer, False)

    def _in_sight(self) -> set[int]:
        """The images whose mask can be seen now, be the image itself hidden."""
        return {number for number, layer in enumerate(self.layers.get(self.shown or "", ())) if layer.visible}

    def _add(self, source: Source, method: str, pixels: np.ndarray, origin: dict[str, Any]) -> Labels:
        active = self.viewer.layers.selection.active
        color = self._colors[method]
        layer = self.viewer.add_labels(
            pixels,
            name=f"{source.name} [{METHODS[method].title}]",
            colormap=colormap({0: "transparent", 1: color}, others=color),
            opacity=0.6,
            metadata=origin,
            visible=method == self.shown and source.layer.visible,  # of images that lie over each other, one shows
            **placement(source.layer),
        )
        layer.selected_label = 1
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active
        return layer

    def _origin(self, source: Source, method: str, repeat: int, polarity: str) -> dict[str, Any]:
        """How the masks were made."""
        return {
            "version": __version__,
            "source": source.name,
            "method": method,
            "repeat": repeat,
            "seed": self.config.seed + repeat,
            "objects": polarity,
            "config": self.config.model_dump(mode="json"),
        }


def _set_visible(layer: Labels, visible: bool) -> None:
    if layer.visible != visible:  # napari redraws even if nothing changed
        layer.visible = visible


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, in turn."""
    return {method: class_color(1 + number) for number, method in enumerate(methods)}
