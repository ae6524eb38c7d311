"""Tables of a comparison: means and spreads by hand, and files that can be read back."""

import csv
import math
import statistics

import numpy as np
import pytest

from napari_metastructure.baselines.results import (
    ORACLE,
    Agreement,
    ImageScores,
    MethodResult,
    shown,
    summary,
    write_csv,
    write_markdown,
)


def run(method, repeat, dices, *, auc=0.9, oracle=None, seconds=1.0, memory=2_000_000):
    scores = tuple(ImageScores(f"im{i}", d, auc, 0.5, oracle) for i, d in enumerate(dices))
    return MethodResult(method, repeat, seconds, memory, scores)


RESULTS = [
    run("otsu", 0, [0.5, 0.7]),
    run("dfc", 0, [0.2, 0.4], oracle=0.8, seconds=2.0),
    run("dfc", 1, [0.6, 0.6], oracle=0.9, seconds=4.0, memory=4_000_000),
    run("dfc", 2, [0.1, 0.5], oracle=1.0, seconds=6.0),
]


ALIKE = Agreement(("otsu", "dfc"), np.array([[1.0, 0.25], [0.25, 1.0]]))


def test_means_over_images_then_over_repeats():
    otsu, dfc = summary(RESULTS)
    assert (otsu["method"], otsu["repeats"], dfc["method"], dfc["repeats"]) == ("otsu", 1, "dfc", 3)
    assert otsu["dice_mean"] == pytest.approx(0.6) and math.isnan(otsu["dice_std"]) and math.isnan(otsu["oracle_mean"])
    means = [0.3, 0.6, 0.3]
    assert dfc["dice_mean"] == pytest.approx(statistics.mean(means))
    assert dfc["dice_std"] == pytest.approx(statistics.stdev(means))
    assert (dfc["oracle_mean"], dfc["seconds_mean"], dfc["seconds_std"]) == pytest.approx((0.9, 4.0, 2.0))
    assert dfc["memory_mean"] == pytest.approx(8 / 3)


def test_an_undefined_auc_is_left_out_of_the_mean():
    scores = (ImageScores("a", 1, math.nan, 1), ImageScores("b", 1, 0.7, 1))
    assert summary([MethodResult("otsu", 0, 1, 1, scores)])[0]["auc_mean"] == 0.7


def test_what_people_read():
    heads, rows = shown(summary(RESULTS))
    assert heads == ["method", "runs", "Dice", "AUC", "accuracy", ORACLE, "s/image", "MB"]
    assert rows[0] == ["Otsu", "1", "0.600", "0.900", "0.500", "-", "1.000", "2"]
    assert rows[1][2] == "0.400 ± 0.173" and rows[1][5] == "0.900 ± 0.100"


def test_without_ground_truth_there_are_costs_only():
    heads, rows = shown(summary([MethodResult("otsu", 0, 0.5, 3_000_000, None)]))
    assert heads == ["method", "runs", "s/image", "MB"] and rows == [["Otsu", "1", "0.500", "3"]]


def test_csv_reads_back(tmp_path):
    assert [p.name for p in write_csv(tmp_path, RESULTS, ALIKE)] == ["results.csv", "table.csv", "agreement.csv"]
    lines = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert len(lines) == 8
    assert (lines[4]["method"], lines[4]["repeat"], lines[4]["image"], lines[4][ORACLE]) == ("dfc", "1", "im0", "0.9")
    assert float(lines[3]["dice"]) == 0.4 and lines[0][ORACLE] == ""
    assert float(list(csv.DictReader((tmp_path / "table.csv").open()))[1]["dice_mean"]) == pytest.approx(0.4)
    assert next(csv.DictReader((tmp_path / "agreement.csv").open())) == {
        "method": "otsu", "otsu": "1.0", "dfc": "0.25",
    }  # fmt: skip


def test_markdown_is_a_table(tmp_path):
    (path,) = write_markdown(tmp_path, RESULTS, ALIKE)
    first, second = path.read_text(encoding="utf-8").split("\n\n")
    for table, columns in ((first, 8), (second, 3)):
        assert {line.count("|") for line in table.strip().splitlines()} == {columns + 1}
    assert "| DFC | 3 | 0.400 ± 0.173 |" in first and "| DFC | 0.250 | 1.000 |" in second


def test_no_result_writes_nothing(tmp_path):
    assert write_csv(tmp_path, []) == [] and write_markdown(tmp_path, []) == []
