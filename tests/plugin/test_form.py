"""One model definition gives editor, bounds and tooltip; what is shown is what is read."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.plugin._form import ConfigPanel, ModelForm, bounds
from napari_metastructure.plugin.igtt import SettingsPanel
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.study_results import StudyConfig


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
    assert issubclass(widgets["rate"], QDoubleSpinBox)


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


def test_text_that_cannot_be_read_is_one_sentence(qtbot):
    panel = ConfigPanel(TrainConfig, ["preset", "device"], {})
    qtbot.addWidget(panel)
    panel.forms[1].editors["classes"].widget.setText("1, two")
    with pytest.raises(InputError, match=r"^Classes must be whole numbers, not .*two.*\.$"):
        panel.config()


# ---- typing, with real key events ---------------------------------------------------------------------------

NUMBERS = [
    (model, name)
    for model in (IGTTConfig, TrainConfig, CompareConfig, StudyConfig)
    for name, field in model.model_fields.items()
    if field.annotation in (int, float)
]


def shown(qtbot, model, name):
    """Open a form of one field, filled with its default."""
    form = ModelForm(model, [name])
    qtbot.addWidget(form)
    form.fill({name: model.model_fields[name].default})
    form.show()
    return form, form.editors[name]


def type_into(editor, text):
    """Replace what stands in an editor by keys, and end with Return."""
    editor.widget.selectAll()
    QTest.keyClicks(editor.widget, text)
    QTest.keyClick(editor.widget, Qt.Key.Key_Return)


@pytest.mark.parametrize(("model", "name"), NUMBERS, ids=lambda part: getattr(part, "__name__", part))
def test_every_number_can_be_typed(model, name, qtbot):
    form, editor = shown(qtbot, model, name)
    field = model.model_fields[name]
    low, high = (far if bound is None else bound for bound, far in zip(bounds(field), (0, 1000), strict=True))
    inside = {int: [low + (high - low) // 3, low + 64], float: [0.25, 0.125, 0.000375]}[field.annotation]
    for value in (low, high, *inside, field.default):
        if low <= value <= high:
            type_into(editor, f"{value:.6f}".rstrip("0").rstrip(".") if field.annotation is float else str(value))
            assert form.values() == {name: value} and type(form.values()[name]) is field.annotation


@pytest.mark.parametrize(
    ("name", "typed", "value"), [("patch_size", "7", 32), ("base_channels", "2", 4), ("keep", "0", 1e-6)]
)
def test_a_number_below_its_bounds_becomes_the_least_once_typing_ends(name, typed, value, qtbot):
    form, editor = shown(qtbot, IGTTConfig, name)
    editor.widget.selectAll()
    QTest.keyClicks(editor.widget, typed)
    assert editor.widget.text() == typed
    QTest.keyClick(editor.widget, Qt.Key.Key_Return)
    assert form.values() == {name: value}


def test_plus_and_minus_go_by_the_step_of_the_field(qtbot):
    for name, steps in (("patch_size", [288, 320, 288]), ("epochs", [9, 10, 9]), ("keep", [0.51, 0.52, 0.51])):
        form, editor = shown(qtbot, IGTTConfig, name)
        for key, value in zip((Qt.Key.Key_Up, Qt.Key.Key_Up, Qt.Key.Key_Down), steps, strict=True):
            QTest.keyClick(editor.widget, key)
            assert form.values()[name] == pytest.approx(value)


def test_a_decimal_comma_is_a_point_whatever_the_locale(qtbot):
    before = QLocale()
    try:
        for locale in (QLocale("de_DE"), QLocale("en_US")):
            QLocale.setDefault(locale)
            form, editor = shown(qtbot, IGTTConfig, "keep")
            for text in ("0,25", "0.75"):
                type_into(editor, text)
                assert form.values() == {"keep": float(text.replace(",", "."))}
                assert editor.widget.text() == text.replace(",", ".")
    finally:
        QLocale.setDefault(before)


def test_a_number_with_more_digits_than_are_shown_comes_back_as_it_was_set(form):
    form.fill({"rate": 1 / 3})
    assert form.values()["rate"] == 1 / 3
    form.editors["rate"].widget.setValue(0.25)
    assert form.values()["rate"] == 0.25


def test_what_may_be_empty_is_none_when_it_is(qtbot):
    form, editor = shown(qtbot, CompareConfig, "rounds")
    assert form.values() == {"rounds": None} and editor.widget.placeholderText() == "automatic"
    QTest.keyClicks(editor.widget, "12")
    assert CompareConfig(**form.values()).rounds == 12
    editor.widget.clear()
    assert form.values() == {"rounds": None}


def test_no_choice_reads_none(qtbot):
    form, editor = shown(qtbot, TrainConfig, "encoder_weights")
    assert [editor.widget.itemText(i) for i in range(editor.widget.count())] == ["none", "imagenet"]
    assert form.values() == {"encoder_weights": None}
    editor.widget.setCurrentIndex(1)
    assert form.values() == {"encoder_weights": "imagenet"}


@pytest.mark.parametrize("name", ["epochs", "patch_size", "encoder", "loss"])
def test_a_preset_says_that_a_value_was_changed_and_brings_it_back(name, qtbot):
    panel = SettingsPanel()
    qtbot.addWidget(panel)
    preset = panel.preset
    assert preset.box.currentText() == "default" and not preset.reset_button.isVisibleTo(panel)
    editor = next(form.editors[name] for form in panel.forms if name in form.editors)
    before = editor.get()
    editor.set({"epochs": 9, "patch_size": 96, "encoder": "resnet34", "loss": "dmi_iou"}[name])
    if name == "encoder":
        editor.widget.editingFinished.emit()
    assert preset.box.currentText() == "default (changed)" and preset.reset_button.isVisibleTo(panel)
    assert panel.config().preset == "default"
    preset.reset_button.click()
    assert editor.get() == before
    assert preset.box.currentText() == "default" and not preset.reset_button.isVisibleTo(panel)


def test_choosing_the_same_preset_again_brings_its_values_back(qtbot):
    panel = SettingsPanel()
    qtbot.addWidget(panel)
    panel.main.editors["epochs"].set(99)
    panel.preset.box.activated.emit(0)
    assert panel.config() == IGTTConfig()
    panel.device.set("cpu")
    assert panel.preset.box.currentText() == "default"
    panel.fill(IGTTConfig.from_preset("paper", epochs=3))
    assert panel.preset.box.currentText() == "paper (changed)"
