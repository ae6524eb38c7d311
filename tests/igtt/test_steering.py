"""Strokes that change the masks of a set of images."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError
from napari_metastructure.igtt import steering
from napari_metastructure.igtt.steering import Steering
from napari_metastructure.images import simulate

SHAPE = (96, 112)


@pytest.fixture(scope="module")
def cells():
    """Two planes of smooth discs, wanted, beside noisy ones, unwanted; the start calls both objects."""
    rng = np.random.default_rng(1)
    planes, wanted, start = [], [], []
    for _ in range(2):
        plane, smooth, all_ = rng.normal(0, 0.1, SHAPE), np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        for number, (y, x) in enumerate((y, x) for y in range(16, 96, 32) for x in range(16, 112, 32)):
            disc = np.hypot(*(np.indices(SHAPE) - np.array([y, x])[:, None, None])) < 9
            all_ |= disc
            if number % 2:
                smooth |= disc
                plane[disc] += 1
            else:
                plane[disc] += 1 + rng.normal(0, 0.6, int(disc.sum()))
        planes.append(plane.astype(np.float32))
        wanted.append(smooth)
        start.append((0.1 + 0.8 * ndi.gaussian_filter(all_.astype(float), 1)).astype(np.float32))
    return planes, wanted, start


def dab(y, x, value, painted=None, radius=5):
    painted = np.full(SHAPE, 255, np.uint8) if painted is None else painted.copy()
    painted[np.hypot(*(np.indices(SHAPE) - np.array([y, x])[:, None, None])) <= radius] = value
    return painted


def test_without_strokes_the_start_stays(cells):
    planes, _, start = cells
    answers = [Steering(planes, start).answer(strokes) for strokes in ({}, {1: np.full(SHAPE, 255, np.uint8)})]
    for answer in answers:
        for found, given in zip(answer, start, strict=True):
            np.testing.assert_array_equal(found, given)


def test_what_resembles_a_stroke_follows_it_in_all_images_and_the_rest_stays(cells):
    planes, wanted, start = cells
    painted = dab(48, 48, 1, dab(16, 16, 0, dab(16, 80, 0)))
    answer = Steering(planes, start).answer({0: painted})
    for found, smooth, before in zip(answer, wanted, start, strict=True):
        noisy = (before > 0.85) & ~smooth
        assert found[noisy].mean() < before[noisy].mean()
        assert (found[ndi.binary_erosion(smooth, iterations=2)] > 0.5).mean() > 0.98
        ground = before < 0.2
        assert (found[ground] > 0.5).mean() < 0.01


@pytest.mark.parametrize("power", [-100, -20, 60, 100])
def test_the_unit_of_intensity_makes_no_difference(cells, power):
    planes, _, start = cells
    strokes = {0: dab(48, 48, 1, dab(16, 16, 0, dab(16, 80, 0)))}
    scaled = [plane * np.float32(2.0**power) for plane in planes]
    for found, expected in zip(
        Steering(scaled, start).answer(strokes), Steering(planes, start).answer(strokes), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_painted_pixels_are_kept_exactly(cells):
    planes, _, start = cells
    painted = dab(30, 30, 1, dab(60, 60, 0))
    answer = Steering(planes, start).answer({1: painted})[1]
    np.testing.assert_array_equal(answer[painted <= 1], painted[painted <= 1])


def test_the_answer_is_that_of_the_strokes_there_are_not_of_their_history(cells):
    planes, _, start = cells
    one, other = dab(16, 16, 0), dab(48, 48, 1)
    asked = Steering(planes, start)
    expected = Steering(planes, start).answer({0: one, 1: other})
    asked.answer({1: dab(20, 80, 1, other)})  # taken back
    for again in (asked.answer({1: other, 0: one}), [*asked.answer({0: one, 1: other}, [1, 0])][::-1]):
        for a, b in zip(again, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weight", [1.0, 0.0])
@pytest.mark.parametrize("value", [0, 1])
def test_strokes_of_one_class_are_enough(cells, value, weight):
    planes, _, start = cells
    painted = dab(16, 16, 0) if value == 0 else dab(32, 32, 1)
    answer = Steering(planes, start, start_weight=weight).answer({0: painted})[0]
    inside = painted == value
    assert (answer[inside] == value).all()
    far = ndi.distance_transform_edt(~inside) > 40
    assert ((answer > 0.5) == (start[0] > 0.5))[far].mean() > 0.8


def test_a_line_across_one_object_takes_no_others_away():
    """Background alone is painted, on what looks like all that is right."""
    image, truth = simulate.nuclei((200, 200), np.random.default_rng(3))
    objects = ndi.label(truth)[0]
    largest = objects == np.bincount(objects.ravel())[1:].argmax() + 1
    middle = int(ndi.center_of_mass(largest)[1])
    painted = np.full(truth.shape, 255, np.uint8)
    painted[np.flatnonzero(largest.any(axis=1)), middle - 1 : middle + 2] = 0
    (answer,) = Steering([image.astype(np.float32)], [np.where(truth, 0.95, 0.05)]).answer({0: painted})
    free = (truth > 0) & (painted == 255)
    assert (answer > 0.5)[free & ~largest].mean() > 0.97
    assert (answer > 0.5)[free & largest].mean() > 0.6


def test_what_is_unlike_all_that_is_right_goes_by_one_dab():
    image, truth = simulate.nuclei((200, 200), np.random.default_rng(3))
    dirt, start = image.astype(np.float32), np.where(truth, 0.95, 0.05)
    for at in (np.s_[30:37, 40:58], np.s_[140:147, 150:168]):
        dirt[at], start[at] = 2 * image.max(), 0.95
    painted = np.full(truth.shape, 255, np.uint8)
    painted[32:35, 47:51] = 0
    (answer,) = Steering([dirt], [start]).answer({0: painted})
    assert (answer > 0.5)[30:37, 40:58].mean() < 0.5
    assert ((answer > 0.5) == (truth > 0))[60:130].mean() > 0.99


def test_strokes_that_contradict_each_other_stay_where_they_are(cells):
    planes, _, start = cells
    painted = dab(48, 48, 0, dab(16, 48, 1, dab(80, 48, 0, dab(48, 80 + 32, 1))), radius=4)
    found = Steering(planes, start).answer({0: painted})[1]
    assert ((found > 0.5) == (start[1] > 0.5)).mean() > 0.9


def test_an_unlike_image_is_left_as_it_was(cells):
    planes, _, start = cells
    unlike = (50 * np.random.default_rng(2).normal(size=SHAPE)).cumsum(axis=1).astype(np.float32)
    guess = np.full(SHAPE, 0.3, np.float32)
    found = Steering([*planes, unlike], [*start, guess]).answer({0: dab(16, 16, 0, dab(48, 48, 1))})[2]
    assert (found < 0.5).mean() > 0.99


def test_a_large_area_counts_as_one_stroke(cells, monkeypatch):
    planes, _, start = cells
    asked = Steering(planes, start)
    spots = asked._spots({0: dab(48, 48, 0, radius=40), 1: dab(48, 48, 1)})
    assert len(spots.image) <= 2 * steering.SPOTS
    np.testing.assert_allclose(np.bincount(spots.stroke, spots.weight), 1)


@pytest.mark.parametrize("shape", [(8, 8), (9, 300), (513, 515), (8, 16400)])
@pytest.mark.parametrize("p", [0.0, 0.2, 1.0])
def test_planes_of_any_size_even_empty_ones(shape, p):
    plane, painted = np.zeros(shape, np.float32), np.full(shape, 255, np.uint8)
    painted[2:4, 3:5], painted[-3:, -3:] = 1, 0
    found = Steering([plane], [np.full(shape, p)]).answer({0: painted})[0]
    assert found.shape == shape and found.dtype == np.float32 and np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1


def test_objects_that_touch_are_parted_at_their_necks_and_slight_ones_kept():
    y, x = np.indices((40, 80))
    mask = (np.hypot(y - 20, x - 20) < 12) | (np.hypot(y - 20, x - 41) < 12)
    mask[20, 70:74] = True
    found = steering.parted(mask)
    np.testing.assert_array_equal(found > 0, mask)
    assert len({found[20, 20], found[20, 41], found[20, 71]}) == 3
    assert found.max() == 3


def test_an_object_of_an_image_without_strokes_is_judged_as_a_whole(cells):
    planes, _, start = cells
    plane = steering._Plane(planes[0], start[0])
    share = np.random.default_rng(0).random(start[0].size).astype(np.float32)
    found = plane.by_object(share)
    objects, count = ndi.label(start[0] > 0.5)
    assert count == 9
    for number in range(1, count + 1):
        np.testing.assert_allclose(found[objects == number], share.reshape(SHAPE)[objects == number].mean(), rtol=1e-5)
    np.testing.assert_array_equal(found[objects == 0], share.reshape(SHAPE)[objects == 0])


def test_trees_that_learn_from_strokes_see_nothing_of_the_start(cells):
    planes, _, start = cells
    one, other = (steering._Plane(planes[0], p).pixels for p in (start[0], 1 - start[0]))
    np.testing.assert_array_equal(one[:, : -steering.TOLD], other[:, : -steering.TOLD])
    assert (one[:, -steering.TOLD :] != other[:, -steering.TOLD :]).any(axis=0).sum() >= steering.TOLD - 3


@pytest.mark.parametrize("strokes", [{2: np.zeros(SHAPE, np.uint8)}, {0: np.zeros((5, 5), np.uint8)}])
def test_strokes_that_fit_no_plane_are_refused(cells, strokes):
    planes, _, start = cells
    with pytest.raises(InputError, match="fit no image"):
        Steering(planes, start).answer(strokes)


def test_probabilities_must_lie_on_the_planes():
    with pytest.raises(InputError, match="do not lie on planes"):
        Steering([np.zeros(SHAPE)], [np.zeros((4, 4))])


@pytest.mark.parametrize("weight", [-0.1, 1.5, np.nan])
def test_the_weight_of_the_start_is_nought_to_one(cells, weight):
    planes, _, start = cells
    with pytest.raises(InputError, match="give 0 to 1"):
        Steering(planes, start, start_weight=weight)


@pytest.mark.parametrize("unlike", [1.0, 2.0, np.inf])
def test_an_image_changes_no_more_than_those_with_strokes_or_keeps_its_start(cells, monkeypatch, unlike):
    planes, wanted, start = cells
    few = np.where(wanted[1], 0.1, start[1]).astype(np.float32)  # unwanted discs alone
    strokes = {0: dab(48, 48, 1, dab(16, 16, 0, dab(16, 80, 0, dab(80, 16, 0, dab(80, 80, 0)))))}
    monkeypatch.setattr(steering, "UNLIKE", unlike)
    own, other = Steering(planes, [start[0], few]).answer(strokes)
    changes = [(1 + (a > 0.5).sum()) / (1 + (b > 0.5).sum()) for a, b in ((own, start[0]), (other, few))]
    assert changes[0] < 0.9
    if unlike == 1:  # not the same to the pixel
        np.testing.assert_array_equal(other, few)
    else:
        assert (other != few).any()
        assert 1 / unlike <= changes[1] / changes[0] <= unlike


def test_at_weight_nought_strokes_alone_count_in_all_images(cells):
    planes, wanted, start = cells
    strokes = {0: dab(48, 16, 1, dab(16, 48, 1, dab(16, 16, 0, dab(32, 32, 0, dab(16, 80, 0, radius=8)))))}
    wrong = [1 - p for p in start]
    alone, as_well = (Steering(planes, p, start_weight=0.0).answer(strokes) for p in (start, wrong))
    for found, other, smooth in zip(alone, as_well, wanted, strict=True):
        assert ((found > 0.5) == (other > 0.5)).mean() > 0.99  # whatever the start says, but where strokes tie
        assert (found[smooth] > 0.5).mean() > 2 * (found[~smooth] > 0.5).mean()


def test_the_weight_of_the_start_may_change_between_answers(cells):
    planes, _, start = cells
    painted = {0: dab(48, 48, 1, dab(16, 16, 0))}
    asked = Steering(planes, start)
    before = asked.answer(painted)
    asked.start_weight = 0.3
    lower = asked.answer(painted)
    expected = Steering(planes, start, start_weight=0.3).answer(painted)
    assert all((a != b).any() for a, b in zip(before, lower, strict=True))
    for a, b in zip(lower, expected, strict=True):
        np.testing.assert_array_equal(a, b)
