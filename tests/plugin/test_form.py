"""One model definition gives editor, bounds and tooltip; what is shown is what is read."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._form import ModelForm


class Model(BaseModel):
    kind: Literal["a", "b"] = Field("a", description="Which <b>kind</b>.")
    maybe: Literal["x"] | None = None
    seed: int = Field(0, ge=0, lt=2**32)
    rate: float = Field(1e-3, gt=0, le=1)
    on: bool = False
    name: str = Field("auto", title="A name")
    radii: tuple[int, ...] = (1, 2)


@pytest.fixture
def form(qtbot):
    form = ModelForm(Model, Model.model_fields)
    qtbot.addWidget(form)
    form.fill(Model().model_dump())
    return form


def test_the_defaults_come_back(form):
    assert Model(**form.values()) == Model()


def test_other_values_come_back(form):
    other = Model(kind="b", maybe="x", seed=2**32 - 1, rate=3e-5, on=True, name="cuda:1", radii=(4, 5, 6))
    form.fill(other.model_dump())
    assert Model(**form.values()) == other


def test_types_choose_their_editor(form):
    widgets = {name: type(editor.widget) for name, editor in form.editors.items()}
    assert widgets["kind"] is QComboBox
    assert widgets["on"] is QCheckBox
    assert widgets["rate"] is QDoubleSpinBox


def test_bounds_hold(form):
    for name, low, high in (("seed", 0, 2**32 - 1), ("rate", 1e-6, 1)):
        form.editors[name].set(-5)
        assert form.values()[name] == low
        form.editors[name].set(2**40)
        assert form.values()[name] == high


def test_description_is_the_tooltip_of_label_and_editor(form):
    labels = {label.text(): label for label in form.findChildren(QLabel)}
    assert "Which <b>kind</b>." in form.editors["kind"].widget.toolTip()
    assert "Which <b>kind</b>." in labels["Kind"].toolTip()
    assert "A name" in labels


def test_edits_tell_which_field(form, qtbot):
    with qtbot.waitSignal(form.changed) as told:
        form.editors["kind"].widget.setCurrentIndex(1)
    assert told.args == ["kind"]


def test_text_that_cannot_be_read_is_one_sentence(form):
    form.editors["radii"].widget.setText("1, two")
    with pytest.raises(InputError, match="Radii: '1, two' cannot be used"):
        form.values()
