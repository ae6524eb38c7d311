"""Questions: never the same pixel twice, the same for the same seed, where doubt is; and when to stop asking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.asking import APART, LAST, PLANES, Gain, Place, Questions
from napari_metastructure.images.defects import mended


def planes(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes], [rng.random(shape) for shape in shapes]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(2, 24), st.integers(2, 24)), min_size=1, max_size=4),
    how=st.sampled_from(["unsure", "random"]),
    seed=st.integers(0, 5),
    rounds=st.integers(1, 4),
    painted=st.booleans(),
)
def test_no_pixel_is_asked_about_twice_and_none_that_has_its_class(sizes, how, seed, rounds, painted):
    images, p = planes(*sizes, seed=seed)
    strokes = {0: np.where(np.arange(images[0].size).reshape(sizes[0]) % 2, 255, 1)} if painted else {}
    asked: list[Place] = []
    for _ in range(rounds):
        found = Questions(images.__getitem__, seed).next(p, 7, how, asked, strokes)
        again = Questions(images.__getitem__, seed).next(p, 7, how, asked, strokes)
        assert found == again
        asked += found
    assert len(asked) == len(set(asked))
    for plane, y, x in asked:
        assert 0 <= y < sizes[plane][0] and 0 <= x < sizes[plane][1]
        assert plane not in strokes or strokes[plane][y, x] == 255
    free = sum(h * w for h, w in sizes) - sum(int((s == 1).sum()) for s in strokes.values())
    assert len(asked) == min(7 * rounds, free)


def test_unsure_places_lie_where_doubt_is_and_apart():
    (image,), _ = planes((96, 96))
    p = np.full((96, 96), 0.01)
    p[:, 48:] = 0.5
    found = Questions([image].__getitem__).next([p], 8)
    assert len(found) == 8
    assert all(x >= 44 for _, _, x in found)
    for one in found:
        others = [o for o in found if o != one]
        assert min(max(abs(one.y - o.y), abs(one.x - o.x)) for o in others) >= APART


def test_what_stands_for_many_comes_before_what_is_rare():
    rng = np.random.default_rng(0)
    image, p = rng.normal(0, 0.1, (96, 96)), np.full((96, 96), 0.01)
    image[:, :48] += 5
    p[:, 10:40] = 0.35  # much of one kind, and a spot of another that is less sure still
    p[40:50, 70:80] = 0.5
    first = Questions([image].__getitem__).next([p], 1)[0]
    assert first.x < 48


def test_random_places_go_on_where_they_ended_and_are_uniform():
    images, p = planes((40, 50), (20, 10))
    questions = Questions(images.__getitem__, 3)
    ten = questions.next(p, 10, "random")
    assert questions.next(p, 6, "random", ten[:4]) == ten[4:]
    assert Questions(images.__getitem__, 4).next(p, 10, "random") != ten
    many = questions.next(p, 1100, "random")
    assert sum(place.plane == 1 for place in many) == pytest.approx(100, abs=30)  # 200 of 2200 pixels


def test_outside_the_field_of_view_nothing_is_asked():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    inside = (y - 64) ** 2 + (x - 64) ** 2 < 50**2
    pixels = rng.normal(100, 10, (128, 128))
    for image in (np.where(inside, pixels, 0), np.where(inside, pixels, 255), np.where(inside, pixels, np.nan)):
        for how in ("unsure", "random"):
            found = Questions([image].__getitem__).next([np.full(image.shape, 0.5)], 60, how)
            assert len(found) == 60 and all(inside[y, x] for _, y, x in found)
    assert Questions([np.full((8, 8), np.nan)].__getitem__).next([np.full((8, 8), 0.5)], 3) == []
    assert Questions([np.ones((1, 1))].__getitem__).next([np.ones((1, 1))], 3, "random") == []


@pytest.mark.parametrize("how", ["unsure", "random"])
def test_defects_and_margins_are_seen_as_the_run_sees_them(how):
    (image,), (p,) = planes((64, 64))
    inside = np.zeros(image.shape, bool)
    inside[12:, 9:] = True
    found = Questions([np.where(inside, image, 0.5)].__getitem__).next([p], 40, how)
    assert len(found) == 40 and all(inside[place.y, place.x] for place in found)
    kept = Questions([np.where(inside, image, 0.5)].__getitem__, mends=False).next([p], 40, how)
    assert not all(inside[place.y, place.x] for place in kept)
    hot = image.copy()
    hot[20, 30] = 1e6
    asked = [Questions([plane].__getitem__).next([p], 9, how) for plane in (hot, mended(hot))]
    assert asked[0] == asked[1]


def test_only_some_planes_of_many_are_read_in_a_round():
    images, p = planes(*[(12, 12)] * (2 * PLANES))
    read: set[int] = set()
    questions = Questions(lambda i: read.add(i) or images[i])
    assert len(questions.next(p, 5)) == 5
    assert len(read) == PLANES


@pytest.mark.parametrize("p", [np.zeros((16, 16)), np.full((16, 16), np.nan), np.ones((16, 16))])
def test_sure_and_undefined_probabilities_still_get_questions(p):
    assert len(Questions([np.zeros((16, 16)) + np.arange(16)].__getitem__).next([p], 4)) == 4


def test_wrong_arguments_are_named():
    (image,), p = planes((8, 8))
    with pytest.raises(InputError, match="'unsure' or 'random', not 'best'"):
        Questions([image].__getitem__).next(p, 1, "best")
    with pytest.raises(InputError, match=r"image 1 of \(8, 8\)"):
        Questions([image].__getitem__).next([np.zeros((9, 8))], 1)
    assert Questions([].__getitem__).next([], 3) == []


# ---- gain ----------------------------------------------------------------------------------------------------


def mask(rows):
    found = np.zeros((100, 100), bool)
    found[:rows] = True
    return found


def test_it_is_over_once_few_answers_contradict_and_masks_stay():
    gain = Gain()
    gain.see([mask(50)], 0)
    for number in range(LAST):
        assert gain.changed is None and not gain.over
        gain.contradicted.append(number == 3)
    gain.see([mask(50)], LAST)
    assert (gain.wrong, gain.changed, gain.over) == (1, 0.0, True)
    assert "hardly gain" in str(gain)
    gain.contradicted.append(True)
    assert gain.wrong == 2 and not gain.over
    gain.contradicted.pop()
    assert gain.over


@pytest.mark.parametrize(("wrong", "said"), [(True, "corrected"), (False, "agreed with")])
def test_one_answer_is_no_number_of_answers(wrong, said):
    gain = Gain()
    gain.contradicted.append(wrong)
    assert str(gain) == f"The answer {said} the masks."


def test_it_goes_on_while_masks_change():
    gain = Gain()
    gain.see([mask(40)], 0)
    gain.contradicted = [False] * LAST
    gain.see([mask(60)], LAST)
    assert gain.changed == pytest.approx(1 - 80 / 100)
    assert not gain.over and "20.0 %; expect" in str(gain)
    gain.contradicted.pop()  # taken back: those masks are no longer so
    assert gain.changed is None
    gain.contradicted.append(False)
    gain.see([mask(60), mask(3)], LAST)  # other planes: nothing to compare with
    assert gain.changed is None


def test_masks_are_compared_with_those_of_ten_answers_ago():
    gain = Gain()
    for number in range(LAST + 5):
        gain.see([mask(20 if number < 5 else 50)], number)
        gain.contradicted.append(False)
    gain.see([mask(50)], LAST + 5)
    assert gain.changed == 0 and gain.over


def test_nothing_answered_is_said():
    gain = Gain()
    assert str(gain) == "Nothing was answered yet."
    gain.see([np.zeros((0, 0))], 0)
    assert gain.changed is None
