"""The numbers of each layer against the true classes, as a small table with the verdict in words below each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_metastructure.plugin.form import tooltip

if TYPE_CHECKING:
    from napari_metastructure.plugin.density.measure import Numbers

TIP = (
    "On the visible slice, against the true classes. Left: the meta-structure that is left, 0 to 1. Distance: of the "
    "density map from that of the truth, 0 (equal up to a factor and a constant) to 1. Rank: of the noise transition "
    "matrix, as far as the pixel counts prove it, of so many classes; as many classes can still be told apart."
)


class NumbersTable(QLabel):
    """Rich text that can be selected and copied; it wraps to any width."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shown: tuple[Numbers, ...] = ()
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setToolTip(tooltip(TIP))
        self.show_numbers(())

    def show_numbers(self, numbers: Sequence[Numbers]) -> None:
        """Show these rows."""
        self.shown = tuple(numbers)
        if not self.shown:
            self.setText("No labels to compare yet.")
            return
        head = "".join(f"<td width='{width}%' align='{side}'><b>{text}</b></td>" for text, side, width in HEAD)
        rows = "".join(map(_row, self.shown))
        self.setText(f"<table width='100%' cellspacing='0' cellpadding='2'><tr>{head}</tr>{rows}</table>")


HEAD = (("Layer", "left", 46), ("Left", "right", 16), ("Distance", "right", 20), ("Rank", "right", 18))


def _row(numbers: Numbers) -> str:
    cells = [
        (escape(numbers.name), "left"),
        (_number(numbers.left), "right"),
        (_number(numbers.distance), "right"),
        (_rank(numbers), "right"),
    ]
    row = "".join(f"<td align='{side}'>{text}</td>" for text, side in cells)
    below = numbers.problem or numbers.verdict
    if not below:
        below = "Its own truth; choose true classes above to compare with."
    return f"<tr>{row}</tr><tr><td colspan='4'><small>{escape(below)}</small></td></tr>"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _rank(numbers: Numbers) -> str:
    transition = numbers.transition
    return "–" if transition is None else f"{transition.rank} of {len(transition.classes)}"
