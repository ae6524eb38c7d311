"""Validation errors in plain words: the name, what it must be, what it was."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from napari_metastructure.errors import explain, listed


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["inner"] = "inner"
    share: float = Field(0.5, ge=0, lt=1)


class Other(BaseModel):
    kind: Literal["other"] = "other"


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(1, ge=1, le=100_000)
    rate: float = Field(0.1, gt=0, le=1, title="Learning rate")
    rounds: int | None = Field(None, ge=1)
    exact: bool = False
    network: Literal["unet", "hrnet"] = "unet"
    classes: tuple[int, ...] = ()
    patch: int = Field(32, multiple_of=32, ge=32, le=64)
    names: tuple[str, ...] = Field(("a",), min_length=1)
    rows: Annotated[tuple[float, ...], Field(json_schema_extra={"takes": "a row of numbers"})] | None = None
    inner: Inner = Inner()
    any: Annotated[Inner | Other, Field(discriminator="kind")] = Inner()

    @field_validator("epochs")
    @classmethod
    def _even(cls, value: int) -> int:
        if value == 13:
            raise ValueError("13 is odd; take 12")
        if value == 17:
            raise ValueError("Seventeen is no number of epochs.")
        return value


def complaint(values, call=None, model=Settings):
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    return explain(caught.value, model, call)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "Epochs must be a whole number from 1 to 100000, not 0."),
        ({"epochs": "0"}, "Epochs must be a whole number from 1 to 100000, not 0."),
        ({"epochs": "few"}, "Epochs must be a whole number from 1 to 100000, not 'few'."),
        ({"epochs": 1.5}, "Epochs must be a whole number from 1 to 100000, not 1.5."),
        ({"rate": float("nan")}, "Learning rate must be a number above 0 and up to 1, not nan."),
        ({"rounds": 0}, "Rounds must be a whole number from 1, not 0."),
        ({"exact": "perhaps"}, "Exact must be yes or no, not 'perhaps'."),
        ({"network": "vgg"}, "Network must be 'unet' or 'hrnet', not 'vgg'."),
        ({"classes": (0, "one")}, "Classes must be whole numbers, not 'one'."),
        ({"names": ()}, "Names: at least 1 must be given."),
        ({"names": (5,)}, "Names must be text, not 5."),
        ({"rows": "x"}, "Rows must be a row of numbers, not 'x'."),
        ({"inner": {"share": 1}}, "Inner: share must be a number from 0 and below 1, not 1."),
        ({"inner": {"shar": 1}}, "Inner: shar: there is no setting of that name; perhaps share is meant."),
        ({"any": {"kind": "inner", "share": 2}}, "Any: share must be a number from 0 and below 1, not 2."),
        ({"any": {"kind": "inner", "shar": 2}}, "Any: shar: there is no setting of that name; perhaps share is meant."),
        ({"any": {"share": 0.2}}, "Any does not say 'kind' it is."),
        ({"any": [1]}, "Any must be settings by their names, not [1]."),
        ({"names": "a"}, "Names must be a list, not 'a'."),
        ({"any": {"kind": "third"}}, "Any must be of the kind 'inner', 'other', not 'third'."),
        ({"patch": 33}, "Patch must be a multiple of 32 from 32 to 64, not 33; take 32."),
        ({"patch": 990}, "Patch must be a multiple of 32 from 32 to 64, not 990; take 64."),
        ({"patch": -33}, "Patch must be a multiple of 32 from 32 to 64, not -33; take 32."),
        ({"epochs": 13}, "Epochs: 13 is odd; take 12."),
        ({"epochs": 17}, "Seventeen is no number of epochs."),
    ],
)
def test_the_name_what_it_must_be_and_what_it_was(values, sentence):
    assert complaint(values) == sentence


def test_names_as_the_user_knows_them():
    assert complaint({"epochs": 0}, lambda name: f"--{name}").startswith("--epochs must be a whole number")
    known = "choose one of epochs, rate, rounds, exact, network, classes, patch, names, rows, inner, any."
    assert complaint({"depth": 1}, lambda name: f"--set {name}") == (
        f"--set depth: there is no setting of that name; {known}"
    )


def test_without_a_model_the_words_are_pydantics():
    assert complaint({"epochs": 0}, model=None) == "Epochs must be greater than or equal to 1, not 0."


@pytest.mark.parametrize(
    "value", [10**6000, "x" * 10_000, [[[["deep"] * 50] * 50] * 50] * 50], ids=["digits", "letters", "nested"]
)
def test_a_value_of_any_size_leaves_the_sentence_short(value):
    assert len(complaint({"epochs": value})) < 250


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([0], "0"),
        ([0, 1], "0 and 1"),
        ("abc", "a, b and c"),
        ([], ""),
        (range(254), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 244 more"),
    ],
)
def test_lists_in_words(items, words):
    assert listed(items) == words


def test_another_word_before_the_last():
    assert listed(["png", "tif"], "or") == "png or tif"
