"""The Compare widget in real viewers, with real methods in a real thread."""

import subprocess
import sys

import numpy as np
import pytest

from napari_metastructure.baselines.results import MethodFinished
from napari_metastructure.images.files import read_image
from napari_metastructure.plugin._compare_results import ACCURACY, AUC, DICE, MEMORY, SECONDS
from napari_metastructure.plugin._layers import ORIGIN

TITLES = {"otsu": "Otsu", "lc": "Local contrast", "agt": "Adaptive Gaussian", "dfc": "DFC", "igtt": "iGTT"}


def dice(one, other):
    """2 |A and B| / (|A| + |B|)."""
    return 2 * np.sum((one > 0) & (other > 0)) / (np.sum(one > 0) + np.sum(other > 0))


def test_layers_become_masks_and_a_table(open_compare, run, discs, made):
    viewer, widget = open_compare()
    run(widget)
    assert widget.failure is None
    assert [r.method for r in widget.results] == ["otsu", "agt", "lc"]
    for method in ("otsu", "lc", "agt"):
        masks = [made(viewer, name, method).data for name in "ab"]
        assert all(mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1} for mask in masks)
        truths = [discs(seed)[1] for seed in (0, 1)]
        scores = [dice(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        assert widget.table.text(method, DICE) == f"{np.mean(scores):.3f}"
        right = [np.mean((mask > 0) == (truth > 0)) for mask, truth in zip(masks, truths, strict=True)]
        assert widget.table.text(method, ACCURACY) == f"{np.mean(right):.3f}"
        assert 0.5 < float(widget.table.text(method, AUC)) <= 1
        assert float(widget.table.text(method, SECONDS)) >= 0
        assert widget.table.text(method, MEMORY).isdigit()
    assert dice(made(viewer, "a", "otsu").data, discs(0)[1]) > 0.9
    assert "All 3 runs are done" in widget.progress.status.text()
    assert (widget.progress.outer.value(), widget.progress.outer.maximum()) == (3, 3)
    assert widget.buttons.run.isEnabled()
    assert not widget.buttons.stop.isEnabled()


def test_layers_lie_over_their_images_and_say_how_they_were_made(open_compare, run, made):
    viewer, widget = open_compare(images=1, methods=("otsu",), seed=7)
    image = viewer.layers["a"]
    image.rotate = 30
    run(widget)
    layer = made(viewer, "a", "otsu")
    for key in ("scale", "translate"):
        np.testing.assert_allclose(getattr(layer, key), {"scale": (0.2, 0.1), "translate": (3, 5)}[key])
    np.testing.assert_allclose(layer.rotate, image.rotate)
    assert tuple(layer.axis_labels) == ("y", "x")
    assert list(map(str, layer.units)) == list(map(str, image.units))
    origin = layer.metadata[ORIGIN]
    assert (origin["source"], origin["method"], origin["seed"], origin["repeat"]) == ("a", "otsu", 7, 0)
    assert origin["objects"] == "bright"
    assert origin["config"]["methods"] == ["otsu"]


def test_a_row_shows_its_method_and_hides_the_others(open_compare, run, made):
    viewer, widget = open_compare(images=1)
    run(widget)

    def in_sight():
        return [method for method in ("otsu", "lc", "agt") if made(viewer, "a", method).visible]

    assert in_sight() == [widget.table.selected()] == ["lc"], "the newest one, as nobody chose another"
    widget.table.select("otsu")
    assert in_sight() == ["otsu"]
    made(viewer, "a", "otsu").visible = False
    widget.table.cellClicked.emit(0, 0)
    assert in_sight() == ["otsu"], "a click on the selected row brings it back"
    del viewer.layers["a [Adaptive Gaussian]"]
    widget.table.select("agt")
    assert in_sight() == ["agt"]
    assert viewer.layers["a"].visible


def test_of_images_over_each_other_only_one_gets_masks_in_sight(open_compare, run, made):
    viewer, widget = open_compare(images=2, window=False)
    viewer.layers["b"].visible = False
    run(widget)
    widget.table.select("otsu")
    assert made(viewer, "a", "otsu").visible
    assert not made(viewer, "b", "otsu").visible
    viewer.layers["b"].visible, viewer.layers["a"].visible = True, False
    widget.table.select("agt")
    assert made(viewer, "b", "agt").visible
    assert made(viewer, "a", "agt").visible, "its mask was in sight: whoever hid the image alone looks at masks"


def test_a_row_the_user_chose_stays_chosen(open_compare, qtbot, stand_in, run, made):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(images=1, methods=("otsu", "agt", "dfc"), window=False)
    widget.runner.event_received.connect(
        lambda event: (
            widget.table.select("otsu") if isinstance(event, MethodFinished) and event.result.method == "agt" else None
        )
    )
    run(widget)
    assert widget.table.selected() == "otsu"
    assert made(viewer, "a", "otsu").visible
    assert not made(viewer, "a", "dfc").visible


def test_a_row_chosen_ahead_is_shown_when_it_is_there(open_compare, stand_in, run):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(images=1, methods=("otsu", "agt", "dfc"), window=False)
    widget.runner.event_received.connect(
        lambda event: (
            widget.table.select("dfc") if isinstance(event, MethodFinished) and event.result.method == "otsu" else None
        )
    )
    run(widget)
    assert [layer.name for layer in viewer.layers if layer.visible and "[" in layer.name] == ["a [DFC]"]


def test_later_repeats_are_drawn_into_the_same_layers(open_compare, stand_in, run, discs, made):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(methods=("otsu", "dfc"), repeats=3, seed=5)
    run(widget)
    assert [(r.method, r.repeat) for r in widget.results] == [("otsu", 0), ("dfc", 0), ("dfc", 1), ("dfc", 2)]
    assert len(viewer.layers) == 4 + 4
    runs = [
        [np.random.default_rng((5 + repeat, number)).random((64, 64)).astype(np.float32) > 0.5 for number in (0, 1)]
        for repeat in range(3)
    ]
    for number, name in enumerate("ab"):
        np.testing.assert_array_equal(made(viewer, name, "dfc").data, runs[2][number])
        assert made(viewer, name, "dfc").metadata[ORIGIN]["seed"] == 7
    truths = [discs(seed)[1] for seed in (0, 1)]
    means = [np.mean([dice(m, t) for m, t in zip(masks, truths, strict=True)]) for masks in runs]
    assert widget.table.text("dfc", DICE) == f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"
    assert "±" not in widget.table.text("otsu", DICE), "it runs once"


def test_without_ground_truth_methods_are_compared_with_each_other(open_compare, run, discs, made):
    viewer, widget = open_compare(truth=False)
    run(widget)
    assert widget.failure is None
    table = widget.agreement
    methods = ["otsu", "agt", "lc"]
    for i, one in enumerate(methods):
        assert table.item(i, 0).text() == f"{i + 1}  {TITLES[one]}"
        for j, other in enumerate(methods):
            found = np.mean([dice(made(viewer, n, one).data, made(viewer, n, other).data) for n in "ab"])
            assert table.item(i, j + 1).text() == ("" if i == j else f"{found:.2f}")
    hidden = [widget.table.isColumnHidden(column) for column in (DICE, AUC, ACCURACY, SECONDS, MEMORY)]
    assert hidden == [True, True, True, False, False]


def test_agreement_is_there_before_the_end(open_compare, stand_in, qtbot):
    stand_in("dfc", "endless")
    _viewer, widget = open_compare(truth=False, methods=("otsu", "agt", "dfc"), window=False)
    assert widget.start()
    qtbot.waitUntil(lambda: widget.agreement.found is not None, timeout=60_000)
    assert widget.agreement.found.methods == ("otsu", "agt")
    assert widget.agreement.item(2, 1).text() == ""


def test_stacks_are_taken_slice_by_slice(open_compare, run, discs, made, ready):
    viewer, widget = open_compare(images=0)
    planes, masks = (np.stack(parts) for parts in zip(*(discs(seed) for seed in (3, 4, 5)), strict=True))
    image = viewer.add_image(planes, name="a", scale=(4, 0.2, 0.1))
    widget.truth.choose(image, viewer.add_labels(masks, name="any"))
    ready(widget, ("otsu",))
    run(widget)
    layer = made(viewer, "a", "otsu")
    assert layer.data.shape == (3, 64, 64)
    assert tuple(layer.scale) == (4, 0.2, 0.1)
    (result,) = widget.results
    assert [score.name for score in result.scores] == ["a [0]", "a [1]", "a [2]"]
    assert [score.dice for score in result.scores] == pytest.approx([dice(layer.data[i], masks[i]) for i in range(3)])


def test_dark_objects_in_colour(open_compare, run, discs, made, ready):
    viewer, widget = open_compare(images=0, window=False)
    image, mask = discs(0)
    dark = np.clip(255 - image, 0, 255).astype(np.uint8)
    viewer.add_image(np.repeat(dark[..., None], 3, axis=2), name="a", rgb=True)
    viewer.add_labels(mask, name="a mask")
    ready(widget, ("otsu",))
    run(widget)
    assert made(viewer, "a", "otsu").metadata[ORIGIN]["objects"] == "dark"
    assert float(widget.table.text("otsu", DICE)) > 0.9


def test_one_colour_is_taken_of_layers_in_colour(open_compare, run, fundus, ready, said):
    viewer, widget = open_compare(images=0, window=False)
    eye = fundus(96).rgb
    viewer.add_image(eye, name="eye", rgb=True)
    ready(widget, ("otsu",))
    run(widget)
    assert any("the green channel is used" in message for message in said())
    np.testing.assert_array_equal(widget._read.planes[0], eye[..., 1])


def test_igtt_itself(open_compare, run, made):
    viewer, widget = open_compare(images=1, methods=("otsu", "igtt"), repeats=1, rounds=1)
    run(widget)
    assert widget.failure is None
    assert [r.method for r in widget.results] == ["otsu", "igtt"]
    assert made(viewer, "a", "igtt").data.any()


# ---- results to keep -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [True, False])
def test_results_are_saved_on_demand(open_compare, run, qtbot, tmp_path, said, truth):
    _viewer, widget = open_compare(truth=truth, window=False)
    assert not widget.save_results(tmp_path)
    assert "run first" in said()[-1]
    run(widget)
    folder = tmp_path / "new" / "folder"
    with qtbot.waitSignal(widget.saved, timeout=60_000) as signal:
        assert widget.save_results(folder)
    names = ["results.csv", "table.csv", "agreement.csv", "table.md", "compare.png"]
    assert [path.name for path in signal.args[0]] == names
    assert str(folder) in widget.progress.status.text()
    table = (folder / "table.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in table] == ["method", "otsu", "agt", "lc"]
    assert (widget.table.text("otsu", DICE) in (folder / "table.md").read_text()) == truth
    picture = read_image(folder / "compare.png").data
    assert picture.std() > 10
    (tmp_path / "file").write_text("")
    with qtbot.waitSignal(widget.saved, timeout=60_000) as signal:
        assert widget.save_results(tmp_path / "file")
    assert signal.args[0] == []
    assert "file" in said()[-1]


def test_it_fits_a_small_screen(open_compare):
    _viewer, widget = open_compare(show=True)
    assert widget.minimumSizeHint().height() < 400
    assert widget.sizeHint().height() <= 820


def test_opening_imports_neither_torch_nor_matplotlib():
    code = """
import sys
from napari.components import ViewerModel
from napari._qt.qt_event_loop import get_qapp
app = get_qapp()
from napari_metastructure.plugin.compare import CompareWidget
widget = CompareWidget(ViewerModel())
print(*[name for name in ("torch", "matplotlib", "segmentation_models_pytorch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
