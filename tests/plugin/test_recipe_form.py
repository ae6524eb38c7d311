"""Recipes come out of the form as they went in, and numbers by class follow the classes."""

import numpy as np
import pytest
from superqt import QLabeledDoubleSlider

from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import (
    RECIPES,
    Dilate,
    DisplaceBoundary,
    Flip,
    FlipByMatrix,
    Random,
    Sample,
    make_recipe,
)
from napari_metastructure.plugin._recipe_form import RecipeForm, refitted


@pytest.fixture
def form(qtbot):
    form = RecipeForm()
    qtbot.addWidget(form)
    form.told = []
    form.changed.connect(lambda: form.told.append(form.kind))
    return form


def choose(form, kind):
    form.box.setCurrentIndex(form.box.findData(kind))


@pytest.mark.parametrize("kind", RECIPES)
def test_every_recipe_is_offered_with_its_defaults(form, kind):
    choose(form, kind)
    assert form.recipe() == make_recipe(kind)
    assert form.box.currentText() == RECIPES[kind].title
    assert form.box.currentText().startswith(f"{RECIPES[kind].family}: ")


@pytest.mark.parametrize(
    "recipe",
    [
        Sample(keep=0.123456789),
        Flip(fraction=1 / 3, exact=True),
        Flip(per_class={0: 0.1, 3: 0.123456}),
        FlipByMatrix(matrix=((0.9, 0.1, 0), (0.25, 0.5, 0.25), (0, 0, 1))),
        Dilate(n=7),
        DisplaceBoundary(amplitude=2.71828, correlation=1e-3),
        Random(per_class={0: 0.2, 1: 0.3, 2: 0.5}),
    ],
)
def test_what_went_in_comes_out(form, recipe):
    form.fill(recipe)
    assert form.recipe() == recipe
    assert form.told == []


def test_probabilities_are_sliders(form):
    slider = form.dials["flip"].form.editors["fraction"].widget
    assert isinstance(slider, QLabeledDoubleSlider)
    slider.setValue(0.30004)
    assert form.recipe() == Flip(fraction=0.3)
    assert set(form.told) == {"flip"}


def test_only_the_dials_of_the_chosen_recipe_are_in_sight(form):
    for kind in RECIPES:
        choose(form, kind)
        assert [k for k, dials in form.dials.items() if dials.isVisibleTo(form)] == [kind]


def test_dials_keep_their_values_while_another_recipe_is_in_sight(form):
    form.fill(Flip(fraction=0.2))
    choose(form, "sample")
    choose(form, "flip")
    assert form.recipe() == Flip(fraction=0.2)


def test_the_seed_matters_where_something_is_drawn(form):
    """Against what the recipes do: noise of two seeds."""
    from napari_metastructure.labels.recipes import apply

    labels = np.zeros((64, 64), np.uint8)
    labels[10:50, 20:44] = 1
    for kind in RECIPES:
        choose(form, kind)
        one, other = (apply(form.recipe(), labels, seed) for seed in (1, 2))
        assert form.random == bool((one != other).any()), kind


# ---- numbers by class --------------------------------------------------------------------------------------


def test_ticking_per_class_gives_each_class_the_number_for_all(form):
    form.offer((0, 1, 4))
    form.fill(Flip(fraction=0.2))
    form.dials["flip"].by_class.setChecked(True)
    assert form.recipe() == Flip(fraction=0.2, per_class={0: 0.2, 1: 0.2, 4: 0.2})
    assert form.dials["flip"].table.isVisibleTo(form)
    form.dials["flip"].by_class.setChecked(False)
    assert form.recipe() == Flip(fraction=0.2)


def test_random_numbers_by_class_add_up_to_1(form):
    form.fill(Random(probability=0.3))
    form.offer((0, 1))
    form.dials["random"].by_class.setChecked(True)
    assert form.recipe().per_class == {0: 0.7, 1: 0.3}
    form.dials["random"].by_class.setChecked(False)
    form.offer((0, 1, 2))
    form.dials["random"].by_class.setChecked(True)
    assert form.recipe().per_class == dict.fromkeys((0, 1, 2), 1 / 3)


def test_numbers_by_class_follow_the_classes(form):
    form.offer((0, 1))
    form.fill(Sample(keep=0.5))
    form.dials["sample"].by_class.setChecked(True)
    form.dials["sample"].table.numbers.setData(form.dials["sample"].table.model().index(1, 0), 0.9)
    assert form.offer((0, 1, 2))
    assert form.recipe().per_class == {0: 0.5, 1: 0.9, 2: 0.5}
    assert not form.offer((0, 1, 2))
    assert form.offer((1, 2))
    assert form.recipe().per_class == {1: 0.9, 2: 0.5}


def test_numbers_that_a_script_gave_stay_until_somebody_asks(form):
    form.fill(Flip(per_class={0: 0.1, 7: 0.2}))
    assert not form.offer((0, 1))
    assert form.recipe().per_class == {0: 0.1, 7: 0.2}
    fit = form.dials["flip"].fit
    assert fit.isVisibleTo(form)
    fit.click()
    assert form.recipe().per_class == {0: 0.1, 1: 0.45}
    assert not fit.isVisibleTo(form)


def test_the_matrix_has_a_row_for_each_class(form):
    choose(form, "matrix")
    form.told.clear()
    assert form.offer((0, 1, 2))
    matrix = np.array(form.recipe().matrix)
    assert matrix.shape == (3, 3)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix.diagonal().min() > 0.5
    assert form.dials["matrix"].table.classes == (0, 1, 2)


def test_a_matrix_of_a_script_takes_the_names_of_the_classes(form):
    given = FlipByMatrix(matrix=((0.9, 0.1), (0.4, 0.6)))
    form.fill(given)
    assert not form.offer((2, 5))
    assert form.recipe() == given
    assert form.dials["matrix"].table.classes == (2, 5)
    assert not form.offer((0, 1, 2))
    assert form.recipe() == given
    assert form.dials["matrix"].fit.isVisibleTo(form)


def test_a_matrix_for_other_classes_keeps_what_it_can():
    matrix = [[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0, 0.1, 0.9]]
    fewer = refitted((0, 1, 2), matrix, (0, 2))
    np.testing.assert_allclose(fewer, [[0.9, 0.1], [0, 1]])  # what went to class 1 stays
    more = refitted((0, 2), fewer, (0, 1, 2))
    np.testing.assert_allclose(more[[0, 2]], [[0.9, 0, 0.1], [0, 0, 1]])
    np.testing.assert_allclose(more.sum(axis=1), 1)
    np.testing.assert_allclose(refitted((5, 6), np.eye(2), (0,)), [[1]])


@pytest.mark.parametrize(("row", "column", "number"), [(0, 0, 0.2), (1, 1, 0.9)])
def test_a_row_that_does_not_add_up_is_one_sentence(form, row, column, number):
    choose(form, "matrix")
    form.offer((0, 1))
    table = form.dials["matrix"].table
    table.numbers.setData(table.model().index(row, column), number)
    with pytest.raises(InputError, match=f"Row {row + 1} of the noise transition matrix must add up to 1"):
        form.recipe()
