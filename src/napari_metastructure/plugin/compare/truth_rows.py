"""Ground truth for each ticked image: a Labels layer, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.plugin.layer_box import LayerBox
from napari_metastructure.plugin.placement import ORIGIN
from napari_metastructure.plugin.train.rows import shape_of, suggest

if TYPE_CHECKING:
    import napari

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
