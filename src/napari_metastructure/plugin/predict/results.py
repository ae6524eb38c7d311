"""What a prediction leaves: layers over their sources, and a sentence that says what was done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_metastructure import __version__
from napari_metastructure.plugin.label_colors import class_colormap
from napari_metastructure.plugin.placement import ORIGIN

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_metastructure.networks.prediction import PredictionFinished
    from napari_metastructure.plugin.predict.job import LayerPredicted


def add_layers(viewer: napari.Viewer, event: LayerPredicted) -> list[Layer]:
    """Lay probability (hidden, it would cover the image) and labels over the layer they were predicted from."""
    source, made = event.layered.source, []
    origin = {"version": __version__, "source": source.name, "model": event.model, "classes": event.classes}
    more: dict[str, Any] = {"metadata": {ORIGIN: origin}, **event.layered.placement()}
    if event.probability is not None:
        name = f"{source.name} probability"
        look: dict[str, Any] = {"contrast_limits": (0, 1), "colormap": "magma", "visible": False}
        made.append(viewer.add_image(event.probability, name=name, **look, **more))
    name, colors = f"{source.name} prediction", class_colormap(event.classes)
    look = {"colormap": colors, "opacity": 0.6, "visible": source.layer.visible}
    made.append(viewer.add_labels(event.labels, name=name, **look, **more))
    return made


def summary(result: PredictionFinished, layers: int, written: Sequence[Path], refused: Sequence[str]) -> str:
    """What came of it, in a sentence or two."""
    if result.stopped:
        done = f" {len(written)} files were written." if written else f" {layers} layers were made." if layers else ""
        return f"Cancelled.{done}"
    images = "1 image" if result.images == 1 else f"{result.images} images"
    where = f" into {written[0].parent}" if written else ""
    bad = f" {len(refused)} could not be used: {refused[0]}" if refused else ""
    return f"{images} predicted in {result.seconds:.1f} s{where}.{bad}"
