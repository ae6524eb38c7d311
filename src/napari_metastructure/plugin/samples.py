"""File > Open Sample: simulated images, without labels, for that is what the plugin is about; and Figure 6."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_metastructure.errors import InputError

if TYPE_CHECKING:
    from napari.types import LayerDataTuple


def sample_folder() -> Path:
    """Where ``images/`` and ``masks/`` of the samples are: inside an installed package, or atop the sources.

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
    """Four simulated fields of view of the endoplasmic reticulum, (T, Y, X) uint16."""
    return _open("er", "Endoplasmic reticulum")


def mitochondria() -> list[LayerDataTuple]:
    """Simulated mitochondria, (Y, X) uint16."""
    return _open("mitochondria", "Mitochondria")


def nuclei() -> list[LayerDataTuple]:
    """Simulated nuclei, (Y, X) uint16."""
    return _open("nuclei", "Nuclei")


def figure_6() -> list[LayerDataTuple]:
    """The paper's Figure 6 in a grid: CL, RCL and RL, their noise transition matrices and densities."""
    from napari_metastructure.plugin.figure6 import figure_6_layers

    return figure_6_layers()


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
