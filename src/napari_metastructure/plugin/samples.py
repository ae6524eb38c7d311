"""Sample data of the File menu: simulated images without labels, and the paper's Figure 6 as layers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from napari import current_viewer
from napari.layers import Layer
from napari.types import LayerDataTuple

from napari_metastructure import __version__
from napari_metastructure.errors import InputError
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.figure6 import Figure6, Panel
from napari_metastructure.plugin import _layers
from napari_metastructure.plugin._density_maps import COLORMAP, MADE
from napari_metastructure.plugin._density_model import DensitySettings


def sample_folder() -> Path:
    """Find ``images/`` and ``masks/`` of the samples: inside an installed package, or atop the sources.

    Raises
    ------
    InputError
        If neither holds them.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "sample_data", package.parents[1] / "sample_data"):
        if (folder / "images").is_dir():
            return folder
    raise InputError(f"The sample images are missing from {package}; install napari-metastructure again.")


def endoplasmic_reticulum() -> list[LayerDataTuple]:
    """Open four simulated fields of view of the endoplasmic reticulum, (T, Y, X) uint16."""
    return _open("er", "Endoplasmic reticulum")


def mitochondria() -> list[LayerDataTuple]:
    """Open simulated mitochondria, (Y, X) uint16."""
    return _open("mitochondria", "Mitochondria")


def nuclei() -> list[LayerDataTuple]:
    """Open simulated nuclei, (Y, X) uint16."""
    return _open("nuclei", "Nuclei")


def _open(name: str, title: str) -> list[LayerDataTuple]:
    from napari_metastructure.images.files import read_image

    folder = sample_folder()
    image = read_image(folder / "images" / f"{name}.tif")
    attributes = {
        "name": title,
        "scale": image.scale,
        "units": image.units,
        "axis_labels": tuple(image.axes.lower()),
        # Not under the plugin's own key: that marks results, which the widgets do not offer as images.
        "metadata": {
            "simulated by": f"napari_metastructure.images.simulate, see {folder / 'README.md'}",
            "mask": str(folder / "masks" / f"{name}.tif"),
        },
    }
    return [(image.data, attributes, "image")]


# ---- Figure 6: labels, noise transition matrices and densities in a grid ----------------------------------


CELLS = ("CL", "RCL", "RL")

SEED, FLIP, RANDOM = 0, 0.45, 0.5

STEP = 304
"""From one cell of the grid to the next, in pixels: a cell is 256 wide."""

TITLES = {"CL": "CL: clean", "RCL": f"RCL: {FLIP:.0%} flipped", "RL": "RL: random"}

ROWS = ("labels", "matrix\n(true down,\nnoisy across)", "density")

INK, ON_BLUE = "#9a9a9a", "#ffffff"
"""Grey can be read on napari's dark canvas and on its light one."""


def figure_6() -> list[LayerDataTuple]:
    """Make the paper's Figure 6 in a grid: CL, RCL and RL, their noise transition matrices and densities.

    Columns are CL, RCL and RL; rows are labels, transition matrices and densities. Each density has a contrast of its
    own, from its lowest to its highest value, as the paper's: on one scale from 0, that of the circle alone would leave
    the other two black. What shows is where a circle is left, and where only sampling error is.

    Returns
    -------
    list of LayerDataTuple
        Three Labels, three small Images (true classes down, labels across), three Images and a Points layer with the
        captions. Their metadata says what belongs together.
    """
    from napari_metastructure.labels import figure6

    figure = figure6.figure_6(SEED, FLIP, RANDOM)
    group = uuid4().hex
    columns = list(enumerate(figure.panels))
    return [
        *(_density(panel, column, figure, group) for column, panel in columns),
        *(_matrix(panel, column, group) for column, panel in columns),
        *(_labels(panel, column, figure, group) for column, panel in columns),
        _captions(figure, group),
    ]


def open_figure_6() -> list[LayerDataTuple]:
    """Make Figure 6 for napari's menu, and show it whole once it is there: napari looks at its first layer alone."""
    made, viewer = figure_6(), current_viewer()
    captions = made[-1][1]["metadata"][_layers.ORIGIN]

    def on_inserted(event: Any) -> None:
        if viewer is not None and _layers.origin_of(event.value) == captions:
            viewer.layers.events.inserted.disconnect(on_inserted)
            viewer.reset_view()

    if viewer is not None:
        viewer.layers.events.inserted.connect(on_inserted, position="last")
    return made


def find_figure(layers: Iterable[Layer]) -> list[Layer]:
    """Find the layers of a figure that is open with all its labels, those first; else return an empty list."""
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        if group := _layers.origin_of(layer).get("group"):
            groups.setdefault(group, []).append(layer)
    for ours in groups.values():
        labels = [layer for cell in CELLS for layer in ours if _layers.origin_of(layer).get("cell") == cell]
        if len(labels) == len(CELLS):
            return [*labels, *(layer for layer in ours if layer not in labels)]
    return []


def settings_of(figure: Iterable[Layer]) -> DensitySettings:
    """Return the settings a figure was made with, for the widget that goes on with it."""
    made = next(_layers.origin_of(layer)["settings"] for layer in figure if _layers.origin_of(layer).get("cell"))
    return DensitySettings(**made, one_scale=False)


def _labels(panel: Panel, column: int, figure: Figure6, group: str) -> LayerDataTuple:
    recipe = {"RCL": {"kind": "flip", "fraction": FLIP}, "RL": {"kind": "random", "probability": RANDOM}}.get(
        panel.name
    )
    made = {"source": "CL", "recipe": recipe, "seed": SEED} if recipe else {}
    about = {"group": group, "cell": panel.name, "settings": _settings(figure)}
    colors = {0: (0.16, 0.16, 0.18, 1), 1: _layers.class_color(1), UNLABELLED: _layers.UNLABELLED_COLOR}
    return (
        panel.labels,
        {
            "name": panel.name,
            "translate": (0, column * STEP),
            "opacity": 1.0,
            "colormap": _layers.colormap(colors, others="transparent"),
            "metadata": {_layers.ORIGIN: {"version": __version__, **made, **about}},
        },
        "labels",
    )


def _matrix(panel: Panel, column: int, group: str) -> LayerDataTuple:
    from napari.utils.colormaps import Colormap

    matrix = panel.matrix.matrix
    size = len(panel.labels) / len(matrix)
    half = (size - 1) / 2  # places are those of pixels' middles
    about = {"source": "CL", "matrix": panel.matrix.as_dict(), "group": group}
    return (
        matrix.astype(np.float32),
        {
            "name": f"{panel.name} matrix",
            "scale": (size, size),
            "translate": (STEP + half, column * STEP + half),
            "contrast_limits": (0, 1),
            "colormap": Colormap([[0.09, 0.1, 0.14], [0.16, 0.42, 0.86]], name="night to blue"),
            "metadata": {_layers.ORIGIN: {"version": __version__, "made": "transition matrix", **about}},
        },
        "image",
    )


def _density(panel: Panel, column: int, figure: Figure6, group: str) -> LayerDataTuple:
    values = panel.density
    about = {"source": panel.name, "class": 1, "plane": [], "settings": _settings(figure), "group": group}
    return (
        values,
        {
            "name": f"{panel.name} density",
            "translate": (2 * STEP, column * STEP),
            "colormap": COLORMAP,
            "contrast_limits": (float(values.min()), float(values.max())),
            # The widget puts a map over its labels; from there this one has moved to its cell.
            "metadata": {_layers.ORIGIN: {"version": __version__, "made": MADE, **about, "offset": [2 * STEP, 0]}},
        },
        "image",
    )


def _settings(figure: Figure6) -> dict[str, Any]:
    return DensitySettings(bandwidth=figure.bandwidth, edges=True).described()


def _captions(figure: Figure6, group: str) -> LayerDataTuple:
    side = len(figure.cl.labels)
    texts: list[tuple[float, float, str, str]] = []
    for row, name in enumerate(ROWS):
        texts.append((row * STEP + side / 2, -0.4 * side, name, INK))
    for column, panel in enumerate(figure.panels):
        left = column * STEP
        texts.append((-0.08 * side, left + side / 2, TITLES[panel.name], INK))
        texts.append((STEP + 1.08 * side, left + side / 2, f"rank {panel.matrix.rank}", INK))
        for i, j in np.ndindex(2, 2):
            place = STEP + (i + 0.5) * side / 2, left + (j + 0.5) * side / 2
            texts.append((*place, f"{panel.matrix.matrix[i, j]:.2f}", ON_BLUE))
    for corner in ((-0.2, -0.76), (1.03 + 2 * STEP / side, 1.03 + 2 * STEP / side)):
        texts.append((corner[0] * side, corner[1] * side, "", INK))  # the viewer shows points whole, but not their text
    places = np.array([text[:2] for text in texts])
    return (
        places,
        {
            "name": "Figure 6 captions",
            "features": {"caption": [text[2] for text in texts], "ink": [text[3] for text in texts]},
            "text": {
                "string": "{caption}",
                "color": {"feature": "ink"},
                "size": 14,
                "scaling": True,
            },
            "size": 1,
            "face_color": "transparent",
            "border_color": "transparent",
            "metadata": {_layers.ORIGIN: {"version": __version__, "made": "captions", "group": group}},
        },
        "points",
    )
