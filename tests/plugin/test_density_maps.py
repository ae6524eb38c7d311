"""The density layers: in place, on one scale, one per source and class, and let go of when the user takes them away."""

import threading

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_metastructure.labels import density
from napari_metastructure.plugin._density_maps import GAP, MapLayers
from napari_metastructure.plugin._density_model import DensityRequest, DensityResult, DensitySettings
from napari_metastructure.plugin._layers import ORIGIN, visible_plane

WHERE = {"scale": (0.2, 0.1), "translate": (3, 4), "units": ("um", "um")}


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def maps(viewer):
    return MapLayers(viewer)


def labels(viewer, name="a", shape=(20, 30), **where):
    return viewer.add_labels(np.zeros(shape, np.uint8), name=name, **{**WHERE, **where})


def result(viewer, layer, top=1.0, classes=(1,), **settings):
    """What the worker would make of a layer: a map per class, from 0 to ``top``."""
    if len(classes) > 1:
        settings |= {"reading": "classes", "label_class": None}
    request = DensityRequest(
        layer, DensitySettings(bandwidth=1.6, **settings), None, visible_plane(viewer, layer), (8.0, 16.0)
    )
    values = np.linspace(0, top, 600, dtype=np.float32).reshape(20, 30)
    return DensityResult(request, maps=dict.fromkeys(classes, values), tops=dict.fromkeys(classes, top))


def images(maps):
    return [shown.image for shown in maps.shown.values()]


def test_a_map_lies_over_its_labels_and_says_how_it_was_made(viewer, maps):
    layer = labels(viewer)
    maps.draw([result(viewer, layer)])
    (image,) = images(maps)
    assert image.name == "a density"
    np.testing.assert_allclose(image.extent.world, layer.extent.world)
    assert [str(unit) for unit in image.units] == ["micrometer", "micrometer"]
    origin = image.metadata[ORIGIN]
    assert (origin["source"], origin["class"], origin["settings"]["bandwidth"]) == ("a", 1, 1.6)
    assert origin["bandwidth in pixels"] == [8, 16]
    assert viewer.layers.selection.active is layer  # whoever paints goes on painting


def test_several_classes_are_numbered(viewer, maps):
    layer = labels(viewer)
    maps.draw([result(viewer, layer, classes=(1, 2))])
    assert [image.name for image in images(maps)] == ["a density 1", "a density 2"]
    maps.draw([result(viewer, layer, classes=(2,))])
    assert [layer.name for layer in viewer.layers] == ["a", "a density 2"]


def test_one_scale_is_shared_and_stays_so(viewer, maps):
    a, b = labels(viewer), labels(viewer, "b")
    for tops in ((1.0, 0.25), (0.1, 2.0)):
        maps.draw([result(viewer, a, tops[0]), result(viewer, b, tops[1])])
        for image in images(maps):
            np.testing.assert_allclose(image.contrast_limits, (0, max(tops)))
            np.testing.assert_allclose(image.contrast_limits_range, (0, max(tops)))
    first, second = images(maps)
    first.contrast_limits = (0, 0.5)  # as the user's slider does
    assert second.contrast_limits == [0, 0.5]
    maps.draw([result(viewer, a, 1.0, one_scale=False), result(viewer, b, 0.25, one_scale=False)])
    np.testing.assert_allclose([image.contrast_limits for image in (first, second)], [(0, 1), (0, 0.25)])
    first.contrast_limits = (0, 0.5)
    np.testing.assert_allclose(second.contrast_limits, (0, 0.25))


def test_an_empty_map_has_a_contrast_all_the_same(viewer, maps):
    maps.draw([result(viewer, labels(viewer), 0.0)])
    low, high = images(maps)[0].contrast_limits
    assert low < high


def test_the_same_layers_are_used_again_and_follow_their_source(viewer, maps):
    layer = labels(viewer)
    maps.draw([result(viewer, layer)])
    before = images(maps)
    layer.translate, layer.name = (30, 40), "renamed"
    maps.draw([result(viewer, layer, 2.0)])
    assert images(maps) == before
    (image,) = before
    assert (image.name, image.metadata[ORIGIN]["source"]) == ("renamed density", "renamed")
    np.testing.assert_allclose(image.extent.world, layer.extent.world)
    assert image.data.max() == 2
    image.name = "my map"
    layer.name = "again"
    maps.draw([result(viewer, layer)])
    assert image.name == "my map"


def test_side_by_side_maps_of_one_place_stand_to_the_right(viewer, maps):
    a, b = labels(viewer), labels(viewer, "b")
    maps.draw([result(viewer, layer, side_by_side=True) for layer in (a, b)])
    step = (1 + GAP) * 3.0
    shifts = [image.translate - a.translate for image in images(maps)]
    np.testing.assert_allclose(shifts, [(0, step), (0, 2 * step)])
    maps.draw([result(viewer, a), result(viewer, b)])
    np.testing.assert_allclose(images(maps)[1].translate, a.translate)


def test_side_by_side_maps_of_labels_apart_hang_below_them(viewer, maps):
    a, b = labels(viewer), labels(viewer, "b", translate=(3, 14))
    maps.draw([result(viewer, layer, classes=(1, 2), side_by_side=True) for layer in (a, b)])
    corners = [image.translate.tolist() for image in images(maps)]
    step = (1 + GAP) * 4.0
    np.testing.assert_allclose(corners, [(3 + step, 4), (3 + 2 * step, 4), (3 + step, 14), (3 + 2 * step, 14)])


def test_what_is_not_drawn_goes_or_is_emptied(viewer, maps):
    a, b = labels(viewer), labels(viewer, "b")
    maps.draw([result(viewer, a), result(viewer, b)])
    first, second = images(maps)
    maps.draw([], keep_empty=lambda layer, label_class: layer is a)
    assert second not in viewer.layers
    assert first in viewer.layers and not first.data.any()


def test_a_map_the_user_takes_away_is_told_apart_from_one_taken_away_here(viewer, maps):
    layer = labels(viewer)
    told = []
    viewer.layers.events.removed.connect(lambda event: told.append(maps.taken_out(event.value)))
    maps.draw([result(viewer, layer)])
    viewer.layers.remove(images(maps)[0])
    assert told == [layer]
    maps.draw([result(viewer, layer)])
    maps.draw([])
    assert told == [layer, None]


def test_a_map_left_by_an_earlier_widget_is_taken_over(viewer, maps):
    a, b = labels(viewer), labels(viewer, "b")
    maps.draw([result(viewer, a), result(viewer, b)])
    before = images(maps)
    maps.release()
    before[0].contrast_limits = (0, 0.5)
    assert before[1].contrast_limits == [0, 1]  # let go of
    again = MapLayers(viewer)
    again.draw([result(viewer, b), result(viewer, a)])
    assert images(again) == before[::-1]


@pytest.mark.parametrize("changed", [True, False])
def test_labels_that_were_changed_while_whole_stacks_were_made_are_told(
    open_density, disc, qtbot, monkeypatch, said, changed
):
    viewer, widget = open_density(np.stack([disc()] * 3))
    go, plain = threading.Event(), density.plane_maps
    monkeypatch.setattr(density, "plane_maps", lambda *rest: go.wait(60) and plain(*rest))
    with qtbot.waitSignal(widget.stacks_ended, timeout=60_000):
        widget.make_stacks()
        if changed:
            viewer.layers["a"].paint((2, 5, 5), 1)
        go.set()
    viewer.layers["a"].paint((2, 9, 9), 1)  # afterwards: it is of no concern any more
    assert len(widget.made) == 1
    assert [text.startswith("Labels were changed while whole stacks") for text in said()] == [True] * changed


@pytest.mark.parametrize("beside", [False, True])
def test_a_map_follows_its_labels_also_without_its_widget(viewer, maps, beside):
    layer = labels(viewer)
    maps.draw([result(viewer, layer, side_by_side=beside)])
    (image,) = images(maps)
    shift = np.subtract(image.data_to_world((0, 0)), layer.data_to_world((0, 0)))
    assert bool(shift.any()) == beside
    maps.release()
    layer.translate = (30, 40)
    np.testing.assert_allclose(np.subtract(image.data_to_world((0, 0)), layer.data_to_world((0, 0))), shift)


def test_a_map_that_the_user_has_moved_stays_there(viewer, maps):
    layer = labels(viewer)
    maps.draw([result(viewer, layer)])
    (image,) = images(maps)
    image.translate = (0, 99)
    maps.draw([result(viewer, layer, 2.0, side_by_side=True)])
    assert list(image.translate) == [0, 99]
