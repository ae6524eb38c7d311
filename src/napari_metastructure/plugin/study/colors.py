"""A colour for each condition: shades of its family's, as in the study's figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qtpy.QtGui import QColor, QIcon, QPixmap

if TYPE_CHECKING:
    import napari

    from napari_metastructure.training.study.config import Condition

DARK = {"CL": ("#ffffff", "#ffffff"), "RCL": ("#b3d4f0", "#3d8fe0"), "PCL": ("#fdc99b", "#f5701a")}
DARK |= {"RL": ("#c0e8b8", "#2fae57")}
LIGHT = {"CL": ("#000000", "#000000"), "RCL": ("#7fb6de", "#08408a"), "PCL": ("#fdae6b", "#b04303")}
LIGHT |= {"RL": ("#84cc82", "#005a2b")}
"""First and last shade of each family, on dark and light ground: CL white or black, RCL blue, PCL orange, RL green."""


def condition_colors(conditions: Iterable[Condition], dark: bool) -> dict[str, str]:
    """A colour by the name of a condition; the last of each family is its strongest."""
    families: dict[str, list[str]] = {}
    for condition in conditions:
        families.setdefault(condition.family, []).append(condition.name)
    ends = DARK if dark else LIGHT
    return {
        name: _between(*ends[family], (i + 1) / len(names)) for family, names in families.items()
        for i, name in enumerate(names)
    }  # fmt: skip


def on_dark(viewer: napari.Viewer) -> bool:
    """Whether the viewer's theme is a dark one."""
    from napari.utils.theme import get_theme

    return bool(QColor(get_theme(viewer.theme).background.as_hex()).lightnessF() < 0.5)


def patch(color: str) -> QIcon:
    """A small square in a colour."""
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)


def _between(first: str, last: str, share: float) -> str:
    ends = [QColor(color).getRgb()[:3] for color in (first, last)]
    mixed = (round(a + (b - a) * share) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
