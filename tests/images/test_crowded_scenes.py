"""Scenes of bright and of dark objects."""

import numpy as np
import pytest

from napari_metastructure.images.crowded_scenes import CROWDS, KINDS, PolarityScenes
from napari_metastructure.images.scenes import FAMILIES, Scenes


class Unblurred(PolarityScenes):
    """Scenes without a camera, which keep the distance from the objects that they show."""

    def _lit(self, view, distance, ring):
        self.shown = distance
        return super()._lit(view, distance, ring)

    def _photographed(self, light, blur):
        return light


def test_objects_are_as_bright_or_as_dark_as_they_are_said_to_be():
    scenes, dark, kinds = Unblurred(96, np.random.default_rng(0), stock=24), [], []
    for _ in range(80):
        image, objects, kind = scenes.example()
        inside, near = scenes.shown < -0.5, (scenes.shown > 1) & (scenes.shown < 15)
        brighter = image[inside].mean() > image[near].mean()
        assert brighter == (objects == "bright")
        dark.append(objects == "dark")
        kinds.append(kind)
    assert 0.3 < np.mean(dark) < 0.7
    assert 0.2 < np.mean([kind in CROWDS for kind in kinds]) < 0.5
    assert set(kinds) <= set(KINDS)


def test_the_same_seed_gives_the_same_scenes_and_each_is_another():
    first, second = (PolarityScenes(64, np.random.default_rng(3), stock=4) for _ in range(2))
    drawn = []
    for _ in range(8):
        (image, *facts), (other, *others) = first.example(), second.example()
        np.testing.assert_array_equal(image, other)
        assert facts == others
        assert (image.shape, image.dtype) == ((64, 64), np.float32)
        assert np.isfinite(image).all()
        assert image.min() >= 0
        drawn.append(image.tobytes())
    assert len(set(drawn)) == 8


@pytest.mark.parametrize("name", CROWDS)
def test_crowds_fill_most_of_the_image_and_touch(name):
    drawn = [CROWDS[name][0]((128, 128), np.random.default_rng(seed)) for seed in range(10)]
    shares = [np.mean(shapes.distance < 0) for shapes in drawn]
    assert np.mean(shares) > 0.45
    assert all(shapes.distance.dtype == np.float32 and shapes.family == name for shapes in drawn)


def test_crowds_are_renewed_and_the_scenes_of_the_prior_hold_none():
    scenes = PolarityScenes(32, np.random.default_rng(0), stock=4, renewed=0.5)
    for _ in range(30):
        scenes.example()
    before = list(scenes._crowds)
    for _ in range(40):
        scenes.example()
    assert len(scenes._crowds) == 2
    assert not any(old is new for old in before for new in scenes._crowds)
    assert Scenes.families is FAMILIES
    assert not set(FAMILIES) & set(CROWDS)
