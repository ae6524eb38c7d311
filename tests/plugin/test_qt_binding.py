"""Both bindings may be installed side by side; the one asked for must be the one that runs."""

from __future__ import annotations

import os
import sys

import pytest

OTHERS = {"pyqt5": ("PyQt6", "PySide6", "PySide2"), "pyqt6": ("PyQt5", "PySide6", "PySide2")}


@pytest.mark.skipif(os.environ.get("QT_API") not in OTHERS, reason="QT_API asks for no binding")
def test_the_viewer_runs_on_the_binding_asked_for(make_napari_viewer):
    import qtpy

    viewer = make_napari_viewer()
    asked = os.environ["QT_API"]
    assert qtpy.API_NAME.lower() == asked
    bases = {base.__module__.split(".")[0].lower() for base in type(viewer.window._qt_window).__mro__}
    assert asked in bases
    assert not [name for name in OTHERS[asked] if f"{name}.QtWidgets" in sys.modules]
