"""The table of a comparison, and its masks as layers."""

import numpy as np
import pytest

from napari_metastructure.baselines.results import ImageScores, MethodFinished, MethodResult
from napari_metastructure.plugin._compare_results import (
    DICE,
    FAILED,
    MEMORY,
    METHOD,
    NOTHING,
    SECONDS,
    MethodTable,
    method_colors,
)
from napari_metastructure.plugin._layers import ORIGIN

METHODS = ("otsu", "dfc")


@pytest.fixture
def table(qtbot):
    made = MethodTable()
    qtbot.addWidget(made)
    made.begin(METHODS, method_colors(METHODS), labelled=True)
    return made


def result(method, repeat, dice, seconds=0.0123, memory=0, oracle=None):
    scores = tuple(ImageScores(str(i), value, 0.9, 0.8, oracle) for i, value in enumerate(dice))
    return MethodResult(method, repeat, seconds, memory, scores)


def test_means_over_images_and_their_spread_over_repeats(table):
    table.show_results(
        [result("dfc", 0, (0.5, 0.7), 2.0, 10**7, 0.75), result("dfc", 1, (0.7, 0.9), 4.0, 3 * 10**7, 0.85)]
    )
    assert table.text("dfc", DICE) == "0.700 ± 0.141"
    assert table.text("dfc", SECONDS) == "3.0"
    assert table.text("dfc", MEMORY) == "20"
    tips = [table.item(1, column).toolTip() for column in (DICE, SECONDS, MEMORY)]
    assert "uses the ground truth): 0.800" in tips[0]
    assert "2 runs: 3 ± 1.41" in tips[1]
    assert "2 runs: 20 ± 14.1" in tips[2]
    assert table.text("otsu", DICE) == NOTHING


@pytest.mark.parametrize(("seconds", "text"), [(0.00121, "0.001"), (0.5, "0.500"), (3.25, "3.2"), (136.57, "137")])
def test_seconds_have_the_digits_that_tell(table, seconds, text):
    table.show_results([result("otsu", 0, (0.5,), seconds)])
    assert table.text("otsu", SECONDS) == text


def test_a_failed_repeat_takes_nothing_from_the_one_before(table):
    table.show_results([result("dfc", 0, (0.5,))])
    for method in METHODS:
        table.show_failed(method, "it broke")
    assert table.text("dfc", SECONDS) == "0.012"
    assert table.text("otsu", SECONDS) == FAILED
    assert "it broke" in table.item(1, DICE).toolTip()


def test_the_method_at_work_is_bold(table):
    table.show_running("dfc")
    assert [table.item(row, METHOD).font().bold() for row in (0, 1)] == [False, True]
    table.show_running(None)
    assert not table.item(1, METHOD).font().bold()


def test_a_row_tells_when_it_is_selected_and_when_clicked_again(table):
    told = []
    table.picked.connect(told.append)
    table.select("dfc")
    table.cellClicked.emit(1, 0)
    assert told == ["dfc", "dfc"]
    table.begin(("lc",), method_colors(("lc",)), labelled=False)
    assert table.selected() is None
    assert told == ["dfc", "dfc"]


# ---- in a real viewer -----------------------------------------------------------------------------------------


def dice(one, other):
    """2 |A and B| / (|A| + |B|)."""
    return 2 * np.sum((one > 0) & (other > 0)) / (np.sum(one > 0) + np.sum(other > 0))


def test_layers_lie_over_their_images_and_say_how_they_were_made(open_compare, run, mask_of):
    viewer, widget = open_compare(images=1, methods=("otsu",), seed=7)
    image = viewer.layers["a"]
    image.rotate = 30
    run(widget)
    layer = mask_of(viewer, "a", "otsu")
    for key in ("scale", "translate"):
        np.testing.assert_allclose(getattr(layer, key), {"scale": (0.2, 0.1), "translate": (3, 5)}[key])
    np.testing.assert_allclose(layer.rotate, image.rotate)
    assert tuple(layer.axis_labels) == ("y", "x")
    assert list(map(str, layer.units)) == list(map(str, image.units))
    origin = layer.metadata[ORIGIN]
    assert (origin["source"], origin["method"], origin["seed"], origin["repeat"]) == ("a", "otsu", 7, 0)
    assert origin["objects"] == "bright"
    assert origin["config"]["methods"] == ["otsu"]


def test_layers_follow_their_image(open_compare, run, mask_of):
    viewer, widget = open_compare(images=1, methods=("otsu",))
    run(widget)
    image = viewer.layers["a"]
    image.translate, image.scale, image.units = (9, 8), (3, 3), ("nm", "nm")
    layer = mask_of(viewer, "a", "otsu")
    np.testing.assert_allclose(layer.extent.world, image.extent.world)
    assert str(layer.units[0]) == "nanometer"


def test_a_row_shows_its_method_and_hides_the_others(open_compare, run, mask_of):
    viewer, widget = open_compare(images=1, window=True)
    run(widget)

    def in_sight():
        return [method for method in ("otsu", "lc", "agt") if mask_of(viewer, "a", method).visible]

    assert in_sight() == [widget.table.selected()] == ["lc"], "the newest one, as nobody chose another"
    widget.table.select("otsu")
    assert in_sight() == ["otsu"]
    mask_of(viewer, "a", "otsu").visible = False
    widget.table.cellClicked.emit(0, 0)
    assert in_sight() == ["otsu"], "a click on the selected row brings it back"
    del viewer.layers["a [Adaptive Gaussian]"]
    widget.table.select("agt")
    assert in_sight() == ["agt"]
    assert viewer.layers["a"].visible


def test_of_images_over_each_other_only_one_gets_masks_in_sight(open_compare, run, mask_of):
    viewer, widget = open_compare(images=2)
    viewer.layers["b"].visible = False
    run(widget)
    widget.table.select("otsu")
    assert mask_of(viewer, "a", "otsu").visible
    assert not mask_of(viewer, "b", "otsu").visible
    viewer.layers["b"].visible, viewer.layers["a"].visible = True, False
    widget.table.select("agt")
    assert mask_of(viewer, "b", "agt").visible
    assert mask_of(viewer, "a", "agt").visible, "its mask was in sight: whoever hid the image alone looks at masks"


def test_a_row_the_user_chose_stays_chosen(open_compare, qtbot, stand_in, run, mask_of):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(images=1, methods=("otsu", "agt", "dfc"))
    widget.runner.event_received.connect(
        lambda event: (
            widget.table.select("otsu") if isinstance(event, MethodFinished) and event.result.method == "agt" else None
        )
    )
    run(widget)
    assert widget.table.selected() == "otsu"
    assert mask_of(viewer, "a", "otsu").visible
    assert not mask_of(viewer, "a", "dfc").visible


def test_a_row_chosen_ahead_is_shown_when_it_is_there(open_compare, stand_in, run):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(images=1, methods=("otsu", "agt", "dfc"))
    widget.runner.event_received.connect(
        lambda event: (
            widget.table.select("dfc") if isinstance(event, MethodFinished) and event.result.method == "otsu" else None
        )
    )
    run(widget)
    assert [layer.name for layer in viewer.layers if layer.visible and "[" in layer.name] == ["a [DFC]"]


def test_later_repeats_are_drawn_into_the_same_layers(open_compare, stand_in, run, discs, mask_of):
    stand_in("dfc", "draw")
    viewer, widget = open_compare(methods=("otsu", "dfc"), repeats=3, seed=5, window=True)
    run(widget)
    assert [(r.method, r.repeat) for r in widget.results] == [("otsu", 0), ("dfc", 0), ("dfc", 1), ("dfc", 2)]
    assert len(viewer.layers) == 4 + 4
    runs = [
        [np.random.default_rng((5 + repeat, number)).random((64, 64)).astype(np.float32) > 0.5 for number in (0, 1)]
        for repeat in range(3)
    ]
    for number, name in enumerate("ab"):
        np.testing.assert_array_equal(mask_of(viewer, name, "dfc").data, runs[2][number])
        assert mask_of(viewer, name, "dfc").metadata[ORIGIN]["seed"] == 7
    truths = [discs(seed)[1] for seed in (0, 1)]
    means = [np.mean([dice(m, t) for m, t in zip(masks, truths, strict=True)]) for masks in runs]
    assert widget.table.text("dfc", DICE) == f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"
    assert "±" not in widget.table.text("otsu", DICE), "it runs once"
