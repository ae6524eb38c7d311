"""The settings panel shows all of the config and gives it back."""

import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import PRESETS, IGTTConfig
from napari_metastructure.networks.device import Device
from napari_metastructure.plugin.igtt import SettingsPanel


@pytest.fixture
def panel(qtbot):
    panel = SettingsPanel()
    qtbot.addWidget(panel)
    return panel


def test_every_setting_has_one_editor_with_a_tooltip(panel):
    names = [name for form in panel.forms for name in form.editors]
    assert sorted(names) == sorted(IGTTConfig.model_fields)
    for form in panel.forms:
        assert all(editor.widget.toolTip() for editor in form.editors.values())


def test_defaults_and_presets_come_back(panel):
    assert panel.config() == IGTTConfig()
    for preset in PRESETS:
        panel.main.editors["preset"].set(preset)
        assert panel.config() == IGTTConfig.from_preset(preset)


def test_changing_the_preset_keeps_the_device(panel):
    panel.set_devices([Device("cuda:0", "Fast one", 8 * 2**30), Device("cpu", "CPU", None)])
    panel.device.widget.setCurrentIndex(1)
    panel.main.editors["preset"].set("paper")
    assert panel.config().device == "cuda:0"


def test_devices_show_name_and_free_memory(panel):
    panel.set_devices([Device("cuda:0", "Fast one", 3 * 2**29), Device("cpu", "CPU", None)])
    box = panel.device.widget
    assert [box.itemText(i) for i in range(box.count())] == [
        "auto: Fast one",
        "Fast one (cuda:0, 1.5 GiB free)",
        "CPU (cpu)",
    ]
    assert panel.config().device == "auto"


def test_groups_start_collapsed(panel):
    assert len(panel.groups) >= 3
    assert not any(group.isExpanded() for group in panel.groups)


def test_zero_epochs_cannot_be_chosen_and_are_refused_in_words(panel):
    panel.main.editors["epochs"].set(0)
    assert panel.config().epochs == 1
    with pytest.raises(InputError, match=r"^Epochs must be a whole number from 1 to 10000, not 0\.$"):
        panel.config(epochs=0)


def test_a_value_the_model_refuses_is_named(panel):
    (form,) = (form for form in panel.forms if "patch_size" in form.editors)
    form.editors["patch_size"].set(100)
    with pytest.raises(InputError, match=r"^Patch size: 100 is not a multiple of 32; take 96\.$"):
        panel.config()
