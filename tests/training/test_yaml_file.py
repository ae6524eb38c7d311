"""YAML files: what is written comes back, and what is hostile costs a sentence and little else."""

import tracemalloc

import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.training.yaml_file import LONGEST, MOST_BYTES, read_yaml, write_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)


def test_what_is_written_comes_back(tmp_path):
    twice = ["same"]
    texts = ["yes", "2024-01-01", "2024-13-45", "1e-3", "", "~", "=", "<<", "0x10", "1:30", "- a", "a: b", "ü ☃\n x"]
    facts = {"texts": texts, "numbers": [1.5, 1e-05, 10**300, -3, float("inf")], "others": [None, True, False, [], {}]}
    facts |= {"nested": {"0": 0.1, "x": [[1, 2], [3, 4]]}, "once": twice, "again": twice}
    for style in ({}, {"default_flow_style": None, "width": 120}):
        assert read_yaml(write_yaml(tmp_path / "f.yaml", facts, **style), "-") == facts


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB + "config: *i", "aliases"),
        ("a: &a {x: 1}\nb: {<<: *a}", "aliases"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply|no YAML"),
        ("a: " + "{a: " * 3000 + "1" + "}" * 3000, "nested too deeply|no YAML"),
        ("- " * 5000 + "a", "nested too deeply|no YAML"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: 0x" + "f" * 100_000, "a value of 100002 characters"),
        ("a: '" + "a" * (LONGEST + 1) + "'", "characters"),
        ("a: [" + "[]," * 500_000 + "]", "too many values"),
        ("a: !!int x", "tags"),
        ("a: !!timestamp x", "tags"),
        ("a: !!python/object/apply:os.system ['true']", "tags"),
        ("!x a: 1", "tags"),
        ("? [a]\n: 1", "a name that is no text"),
        ("a: 1\na: 2", "'a' twice"),
        ("a: 1\n---\na: 2", "several documents"),
        ("a: {b", "no YAML"),
        ("a:\n\t- b", "no YAML from line 2"),
        ("a: \0", "no YAML"),
        ("\udcff", "no YAML"),
        ("", "no settings"),
        ("[1]", "no settings"),
        ("a" * (MOST_BYTES + 1), "larger than 8 MB"),
    ],
)
def test_what_is_hostile_or_damaged_is_one_short_sentence(tmp_path, text, why):
    path = tmp_path / "f.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"f\.yaml cannot be read: it .*({why}).*; mend it\.$") as refused:
            read_yaml(path, "mend it")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 200 + len(str(path))


def test_names_are_texts_and_dates_are_too(tmp_path):
    (tmp_path / "f.yaml").write_text("1: 2\n~: 2024-13-45\nyes: no\n", encoding="utf-8")
    assert read_yaml(tmp_path / "f.yaml", "-") == {"1": 2, "~": "2024-13-45", "yes": "no"}


def test_what_is_no_file_is_said(tmp_path):
    for path, why in ((tmp_path, "it is no file"), (tmp_path / "none", "there is no such file")):
        with pytest.raises(InputError, match=why):
            read_yaml(path, "-")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("190:20:30.5", "190:20:30.5"),
        ("010", "010"),
        ("-0_7", "-0_7"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("0", 0),
        ("0.5", 0.5),
        ("-3", -3),
        ("0x10", 16),
        ("1_000", 1000),
    ],
)
def test_no_number_is_read_as_another(tmp_path, text, value):
    """Nobody who writes 010 or 1:30 epochs means 8 or 90."""
    (tmp_path / "f.yaml").write_text(f"a: {text}\n")
    found = read_yaml(tmp_path / "f.yaml", "-")["a"]
    assert found == value and type(found) is type(value)
