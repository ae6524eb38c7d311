"""Applying in place is one step that napari can undo; what cannot be written to is left alone."""

import threading

import numpy as np
import pytest

from napari_metastructure.labels import recipes
from napari_metastructure.labels.recipes import Flip, Sample, apply
from napari_metastructure.plugin import noise as in_place


@pytest.fixture
def write(qtbot):
    def go(widget):
        with qtbot.waitSignal(widget.applied, timeout=60_000) as told:
            assert widget.apply(in_place=True)
        return told.args[0]

    return go


@pytest.mark.parametrize("shown", [0, 2])
def test_a_stack_is_changed_undone_and_redone(open_noise, settle, write, stack, shown):
    viewer, layer, widget = open_noise(stack.copy(), window=shown > 0)
    viewer.dims.set_point(0, shown)
    widget.set_recipe(Sample(keep=0.3))
    settle(widget)
    noisy = apply(Sample(keep=0.3), stack, 0)
    assert write(widget) is layer
    np.testing.assert_array_equal(layer.data, noisy)
    np.testing.assert_array_equal(layer._slice.image.raw, noisy[shown])
    layer.undo()
    np.testing.assert_array_equal(layer.data, stack)
    layer.redo()
    np.testing.assert_array_equal(layer.data, noisy)
    layer.undo()
    layer.undo()  # it was one step
    np.testing.assert_array_equal(layer.data, stack)


def test_the_preview_goes_and_no_layer_comes(open_noise, settle, write, mask):
    viewer, layer, widget = open_noise(mask.copy())
    write(widget)
    settle(widget)
    assert not widget.previewing.isChecked()
    assert list(viewer.layers) == [layer]
    assert layer.visible


def test_the_box_says_what_the_button_does(open_noise, qtbot, mask):
    _viewer, layer, widget = open_noise(mask.copy())
    assert widget.apply_button.text() == "Apply to a new layer"
    widget.in_place.setChecked(True)
    assert widget.apply_button.text() == "Apply to the source"
    with qtbot.waitSignal(widget.applied, timeout=60_000) as told:
        widget.apply_button.click()
    assert told.args[0] is layer


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 255), (np.int32, 7), (np.uint64, 1), (np.int16, 1)])
def test_numbers_become_classes_in_the_type_they_have(open_noise, write, mask, dtype, factor):
    before = mask.astype(dtype) * dtype(factor)
    _viewer, layer, widget = open_noise(before.copy())
    write(widget)
    assert layer.data.dtype == dtype
    np.testing.assert_array_equal(layer.data, apply(Flip(), mask, 0))
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_a_hidden_layer_in_a_3d_view(open_noise, write, stack):
    viewer, layer, widget = open_noise(stack.copy())
    layer.visible = False
    viewer.dims.ndisplay = 3
    write(widget)
    np.testing.assert_array_equal(layer.data, apply(Flip(), stack, 0))
    layer.undo()
    np.testing.assert_array_equal(layer.data, stack)


def test_a_layer_out_of_sight(open_noise, settle, write, stack):
    viewer, layer, widget = open_noise(stack.copy())
    viewer.add_image(np.zeros((9, 48, 48)))
    viewer.dims.set_point(0, 8)
    settle(widget)
    write(widget)
    np.testing.assert_array_equal(layer.data, apply(Flip(), stack, 0))
    layer.undo()
    np.testing.assert_array_equal(layer.data, stack)


def test_a_write_that_fails_half_way_is_taken_back(open_noise, qtbot, monkeypatch, stack):
    _viewer, layer, widget = open_noise(stack.copy())
    write, written = layer.data_setitem, []

    def fail(*args, **more):
        written.append(1)
        assert len(written) < 3
        write(*args, **more)

    monkeypatch.setattr(layer, "data_setitem", fail)
    with qtbot.waitSignal(widget.failed, timeout=60_000) as told:
        assert widget.apply(in_place=True)
    assert told.args[0] == "Layer 'cells' could not be written to; apply to a new layer."
    np.testing.assert_array_equal(layer.data, stack)


def read_only(labels):
    labels = labels.copy()
    labels.flags.writeable = False
    return labels


def lazy(labels):
    import dask.array as da

    return da.from_array(labels)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (read_only, "not an array in memory that may be written to"),
        (lazy, "not an array in memory that may be written to"),
        (lambda labels: labels.astype(np.int8), "pixels of type int8 cannot hold 255"),
        (lambda labels: [labels, labels[::2, ::2]], "is a pyramid"),
    ],
)
def test_what_cannot_be_written_to_is_one_sentence(open_noise, said, mask, change, why):
    _viewer, _layer, widget = open_noise(change(mask))
    assert not widget.apply(in_place=True)
    assert "Layer 'cells'" in said()[-1]
    assert why in said()[-1]
    assert "apply to a new layer" in said()[-1]


def test_files_in_memory_are_not_written_to(open_noise, said, tmp_path, mask):
    np.save(tmp_path / "mask.npy", mask)
    _viewer, _layer, widget = open_noise(np.load(tmp_path / "mask.npy", mmap_mode="r+"))
    assert not widget.apply(in_place=True)
    assert "not an array in memory" in said()[-1]


def test_more_than_napari_can_undo(open_noise, qtbot, monkeypatch, mask):
    monkeypatch.setattr(in_place, "MOST_CHANGES", 100)
    _viewer, layer, widget = open_noise(mask.copy())
    with qtbot.waitSignal(widget.failed, timeout=60_000) as told:
        assert widget.apply(in_place=True)
    assert "too many for napari to undo" in told.args[0]
    np.testing.assert_array_equal(layer.data, mask)


@pytest.mark.parametrize(
    ("meddle", "why"),
    [
        (lambda viewer, layer: layer.data_setitem((np.array([2]), np.array([3])), 1), "was changed while its noise"),
        (lambda viewer, layer: setattr(layer, "data", layer.data[:20].copy()), "was changed while its noise"),
        (lambda viewer, layer: viewer.layers.remove(layer), "was removed before its noise"),
    ],
)
def test_a_layer_changed_meanwhile_is_left_alone(open_noise, qtbot, monkeypatch, said, mask, meddle, why):
    viewer, layer, widget = open_noise(mask.copy())
    gate, draw = threading.Event(), recipes.apply_to_plane
    monkeypatch.setattr(recipes, "apply_to_plane", lambda *a, **k: gate.wait(60) and draw(*a, **k))
    with qtbot.waitSignal(widget.failed, timeout=60_000) as told:
        assert widget.apply(in_place=True)
        qtbot.wait(50)
        meddle(viewer, layer)
        held = layer.data.copy()
        gate.set()
    assert why in told.args[0]
    assert said()[-1] == told.args[0]
    np.testing.assert_array_equal(layer.data, held)
