"""The form and the bandwidth's slider."""

import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.plugin._density_form import BandwidthRow, DensityForm
from napari_metastructure.plugin._density_model import DensitySettings


@pytest.fixture
def panel(qtbot):
    panel = DensityForm()
    qtbot.addWidget(panel)
    panel.told = []
    panel.changed.connect(panel.told.append)
    return panel


@pytest.fixture
def row(qtbot):
    row = BandwidthRow()
    qtbot.addWidget(row)
    row.told = []
    row.changed.connect(lambda: row.told.append((row.value(), row.unit())))
    row.fit(0.1, "µm", 256)
    return row


def test_the_form_shows_the_settings_and_tells_what_was_edited(panel):
    assert panel.settings() == DensitySettings()
    panel.form.editors["kernel"].set("gaussian")
    panel.boxes["edges"].setChecked(True)
    panel.bandwidth.number.setValue(3)
    assert panel.told == ["kernel", "edges", "bandwidth"]
    assert panel.settings() == DensitySettings(kernel="gaussian", edges=True, bandwidth=3)


def test_filling_it_is_silent(panel):
    settings = DensitySettings(label_class=None, reading="classes", bandwidth=0.5, one_scale=False, side_by_side=True)
    panel.fill(settings)
    assert panel.settings() == settings
    assert panel.told == []


def test_classes_are_offered_and_the_chosen_one_stays(panel):
    panel.offer_classes((0, 1, 3))
    assert [panel.classes.itemText(i) for i in range(panel.classes.count())] == [
        "all classes above 0",
        "class 0 (background)",
        "class 1",
        "class 3",
    ]
    panel.classes.setCurrentIndex(3)
    panel.offer_classes((0, 1))  # 3 is not on this slice
    assert panel.settings().label_class == 3
    assert panel.told == ["label_class"]
    panel.fill(DensitySettings(label_class=7))
    assert panel.settings().label_class == 7
    panel.fill(DensitySettings(label_class=None))
    assert panel.settings().label_class is None


def test_every_control_has_a_tooltip(panel):
    parts = [*(editor.widget for editor in panel.form.editors.values()), *panel.boxes.values()]
    parts += [panel.bandwidth.slider, panel.bandwidth.number, panel.bandwidth.units]
    assert all("<qt>" in part.toolTip() for part in parts if part is not panel.bandwidth)


def test_settings_that_cannot_be_are_named():
    with pytest.raises(InputError, match=r"^Bandwidth must be a number above 0, not 0"):
        DensitySettings().changed(bandwidth=0)
    with pytest.raises(InputError, match=r"^Kernel must be .*box.*not 'triangle'"):
        DensitySettings().changed(kernel="triangle")
    with pytest.raises(InputError, match=r"(?i)nonsense"):
        DensitySettings().changed(nonsense=1)


def test_the_slider_moves_the_number(row):
    row.slider.setValue(row.slider.maximum())
    assert row.value() == 128  # half of the image
    row.slider.setValue(0)
    assert row.value() == 0.75
    assert [value for value, _ in row.told] == [128, 0.75]


def test_the_number_moves_the_slider_and_may_leave_it(row):
    row.number.setValue(500)
    assert row.value() == 500
    assert row.slider.value() == row.slider.maximum()
    row.number.setValue(8)
    assert 0 < row.slider.value() < row.slider.maximum()
    assert [value for value, _ in row.told] == [500, 8]
    assert row.number.text() == "8"


def test_another_unit_is_the_same_bandwidth(row):
    row.units.setCurrentIndex(1)
    assert (row.value(), row.unit()) == (0.8, "layer")
    place = row.slider.value()
    row.units.setCurrentIndex(0)
    assert (row.value(), row.unit()) == (8, "pixel")
    assert row.slider.value() == place


def test_a_layer_without_a_unit_takes_it_away(row):
    row.units.setCurrentIndex(1)
    row.fit(1, None, 256)
    assert (row.value(), row.unit()) == (8, "pixel")
    assert row.units.count() == 1


def test_setting_both_is_told_once(row):
    row.set(1.2, "layer")
    assert row.told == [(1.2, "layer")]
    row.set(1.2, "layer")
    assert len(row.told) == 1
