"""Answers as CSV, of every kind that programs and people write."""

from pathlib import Path

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.answers import Answer, Page, Sheet, check_replaceable, corrections
from napari_metastructure.igtt.asking import Place

HEAD = "file,plane,y,x,class\n"
SHAPES = [(8, 10), (8, 10), (6, 6)]
FILES = [(Path("a/x.tif"), 1), (Path("a/x.tif"), 3), (Path("b/Zellé.png"), 1)]
SHEET = Sheet([Page(*file, shape) for file, shape in zip(FILES, SHAPES, strict=True)])


@pytest.fixture
def read(tmp_path):
    def call(text, encoding="utf-8", sheet=SHEET):
        path = tmp_path / "answers.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return sheet.read(path)

    return call


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_programs_write_is_read(read, encoding, separator, end):
    lines = [
        "Class,file,plane,Y,x,who", "object,x.tif,1,2,3,me", "", '0,"a/x.tif",3.0,2,3.0,', "SKIP,Zelle\u0301.png,,1,1",
        ",x.tif,1,5,5,", "1.0,b\\Zell\u00e9.png,1,0,5,x",
    ]  # fmt: skip
    answers, notes = read(end.join(line.replace(",", separator) for line in lines), encoding)
    assert notes == []
    assert answers == [
        (Place(0, 2, 3), 1),
        (Place(1, 2, 3), 0),
        (Place(2, 1, 1), None),
        (Place(2, 0, 5), 1),
    ]
    pixels = corrections(answers, SHAPES)
    assert sorted(pixels) == [0, 1, 2]
    assert pixels[0][2, 3] == 1 and pixels[1][2, 3] == 0 and pixels[2][1, 1] == 255
    assert sum(int((p <= 1).sum()) for p in pixels.values()) == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("y.tif,1,1,1,1", "y.tif is no image of this run"),
        ("x.tif,2,1,1,1", "x.tif has no plane 2 among"),
        ("x.tif,1.5,1,1,1", "plane must be a whole number, not '1.5'"),
        ("x.tif,1,8,1,1", "lies outside x.tif, which has 8 rows of 10 pixels"),
        ("x.tif,1,1,-1,1", "lies outside"),
        ("x.tif,1,1,inf,1", "x must be a whole number, not 'inf'"),
        ("x.tif,1,one,1,1", "y must be a whole number, not 'one'"),
        ("x.tif,1,1", "x must be a whole number, not ''"),
        ("x.tif,1,1,1,cell", "class must be object, background, 1, 0, skip or empty, not 'cell'"),
        (",1,1,1,1", "file is empty"),
        ("y.tif,1,1,1,", "no image"),  # also where nothing was answered
    ],
)
def test_every_bad_line_is_named(read, line, words):
    with pytest.raises(InputError) as error:
        read(f"{HEAD}x.tif,1,1,1,1\n{line}\n{line}\n")
    first, second = str(error.value).splitlines()
    assert "answers.csv, line 3: " in first and "answers.csv, line 4: " in second
    assert words in first and first.endswith(".")


def test_of_many_bad_lines_some_are_named(read):
    with pytest.raises(InputError) as error:
        read(HEAD + "q,1,1,1,1\n" * 50)
    assert str(error.value).splitlines()[-1].startswith("30 further lines")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column file"),
        ("file,plane,y,class\n", "has no column x"),
        ("file,plane,y,x,x,class\n", "has two columns x"),
        (HEAD.encode() + b"Zell\xe9.png,1,1,1,1", "not in UTF-8"),
        (b"\xff\xfea", "not in UTF-8"),
        (HEAD + '"x.tif,1,1,1,1\n', "is no CSV file"),
        (bytes(range(256)), "not in UTF-8"),
    ],
)
def test_files_that_are_none_are_named(read, text, words):
    with pytest.raises(InputError, match=words):
        read(text)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            SHEET.read(path)


def test_of_lines_that_contradict_each_other_the_later_counts_and_it_is_said(read):
    answers, notes = read(HEAD + "x.tif,1,1,1,1\nx.tif,1,1,1,1\nx.tif,1,1,1,0\n")
    assert answers == [(Place(0, 1, 1), 0)]
    (note,) = notes
    assert "line 4: it says background where line 3 says object" in note


def test_names_that_several_images_have_need_more_of_the_path(read, tmp_path):
    sheet = Sheet([Page(Path(f"{folder}/x.tif"), 1, (4, 4)) for folder in ("a/b", "c/b", "d")])
    with pytest.raises(InputError, match=r"x.tif may be a/b/x.tif or c/b/x.tif or d/x.tif; write more"):
        read(HEAD + "x.tif,1,1,1,1\n", sheet=sheet)
    path = sheet.write(tmp_path / "places.csv", [Place(0, 1, 2), Place(1, 1, 2), Place(2, 1, 2)])
    assert path.read_text().splitlines()[1:] == ["a/b/x.tif,1,1,2,", "c/b/x.tif,1,1,2,", "d/x.tif,1,1,2,"]


def test_an_image_given_from_the_working_folder_is_found_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(f"file,plane,y,x,class\n{tmp_path / 'b.tif'},1,2,3,object\n")
    answers, _ = Sheet([Page(Path("a.tif"), 1, (4, 5)), Page(Path("b.tif"), 1, (4, 5))]).read(tmp_path / "a.csv")
    assert answers == [Answer(Place(1, 2, 3), 1)]


def test_places_come_back_as_answers(read, tmp_path):
    places = [Place(2, 5, 0), Place(1, 0, 9)]
    path = SHEET.write(tmp_path / "places.csv", places)
    assert read(path.read_text(encoding="utf-8")) == ([], [])
    answered = "\n".join(
        line + ("object" if line.endswith(",") else "") for line in path.read_text("utf-8").splitlines()
    )
    assert [answer.place for answer in read(answered)[0]] == places


def test_answers_are_not_written_over(tmp_path):
    path = tmp_path / "places.csv"
    check_replaceable(path)
    path.write_text(HEAD + "x.tif,1,1,1,\n")
    check_replaceable(path)
    path.write_text(HEAD + "x.tif,1,1,1,skip\n")
    with pytest.raises(InputError, match="holds 1 answer;"):
        check_replaceable(path)
    path.write_text("my thesis")
    with pytest.raises(InputError, match="holds no places"):
        check_replaceable(path)


def test_no_answer_is_no_correction():
    assert corrections([], SHAPES) == {}
    assert np.all(corrections([(Place(0, 1, 1), None)], SHAPES).get(0, np.array(255)) == 255)
