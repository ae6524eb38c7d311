"""Planes and frames as users write them."""

import numpy as np
import pytest

from napari_metastructure.errors import InputError
from napari_metastructure.images.image import Image
from napari_metastructure.images.ranges import Chosen, leading_of, put_back, spelled, taken


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2", (1,)),
        ("1-3, 5", (0, 1, 2, 4)),
        (" 3 – 4 ;1,", (0, 2, 3)),
        ("4-", (3, 4)),
        ("2-3, 3, 2", (1, 2)),
        ("all", None),
        ("", None),
    ],
)
def test_text_becomes_numbers(text, kept):
    assert Chosen(planes=text).kept((5,), "x") == kept


@pytest.mark.parametrize("text", ["0", "3-1", "-2", "a", "1.5", "1-2-3", ",", "1 2", "9" * 10, "①"])
def test_other_text_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="1-10, 15"):
        Chosen(planes=text)


@pytest.mark.parametrize("text", ["6", "2-6", "6-"])
def test_numbers_beyond_the_image_are_refused_by_its_name(text):
    with pytest.raises(InputError, match=r"cells.tif has 5 frames, .* choose 1 to 5"):
        Chosen(frames=text).kept((5, 3), "cells.tif")


def test_frames_and_planes_are_taken_in_the_order_of_the_pixels():
    chosen = Chosen(planes="1,3", frames="2")
    assert chosen.kept((2, 3), "x") == (3, 5)
    assert Chosen(planes="2").kept((2, 2, 3), "x") == (1, 4, 7, 10)
    assert chosen.note((2, 3)) == "Only planes 1, 3 of 3 and frames 2 of 2 were processed; the others are empty."
    assert Chosen().note((2, 3)) == ""
    with pytest.raises(InputError, match="has 1 plane"):
        Chosen(planes="2").kept((), "x")


def test_a_film_without_z_is_cut_by_either_name():
    film = Image(np.zeros((4, 2, 2)), "TYX", (1, 1, 1), ("pixel",) * 3, "film")
    for chosen in (Chosen(planes="2-3"), Chosen(frames="2-3")):
        assert chosen.kept(leading_of(film, chosen), "film") == (1, 2)


def test_planes_come_back_to_their_places():
    planes = [np.full((2, 2), i) for i in range(4)]
    kept = (1, 3)
    back = put_back(taken(planes, kept), kept, 4)
    assert [int(plane[0, 0]) for plane in back] == [0, 1, 0, 3]
    assert put_back(planes, None, 4) == planes


def test_a_choice_is_read_from_a_file_as_far_as_it_is_sound():
    chosen = Chosen(planes="1-2", channel="green")
    assert Chosen.of(chosen.facts()) == chosen
    assert Chosen.of({"planes": 3, "others": "1"}) == Chosen.of({"planes": "x"}) == Chosen.of(None) == Chosen()


def test_numbers_are_spelled_as_ranges():
    assert spelled([0, 1, 2, 9, 11, 12]) == "1-3, 10, 12-13"
