"""Random scenes: what the prior learns from."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.images.scenes import FAMILIES, LARGEST, NOTHING, SMALLEST, Scenes, draw_shapes, field


def test_a_scene_is_an_image_of_bright_objects():
    scenes, brighter, sizes = Scenes(96, np.random.default_rng(0), stock=12), [], []
    for _ in range(60):
        image, mask = scenes.draw()
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((96, 96), np.float32, (96, 96), np.bool_)
        assert np.isfinite(image).all()
        assert image.min() >= 0
        sizes.append(mask.mean())
        ring = ndi.binary_dilation(mask, iterations=4) & ~mask
        if mask.any() and ring.any():
            brighter.append(image[mask].mean() > image[ring].mean())
    assert np.mean(brighter) > 0.85  # noise and bodies may drown one
    assert SMALLEST / 10 < np.mean(sizes) < LARGEST + 0.2
    assert len(set(np.round(sizes, 4))) > 40


def test_objects_darker_than_the_background_are_no_objects():
    scenes = Scenes(64, np.random.default_rng(0), stock=20)
    empty = [not scenes.draw()[1].any() for _ in range(200)]
    assert 0 < np.mean(empty) < 3 * NOTHING


def test_the_same_seed_gives_the_same_scenes_and_each_is_another():
    first, second = (Scenes(64, np.random.default_rng(3), stock=4) for _ in range(2))
    drawn = []
    for _ in range(6):
        for one, other in zip(first.draw(), second.draw(), strict=True):
            np.testing.assert_array_equal(one, other)
        drawn.append(first.draw()[0])
        second.draw()
    assert len({image.tobytes() for image in drawn}) == 6


def test_shapes_of_the_stock_are_renewed():
    scenes = Scenes(32, np.random.default_rng(0), stock=2, renewed=0.5)
    for _ in range(4):
        scenes.draw()
    before = list(scenes._shapes)
    for _ in range(20):
        scenes.draw()
    assert len(scenes._shapes) == 2
    assert not any(old is new for old in before for new in scenes._shapes)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_draws_objects_and_background(name):
    drawn = [FAMILIES[name][0]((96, 96), np.random.default_rng(seed)) for seed in range(8)]
    shares = [np.mean(shapes.distance < 0) for shapes in drawn]
    assert 0.01 < np.mean(shares) < 0.9
    assert max(shares) > min(shares)
    for shapes in drawn:
        assert shapes.family == name
        assert shapes.distance.shape == shapes.regions.shape == (96, 96)
        assert (shapes.distance.dtype, shapes.regions.dtype) == (np.float32, np.int32)
        assert shapes.radius > 0


@pytest.mark.parametrize("name", ["blobs", "worms"])
def test_a_distance_is_that_of_the_outline(name):
    shapes = FAMILIES[name][0]((96, 96), np.random.default_rng(1))
    inside = shapes.distance < 0
    away = ndi.distance_transform_edt(~inside)
    near = ~inside & (away < 10)
    assert np.median(np.abs(shapes.distance[near] - away[near])) < 1.5


def test_all_families_are_drawn():
    assert sum(share for _, share in FAMILIES.values()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    assert {draw_shapes((48, 48), rng).family for _ in range(60)} == set(FAMILIES)


@pytest.mark.parametrize("sigma", [1.0, 3.9, 9.0, 40.0])
def test_a_field_has_mean_0_deviation_1_and_grows_smoother(sigma):
    found = field((120, 90), sigma, np.random.default_rng(0))
    assert found.shape == (120, 90)
    assert abs(found.mean()) < 1e-5
    assert found.std() == pytest.approx(1, abs=1e-5)
    neighbours = np.corrcoef(found[1:].ravel(), found[:-1].ravel())[0, 1]
    assert neighbours == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.08)  # of a Gaussian filter's output
