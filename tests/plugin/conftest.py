"""Tests of the plugin: they need a display, and the Qt binding that was asked for."""

from __future__ import annotations

import os
import sys

import pytest

NEED_A_DISPLAY = {"qapp", "qtbot", "make_napari_viewer", "make_napari_viewer_proxy"}


def _has_display() -> bool:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a display Qt would end the whole process; skip instead. `make test` brings a display."""
    if _has_display():
        return
    skip = pytest.mark.skip(reason="needs a display; run by xvfb-run, as `make test` does")
    for item in items:
        if NEED_A_DISPLAY & set(getattr(item, "fixturenames", ())):
            item.add_marker(skip)
