"""The preview is what `apply` of the recipes gives on the plane in sight, whatever changes."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from napari.components import ViewerModel

from napari_metastructure.labels.recipes import RECIPES, Dilate, Flip, FlipByMatrix, Random, Sample, apply, make_recipe
from napari_metastructure.plugin._layers import ORIGIN, UNSEEN_COLOR, class_color, colormap
from napari_metastructure.plugin.noise import NoiseWidget

MAGENTA = colormap({0: "transparent"}, others="magenta")

ELSEWHERE = "needs the axes Y and X on screen"


def expected(recipe, labels, seed=0, plane=None, classes=None):
    noisy = apply(recipe, labels, seed, classes)
    return noisy if plane is None else noisy[plane]


def paint(layer, at, label):
    """As the brush does."""
    layer.selected_label = label
    layer.brush_size = 8
    layer.paint(at, label)


@pytest.mark.parametrize("kind", RECIPES)
def test_every_recipe_on_the_slice_in_sight(open_noise, settle, stack, kind):
    viewer, _layer, widget = open_noise(stack)
    viewer.dims.set_point(0, 2)
    widget.set_recipe(make_recipe(kind))
    widget.set_seed(7)
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(make_recipe(kind), stack, 7, 2))
    assert widget.problem.text() == ""


def test_it_lies_over_the_source_and_says_what_it_is(open_noise, stack):
    viewer, layer, widget = open_noise(
        stack, scale=(5, 0.2, 0.1), translate=(0, 3, 4), units=("um", "um", "um"), axis_labels=("z", "y", "x")
    )
    preview = viewer.layers["cells noise preview"]
    assert preview is widget.preview.layer
    assert preview.ndim == 2
    np.testing.assert_allclose(preview.data_to_world((40, 30)), layer.data_to_world((0, 40, 30))[1:])
    assert [str(unit) for unit in preview.units] == ["micrometer"] * 2
    origin = preview.metadata[ORIGIN]
    assert origin["recipe"] == Flip().model_dump(mode="json")
    assert (origin["source"], origin["seed"], origin["reading"]) == ("cells", 0, "foreground")


def test_it_follows_the_source_when_that_is_moved_and_renamed(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask, scale=(0.2, 0.1))
    layer.scale = (0.4, 0.4)
    layer.name = "organelles"
    settle(widget)
    assert tuple(widget.preview.layer.scale) == (0.4, 0.4)
    assert [layer.name for layer in viewer.layers] == ["organelles", "organelles noise preview"]


def test_it_follows_slider_dial_and_seed_in_one_layer(open_noise, settle, stack):
    viewer, _layer, widget = open_noise(stack, window=True)
    layer, told = widget.preview.layer, []
    layer.events.data.connect(lambda event: told.append(layer.data.copy()))
    viewer.dims.set_point(0, 3)
    settle(widget)
    np.testing.assert_array_equal(told[-1], expected(Flip(), stack, 0, 3))
    widget.form.dials["flip"].form.editors["fraction"].widget.setValue(0.1)
    settle(widget)
    np.testing.assert_array_equal(told[-1], expected(Flip(fraction=0.1), stack, 0, 3))
    widget.new_seed.click()
    settle(widget)
    assert widget.seed.value() != 0
    np.testing.assert_array_equal(told[-1], expected(Flip(fraction=0.1), stack, widget.seed.value(), 3))
    assert widget.preview.layer is layer
    assert len([other for other in viewer.layers if "preview" in other.name]) == 1


def test_dials_turned_fast_end_where_they_stand(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    for fraction in np.linspace(0, 0.4, 41):
        widget.set_recipe(Flip(fraction=float(fraction)))
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(fraction=0.4), mask))


def test_it_follows_the_brush_and_undo(open_noise, settle, stack):
    viewer, layer, widget = open_noise(stack, window=True)
    viewer.dims.set_point(0, 1)
    settle(widget)
    before = widget.preview.layer.data.copy()
    paint(layer, (1, 4, 4), 1)
    settle(widget)
    painted = widget.preview.layer.data.copy()
    assert (painted != before).any()
    np.testing.assert_array_equal(painted, expected(Flip(), layer.data, 0, 1))
    layer.undo()
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, before)
    layer.redo()
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, painted)


def test_a_stroke_is_followed_while_it_is_drawn(open_noise, settle, mask):
    _viewer, layer, widget = open_noise(mask)
    with layer.block_history():
        paint(layer, (4, 4), 1)
        settle(widget)
        np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), layer.data))


def test_it_follows_other_pixels_of_another_size(open_noise, settle, stack):
    _viewer, layer, widget = open_noise(stack)
    layer.data = np.tile(stack[:2], (1, 2, 1))
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), layer.data, 0, 0))
    layer.data = layer.data[0].copy()
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), layer.data))


def test_a_script_that_writes_and_refreshes_is_followed(open_noise, settle, mask):
    _viewer, layer, widget = open_noise(mask)
    layer.data[:10] = 1
    layer.refresh()
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), layer.data))


def test_classes_are_those_of_the_whole_stack(open_noise, settle, stack):
    """A plane without class 2 has noise of class 2, as it has when all planes are drawn."""
    stack[3][stack[3] == 1] = 2
    viewer, layer, widget = open_noise(stack, "classes")
    viewer.dims.set_point(0, 0)
    settle(widget)
    assert set(np.unique(widget.preview.layer.data)) == {0, 1, 2}
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), stack, 0, 0))
    viewer.dims.set_point(0, 3)
    at = np.nonzero(stack[3] == 2)
    layer.data_setitem((np.full(at[0].size, 3), *at), 1)
    viewer.dims.set_point(0, 0)
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), layer.data, 0, 0))
    assert set(np.unique(widget.preview.layer.data)) == {0, 1}
    layer.undo()  # of a plane that is not in sight
    settle(widget)
    assert set(np.unique(widget.preview.layer.data)) == {0, 1, 2}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_edit_of_planes_out_of_sight_may_bring_a_class(open_noise, settle, stack, dimensions):
    _viewer, layer, widget = open_noise(stack, "classes")
    layer.n_edit_dimensions = dimensions
    if dimensions == 3:  # a ball: the planes around the one that is painted on
        layer.brush_size = 5
        layer.paint((3, 24, 24), 2)
        assert 2 not in layer.data[0]
    else:
        layer.data_setitem((np.array([3]), np.array([5]), np.array([5])), 2)
    settle(widget)
    assert set(np.unique(widget.preview.layer.data)) == {0, 1, 2}
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), layer.data, 0, 0))


@pytest.mark.parametrize(
    ("factor", "dtype", "reading"),
    [(1, bool, "foreground"), (255, np.uint8, "foreground"), (7, np.int32, "foreground"), (1, np.int8, "classes")],
)
def test_any_type_and_any_foreground(open_noise, mask, factor, dtype, reading):
    _viewer, _layer, widget = open_noise((mask.astype(int) * factor).astype(dtype), reading)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), mask))
    assert widget.preview.layer.data.dtype == np.uint8


def test_numbered_objects_are_read_as_foreground(open_noise, settle, mask, said):
    objects = mask.astype(np.int32)
    objects[objects == 1] = np.arange(objects.sum()) + 1
    _viewer, _layer, widget = open_noise(objects)
    assert "are not foreground and background" in widget.problem.text()
    assert widget.preview.layer is None
    widget.reading.set("objects")
    settle(widget)
    assert widget.problem.text() == ""
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), mask))


def test_lazy_layers_and_pyramids(open_noise, settle, stack):
    import dask.array as da

    viewer, _layer, widget = open_noise(da.from_array(stack, chunks=(1, 48, 48)))
    viewer.dims.set_point(0, 2)
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), stack, 0, 2))
    pyramid = viewer.add_labels([stack, stack[:, ::2, ::2]], multiscale=True)
    widget.set_source(pyramid)
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), stack, 0, 2))


# ---- the layer among the others ----------------------------------------------------------------------------


def test_it_can_be_switched_off_and_on(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask)
    widget.preview_on(False)
    assert list(viewer.layers) == [layer]
    widget.set_recipe(Sample(keep=0.2))
    settle(widget)
    assert list(viewer.layers) == [layer]
    assert widget.matrix.transition.matrix[0, 0] == 0.2  # what is left is told all the same
    widget.preview_on(True)
    settle(widget)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Sample(keep=0.2), mask))


def test_who_removes_the_layer_switches_it_off(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask)
    viewer.layers.remove(widget.preview.layer)
    widget.set_seed(3)
    settle(widget)
    assert not widget.previewing.isChecked()
    assert list(viewer.layers) == [layer]
    other = viewer.add_labels(mask.copy(), name="other")
    assert widget.set_source(other)
    settle(widget)
    assert widget.previewing.isChecked() and widget.preview.layer in viewer.layers
    widget.preview_on(False)
    assert widget.set_source(layer)
    settle(widget)
    assert not widget.previewing.isChecked()


def test_it_hides_where_it_cannot_be_shown(open_noise, settle, stack):
    viewer, _layer, widget = open_noise(stack, window=True)
    viewer.dims.ndisplay = 3
    settle(widget)
    assert ELSEWHERE in widget.problem.text()
    assert not widget.preview.layer.visible
    viewer.dims.ndisplay = 2
    settle(widget)
    assert widget.problem.text() == ""
    assert widget.preview.layer.visible
    viewer.add_labels(np.zeros((9, 48, 48), np.uint8))
    viewer.dims.set_point(0, 8)
    settle(widget)
    assert ELSEWHERE in widget.problem.text()
    assert not widget.preview.layer.visible
    viewer.dims.set_point(0, 1)
    settle(widget)
    assert widget.preview.layer.visible


def test_a_layer_the_user_hid_stays_hidden(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.preview.layer.visible = False
    widget.set_seed(3)
    settle(widget)
    assert not widget.preview.layer.visible


def test_it_leaves_the_selection_alone_and_is_no_source(open_noise, mask):
    viewer, layer, widget = open_noise(mask)
    assert viewer.layers.selection.active is layer
    box = widget.sources.combo.native
    assert [box.itemText(row) for row in range(box.count())] == ["cells"]
    assert not widget.set_source(widget.preview.layer)


def test_another_source_in_the_same_layer_on_top(open_noise, settle, mask, stack):
    viewer, _layer, widget = open_noise(mask, scale=(2, 2))
    preview = widget.preview.layer
    other = viewer.add_labels(stack, name="stack", scale=(1, 3, 3))
    assert widget.set_source(other)
    settle(widget)
    assert widget.preview.layer is preview
    assert [layer.name for layer in viewer.layers] == ["cells", "stack", "stack noise preview"]
    assert tuple(preview.scale) == (3, 3)
    np.testing.assert_array_equal(preview.data, expected(Flip(), stack, 0, int(viewer.dims.current_step[0])))


def test_a_source_that_goes_takes_the_preview_along(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask)
    viewer.layers.remove(layer)
    settle(widget)
    assert list(viewer.layers) == []
    assert "no Labels layer" in widget.matrix.why_not and "Convert to Labels" in widget.matrix.why_not
    assert widget.matrix.height() > 2 * widget.matrix.fontMetrics().height()  # of which no word is cut off
    back = viewer.add_labels(mask)
    settle(widget)
    assert widget.sources.chosen() is back
    np.testing.assert_array_equal(widget.preview.layer.data, expected(Flip(), mask))


def test_the_active_layer_is_the_first_source(qtbot, settle, mask):
    viewer = ViewerModel()
    viewer.add_labels(mask)
    active = viewer.add_labels(mask, name="active")
    widget = NoiseWidget(viewer)
    qtbot.addWidget(widget)
    assert widget.sources.chosen() is active
    settle(widget)


@pytest.mark.parametrize("foreground", [1, 7, 255])
def test_matrix_table_and_preview_follow_the_colours_of_the_source(open_noise, settle, mask, foreground):
    _viewer, layer, widget = open_noise(mask * np.uint8(foreground), window=True)
    widget.set_recipe(Sample())
    for change in (lambda: None, lambda: layer.new_colormap(3), lambda: setattr(layer, "colormap", MAGENTA)):
        change()
        settle(widget)
        shown = layer.get_color(foreground)
        color = to_hex(shown)
        assert widget.matrix.colors == {0: UNSEEN_COLOR, 1: color}
        assert widget.form.dials["sample"].table.numbers.colors == widget.matrix.colors
        np.testing.assert_allclose(widget.preview.layer.get_color(1), (*shown[:3], 1), atol=0.01)


def test_objects_are_one_class_in_the_colour_of_the_palette(open_noise, settle, mask):
    from skimage.measure import label

    _viewer, layer, widget = open_noise(label(mask).astype(np.uint16))
    widget.set_source(layer, "objects")
    settle(widget)
    assert widget.matrix.colors[1] == class_color(1)


def test_colours_of_classes_and_of_unlabelled_pixels(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask)
    colors = widget.preview.layer.colormap.color_dict
    np.testing.assert_allclose(colors[1], layer.get_color(1), atol=0.01)
    assert colors[255][3] > 0
    assert not np.allclose(colors[255][:3], colors[1][:3])
    assert colors[0][3] == 0
    beneath = viewer.add_labels(mask)
    viewer.layers.move(2, 0)
    assert widget.preview.layer.colormap.color_dict[0][3] > 0.5  # background hides what is foreground beneath
    beneath.visible = False
    assert widget.preview.layer.colormap.color_dict[0][3] == 0


def test_the_source_is_out_of_sight_while_the_preview_shows(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask, opacity=0.6)
    other = viewer.add_labels(mask, name="other", opacity=0.5)
    assert layer.opacity == 0
    assert layer.visible  # else nobody could paint on it
    widget.preview.layer.visible = False
    assert layer.opacity == 0.6
    widget.preview.layer.visible = True
    assert layer.opacity == 0
    widget.preview_on(False)
    assert layer.opacity == 0.6
    widget.preview_on(True)
    settle(widget)
    assert (layer.opacity, other.opacity) == (0, 0.5)
    widget.set_source(other, "foreground")
    settle(widget)
    assert (layer.opacity, other.opacity) == (0.6, 0)
    viewer.layers.remove(widget.preview.layer)
    assert other.opacity == 0.5
    widget.preview_on(True)
    settle(widget)
    other.opacity = 0.9  # the user wants to see it
    widget.set_seed(5)
    settle(widget)
    assert other.opacity == 0.9
    widget.preview_on(False)
    assert other.opacity == 0.9


@pytest.mark.parametrize("others", [0, 1])
def test_a_random_label_looks_random_on_screen(open_noise, settle, mask, others):
    viewer, _layer, widget = open_noise(mask, window=True, show=True)
    for _ in range(others):  # that show the same, a method's result say
        viewer.add_labels(mask, name="result")
        widget.preview_on(False)
        widget.preview_on(True)
    widget.set_recipe(Random(probability=0.5))
    settle(widget)
    shown = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float).sum(axis=2)
    height, width = shown.shape
    side = min(height, width) // 3  # well within the disc, and the same again in the corner of the labels
    disc = shown[height // 2 - side // 4 : height // 2 + side // 4, width // 2 - side // 4 : width // 2 + side // 4]
    bright = (disc > shown.max() / 2).mean()
    assert 0.35 < bright < 0.65


def test_a_source_that_is_taken_out_keeps_its_opacity(open_noise, settle, mask):
    viewer, layer, widget = open_noise(mask, opacity=0.6)
    viewer.layers.remove(layer)
    settle(widget)
    assert layer.opacity == 0.6


# ---- what is left -------------------------------------------------------------------------------------------


def test_the_matrix_of_rcl_is_the_closed_form(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.set_recipe(Sample(per_class={0: 0.25, 1: 0.75}))
    settle(widget)
    np.testing.assert_allclose(widget.matrix.shares, [[0.25, 0, 0.75], [0, 0.75, 0.25]])
    assert "Rank 2 of 2" in widget.verdict.text()
    assert "Counted" not in widget.verdict.text()
    assert "Meta-structure retained on this slice: " in widget.retained.text()
    assert "within 8 pixels" in widget.retained.text()


def test_the_matrix_of_pcl_is_counted_and_says_so(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.set_recipe(Dilate(n=2))
    settle(widget)
    noisy = widget.preview.layer.data
    share = noisy[mask == 0].mean()
    np.testing.assert_allclose(widget.matrix.shares, [[1 - share, share, 0], [0, 1, 0]])
    assert "Counted on this slice" in widget.verdict.text()


def test_a_matrix_of_rank_1_leaves_nothing(open_noise, settle, mask):
    _viewer, _layer, widget = open_noise(mask)
    widget.set_recipe(FlipByMatrix(matrix=((0.5, 0.5), (0.5, 0.5))))
    settle(widget)
    assert "Rank 1 of 2" in widget.verdict.text()
    assert "retained on this slice: 0 %" in widget.retained.text()


def test_the_matrix_editor_starts_with_a_row_for_each_class(open_noise, settle, stack):
    stack[0][stack[0] == 1] = 2
    _viewer, _layer, widget = open_noise(stack, "classes")
    widget.form.box.setCurrentIndex(widget.form.box.findData("matrix"))
    settle(widget)
    assert widget.form.dials["matrix"].table.classes == (0, 1, 2)
    assert widget.problem.text() == ""
    np.testing.assert_allclose(widget.matrix.shares[:, :3], widget.recipe().matrix)
    np.testing.assert_array_equal(widget.preview.layer.data, expected(widget.recipe(), stack, 0, 0))
