"""Colours of label layers: a fixed one per class, and one of its own for unlabelled pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_metastructure.labels import UNLABELLED

# Okabe and Ito's palette: told apart by colour-blind eyes as well.
CLASS_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
UNLABELLED_COLOR = (0.5, 0.5, 0.5, 0.45)


def class_color(label: int) -> str:
    """The colour of a class: that of classes above 0 in turn, grey for the background."""
    return CLASS_COLORS[(label - 1) % len(CLASS_COLORS)] if label > 0 else "#9a9a9a"


def class_colormap(classes: Sequence[int]) -> Any:
    """A napari colormap in which 0 is transparent, every class has its colour and 255 is grey."""
    colors = {label: class_color(label) for label in classes if label > 0}
    return colormap({0: "transparent", **colors, UNLABELLED: UNLABELLED_COLOR}, others="transparent")


def colormap(colors: Mapping[int, Any], others: Any) -> Any:
    """A napari colormap with these colours by label, and one for all other labels."""
    from napari.utils.colormaps import DirectLabelColormap

    by_label: dict[Any, Any] = {**colors, None: others}
    return DirectLabelColormap(color_dict=by_label)
