"""Answers from a CSV file and the next questions, as a user of ``metastructure igtt`` has them."""

import csv

import pytest
import tifffile

FAST = (
    "--device", "cpu", "--set", "steps_per_epoch=2", "--set", "batch_size=1", "--set", "base_channels=4",
    "--set", "patch_size=32", "--set", "start=otsu", "--set", "stop_agreement=1",
)  # fmt: skip


@pytest.fixture
def image(blobs, save, tmp_path):
    return save(tmp_path / "in" / "zellé.png", blobs())


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def answered(path, target, value="object"):
    lines = path.read_text(encoding="utf-8").splitlines()
    target.write_text("\n".join([lines[0], *(line + value for line in lines[1:])]), encoding="utf-8")
    return target


def test_places_are_written_answered_learned_and_asked_on(run, image, tmp_path):
    out, places = tmp_path / "out", tmp_path / "places.csv"
    code, stdout, err = run("igtt", image, "--out", out, "--epochs", 1, "--ask", 5, "--places", places, *FAST)
    assert (code, err) == (0, "")
    assert "5 places to ask about written to" in stdout
    first = rows(places)
    assert [row["file"] for row in first] == ["zellé.png"] * 5
    assert {row["class"] for row in first} == {""}

    answers, more = answered(places, tmp_path / "answers.csv"), tmp_path / "more.csv"
    code, stdout, err = run(
        "igtt", image, "--out", out, "--resume", "--epochs", 2, "--answers", answers, "--ask", 5, "--places", more,
        "--ask-how", "random", *FAST,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "5 answers: " in stdout and "of the last 5 answers corrected the masks" in stdout
    mask = tifffile.imread(out / "zellé_mask.tif")
    assert all(mask[int(row["y"]), int(row["x"])] == 255 for row in first)
    where = [(row["y"], row["x"]) for row in (*first, *rows(more))]
    assert len(set(where)) == 10


def test_a_run_that_has_had_all_its_epochs_goes_on_with_new_answers(run, image, tmp_path):
    out, answers = tmp_path / "out", tmp_path / "answers.csv"
    fast = [*FAST, "--set", "rounds=always"]
    assert run("igtt", image, "--out", out, "--epochs", 8, *fast)[0] == 0
    answers.write_text("file,plane,y,x,class\nzellé.png,1,3,4,object\n", encoding="utf-8")
    code, stdout, _ = run("igtt", image, "--out", out, "--resume", "--answers", answers, *fast)
    assert code == 0 and "epoch 9/16" in stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ask", "5"], "give both"),
        (["--places", "p.csv"], "give both"),
        (["--ask-how", "random"], "say by --ask how many"),
        (["--ask", "0", "--places", "p.csv"], "--ask must be a whole number from 1 to 10000, not 0."),
        (["--ask", "5", "--places", "none/p.csv"], "its folder does not exist"),
        (["--ask", "5", "--places", "p.csv", "--ask-how", "best"], "'unsure' or 'random', not 'best'"),
        (["--ask", "5", "--places", "other.csv"], "holds no places"),
        (["--answers", "none.csv"], "none.csv cannot be read"),
        (["--answers", "none.csv", "--each"], "leave out --model, --each"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_written(run, image, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    code, out, err = run("igtt", image, "--out", tmp_path / "out", *options, *FAST)
    assert (code, out) == (2, "")
    assert words in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_bad_and_odd_lines_are_lines_of_the_message(run, image, tmp_path):
    answers = tmp_path / "answers.csv"
    answers.write_text("file;plane;y;x;class\nzellé.png;1;99;1;1\nother.png;1;1;1;1\n", encoding="utf-8-sig")
    code, _, err = run("igtt", image, "--out", tmp_path / "out", "--answers", answers, *FAST)
    assert code == 2
    assert [line.split("line ")[1][0] for line in err.splitlines()] == ["2", "3"]
    assert not (tmp_path / "out").exists()
    answers.write_text("file,plane,y,x,class\nzellé.png,1,9,1,\n", encoding="utf-8")
    code, _, err = run("igtt", image, "--out", tmp_path / "out", "--epochs", 1, "--answers", answers, *FAST)
    assert code == 0 and "holds no answers yet" in err
