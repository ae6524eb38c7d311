"""The widget Clean up and measure: its preview, what it applies, numbers and measures, and the way to an object."""

import csv
import threading

import dask.array as da
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_metastructure.labels.measures import Voxel, Wanted, measure
from napari_metastructure.labels.regions import Blocks, CleanUp, clean_up, result_of
from napari_metastructure.plugin import _measured_layers
from napari_metastructure.plugin import measure as module
from napari_metastructure.plugin._labels_widget import CANCELLED, NO_PLANE
from napari_metastructure.plugin._layers import ORIGIN, is_ours, made_from
from napari_metastructure.plugin.measure import STALE, MeasureWidget
from napari_metastructure.plugin.writer import write_labels

WHERE = {"scale": (0.5, 0.5), "units": ("um", "um"), "rotate": 30, "translate": (3, 5), "axis_labels": ("y", "x")}


def squares(*sides, number=255, shape=(60, 60)):
    """Squares of these sides along a diagonal, the first with a hole of one pixel."""
    labels, at = np.zeros(shape, np.uint8), 2
    for side in sides:
        labels[at : at + side, at : at + side] = number
        at += side + 3
    labels[4, 4] = 0
    return labels


@pytest.fixture
def open_measure(request, qtbot, settle):
    """Opens a viewer with a Labels layer "cells" and the widget; viewer, layer and widget."""
    made = []

    def make(labels=None, image=None, *, window=False, **attributes):
        viewer = request.getfixturevalue("make_napari_viewer")(show=window) if window else ViewerModel()
        if image is not None:
            viewer.add_image(image, name="image", **(attributes if image.ndim == np.ndim(labels) else {}))
        layer = None if labels is None else viewer.add_labels(labels, name="cells", **attributes)
        widget = MeasureWidget(viewer)
        widget.live.pause.setTimeout(1)  # tests do not wait for a dial to stand still
        if window:
            viewer.window.add_dock_widget(widget, name="measure")
        else:
            qtbot.addWidget(widget)
        made.append(widget)
        settle(widget)
        return viewer, layer, widget

    yield make
    for widget in made:
        widget.cancel()
        settle(widget)


@pytest.fixture
def done(settle):
    """Calls a method of the widget that works in the background, and waits; the layer that came of it."""

    def call(method):
        found = []
        widget = method.__self__
        widget.finished.connect(found.append)
        assert method()
        settle(widget)
        widget.finished.disconnect(found.append)
        assert len(found) == 1, widget.status.text()
        return found[0]

    return call


@pytest.fixture
def held_measuring(monkeypatch):
    """Holds measuring once it has begun, until it may go on: the events of both."""
    begun, go = threading.Event(), threading.Event()
    real = module.measure

    def held(blocks, wanted):
        begun.set()
        go.wait(60)
        return (yield from real(blocks, wanted))

    monkeypatch.setattr(module, "measure", held)
    return begun, go


# ---- the preview -------------------------------------------------------------------------------------------------


def test_the_preview_is_what_cleaning_gives_and_the_source_is_out_of_sight(open_measure, settle):
    viewer, layer, widget = open_measure(squares(5, 2, 9), **WHERE)
    assert widget.preview.layer is None  # all dials are off
    widget.set_dials(CleanUp(5, 2))
    settle(widget)
    preview = viewer.layers["cells clean preview"]
    expected = squares(5, 2, 9)
    expected[10:12, 10:12], expected[4, 4] = 0, 255
    np.testing.assert_array_equal(preview.data, expected)
    np.testing.assert_allclose(preview.data_to_world((7, 9)), layer.data_to_world((7, 9)))
    assert (layer.opacity, preview.opacity) == (0, 0.7)
    assert widget.counts.text() == "On this slice: 2 of 3 objects kept. Filled in holes: 1 pixel."
    widget.set_dials(CleanUp())
    settle(widget)
    assert layer.opacity == 0.7
    assert list(viewer.layers) == [layer]
    assert widget.counts.text() == ""


def test_objects_that_were_measured_are_out_of_sight_too(open_measure, settle, done):
    _viewer, layer, widget = open_measure(squares(5, 2, 9))
    objects = done(widget.measure)
    widget.set_dials(CleanUp(5))
    settle(widget)
    assert (layer.opacity, objects.opacity, widget.preview.layer.opacity) == (0, 0, 0.7)
    widget.previewing.setChecked(False)
    settle(widget)
    assert (layer.opacity, objects.opacity) == (0.7, 0.7)
    widget.previewing.setChecked(True)
    settle(widget)
    objects.opacity = 0.4  # by hand
    widget.set_dials(CleanUp())
    settle(widget)
    assert (layer.opacity, objects.opacity) == (0.7, 0.4)


def test_it_follows_slider_brush_and_the_other_boxes(open_measure, settle):
    stack = np.stack([squares(5), squares(5, 2), squares(2)])
    viewer, layer, widget = open_measure(stack)
    viewer.dims.set_point(0, 1)
    widget.set_dials(CleanUp(10))
    settle(widget)
    assert widget.preview.layer.data.sum() == 24 * 255
    layer.paint((1, 40, 40), 255)
    settle(widget)
    assert widget.preview.layer.data[40, 40] == 255
    widget.border.setChecked(True)
    viewer.dims.set_point(0, 2)
    settle(widget)
    assert not widget.preview.layer.data.any()
    widget.previewing.setChecked(False)
    settle(widget)
    assert viewer.layers[:] == [layer]
    widget.previewing.setChecked(True)
    settle(widget)
    viewer.layers.remove(widget.preview.layer)  # by hand
    settle(widget)
    assert not widget.previewing.isChecked()
    assert layer.opacity == 0.7


def test_a_preview_in_3d_is_a_slice_of_the_volume(open_measure, settle, monkeypatch):
    stack = np.zeros((3, 20, 20), np.uint8)
    stack[:, 5:7, 5:7] = stack[1, 12:15, 12:15] = 1
    calls = []
    monkeypatch.setattr(
        "napari_metastructure.plugin._previews.clean_up",
        lambda numbers, dials: calls.append(numbers.shape) or clean_up(numbers, dials),
    )
    viewer, _layer, widget = open_measure(stack)
    widget.volumes.setChecked(True)
    widget.set_dials(CleanUp(10))
    for z in range(3):
        viewer.dims.set_point(0, z)
        settle(widget)
        assert widget.preview.layer.data.sum() == 4
    assert calls == [stack.shape]  # the slider does not clean it up again
    assert widget.counts.text().startswith("In this volume: 1 of 2 objects kept")


def test_without_y_and_x_on_screen(open_measure, settle):
    viewer, _layer, widget = open_measure(np.stack([squares(5)] * 3))
    widget.set_dials(CleanUp(10))
    viewer.dims.ndisplay = 3
    settle(widget)
    assert widget.problem.text() == NO_PLANE
    viewer.dims.ndisplay = 2
    settle(widget)
    assert widget.problem.text() == ""
    assert widget.preview.layer.visible


def test_it_is_computed_in_a_thread(open_measure, settle, monkeypatch):
    threads = []

    def watched(numbers, dials):
        threads.append(threading.current_thread())
        return clean_up(numbers, dials)

    monkeypatch.setattr("napari_metastructure.plugin._previews.clean_up", watched)
    _viewer, _layer, widget = open_measure(squares(5, 9))
    widget.set_dials(CleanUp(10))
    settle(widget)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.full((20, 20), -1), "the label -1 is negative"),
        (np.kron(np.array([[0, 40, 200, 255]], np.uint8), np.ones((20, 5), np.uint8)), "255 stands beside 40 and 200"),
    ],
)
def test_labels_that_cannot_be_read_are_one_sentence(open_measure, settle, said, labels, why):
    _viewer, layer, widget = open_measure(labels)
    widget.set_dials(CleanUp(3))
    settle(widget)
    assert why in widget.problem.text()
    for method in (widget.apply, widget.number_objects, widget.measure):
        assert method()
        settle(widget)
        assert why in widget.status.text()
    assert why in said()[-1]
    layer.data = squares(5, 2)
    settle(widget)
    assert (widget.problem.text(), widget.status.text()) == ("", "")


def test_without_labels(open_measure, settle):
    viewer, _layer, widget = open_measure()
    assert widget.problem.text() == MeasureWidget.no_source
    assert not widget.measure()
    assert not widget.apply_button.isEnabled()
    layer = viewer.add_labels(squares(5))
    settle(widget)
    assert widget.problem.text() == ""
    assert widget.sources.chosen() is layer
    assert not widget.apply()  # all dials are off
    assert widget.status.text().startswith("All dials are off")
    assert not widget.save_table("x.csv")
    assert not widget.set_source(None)
    assert not widget.set_source(layer, "ducks")


# ---- applying ----------------------------------------------------------------------------------------------------


def test_a_new_layer_in_the_numbers_and_the_place_of_the_source(open_measure, done, tmp_path):
    viewer, layer, widget = open_measure(squares(5, 2, 9), metadata={"mine": 1}, **WHERE)
    widget.set_dials(CleanUp(5))
    cleaned = done(widget.apply)
    assert [other.name for other in viewer.layers] == ["cells", "cells clean"]
    assert (cleaned.data.dtype, np.unique(cleaned.data).tolist()) == (np.uint8, [0, 255])
    np.testing.assert_allclose(cleaned.affine.affine_matrix, layer.affine.affine_matrix)
    np.testing.assert_allclose(cleaned.data_to_world((7, 9)), layer.data_to_world((7, 9)))
    assert cleaned.units == layer.units
    assert cleaned.metadata["mine"] == 1
    assert cleaned.metadata[ORIGIN]["clean_up"]["smallest_object"] == 5
    assert (layer.visible, layer.opacity, widget.sources.chosen()) == (False, 0.7, cleaned)
    assert not is_ours(cleaned)  # 255 is the foreground still
    write_labels(str(tmp_path / "m.tif"), cleaned.data, cleaned.as_layer_data_tuple()[1])
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        assert tif.pages[0].tags["XResolution"].value == (2, 1)
        np.testing.assert_array_equal(tif.asarray(), cleaned.data)


@pytest.mark.parametrize("ours", [False, True])
def test_unlabelled_pixels_stay(open_measure, done, ours):
    labels = squares(5, 2, number=1)
    labels[:, 40:] = 255
    _viewer, _layer, widget = open_measure(labels, metadata={ORIGIN: {}} if ours else {})
    widget.set_dials(CleanUp(5, 9))
    cleaned = done(widget.apply)
    assert (cleaned.data[:, 40:] == 255).all()
    assert (cleaned.data == 1).sum() == 25
    assert is_ours(cleaned)
    objects = done(widget.number_objects)
    assert np.unique(objects.data).tolist() == [0, 1]


def test_classes_and_numbered_objects(open_measure, done):
    classes = squares(5, 2, 9, number=1)
    classes[20:24, 2:6], classes[30:32, 2:4] = 2, 3
    _viewer, _layer, widget = open_measure(classes)
    widget.set_dials(CleanUp(10))
    assert np.unique(done(widget.apply).data).tolist() == [0, 1, 2]


def test_numbered_objects_keep_their_numbers(open_measure, done):
    nuclei = np.zeros((80, 80), np.uint16)
    for number in range(300):
        y, x = divmod(number, 20)
        nuclei[4 * y : 4 * y + 3, 4 * x : 4 * x + 3] = number + 1
    nuclei[2] = 0
    _viewer, _layer, widget = open_measure(nuclei)
    widget.set_dials(CleanUp(9))
    cleaned = done(widget.apply)
    assert np.unique(cleaned.data).tolist() == [0, *range(21, 301)]  # 255 among them
    assert not is_ours(cleaned)
    done(widget.measure)
    assert widget.table.columns["label"].tolist() == list(range(21, 301))


def test_planes_of_epochs_and_volumes_of_slices(open_measure, done, settle):
    stack = np.stack([squares(2), squares(2, 5), squares(2)])
    _viewer, layer, widget = open_measure(stack, axis_labels=("epoch", "y", "x"))
    assert not widget.volumes.isEnabled()
    widget.set_dials(CleanUp(5))
    cleaned = done(widget.apply)
    assert [int((plane > 0).sum()) for plane in cleaned.data] == [0, 25, 0]
    assert cleaned.axis_labels == ("epoch", "y", "x")
    layer.axis_labels = ("z", "y", "x")
    widget.set_source(layer)
    assert widget.volumes.isEnabled()
    widget.volumes.setChecked(True)
    assert [int((plane > 0).sum()) for plane in done(widget.apply).data] == [4, 29, 4]
    assert int(done(widget.number_objects).data.max()) == 2


def test_lazy_and_multiscale_layers(open_measure, done):
    stack = np.stack([squares(2, 5), squares(5)])
    _viewer, _layer, widget = open_measure(da.from_array(stack, chunks=(1, 60, 60)))
    widget.set_dials(CleanUp(5))
    assert [int((plane > 0).sum()) for plane in done(widget.apply).data] == [25, 24]
    _viewer, _layer, widget = open_measure([squares(2, 5), squares(2, 5)[::2, ::2]])
    widget.set_dials(CleanUp(5))
    assert done(widget.apply).data.shape == (60, 60)


def test_sizes_in_the_unit_of_the_layer(open_measure, settle, done):
    _viewer, layer, widget = open_measure(squares(5, 2, 9), **WHERE)
    assert [widget.unit.widget.itemText(i) for i in range(2)] == ["pixels", "µm²"]
    widget.smallest_object.setValue(30)
    widget.unit.widget.setCurrentIndex(1)
    widget.unit.widget.activated.emit(1)
    assert widget.smallest_object.value() == 7.5  # the same size
    widget.smallest_object.setValue(6.25)
    assert np.count_nonzero(done(widget.apply).data) == 81
    layer.scale = (1, 1)
    widget.set_source(layer)
    assert np.count_nonzero(done(widget.apply).data) == 24 + 81
    widget.set_source(layer)
    layer.units = ("pixel", "pixel")
    settle(widget)
    assert widget.unit.widget.count() == 1


# ---- measuring ---------------------------------------------------------------------------------------------------


def test_measurements_are_those_of_the_engine(open_measure, done):
    rng = np.random.default_rng(0)
    image = rng.normal(100, 9, (2, 60, 60)).astype(np.float32)
    stack = np.stack([squares(5, 2), squares(9, 4)])
    viewer, layer, widget = open_measure(
        stack, image, scale=(1, 0.5, 0.5), units=("um",) * 3, axis_labels=("t", "y", "x")
    )
    assert widget.images.chosen() is viewer.layers["image"]
    objects = done(widget.measure)
    blocks = Blocks(stack.shape, lambda index: (stack[index] > 0).astype(np.int32))
    wanted = Wanted(Voxel.of([(0.5, "micrometer")] * 2), ("T",), lambda place: image[place])
    expected = result_of(measure(blocks, wanted))
    assert widget.table.heads() == expected.table.heads()
    for name, values in expected.table.columns.items():
        np.testing.assert_allclose(widget.table.columns[name], values)
    np.testing.assert_array_equal(objects.data, expected.objects)
    assert objects.name == "cells objects"
    assert objects.features["index"].tolist() == [1, 2, 3, 4]
    assert objects.features["area (µm²)"].tolist() == expected.table.columns["area"].tolist()
    assert not layer.visible
    assert widget.view.model().rowCount() == 4
    assert widget.found.text() == "4 objects in layer 'cells objects':"
    assert done(widget.measure) is objects  # once more, in the same layer
    assert len(viewer.layers) == 3
    widget.set_source(objects)  # it is known to be numbered, however few there are
    assert done(widget.measure) is objects
    assert widget.table.columns["label"].tolist() == [1, 2, 3, 4]


def test_the_voxel_size_that_napari_left_in_the_file(open_measure, done, tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, squares(9), imagej=True, resolution=(4, 4), metadata={"axes": "YX", "unit": "um"})
    viewer, layer, widget = open_measure(squares(9))
    viewer.open(path, plugin="napari", layer_type="labels")
    viewer.layers.remove(layer)
    done(widget.measure)
    assert widget.table.heads()[1] == "area (µm²)"
    assert widget.table.columns["area"].tolist() == [5]


def test_rgb_images_and_images_without_the_other_axes(open_measure, done):
    colour = np.stack([squares(9), squares(9) * 0, squares(9) * 0], axis=-1)
    _viewer, _layer, widget = open_measure(np.stack([squares(9)] * 2), colour)
    done(widget.measure)
    assert widget.table.columns["mean intensity"] == pytest.approx([0.2125 * 255] * 2)


def test_images_that_do_not_fit(open_measure, said):
    viewer, _layer, widget = open_measure(squares(9))
    widget.images.choose(viewer.add_image(np.zeros((50, 60))))
    assert not widget.measure()
    assert "has 50 x 60 pixels (Y x X) but the labels have 60 x 60" in widget.status.text()
    assert said() == [widget.status.text()]
    assert len(viewer.layers) == 2


def test_the_image_of_the_labels_is_chosen_unless_none_is_wanted(open_measure):
    viewer, layer, widget = open_measure(squares(9), np.zeros((60, 60)))
    image, other = viewer.layers["image"], viewer.add_image(np.zeros((9, 9)))
    assert widget.images.chosen() is image
    small = viewer.add_labels(np.zeros((9, 9), np.uint8))
    widget.set_source(small)
    assert widget.images.chosen() is other
    widget.images.choose(None)
    widget.images.activated.emit(0)
    widget.set_source(layer)
    assert widget.images.chosen() is None


def test_intensities_are_of_the_image_that_the_labels_are_of(open_measure, done):
    viewer, layer, widget = open_measure(squares(9), np.zeros((60, 60)))
    first, second = viewer.layers["image"], viewer.add_image(np.ones((60, 60)), name="cell 2")
    assert widget.images.chosen() is first  # of these labels; one more image changes nothing
    made = viewer.add_labels(squares(9), name="mask", metadata=made_from(first))
    named = viewer.add_labels(squares(9), name="cell_2_masks")
    unknown = viewer.add_labels(squares(9), name="thing")
    viewer.add_image(np.ones((60, 60)), name="probability", metadata=made_from(first))
    for labels, image in ((made, first), (named, second), (made, first), (unknown, None), (layer, None)):
        widget.set_source(labels)
        assert widget.images.chosen() is image
    widget.images.choose(second)  # by hand: kept for what is made of these labels
    widget.set_dials(CleanUp(smallest_object=10))
    cleaned = done(widget.apply)
    widget.set_source(cleaned)
    assert widget.images.chosen() is second
    done(widget.measure)
    assert set(widget.table.columns["mean intensity"]) == {1}


def test_pixels_that_are_not_square(open_measure, done):
    _viewer, _layer, widget = open_measure(squares(9), scale=(1, 0.5), units=("um", "um"))
    done(widget.measure)
    assert "perimeter would not be right" in widget.notes.text()
    assert "perimeter" not in widget.table.columns


def test_without_skan(open_measure, monkeypatch):
    monkeypatch.setattr("napari_metastructure.labels.measures.find_spec", lambda name: None)
    _viewer, _layer, widget = open_measure(squares(9))
    widget.skeleton.setChecked(True)
    assert not widget.measure()
    assert "pip install 'napari-metastructure[skeleton]'" in widget.status.text()


def test_skeletons(open_measure, done):
    pytest.importorskip("skan")
    labels = np.zeros((20, 50), np.uint8)
    labels[10, 5:46] = 1
    _viewer, _layer, widget = open_measure(labels)
    widget.skeleton.setChecked(True)
    done(widget.measure)
    assert widget.table.columns["skeleton length"].tolist() == [40]


def test_no_object_is_no_error(open_measure, done):
    _viewer, _layer, widget = open_measure(np.zeros((9, 9), np.uint8))
    done(widget.measure)
    assert widget.found.text().startswith("0 objects")
    assert widget.view.model().rowCount() == 0


def test_cancelled_and_removed_meanwhile(open_measure, settle, held_measuring):
    begun, go = held_measuring
    viewer, layer, widget = open_measure(np.stack([squares(9)] * 3))
    assert widget.measure()
    assert begun.wait(60)
    assert not widget.apply()  # one after the other
    widget.cancel()
    go.set()
    settle(widget)
    assert widget.status.text() == CANCELLED
    assert viewer.layers[:] == [layer]
    assert widget.table is None

    nuclei = viewer.add_labels(np.arange(1, 101).reshape(10, 10))
    widget.set_source(nuclei, "objects")
    go.clear()
    assert widget.measure()
    viewer.layers.remove(nuclei)
    go.set()
    settle(widget)
    assert "was removed before it was measured" in widget.status.text()


# ---- from a row to its object, and back --------------------------------------------------------------------------


def test_a_row_shows_its_object(open_measure, done):
    stack = np.stack([squares(5, 2), squares(9, 4)])
    viewer, _layer, widget = open_measure(stack, scale=(2, 0.5, 0.5))
    objects = done(widget.measure)
    objects.visible = False
    widget.view.sortByColumn(2, Qt.SortOrder.DescendingOrder)  # by area
    assert widget.view.model().index(0, 2).data() == "20"
    widget.view.selectRow(0)
    assert widget.view.selected == 2
    assert objects.visible
    assert viewer.layers.selection.active is objects
    assert objects.selected_label == 3
    assert viewer.dims.point[0] == 2
    assert viewer.scene.camera.center[1:] == (3, 3)
    box = objects._overlays["selection_box"]
    assert (box.visible, box.bounds) == (True, ((1, 1), (11, 11)))
    viewer.dims.set_point(0, 0)  # another slice
    assert not box.visible
    widget.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert widget.view.selected == 2  # it stays selected as rows are sorted
    widget.alone.setChecked(True)
    assert objects.show_selected_label
    widget.alone.setChecked(False)
    assert not objects.show_selected_label
    viewer.layers.remove(objects)
    widget.view.selectRow(0)  # nothing to show, and no error


class Mouse:
    """An event of napari's mouse at a place of the world."""

    def __init__(self, *position, move=0):
        self.position, self.pos, self.type = position, (0, 0), "mouse_press"
        self.view_direction, self.dims_displayed, self.move = None, [len(position) - 2, len(position) - 1], move


def click(widget, *position, move=0):
    event = Mouse(*position)
    steps = widget.finder._on_mouse(widget.viewer, event)
    next(steps)
    for _ in range(2 if move else 0):
        event.type, event.pos = "mouse_move", (move, 0)
        next(steps, None)
    event.type = "mouse_release"
    next(steps, None)


def test_a_click_on_an_object_finds_its_row(open_measure, done):
    stack = np.stack([squares(5, 2), squares(9, 4)])
    viewer, _layer, widget = open_measure(stack, scale=(2, 0.5, 0.5))
    objects = done(widget.measure)
    viewer.dims.set_point(0, 2)
    click(widget, 2, 8, 8)  # pixel 16, 16
    assert widget.view.selected == 3
    assert objects.selected_label == 4
    click(widget, 2, 3.5, 3.5, move=1)
    assert widget.view.selected == 2
    click(widget, 2, 8, 8, move=30)  # a drag
    click(widget, 2, 25, 25)  # background
    click(widget, 2, -50, 8)  # outside
    assert widget.view.selected == 2
    viewer.layers.selection.active = objects
    objects.mode = "paint"
    click(widget, 2, 8, 8)
    assert widget.view.selected == 2


def test_painting_on_what_was_measured_is_told(open_measure, done):
    _viewer, _layer, widget = open_measure(squares(5, 9))
    objects = done(widget.measure)
    assert widget.stale.text() == ""
    objects.paint((50, 50), 7)
    assert widget.stale.text() == STALE
    done(widget.measure)
    assert widget.stale.text() == ""


def test_painting_during_and_after_a_run_is_told(open_measure, settle, done, held_measuring):
    begun, go = held_measuring
    _viewer, layer, widget = open_measure(squares(5, 9))
    assert widget.measure()
    assert begun.wait(60)
    layer.paint((50, 50), 255)
    go.set()
    settle(widget)
    assert widget.table is not None and widget.stale.text() == STALE
    done(widget.measure)
    assert widget.stale.text() == ""
    layer.paint((52, 52), 255)  # the mask whose objects were numbered
    assert widget.stale.text() == STALE


def test_intensities_of_an_image_that_lies_elsewhere_are_told(open_measure, done, said):
    viewer, _layer, widget = open_measure(squares(5, 9))
    moved = viewer.add_image(np.ones((60, 60)), name="moved", translate=(0, 20))
    assert widget.images.chosen() is None
    widget.images.choose(moved)
    done(widget.measure)
    assert "'moved' and 'cells' do not lie on each other" in said()[-1] == widget.notes.text()


@pytest.mark.parametrize("name", ["measure", "number_objects", "apply"])
def test_how_a_smoothed_mask_is_read_is_told(open_measure, done, name):
    mask = squares(20, 9).astype(np.uint8)
    mask[mask > 0] = 255
    soft = np.where(mask > 0, mask, np.roll(mask, 1, axis=0) // 2).astype(np.uint8)
    _viewer, _layer, widget = open_measure(soft)
    widget.set_dials(CleanUp(30))
    done(getattr(widget, name))
    assert "'cells': the edges are soft" in widget.status.text()


@pytest.mark.parametrize("other", [squares(9, 5), squares(5, shape=(40, 40)), np.stack([squares(5)] * 2)])
@pytest.mark.parametrize("name", ["number_objects", "apply"])
def test_other_labels_during_the_work_are_told(open_measure, settle, name, other):
    viewer, layer, widget = open_measure(squares(5, 9))
    widget.set_dials(CleanUp(30))
    assert getattr(widget, name)()
    layer.data = other
    settle(widget)
    made = next(made for made in viewer.layers if made not in (layer, widget.preview.layer))
    assert made.data.shape == (60, 60)
    assert "Layer 'cells' was changed meanwhile" in widget.status.text()


@pytest.mark.parametrize("name", ["measure", "number_objects", "apply"])
def test_the_grey_values_of_an_image_are_refused(open_measure, settle, said, name):
    grey = np.random.default_rng(0).integers(1, 200, (80, 80)).astype(np.uint8)
    viewer, layer, widget = open_measure(grey)
    widget.set_dials(CleanUp(5))
    settle(widget)
    assert "grey values of an image, not labels" in widget.problem.text()
    getattr(widget, name)()
    settle(widget)
    assert widget.status.text().startswith(f"Layer {layer.name!r} holds the grey values of an image") and said()
    assert viewer.layers[:] == [layer] and widget.table is None


def test_many_small_objects_that_touch_are_no_grey_values(open_measure, done):
    small = np.kron(np.arange(1, 2501).reshape(50, 50), np.ones((2, 2), int))
    _viewer, _layer, widget = open_measure(small)
    done(widget.measure)
    assert len(widget.table) == 2500


def test_the_table_as_a_file(open_measure, done, tmp_path):
    _viewer, _layer, widget = open_measure(squares(5, 9), **WHERE)
    done(widget.measure)
    assert widget.save_table(tmp_path / "Tabelle µ.csv")
    found = list(csv.DictReader((tmp_path / "Tabelle µ.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["area (um^2)"] for row in found] == ["6", "20.25"]
    assert not widget.save_table(tmp_path / "none" / "t.csv")
    assert "the folder does not exist" in widget.status.text()


def test_many_rows_are_sorted_at_once(qtbot):
    from napari_metastructure.labels.measures import RegionTable
    from napari_metastructure.plugin._region_table import RegionView

    rng = np.random.default_rng(0)
    area = rng.random(100_000)
    area[::7] = np.nan
    table = RegionTable(
        {"label": np.arange(area.size), "area": area},
        "µm",
        np.zeros((area.size, 0), int),
        np.zeros((area.size, 2, 2), int),
    )
    view = RegionView()
    qtbot.addWidget(view)
    view.show_table(table)
    view.select(5)
    view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert view.model().index(0, 1).data() == f"{np.nanmax(area):.4g}"
    assert view.model().index(99_999, 1).data() == "–"
    assert view.selected == 5
    assert view.model().headerData(1, Qt.Orientation.Horizontal) == "area (µm²)"


# ---- in a window -------------------------------------------------------------------------------------------------


def test_a_real_click_in_a_window_and_closing(open_measure, done, settle, qtbot):
    viewer, layer, widget = open_measure(squares(9, 12), window=True)
    objects = done(widget.measure)
    widget.finder.show(1)
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    assert widget.view.selected == 1
    widget.set_dials(CleanUp(100))
    settle(widget)
    assert layer.opacity == 0
    viewer.window.remove_dock_widget(widget)
    assert layer.opacity == 0.7
    assert not objects._overlays["selection_box"].visible
    assert [other.name for other in viewer.layers] == ["cells", "cells objects"]
    widget.deleteLater()
    settle()
    assert not [call for call in viewer.mouse_drag_callbacks if "ObjectFinder" in repr(call)]


def test_names_of_axes(open_measure):
    viewer, _layer, _widget = open_measure()
    for shape, labels, expected in (
        ((2, 3, 4, 5), None, ("T", "Z")),
        ((2, 3, 4, 5), ("z", "epoch", "y", "x"), ("Z", "epoch")),
        ((2, 1, 4, 5), ("pos", "pos", "y", "x"), ("pos", "axis 1")),
        ((2, 2, 2, 2, 2, 4, 5), None, ("axis 0", "axis 1", "T", "Z", "C")),
    ):
        layer = viewer.add_labels(np.zeros(shape, np.uint8), **({} if labels is None else {"axis_labels": labels}))
        assert _measured_layers.leading_axes(layer, False) == expected
