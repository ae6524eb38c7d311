from __future__ import annotations

import runpy


def test_the_demo_stands_ready_and_does_not_run(make_napari_viewer, root):
    script = runpy.run_path(str(root / "scripts" / "demo.py"))
    viewer = make_napari_viewer()
    widget = script["open_demo"](viewer)
    assert [layer.name for layer in widget.picker.chosen()] == ["Endoplasmic reticulum"]
    assert script["WIDGET"] in " ".join(viewer.window.dock_widgets)
    assert not widget.running
    assert len(viewer.layers) == 1


def test_a_second_recording_does_not_write_over_the_first(tmp_path, root):
    unused = runpy.run_path(str(root / "scripts" / "demo.py"))["_unused"]
    for expected in ("run", "run-2", "run-3"):
        folder = unused(tmp_path / "run")
        assert folder.name == expected
        folder.mkdir()
