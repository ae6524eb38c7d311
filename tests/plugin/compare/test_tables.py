"""What the two tables make of results written by hand."""

import pytest

from napari_metastructure.baselines.results import ImageScores, MethodResult
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
    table.show_going("dfc")
    assert [table.item(row, METHOD).font().bold() for row in (0, 1)] == [False, True]
    table.show_going(None)
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
