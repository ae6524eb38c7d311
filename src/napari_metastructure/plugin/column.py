"""A widget's parts below each other, in a scroll area where a screen is too low."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QLayout, QScrollArea, QTabWidget, QVBoxLayout, QWidget


def lay_out(widget: QWidget, parts: Iterable[QWidget | QLayout]) -> QScrollArea:
    """Put parts, widgets or rows of them, into a widget, top to bottom; what scrolls them."""
    content = QWidget()
    column = QVBoxLayout(content)
    column.setContentsMargins(6, 6, 6, 6)
    column.setSpacing(6)
    for part in parts:
        column.addWidget(part) if isinstance(part, QWidget) else column.addLayout(part)
    column.addStretch(1)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(content)
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll)
    widget.setMinimumWidth(340)
    return scroll


def pages_above(widget: QWidget, pages: Mapping[str, Iterable[QWidget]], below: Iterable[QWidget]) -> QTabWidget:
    """Put pages of parts, by their titles, into a widget, and below them what all pages need; the tabs."""
    tabs = QTabWidget()
    tabs.setDocumentMode(True)
    for title, parts in pages.items():
        page = QWidget()
        lay_out(page, parts)
        tabs.addTab(page, title)
    column = QVBoxLayout()
    column.setContentsMargins(6, 0, 6, 6)
    column.setSpacing(6)
    for part in below:
        column.addWidget(part)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 6, 0, 0)  # napari's title would cut the tabs
    layout.setSpacing(6)
    layout.addWidget(tabs, 1)
    layout.addLayout(column)
    widget.setMinimumWidth(360)
    return tabs


def heading(text: str) -> QLabel:
    """The title of what stands below it."""
    label = QLabel(f"<b>{text}</b>")
    label.setTextFormat(Qt.TextFormat.RichText)
    return label
