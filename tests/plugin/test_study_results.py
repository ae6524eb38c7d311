"""Curves, table and labels of a noise study."""

import numpy as np

from napari_metastructure.labels.recipes import apply
from napari_metastructure.plugin._study_results import RANK

NET = "light-unet"


def test_the_verdict_stands_beside_the_result(open_study, run):
    _viewer, widget = open_study()
    run(widget)
    tips = {widget.table.item(row, 0).text(): widget.table.item(row, RANK).toolTip() for row in range(3)}
    assert "nothing to learn" in tips["RL"]
    assert all("Rank 2 of 2" in tips[name] for name in ("CL", "kept"))


def test_noisy_labels_lie_over_their_image(open_study, run, qtbot, three_conditions, discs):
    viewer, widget = open_study(window=True)
    before = len(viewer.layers)
    seen = {}
    widget.runner.event_received.connect(
        lambda event: seen.update({event.condition: event}) if hasattr(event, "predicted") else None
    )
    run(widget)
    assert len(viewer.layers) == before
    name = widget.image.itemText(1)
    assert widget.show_labels(["CL", "kept"], image=name)
    qtbot.waitUntil(lambda: len(viewer.layers) == before + 2, timeout=60_000)
    layer = viewer.layers[f"{name} kept"]
    assert tuple(layer.scale) == (0.2, 0.1)
    viewer.layers[name].scale = (3, 5)
    assert tuple(layer.scale) == (3, 5)
    event = seen["kept"]
    np.testing.assert_array_equal(layer.data, event.labels[event.names.index(name)])
    clean = (discs("abcdef".index(name))[1] > 0).astype(np.uint8)
    np.testing.assert_array_equal(viewer.layers[f"{name} CL"].data, clean)
    np.testing.assert_array_equal(layer.data, apply(three_conditions[1].recipe, clean, 0, (0, 1), first=1))
    assert tuple(layer.get_color(1)) != tuple(layer.get_color(255))
    widget.image.setCurrentIndex(0)
    other = widget.image.itemText(0)
    qtbot.waitUntil(lambda: f"{other} kept" in viewer.layers, timeout=60_000)
    assert f"{name} kept" not in viewer.layers
    del viewer.layers[f"{other} kept"]
    widget.show_labels(["CL"])
    assert len(viewer.layers) == before + 1


def test_rows_hide_and_emphasise_curves(open_study, run):
    viewer, widget = open_study()
    run(widget)
    item = widget.table.item(1, 0)
    item.setCheckState(item.checkState().__class__(0))
    shown = [pair[0].mean.isVisible() for pair in widget.curves.curves.values()]
    assert shown == [True, False, True]
    widget.table.selectRow(2)
    assert [pair[0].width for pair in widget.curves.curves.values()] == [2, 2, 4]
    assert widget.curves.curves[NET, "CL"][0].color == "#ffffff"
    viewer.theme = "light"
    assert widget.curves.curves[NET, "CL"][0].color == "#000000"
