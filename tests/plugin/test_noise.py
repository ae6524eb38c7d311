"""The label noise widget: wrong input, scripts, looks, closing, and applying noise to all planes."""

import json
import threading

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QProgressBar,
    QScrollBar,
    QTableView,
    QWidget,
)

from napari_metastructure.labels import recipes
from napari_metastructure.labels.recipes import (
    RECIPES,
    Dilate,
    Flip,
    FlipByMatrix,
    PerturbObjects,
    Random,
    Sample,
    apply,
    make_recipe,
    recipe_name,
)
from napari_metastructure.labels.transition import estimate_transition_matrix
from napari_metastructure.plugin import _previews as draw_module
from napari_metastructure.plugin._layers import ORIGIN
from napari_metastructure.plugin.noise import NoiseWidget


def three(mask):
    labels = mask.copy()
    labels[:8] = 2
    return labels


# ---- wrong input is a sentence below the dials, and the next right one works -------------------------------


@pytest.mark.parametrize(
    ("labels", "reading", "recipe", "why"),
    [
        (three, "foreground", Flip(), "Layer 'cells': 2 different labels besides 0 are not foreground"),
        (lambda mask: -mask.astype(int), "classes", Flip(), "Layer 'cells': the label -1 is negative"),
        (lambda mask: np.zeros_like(mask), "foreground", Flip(), "needs two classes"),
        (lambda mask: np.arange(2304).reshape(48, 48), "classes", Flip(), "look like instance numbers"),
        (three, "classes", Flip(per_class={0: 0.1, 7: 0.2}), "names class 7, which is absent"),
        (three, "classes", FlipByMatrix(), "does not fit the classes 0, 1 and 2"),
        (three, "classes", Random(), "One probability is for two classes"),
        (lambda mask: mask, "classes", Random(per_class={0: 0.5, 1: 0.25, 2: 0.25}), "names class 2, which is absent"),
    ],
)
def test_wrong_input(open_noise, settle, mask, labels, reading, recipe, why):
    _viewer, layer, widget = open_noise(labels(mask), reading)
    widget.set_recipe(recipe)
    settle(widget)
    assert why in widget.problem.text()
    assert widget.problem.isVisibleTo(widget)
    assert "\n" not in widget.problem.text()
    assert widget.preview.layer is None or not widget.preview.layer.visible
    assert widget.matrix.transition is None
    assert widget.verdict.text() == widget.retained.text() == ""
    layer.data = mask
    widget.reading.set("foreground")
    widget.set_recipe(Flip(fraction=0.1))
    settle(widget)
    assert widget.problem.text() == ""
    assert not widget.problem.isVisibleTo(widget)
    assert widget.preview.layer.visible
    assert widget.matrix.transition is not None


def test_labels_that_say_nothing(open_noise, mask):
    _viewer, _layer, widget = open_noise(np.full_like(mask, 255), metadata={ORIGIN: {}})
    assert "every pixel is 255, unlabelled" in widget.problem.text()


def test_a_row_that_does_not_add_up_and_does_again(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.set_recipe(FlipByMatrix())
    settle(widget)
    table = widget.form.dials["matrix"].table
    table.numbers.setData(table.model().index(1, 1), 0.9)
    settle(widget)
    assert "Row 2 of the noise transition matrix must add up to 1, not 1.35" in widget.problem.text()
    assert not widget.preview.layer.visible
    assert widget.recipe() is None
    table.numbers.setData(table.model().index(1, 0), 0.1)
    settle(widget)
    assert widget.problem.text() == ""
    assert widget.preview.layer.visible


def test_the_classes_show_the_way_out_of_a_wrong_recipe(open_noise, settle, mask):
    """With no source there are no classes, and the table by class is empty."""
    viewer, _layer, widget = open_noise()
    widget.form.dials["flip"].by_class.setChecked(True)
    settle(widget)
    viewer.add_labels(mask)
    settle(widget)
    assert widget.form.recipe().per_class == {0: 0.45, 1: 0.45}
    assert widget.problem.text() == ""


def test_numbers_by_class_that_do_not_fit_can_be_fitted(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.set_recipe(Flip(per_class={0: 0.1, 7: 0.2}))
    settle(widget)
    widget.form.dials["flip"].fit.click()
    settle(widget)
    assert widget.problem.text() == ""
    assert widget.form.recipe().per_class == {0: 0.1, 1: 0.45}


def test_an_error_of_another_kind_leaves_the_widget_alive(open_noise, settle, monkeypatch, mask):
    _viewer, _layer, widget = open_noise(mask)
    with monkeypatch.context() as patch:
        patch.setattr(draw_module, "apply_to_plane", lambda *a, **k: 1 / 0)
        widget.set_seed(1)
        settle(widget)
        assert "ZeroDivisionError" in widget.problem.text()
        assert not widget.preview.layer.visible
    widget.set_seed(2)
    settle(widget)
    assert widget.problem.text() == ""


# ---- scripts -----------------------------------------------------------------------------------------------


def test_scripts_are_told_what_was_drawn(open_noise, settle, qtbot, mask):
    _viewer, _layer, widget = open_noise(mask)
    with qtbot.waitSignal(widget.previewed, timeout=60_000) as told:
        assert widget.set_recipe(Sample(keep=0.2))
    drawn = told.args[0]
    assert drawn.request.recipe == Sample(keep=0.2) == widget.recipe()
    assert drawn.classes == (0, 1)
    np.testing.assert_array_equal(drawn.noisy, widget.preview.layer.data)
    np.testing.assert_array_equal(drawn.clean, mask)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda widget: widget.set_source(None), "not among the Labels layers"),
        (lambda widget: widget.set_source(widget.viewer.layers["image"]), "not among the Labels layers"),
        (lambda widget: widget.set_source(widget.viewer.layers["cells"], "instances"), "no reading 'instances'"),
        (lambda widget: widget.set_recipe("flip"), "'flip' is no recipe"),
        (lambda widget: widget.set_seed(-1), "seed must be a whole number from 0"),
        (lambda widget: widget.set_seed(0.5), "seed must be a whole number from 0"),
    ],
)
def test_scripts_are_refused_in_a_sentence(open_noise, said, mask, call, why):
    viewer, layer, widget = open_noise(mask)
    viewer.add_image(np.eye(8), name="image")
    assert call(widget) is False
    assert why in said()[-1]
    assert widget.sources.chosen() is layer
    assert widget.recipe() == Flip()


# ---- how it looks ------------------------------------------------------------------------------------------


def test_it_is_narrow_and_scrolls(open_noise, settle, stack):
    stack[0, 0] = np.arange(48) % 12
    _viewer, _layer, widget = open_noise(stack, "classes")
    widget.resize(360, 700)
    widget.show()
    assert widget.minimumSizeHint().width() <= 360
    assert widget.minimumSizeHint().height() < 300
    for kind in RECIPES:
        widget.form.box.setCurrentIndex(widget.form.box.findData(kind))
        if widget.form.dials[kind].by_class is not None:
            widget.form.dials[kind].by_class.setChecked(True)
        settle(widget)
        content = widget.form.parentWidget()
        assert content.minimumSizeHint().width() <= 360, kind
        assert content.width() <= widget.width(), kind


def test_every_control_has_a_tip(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QProgressBar, QTableView)
    for part in widget.findChildren(QWidget):
        if not isinstance(part, kinds) or isinstance(part, QScrollBar):
            continue
        whole = part.parentWidget()
        while not isinstance(whole, (*kinds, NoiseWidget)):
            whole = whole.parentWidget()
        if whole is widget:  # else it is the inner part of a control
            assert part.toolTip(), (type(part), getattr(part, "text", str)())


def test_the_seed_is_grey_where_nothing_is_drawn_at_random(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    assert widget.seed.isEnabled()
    widget.form.box.setCurrentIndex(widget.form.box.findData("skeleton"))
    settle(widget)
    assert not widget.seed.isEnabled()
    assert not widget.new_seed.isEnabled()


def test_the_menu_opens_it(make_napari_viewer, settle, mask):
    viewer = make_napari_viewer()
    viewer.add_labels(mask)
    active = viewer.add_labels(mask, name="active")
    _, widget = viewer.window.add_plugin_dock_widget("napari-metastructure", "Label noise (RCL, PCL, RL)")
    settle(widget)
    assert isinstance(widget, NoiseWidget)
    assert widget.sources.chosen() is active
    assert widget.preview.layer in viewer.layers


# ---- what is wrong, and no longer than it is ------------------------------------------------------------------


def test_apply_can_be_pressed_only_where_there_is_something_to_apply(open_noise, settle, mask):
    viewer, _, widget = open_noise()
    assert not widget.apply_button.isEnabled()
    layer = viewer.add_labels(np.zeros_like(mask))
    settle(widget)
    assert "only class 0" in widget.problem.text()
    assert not widget.apply_button.isEnabled()
    layer.data = np.arange(mask.size).reshape(mask.shape)
    settle(widget)
    assert "read them as objects" in widget.problem.text()
    assert not widget.apply_button.isEnabled()
    layer.data = mask
    settle(widget)
    assert widget.apply_button.isEnabled()
    viewer.dims.ndisplay = 3  # no preview, but noise can be applied
    settle(widget)
    assert widget.problem.text() and widget.apply_button.isEnabled()
    viewer.layers.clear()
    assert not widget.apply_button.isEnabled()


def test_a_refusal_is_gone_with_its_cause(open_noise, settle, mask):
    viewer, _, widget = open_noise()
    assert not widget.apply()
    assert "no Labels layer" in widget.status.text()
    layer = viewer.add_labels(np.zeros_like(mask))
    settle(widget)
    assert widget.status.text() == ""
    assert not widget.set_seed(-1)
    assert not widget.set_recipe("flip")
    assert "no recipe" in widget.status.text()
    layer.data = mask
    settle(widget)
    assert widget.status.text() == widget.problem.text() == ""


# ---- closing -----------------------------------------------------------------------------------------------


def stir(viewer, layer, mask):
    """All that a widget listens to."""
    layer.name = "renamed"
    layer.scale = (2, 2)
    layer.data = mask.copy()
    layer.data_setitem((np.array([1]), np.array([1])), 1)
    layer.undo()
    layer.visible = False
    viewer.add_labels(mask)
    viewer.add_labels(np.zeros((3, 8, 8), np.uint8))
    viewer.dims.set_point(0, 1)
    viewer.dims.ndisplay = 3
    viewer.layers.remove(layer)


def test_deleting_the_widget_takes_the_preview_along_and_frees_the_viewer(make_napari_viewer, settle, qtbot, mask):
    viewer = make_napari_viewer()
    layer = viewer.add_labels(mask.copy())
    widget = NoiseWidget(viewer)
    viewer.window.add_dock_widget(widget)
    settle(widget)
    assert len(viewer.layers) == 2
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(widget)
        widget.deleteLater()
    assert list(viewer.layers) == [layer]
    stir(viewer, layer, mask)
    qtbot.wait(50)
    assert len(viewer.layers) == 2


def test_deleting_it_undocked_and_at_work(make_napari_viewer, qtbot, monkeypatch, stack, mask):
    """Of a widget nobody docked only Qt tells that it is gone; the threads then end by themselves."""
    gate, looks = threading.Event(), []
    draw = recipes.apply_to_plane
    monkeypatch.setattr(recipes, "apply_to_plane", lambda *a, **k: looks.append(1) or (gate.wait(60) and draw(*a, **k)))
    viewer = make_napari_viewer()
    layer = viewer.add_labels(stack.copy())
    widget = NoiseWidget(viewer)
    qtbot.waitUntil(lambda: widget.preview.layer is not None, timeout=60_000)
    assert widget.apply()
    qtbot.waitUntil(lambda: len(looks) == 1, timeout=60_000)
    with qtbot.waitSignal(widget.destroyed, timeout=60_000):
        widget.deleteLater()
    gate.set()
    assert list(viewer.layers) == [layer]
    qtbot.wait(100)
    assert len(looks) == 1
    assert list(viewer.layers) == [layer]


def test_the_cross_of_the_dock_closes_it_and_it_can_come_back(make_napari_viewer, settle, qtbot, mask):
    viewer = make_napari_viewer()
    layer = viewer.add_labels(mask.copy())
    widget = NoiseWidget(viewer)
    dock = viewer.window.add_dock_widget(widget)
    settle(widget)
    widget.set_seed(5)
    dock.destroyOnClose()
    assert list(viewer.layers) == [layer]
    layer.data_setitem((np.array([1]), np.array([1])), 1)
    viewer.add_labels(mask)
    qtbot.wait(100)
    assert len(viewer.layers) == 2
    viewer.window.add_dock_widget(widget)
    settle(widget)
    assert widget.preview.layer in viewer.layers


def test_a_hidden_panel_has_no_preview_on_the_canvas(make_napari_viewer, settle, qtbot, mask):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_labels(mask.copy())
    widget = NoiseWidget(viewer)
    dock = viewer.window.add_dock_widget(widget)
    settle(widget)
    preview = widget.preview.layer
    assert preview.visible and not layer.opacity
    dock.hide()
    widget.set_seed(5)
    layer.data_setitem((np.array([1]), np.array([1])), 1)
    settle(widget)
    assert not preview.visible and layer.opacity
    assert preview.metadata[ORIGIN]["seed"] == 5, "its density may be shown"
    dock.show()
    settle(widget)
    assert widget.preview.layer is preview and preview.visible and not layer.opacity
    other = viewer.window.add_dock_widget(QWidget())
    qtbot.wait(50)
    viewer.window._qt_window.tabifyDockWidget(dock, other)  # in front of it
    qtbot.waitUntil(lambda: not preview.visible)
    assert layer.opacity


def test_a_duplicate_of_labels_that_are_previewed_can_be_seen(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask)
    settle(widget)
    assert not layer.opacity
    viewer.layers.selection = {layer}
    _duplicate_layer(viewer.layers)
    assert viewer.layers[f"{layer.name} copy"].opacity == 0.7


def test_of_noise_applied_twice_the_newest_shows(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask)
    for seed in (1, 2):
        widget.set_seed(seed)
        assert widget.apply()
        settle(widget)
    first, second = (other for other in viewer.layers if other not in (layer, widget.preview.layer))
    assert (first.visible, second.visible, widget.preview.layer.visible) == (False, True, False)
    assert widget.apply()  # the same again
    settle(widget)
    assert second not in viewer.layers and first in viewer.layers and len(viewer.layers) == 4


def test_what_became_of_other_labels_is_no_longer_said(open_noise, settle, mask):
    viewer, _layer, widget = open_noise(mask)
    assert widget.apply()
    settle(widget)
    assert "is in layer" in widget.status.text()
    widget.set_source(viewer.add_labels(mask, name="other"))
    settle(widget)
    assert widget.status.text() == ""


@pytest.mark.parametrize("working", [False, True])
def test_closing_the_viewer(make_napari_viewer, settle, qtbot, monkeypatch, stack, working):
    viewer = make_napari_viewer(show=True)
    viewer.add_labels(stack)
    widget = NoiseWidget(viewer)
    viewer.window.add_dock_widget(widget)
    settle(widget)
    gate = threading.Event()
    if working:
        draw = recipes.apply_to_plane
        monkeypatch.setattr(recipes, "apply_to_plane", lambda *a, **k: gate.wait(60) and draw(*a, **k))
        assert widget.apply()
    widget.set_seed(1)
    viewer.close()
    gate.set()
    qtbot.wait(200)


# ---- applying: all planes, in the background, into a new layer -------------------------------------------


@pytest.fixture
def applied(qtbot):
    """Applies, and waits for what came of it: a layer."""

    def go(widget, **how):
        with qtbot.waitSignal(widget.applied, timeout=60_000) as told:
            assert widget.apply(**how)
        return told.args[0]

    return go


@pytest.fixture
def refused(qtbot):
    """Applies, and waits for why it came to nothing."""

    def go(widget, **how):
        with qtbot.waitSignal(widget.failed, timeout=60_000) as told:
            assert widget.apply(**how)
        return told.args[0]

    return go


@pytest.fixture
def gate(monkeypatch):
    """Holds applying after its first plane until it is opened."""
    gate, draw, drawn = threading.Event(), recipes.apply_to_plane, []

    def slow(*args, **more):
        drawn.append(1)
        assert len(drawn) < 2 or gate.wait(60)
        return draw(*args, **more)

    monkeypatch.setattr(recipes, "apply_to_plane", slow)
    gate.drawn = drawn
    return gate


@pytest.mark.parametrize("recipe", [Flip(), Sample(keep=0.1), Dilate(n=2), PerturbObjects(), Random()])
def test_all_planes_in_a_new_layer(open_noise, applied, stack, recipe):
    viewer, layer, widget = open_noise(stack, scale=(5, 0.2, 0.1), translate=(1, 2, 3), units=("um", "um", "um"))
    before = stack.copy()
    widget.set_recipe(recipe)
    widget.set_seed(11)
    result = applied(widget)
    assert result in viewer.layers
    np.testing.assert_array_equal(result.data, apply(recipe, stack, 11))
    assert result.data.dtype == np.uint8
    np.testing.assert_array_equal(layer.data, before)
    np.testing.assert_allclose(result.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))
    assert result.units == layer.units
    assert result.name == f"cells {recipe_name(recipe)}"
    layer.translate = (9, 9, 9)
    np.testing.assert_allclose(result.translate, layer.translate)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Flip(fraction=0.45), "RCL flip 0.45"),
        (Flip(per_class={0: 0.1, 1: 0.2}), "RCL flip per class"),
        (FlipByMatrix(), "RCL matrix"),
        (make_recipe("skeleton"), "PCL skeleton"),
        (make_recipe("boundary", amplitude=2.5, correlation=10), "PCL boundary 2.5 10"),
        (Random(probability=0.1), "RL random 0.1"),
    ],
)
def test_names_say_the_recipe(recipe, name):
    assert recipe_name(recipe) == name


def test_the_new_layer_is_not_covered_by_the_preview_until_a_dial_turns(open_noise, settle, applied, mask):
    _viewer, _layer, widget = open_noise(mask)
    result = applied(widget)
    settle(widget)
    assert result.visible and not widget.preview.layer.visible
    widget.set_seed(5)
    settle(widget)
    assert widget.preview.layer.visible


def test_the_metadata_tell_how_it_was_made(open_noise, settle, applied, stack):
    _viewer, _layer, widget = open_noise(255 * stack)
    widget.set_recipe(Dilate(n=2))
    widget.set_seed(5)
    origin = applied(widget).metadata[ORIGIN]
    json.dumps(origin)
    assert make_recipe(**origin["recipe"]) == Dilate(n=2)
    assert (origin["source"], origin["seed"], origin["reading"], origin["classes"]) == (
        "cells",
        5,
        "foreground",
        [0, 1],
    )
    counted = estimate_transition_matrix(stack, apply(Dilate(n=2), stack, 5))
    assert origin["transition"] == counted.as_dict()
    widget.set_recipe(Flip(fraction=0.25))
    origin = applied(widget).metadata[ORIGIN]
    assert origin["transition"]["matrix"] == [[0.75, 0.25], [0.25, 0.75]]
    assert origin["transition"]["counts"] is None


def test_the_result_is_what_the_preview_showed_and_shows(open_noise, settle, applied, stack):
    viewer, layer, widget = open_noise(stack)
    viewer.dims.set_point(0, 2)
    settle(widget)
    shown = widget.preview.layer.data.copy()
    result = applied(widget)
    np.testing.assert_array_equal(result.data[2], shown)
    names = [layer.name for layer in viewer.layers]
    assert names == ["cells", "cells RCL flip 0.45", "cells noise preview"]
    assert result.visible and not layer.visible  # else the clean labels would shine through
    assert widget.status.text() == "RCL flip 0.45, seed 0, is in layer 'cells RCL flip 0.45'."


def test_unlabelled_pixels_have_a_colour_of_their_own(open_noise, applied, mask):
    _viewer, layer, widget = open_noise(mask)
    widget.set_recipe(Sample())
    colors = applied(widget).colormap.color_dict
    np.testing.assert_allclose(colors[1], layer.get_color(1), atol=0.01)
    assert colors[255][3] > 0
    assert colors[0][3] == 0
    assert not np.allclose(colors[255][:3], colors[1][:3])


def test_classes_beyond_a_byte_keep_their_type(open_noise, applied, mask):
    labels = mask.astype(np.uint16) * 300
    _viewer, _layer, widget = open_noise(labels, "classes")
    result = applied(widget)
    assert result.data.dtype == np.uint16
    np.testing.assert_array_equal(result.data, apply(Flip(), labels, 0))


def test_a_lazy_stack_with_a_plane_that_is_all_unlabelled(open_noise, applied, stack):
    import dask.array as da

    stack[1] = 255
    lazy = da.from_array(stack, chunks=(1, 48, 48))
    _viewer, _layer, widget = open_noise(lazy, "classes")
    result = applied(widget)
    assert (result.data[1] == 255).all()
    assert set(np.unique(result.data[[0, 2, 3]])) == {0, 1}


def test_without_the_preview_it_is_the_same(open_noise, applied, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.preview_on(False)
    np.testing.assert_array_equal(applied(widget).data, apply(Flip(), mask, 0))


def test_what_is_applied_does_not_rest_on_what_the_preview_saw(open_noise, applied, stack):
    """A script that writes into a plane out of sight tells nobody."""
    _viewer, layer, widget = open_noise(stack, "classes")
    layer.data[3][layer.data[3] == 1] = 2
    np.testing.assert_array_equal(applied(widget).data, apply(Flip(), layer.data, 0))


# ---- while it goes on --------------------------------------------------------------------------------------


def test_the_window_stays_free_and_the_bar_moves(open_noise, settle, gate, qtbot, stack):
    viewer, _layer, widget = open_noise(stack, window=True, show=True)
    with qtbot.waitSignal(widget.applied, timeout=60_000):
        assert widget.apply()
        assert widget.run.bar.isVisible() and widget.run.cancel_button.isVisible()
        qtbot.waitUntil(lambda: len(gate.drawn) == 2 and widget.run.bar.value() == 5, timeout=60_000)
        assert widget.run.bar.maximum() == 8
        widget.set_seed(3)  # the preview still follows
        qtbot.waitUntil(lambda: widget.preview.layer.metadata[ORIGIN]["seed"] == 3, timeout=60_000)
        gate.set()
    assert not widget.run.isVisible()
    assert viewer.layers["cells RCL flip 0.45"].metadata[ORIGIN]["seed"] == 0


def test_a_second_one_has_to_wait(open_noise, gate, qtbot, said, stack):
    viewer, _layer, widget = open_noise(stack)
    with qtbot.waitSignal(widget.applied, timeout=60_000):
        assert widget.apply()
        assert not widget.apply_button.isEnabled()
        assert not widget.apply()
        assert "going on already" in said()[-1]
        gate.set()
    assert len(viewer.layers) == 3


def test_it_can_be_cancelled(open_noise, settle, gate, qtbot, applied, stack):
    viewer, layer, widget = open_noise(stack)
    with qtbot.waitSignal(widget.failed, timeout=60_000) as told:
        assert widget.apply()
        qtbot.waitUntil(lambda: len(gate.drawn) == 2, timeout=60_000)
        widget.run.cancel_button.click()
        gate.set()
    assert told.args[0].startswith("Cancelled")
    assert len(gate.drawn) == 2
    assert list(viewer.layers) == [layer, widget.preview.layer]
    assert applied(widget) in viewer.layers


def test_a_source_renamed_or_removed_meanwhile(open_noise, gate, qtbot, stack):
    viewer, layer, widget = open_noise(stack)
    with qtbot.waitSignal(widget.applied, timeout=60_000) as told:
        assert widget.apply()
        layer.name = "renamed"
        viewer.layers.remove(layer)
        gate.set()
    assert told.args[0].name == "renamed RCL flip 0.45"
    np.testing.assert_array_equal(told.args[0].data, apply(Flip(), stack, 0))


# ---- what is wrong is one sentence -------------------------------------------------------------------------


def test_nothing_to_apply_to(open_noise, settle, said, mask):
    viewer, _layer, widget = open_noise()
    assert not widget.apply_button.isEnabled()
    assert not widget.apply()
    assert "no Labels layer" in said()[-1]
    viewer.add_labels(mask)
    settle(widget)
    assert widget.apply_button.isEnabled()


def test_instance_numbers_where_foreground_is_meant(open_noise, refused, applied, said):
    labels = np.arange(2304, dtype=np.int32).reshape(48, 48) // 50
    viewer, layer, widget = open_noise(labels)
    why = refused(widget)
    assert "Layer 'cells': 46 different labels besides 0" in why
    assert said()[-1] == why == widget.status.text() == widget.problem.text()
    assert list(viewer.layers) == [layer]
    widget.reading.set("objects")
    assert set(np.unique(applied(widget).data)) == {0, 1}


def test_a_dial_that_cannot_be_used(open_noise, settle, said, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.set_recipe(FlipByMatrix())
    table = widget.form.dials["matrix"].table
    table.numbers.setData(table.model().index(0, 0), 0.1)
    assert not widget.apply()
    assert "Row 1 of the noise transition matrix must add up to 1, not 0.55" in said()[-1]


def test_another_error_while_applying_leaves_the_widget_alive(open_noise, monkeypatch, refused, applied, said, mask):
    _viewer, _layer, widget = open_noise(mask)
    with monkeypatch.context() as patch:
        patch.setattr(recipes, "apply_to_plane", lambda *a, **k: 1 / 0)
        assert "ZeroDivisionError" in refused(widget)
    assert "ZeroDivisionError" in said()[-1]
    assert applied(widget).name == "cells RCL flip 0.45"


@pytest.mark.parametrize("shape", [(48, 48), (30, 30), (2, 48, 48)])
def test_other_labels_during_apply_are_told(open_noise, settle, mask, shape):
    viewer, layer, widget = open_noise(mask)
    assert widget.apply(in_place=False)
    layer.data = np.ones(shape, np.uint8)
    settle(widget)
    made = next(made for made in viewer.layers if made not in (layer, widget.preview.layer))
    assert made.data.shape == (48, 48) and "Layer 'cells' was changed meanwhile" in widget.status.text()
