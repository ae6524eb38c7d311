"""A run's events become layers that lie where their source lies."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.files import read_image
from napari_metastructure.plugin._igtt_layers import RunLayers
from napari_metastructure.plugin._layers import ORIGIN, placement
from napari_metastructure.plugin._painting import BACKGROUND, OBJECT
from napari_metastructure.plugin._source import Source, sources_of
from napari_metastructure.training.events import EpochFinished

RNG = np.random.default_rng(0)


def epoch(number, sizes, epochs=4):
    """An epoch whose pixels tell number and plane."""
    masks = tuple(np.zeros(size, np.uint8) for size in sizes)
    for plane, mask in enumerate(masks):
        mask[number, plane] = 1
    labels = tuple(np.where(m == 1, 1, 255).astype(np.uint8) for m in masks)
    probabilities = tuple(np.full(size, (number + plane) / 10, np.float32) for plane, size in enumerate(sizes))
    return EpochFinished(number, epochs, 0.5, 0.9, 0.1, masks, labels, probabilities, (), 1.0, 0.1)


def add(drawn, event):
    """Draw an epoch, all steps at once."""
    drawn.add(event)
    for _ in drawn.show_waiting():
        pass


def start(*images, epochs=4, **shown):
    viewer = ViewerModel()
    layers = [viewer.add_layer(image) for image in images]
    drawn = RunLayers(viewer, sources_of(layers), IGTTConfig(epochs=epochs, seed=7))
    drawn.shown.update(shown)
    for _ in drawn.open():
        pass
    return viewer, drawn


def test_the_epoch_axis_grows_with_the_run():
    viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"))
    masks = viewer.layers["cells iGTT masks"]
    for number in range(3):
        add(drawn, epoch(number, [(16, 20)]))
        assert masks.data.shape == (number + 1, 16, 20)
        assert masks.data[number, number, 0] == 1
    assert masks.data.sum() == 3
    assert drawn.epochs == [0, 1, 2]


def test_growing_copies_nothing():
    _, drawn = start(Image(RNG.random((16, 20)), name="cells"))
    add(drawn, epoch(0, [(16, 20)]))
    first = drawn.parts[0].masks.data
    add(drawn, epoch(1, [(16, 20)]))
    assert np.shares_memory(first, drawn.parts[0].masks.data)


@pytest.mark.parametrize(
    ("shape", "count"), [((16, 20), 1), ((3, 16, 20), 3), ((2, 3, 16, 20), 6)], ids=["YX", "ZYX", "TZYX"]
)
def test_slices_come_back_in_place(shape, count):
    _, drawn = start(Image(RNG.random(shape), name="cells"))
    add(drawn, epoch(0, [(16, 20)] * count))
    add(drawn, epoch(1, [(16, 20)] * count))
    data = drawn.parts[0].masks.data
    assert data.shape == (2, *shape)
    for plane, at in enumerate(np.ndindex(shape[:-2])):
        assert data[1][at][1, plane] == 1
        assert data[1][at].sum() == 1


def test_layers_lie_over_their_source():
    angle = 0.3
    turned = np.eye(3)
    turned[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(4)
    affine[1, 3] = 5
    source = Image(
        RNG.random((3, 16, 20)),
        name="cells",
        scale=(2, 0.5, 0.25),
        translate=(1, 2, 3),
        rotate=turned,
        shear=(0, 0.1, 0.2),
        affine=affine,
        units=("second", "micrometer", "micrometer"),
        axis_labels=("t", "y", "x"),
    )
    _viewer, drawn = start(source, probability=True, labels=True)
    add(drawn, epoch(0, [(16, 20)] * 3))
    kept = drawn.keep(0)[0]
    point = (2, 7, 11)
    for layer in (kept, *drawn.parts[0].extras.values()):
        np.testing.assert_allclose(layer.data_to_world(point), source.data_to_world(point), atol=1e-6)
        np.testing.assert_allclose(layer.scale, source.scale)
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels
    masks = drawn.parts[0].masks
    np.testing.assert_allclose(masks.data_to_world((4, *point)), (4, *source.data_to_world(point)), atol=1e-6)
    np.testing.assert_allclose(masks.scale[1:], source.scale)
    assert masks.units[1:] == source.units
    assert masks.axis_labels == ("epoch", "t", "y", "x")


def test_a_sheared_layer_keeps_its_shear_whichever_way():
    source = Image(RNG.random((16, 20)), shear=np.array([[1, 0], [0.3, 1]]))
    np.testing.assert_allclose(placement(source)["shear"], [[1, 0], [0.3, 1]])
    assert placement(source, "epoch")["shear"][2, 1] == 0.3


def test_layers_say_how_they_were_made():
    _viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"), probability=True)
    add(drawn, epoch(0, [(16, 20)]))
    add(drawn, epoch(1, [(16, 20)]))
    for layer in (drawn.parts[0].masks, drawn.parts[0].extras["probability"], drawn.keep(1)[0]):
        made = layer.metadata[ORIGIN]
        assert made["source"] == "cells"
        assert made["seed"] == 7
        assert made["epoch"] == 1
        assert made["config"]["epochs"] == 4


def test_the_slider_follows_only_who_looks_at_the_newest():
    viewer, drawn = start(Image(RNG.random((16, 20))))
    add(drawn, epoch(0, [(16, 20)]))
    add(drawn, epoch(1, [(16, 20)]))
    assert viewer.dims.point[0] == 1
    viewer.dims.set_point(0, 0)
    add(drawn, epoch(2, [(16, 20)]))
    assert viewer.dims.point[0] == 0
    assert drawn.epoch == 0
    viewer.dims.set_point(0, 2)
    add(drawn, epoch(3, [(16, 20)]))
    assert viewer.dims.point[0] == 3


def test_the_result_is_shown_at_the_end_unless_the_user_looks_elsewhere():
    viewer, drawn = start(Image(RNG.random((16, 20))))
    for number in range(3):
        add(drawn, epoch(number, [(16, 20)]))
    drawn.slider.go_to(1)
    assert drawn.epoch == 1
    drawn.slider.go_to(2)
    assert drawn.epoch == 1
    assert viewer.dims.point[0] == 1


def test_the_plane_on_screen_is_found_in_a_stack():
    viewer, drawn = start(Image(RNG.random((2, 3, 16, 20)), scale=(1, 2, 1, 1)))
    add(drawn, epoch(0, [(16, 20)] * 6))
    viewer.dims.set_point(1, 1)
    viewer.dims.set_point(2, 4)
    assert drawn.plane == 5


def test_of_several_sources_the_one_in_hand_counts():
    viewer, drawn = start(Image(RNG.random((2, 16, 20)), name="a"), Image(RNG.random((3, 16, 20)), name="b"))
    add(drawn, epoch(0, [(16, 20)] * 5))
    viewer.dims.set_point(1, 1)
    viewer.layers.selection.active = viewer.layers["b iGTT masks"]
    assert drawn.plane == 3
    viewer.layers.selection.active = viewer.layers["a"]
    assert drawn.plane == 1
    viewer.layers.selection.clear()
    assert drawn.plane == 1


def test_masks_of_hidden_images_are_hidden():
    viewer, _drawn = start(Image(RNG.random((16, 20)), name="a"), Image(RNG.random((16, 20)), name="b", visible=False))
    assert viewer.layers["a iGTT masks"].visible
    assert not viewer.layers["b iGTT masks"].visible


def test_final_masks_and_probabilities_of_hidden_images_are_hidden():
    viewer, drawn = start(Image(RNG.random((16, 20)), name="a", visible=False), Image(RNG.random((16, 20)), name="b"))
    add(drawn, epoch(0, [(16, 20)] * 2))
    drawn.keep(0)
    for shown in (True, False, True):
        drawn.show("probability", shown)
    made = {layer.name: layer.visible for layer in viewer.layers}
    assert [made[f"a {what}"] for what in ("mask", "probability")] == [False, False]
    assert [made[f"b {what}"] for what in ("mask", "probability")] == [True, True]


def test_masks_that_are_seen_without_their_image_stay_in_sight():
    viewer, drawn = start(Image(RNG.random((16, 20)), name="a"))
    add(drawn, epoch(0, [(16, 20)]))
    viewer.layers["a"].visible = False
    (kept,) = drawn.keep(0)
    assert kept.visible
    for _ in range(2):
        drawn.go_on(IGTTConfig(epochs=4, seed=7))
        assert viewer.layers["a iGTT masks"].visible and not kept.visible


def test_several_sources_of_different_sizes_get_layers_each():
    viewer, drawn = start(Image(RNG.random((16, 20)), name="a"), Image(RNG.random((12, 14)), name="b"))
    sizes = [(16, 20), (12, 14)]
    add(drawn, epoch(0, sizes))
    add(drawn, epoch(1, sizes))
    assert viewer.layers["a iGTT masks"].data.shape == (2, 16, 20)
    assert viewer.layers["b iGTT masks"].data[1, 1, 1] == 1
    assert [m.shape for m in drawn.masks(1)] == sizes


def test_extras_appear_on_demand_and_are_not_redrawn_while_hidden():
    viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"))
    add(drawn, epoch(0, [(16, 20)]))
    assert len(viewer.layers) == 2
    drawn.show("probability", True)
    drawn.show("labels", True)
    probability, labels = viewer.layers["cells probability"], viewer.layers["cells pseudo-label"]
    assert tuple(probability.contrast_limits) == (0, 1)
    assert set(np.unique(labels.data)) == {1, 255}
    unlabelled, background, foreground = labels.colormap.map(np.array([255, 0, 1]))
    assert len({tuple(unlabelled), tuple(background), tuple(foreground)}) == 3
    assert unlabelled[3] > 0
    assert viewer.layers[-1].name == "cells iGTT masks"
    drawn.show("probability", False)
    add(drawn, epoch(1, [(16, 20)]))
    assert not probability.visible
    assert np.all(probability.data == 0)
    drawn.show("probability", True)
    assert np.allclose(probability.data, 0.1)


def test_what_the_user_painted_is_told_for_both_classes_and_undo_takes_it_back():
    viewer, drawn = start(Image(RNG.random((2, 16, 20))))
    add(drawn, epoch(0, [(16, 20)] * 2))
    add(drawn, epoch(1, [(16, 20)] * 2))
    assert drawn.corrections() == {}
    canvas = drawn.parts[0].open_strokes()
    canvas.data_setitem((np.array([1]), np.array([5]), np.array([6])), OBJECT)
    canvas.data_setitem((np.array([1]), np.array([1]), np.array([1])), BACKGROUND)
    (index, pixels), *rest = drawn.corrections().items()
    assert index == 1
    assert not rest
    assert pixels[5, 6] == 1
    assert pixels[1, 1] == 0
    assert (pixels != 255).sum() == 2
    canvas.undo()
    assert (drawn.corrections()[1] != 255).sum() == 1
    assert canvas.data.shape == (2, 16, 20)  # strokes hold in all epochs
    assert list(viewer.layers)[-1] is canvas


def test_painting_outlives_later_epochs_and_the_newest_stroke_wins():
    _viewer, drawn = start(Image(RNG.random((16, 20))))
    add(drawn, epoch(0, [(16, 20)]))
    canvas = drawn.parts[0].open_strokes()
    canvas.data_setitem((np.array([9]), np.array([9])), OBJECT)
    add(drawn, epoch(1, [(16, 20)]))
    assert drawn.waiting == [1] and drawn.epoch == 0  # until the paint is locked, or the epoch asked for
    for _ in drawn.show_waiting(wanted=True):
        pass
    assert drawn.waiting == [] and drawn.epoch == 1
    assert drawn.corrections()[0][9, 9] == 1
    assert drawn.masks(0)[0][9, 9] == 1 and drawn.parts[0].masks.data[0, 9, 9] == 0
    canvas.data_setitem((np.array([9]), np.array([9])), BACKGROUND)
    assert drawn.corrections()[0][9, 9] == 0


def test_the_kept_mask_has_the_edits_and_no_epoch_axis():
    _viewer, drawn = start(Image(RNG.random((16, 20)), name="cells", scale=(0.2, 0.1)))
    add(drawn, epoch(0, [(16, 20)]))
    drawn.parts[0].open_strokes().data_setitem((np.array([9]), np.array([9])), OBJECT)
    (kept,) = drawn.keep(0)
    assert kept.name == "cells mask"
    assert kept.data.shape == (16, 20)
    assert kept.data.dtype == np.uint8
    assert kept.data[9, 9] == 1
    assert tuple(kept.scale) == (0.2, 0.1)
    drawn.parts[0].masks.data[...] = 0
    assert kept.data[9, 9] == 1


def test_removed_layers_are_not_missed():
    viewer, drawn = start(Image(RNG.random((16, 20))), probability=True)
    add(drawn, epoch(0, [(16, 20)]))
    viewer.layers.clear()
    add(drawn, epoch(1, [(16, 20)]))
    assert drawn.epoch == 1
    drawn.hide()
    drawn.close()


def test_a_run_without_a_start_leaves_nothing():
    viewer, drawn = start(Image(RNG.random((16, 20))), probability=True, labels=True)
    assert len(viewer.layers) == 4
    drawn.close()
    assert len(viewer.layers) == 1


def test_more_epochs_than_memory_is_one_sentence():
    source = Source(Image(np.eye(16), name="big"), (1000, 65536, 65536))
    with pytest.raises(InputError, match=r"10,000 epochs of layer 'big' need .* fewer epochs"):
        RunLayers(ViewerModel(), [source], IGTTConfig(epochs=10_000))


@pytest.mark.parametrize("how", ["after a run", "in a run"])
def test_a_final_mask_ends_as_strokes_change_the_masks(tmp_path, how):
    viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"))
    add(drawn, epoch(0, [(16, 20)]))
    (kept,) = drawn.keep(0)
    drawn.parts[0].open_strokes().data_setitem((np.array([9]), np.array([9])), OBJECT)
    if how == "after a run":
        drawn.go_on(IGTTConfig(epochs=4, seed=7))
    drawn.lock(drawn.corrections())
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert kept in viewer.layers and shown == ["cells", "cells iGTT masks", "cells strokes"]
    assert viewer.layers.selection.active is viewer.layers["cells iGTT masks"]
    add(drawn, epoch(1, [(16, 20)]))
    (path,) = drawn.save(tmp_path / "mask.tif")
    expected = drawn.masks(1)[0]
    assert expected.sum() == 2
    np.testing.assert_array_equal(read_image(path).data, expected * 255)


def test_a_brush_is_not_covered_by_the_final_mask_which_is_still_the_one_to_save(tmp_path):
    viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"))
    add(drawn, epoch(0, [(16, 20)]))
    (kept,) = drawn.keep(0)
    drawn.take_brush(OBJECT)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["cells", "cells iGTT masks", "cells strokes"]
    assert drawn.kept == [kept]
    (path,) = drawn.save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_image(path).data, np.asarray(kept.data) * 255)


def test_a_new_run_hides_the_final_mask_too():
    _viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"))
    add(drawn, epoch(0, [(16, 20)]))
    (kept,) = drawn.keep(0)
    drawn.hide()
    assert not kept.visible


def test_strokes_and_masks_lie_on_an_image_that_was_given_its_scale_since():
    viewer, drawn = start(Image(RNG.random((16, 20)), name="cells"), probability=True)
    add(drawn, epoch(0, [(16, 20)]))
    for scale in (0.2, 5):
        viewer.layers["cells"].scale, viewer.layers["cells"].units = (scale, scale), ("um", "um")
        viewer.layers["cells"].translate, viewer.layers["cells"].rotate = (3, 4), 30
        drawn.parts[0].open_strokes()
        for name, before in (("cells iGTT masks", (1,)), ("cells strokes", ()), ("cells probability", ())):
            made = viewer.layers[name]
            assert tuple(made.scale) == (*before, scale, scale)
            corner = made.data_to_world((*(0 for _ in before), 15, 19))[-2:]
            np.testing.assert_allclose(corner, viewer.layers["cells"].data_to_world((15, 19)))
