"""Density plots: histograms by true class, the table of retained meta-structure, profiles along a drawn line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any

import napari
import numpy as np
import pyqtgraph as pg
from napari.layers import Layer, Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_metastructure.labels.structure import ClassHistogram
from napari_metastructure.plugin._density_model import DensityResult
from napari_metastructure.plugin._form import tooltip
from napari_metastructure.plugin._inputs import column
from napari_metastructure.plugin._layer_order import stay_on
from napari_metastructure.plugin._layers import ORIGIN, VisiblePlane, class_color, shortened
from napari_metastructure.plugin._plots import make_plot, use_theme

MOST = 6
"""Histograms drawn; more would not be read."""

LINES = ("#00d0ff", "#ff8c42", "#b07cff", "#7bd66b", "#ff6fae", "#d8c34a")

TIP = (
    "How often each density occurs among the pixels of each true class. Two humps apart: the classes can still be "
    "told from the label (rank 2). One hump: they are fused (rank 1). 1 is the density of pixels spread evenly; each "
    "class is drawn up to its own highest bin, and dashed at its mean."
)


class HistogramPlots(QWidget):
    """A small histogram per map, one filled curve per true class."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.setToolTip(tooltip(TIP))
        self.plots: list[pg.PlotWidget] = []
        self.shown: tuple[ClassHistogram, ...] = ()
        self.colors: tuple[Mapping[int, str], ...] = ()
        column(self.legend, into=self)
        self.show_histograms(())

    def show_histograms(
        self, histograms: Sequence[ClassHistogram], colors: Sequence[Mapping[int, str]] | None = None
    ) -> None:
        """Draw these histograms, in the colours of the classes given for each, or those of the palette."""
        self.shown = tuple(histograms)
        drawn = self.shown[:MOST]
        given = colors or [{}] * len(self.shown)
        self.colors = tuple(
            {label: by_class.get(label, class_color(label)) for label in found.classes}
            for found, by_class in zip(self.shown, given, strict=True)
        )
        while len(self.plots) < len(drawn):
            plot = make_plot("", TIP, height=84)
            self.plots.append(plot)
            self.layout().addWidget(plot)
            plot.hideAxis("left")
            use_theme(self.viewer, [plot])
        for number, plot in enumerate(self.plots):
            plot.setVisible(number < len(drawn))
            if number < len(drawn):
                _draw_histogram(plot, drawn[number], self.colors[number])
        classes = sorted({c for found in drawn for c in found.classes})
        marks = {c: dict.fromkeys(by_class[c] for by_class in self.colors[:MOST] if c in by_class) for c in classes}
        squares = {c: "".join(f'<span style="color:{color}">■</span>' for color in marks[c]) for c in classes}
        legend = "&nbsp; ".join(f"{squares[c]} class {c}" for c in classes)
        more = f" &nbsp;(and {len(self.shown) - MOST} more maps)" if len(self.shown) > MOST else ""
        self.legend.setText(f"True classes: {legend}{more}" if classes else "No density map yet.")

    def use_theme(self) -> None:
        """Take on the colours of the viewer's theme."""
        use_theme(self.viewer, self.plots)


class ProfilePlot(QWidget):
    """Each map along the line drawn last."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.shown: tuple[Profile, ...] = ()
        self.plot = make_plot(
            "",
            "The density of each map along the line drawn last. 1 is the density of pixels spread evenly.",
            height=100,
        )
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        column(self.legend, self.plot, into=self, spacing=2)
        self.show_profiles((), "")
        self.use_theme()

    def show_profiles(self, profiles: Sequence[Profile], unit: str) -> None:
        """Draw these profiles over distance in a unit."""
        self.shown = tuple(profiles)
        self.plot.clear()
        names = []
        for shown, color in zip(self.shown, cycle(LINES)):
            self.plot.plot(shown.distance, shown.density, pen=pg.mkPen(color, width=2), connect="finite")
            names.append(f'<span style="color:{color}">■</span> {shown.name}')
        tops = [np.nanmax(shown.density) for shown in self.shown if np.isfinite(shown.density).any()]
        self.plot.setYRange(0, max([1.0, *tops]))
        self.plot.setTitle(f"Density over distance ({unit})" if names else "", size="8pt")
        self.plot.setVisible(bool(names))
        self.legend.setText("&nbsp; ".join(names) or "Draw a line over the labels or a map.")

    def use_theme(self) -> None:
        """Take on the colours of the viewer's theme."""
        use_theme(self.viewer, [self.plot])


def _draw_histogram(plot: pg.PlotWidget, histogram: ClassHistogram, colors: Mapping[int, str]) -> None:
    plot.clear()
    plot.setTitle(histogram.name, size="8pt")
    for label, shares, mean in zip(histogram.classes, histogram.shares, histogram.means, strict=True):
        color = pg.mkColor(colors[label])
        fill = pg.mkColor(color)
        fill.setAlpha(90)
        plot.plot(
            histogram.edges,
            shares / shares.max(),
            stepMode="center",
            pen=pg.mkPen(color, width=2),
            fillLevel=0,
            brush=fill,
        )
        plot.addItem(pg.InfiniteLine(mean, angle=90, pen=pg.mkPen(color, style=Qt.PenStyle.DashLine)))


TABLE_TIP = (
    "On the visible slice, against the true classes. Retained: the share of the meta-structure, 0 to 1. Distance: of "
    "the density map from that of the true classes, 0 (equal up to a factor and a constant) to 1. Rank: of the noise "
    "transition matrix, as far as the pixel counts prove it, of the number of classes; that many classes can still be "
    "told apart."
)

HEAD = (("Layer", "left", 36), ("Retained", "right", 23), ("Distance", "right", 23), ("Rank", "right", 18))

NO_REFERENCE = "No reference: choose 'True classes from' above to compare."


NAMED = 16
"""Letters of a layer's name that its column has room for in a narrow dock."""


class ComparisonTable(QLabel):
    """Each layer against the true classes, with the verdict in words below; rich text that can be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: tuple[DensityResult, ...] = ()
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setToolTip(tooltip(TABLE_TIP, "Theorem 2, Lemma 2"))
        self.show_results(())

    def show_results(self, results: Sequence[DensityResult]) -> None:
        """Show a row for each result with labels."""
        self.shown = tuple(result for result in results if result.labels is not None)
        if not self.shown:
            self.setText("No labels to compare yet.")
            return
        head = "".join(f"<td width='{width}%' align='{side}'><b>{text}</b></td>" for text, side, width in HEAD)
        rows = "".join(map(_row, self.shown))
        self.setText(f"<table width='100%' cellspacing='0' cellpadding='2'><tr>{head}</tr>{rows}</table>")


def _row(result: DensityResult) -> str:
    found = result.comparison
    texts = [escape(shortened(result.name, NAMED)), "–", "–", "–"]
    if found is not None and found.transition is not None:
        rank = f"{found.transition.rank} of {len(found.transition.classes)}"
        texts[1:] = _number(found.retained), _number(found.distance), rank
    cells = "".join(f"<td align='{side}'>{text}</td>" for text, (_, side, _) in zip(texts, HEAD, strict=True))
    sentence = found.verdict.sentence if found is not None and found.verdict is not None else ""
    below = result.problem or sentence or NO_REFERENCE
    return f"<tr>{cells}</tr><tr><td colspan='4'><small>{escape(below)}</small></td></tr>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


# ---- profiles along a line drawn in a Shapes layer ----------------------------------------------------------


COLOR = "#00e5ff"


@dataclass(frozen=True)
class Profile:
    """A map along a line.

    Attributes
    ----------
    name : str
        Of the map.
    distance : (K,) array
        From the line's beginning, in the unit of the bandwidth.
    density : (K,) array
        Relative to pixels spread evenly (1 = even); NaN outside the map.
    """

    name: str
    distance: np.ndarray
    density: np.ndarray


def add_line_layer(viewer: napari.Viewer, plane: VisiblePlane | None) -> Shapes:
    """Add a Shapes layer over a plane, ready to draw a line in."""
    where: dict[str, Any] = {} if plane is None else plane.placement()
    side = 256 if plane is None else max(plane.layer.level_shapes[0][-2:])
    layer = viewer.add_shapes(
        ndim=2, name="density line", edge_color=COLOR, edge_width=max(1.0, side / 200), metadata={ORIGIN: {}}, **where
    )
    if plane is not None:
        stay_on(plane.layer, layer, plane.placement)
    layer.mode = "add_line"
    return layer


def last_line(layer: Shapes) -> np.ndarray | None:
    """Return the vertices of the line or path drawn last, (V, 2) world coordinates; None if there is none."""
    lines = [
        data
        for data, kind in zip(layer.data, layer.shape_type, strict=False)
        if kind in ("line", "path") and len(data) > 1
    ]
    if not lines:
        return None
    return np.array([np.asarray(layer.data_to_world(vertex))[-2:] for vertex in lines[-1]])


def profile(name: str, density: np.ndarray, vertices: np.ndarray, pixel: tuple[float, float]) -> Profile:
    """Sample a map along a path, by linear interpolation about once a pixel.

    Parameters
    ----------
    name : str
        Of the map.
    density : (Y, X) float array
    vertices : (V, 2) array
        Y and X, in pixels of the map.
    pixel : (float, float)
        Size of a pixel along Y and X, in the unit of the distance.
    """
    from scipy.ndimage import map_coordinates

    lengths = np.linalg.norm(np.diff(vertices, axis=0), axis=1)
    if not lengths.any():
        return Profile(name, np.zeros(0), np.zeros(0))
    along = np.append(0, np.cumsum(lengths))
    places = np.linspace(0, along[-1], int(np.ceil(along[-1])) + 1)
    y, x = (np.interp(places, along, vertices[:, axis]) for axis in (0, 1))
    values = map_coordinates(density, [y, x], order=1, output=np.float64, cval=np.nan)
    steps = np.hypot(np.diff(y) * pixel[0], np.diff(x) * pixel[1])
    return Profile(name, np.append(0, np.cumsum(steps)), values * density.size)


def on_map(vertices: np.ndarray, source: Layer, image: Layer, home: Layer | None) -> np.ndarray:
    """Convert a line to pixels of a map.

    A line drawn over the map, or over its labels, lies where it was drawn; one drawn elsewhere (side by side, in
    Figure 6) lies at the same place counted from the corner as in the layer it was drawn over.

    Parameters
    ----------
    vertices : (V, 2) array
        World coordinates.
    source, image : napari.layers.Layer
        The labels and their map.
    home : napari.layers.Layer or None
        What it was drawn over; None if over nothing that is compared.
    """
    if home is None:
        return to_pixels(vertices, image)
    for layer in (image, source):
        if holds(layer, vertices):
            return to_pixels(vertices, layer)
    there = to_pixels(vertices, home) * np.abs(home.scale[-2:])
    return np.asarray(there / np.abs(image.scale[-2:]))


def holds(layer: Layer, vertices: np.ndarray) -> bool:
    """Say whether the middle of a line lies on a layer."""
    middle = to_pixels(vertices.mean(axis=0, keepdims=True), layer)[0]
    shape = np.array(layer.level_shapes[0][-2:])
    return bool(np.all(middle >= -0.5) and np.all(middle <= shape - 0.5))


def to_pixels(vertices: np.ndarray, layer: Layer) -> np.ndarray:
    """Convert world coordinates along Y and X to pixels of a layer; along other axes, wherever the layer is."""
    world = np.tile(np.asarray(layer.data_to_world(np.zeros(layer.ndim))), (len(vertices), 1))
    world[:, -2:] = vertices
    return np.array([np.asarray(layer.world_to_data(point))[-2:] for point in world])
