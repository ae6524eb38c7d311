"""Choice of the conditions of a study: figures of the paper, and conditions of one's own."""

import pytest

from napari_metastructure.training.study_results import CONDITIONS, STUDIES


def test_conditions_need_a_name_of_their_own(open_study, said):
    _viewer, widget = open_study()
    _ = widget.conditions.form
    widget.conditions.add_button.click()
    assert "no name" in said()[-1]
    widget.conditions.name.setText("CL")
    widget.conditions.add_button.click()
    assert "'CL' already" in said()[-1]


@pytest.mark.parametrize("name", list(STUDIES))
def test_figures_of_the_paper_tick_their_conditions(open_study, name):
    _viewer, widget = open_study(images=0)
    box = widget.conditions.preset
    box.setCurrentIndex(box.findData(name))
    box.activated.emit(box.currentIndex())
    assert [c.name for c in widget.conditions.conditions()] == list(STUDIES[name])
    assert box.currentData() == name
    widget.conditions.choose([CONDITIONS["RL 0.1"]])
    assert box.currentText() == "own choice"
