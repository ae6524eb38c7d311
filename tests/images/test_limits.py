"""What images show too little for is told of them, and of no ordinary ones."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_metastructure.images.defects import mended
from napari_metastructure.images.limits import limit_notes, limits
from napari_metastructure.images.scenes import Scenes
from napari_metastructure.images.simulate import nuclei

OUTSHONE, LEVELS, NOISE = "far brighter than all else", "grey levels", "noise is so strong"


def scene(seed=0, shape=(160, 180)):
    image, _ = nuclei(shape, np.random.default_rng(seed))
    return 1000 * image.astype(np.float32) / image.max() + 300


def told(*planes, missing=None):
    return limit_notes("abcdefgh"[: len(planes)], [limits(plane, missing) for plane in planes])


def dusty(image, factor=5.0, pieces=2):
    """Some soft specks so many times as bright as the image is at most."""
    specks = np.zeros(image.shape)
    for piece in range(pieces):
        specks[20 + 40 * piece : 26 + 40 * piece, 30:38] = 1
    return image + factor * np.ptp(image) * ndi.gaussian_filter(specks, 1)


def photons(image, most):
    light = (image - image.min()) / np.ptp(image)
    return np.random.default_rng(1).poisson(most * light + 1).astype(np.float32)


def coarse(image, levels=16):
    """A few levels of a range that one object sets."""
    image = (image - image.min()) / np.ptp(image)
    return np.floor((levels - 0.001) * image**3)


@pytest.mark.parametrize(
    ("flaw", "said"), [(dusty, OUTSHONE), (coarse, LEVELS), (lambda image: photons(image, 2), NOISE)]
)
def test_each_limit_is_told_once_and_names_the_plane(flaw, said):
    (note,) = told(scene(1), scene(2), flaw(scene())) if said == OUTSHONE else told(flaw(scene()))
    assert said in note and note.startswith("c: " if said == OUTSHONE else "a: ")
    both = told(flaw(scene(1)), flaw(scene(2)))
    assert len(both) == 1 and both[0].startswith("a and 1 more planes: ")


def test_dust_is_told_among_hot_pixels_that_it_keeps_from_being_mended():
    image = dusty(scene())
    image.ravel()[np.random.default_rng(0).choice(image.size, 12, replace=False)] = 2 * image.max()
    assert mended(image) is image
    (note,) = told(image)
    assert OUTSHONE in note


def test_how_many_levels_there_are_is_told():
    assert told(coarse(scene()))[0].startswith("a: there are only 16 grey levels, and most pixels have the same")


def test_of_nothing_nothing_is_told():
    assert told() == []
    assert limits(np.zeros((20, 30), np.float32), np.ones((20, 30), bool)) is None
    assert told(scene(), missing=np.ones((160, 180), bool)) == []


@pytest.mark.parametrize("make", [scene, lambda: scene() > 700, lambda: np.zeros((50, 40)), lambda: np.ones((1, 1))])
def test_ordinary_planes_masks_and_blank_ones_have_no_limit(make):
    assert told(make().astype(np.float32)) == []


def test_simulated_scenes_have_hardly_ever_one():
    drawn = [Scenes(128, np.random.default_rng(7), stock=6).draw()[0] for _ in range(30)]
    found = [limits(np.asarray(image, np.float32)) for image in drawn]
    assert limit_notes([str(i) for i in range(30)], found) == []
    assert sum(bool(limit_notes("a", [own])) for own in found) <= 3


def test_one_object_on_nothing_but_noise_outshines_nothing():
    rng = np.random.default_rng(0)
    alone = rng.normal(100, 3, (160, 160)).astype(np.float32)
    alone[40:52, 40:52] += 800
    assert told(alone) == []


def test_what_is_as_bright_as_objects_of_another_plane_outshines_nothing():
    bright = scene(3) * 6
    assert OUTSHONE in told(scene(1), dusty(scene()))[0]
    assert told(scene(1), dusty(scene()), bright) == []


@pytest.mark.parametrize("count", [8, 30])
def test_many_bright_things_are_objects(count):
    image = scene()
    spots = np.zeros(image.shape)
    spots.ravel()[np.random.default_rng(0).choice(image.size, count, replace=False)] = 1
    assert not told(image + 1e6 * ndi.gaussian_filter(spots, 1))


def test_noise_alone_is_no_lack_of_light():
    """An empty frame of a stack: there is nothing to miss."""
    empty = np.random.default_rng(0).normal(100, 5, (160, 160)).astype(np.float32)
    assert told(empty) == [] == told(scene(), empty)


def test_levels_that_other_planes_of_the_set_have_as_well_are_not_few():
    dim = np.rint(coarse(scene()) / 2)
    assert LEVELS in told(dim)[0]
    assert told(dim, np.rint(scene(1) / 8)) == []


def test_pixels_that_were_not_measured_count_for_nothing():
    plane, missing = coarse(scene()), np.zeros((160, 180), bool)
    plane[:40], missing[:40] = np.random.default_rng(0).normal(5, 2, (40, 180)), True
    assert told(plane) == [] and LEVELS in told(plane, missing=missing)[0]


@pytest.mark.parametrize("said", [OUTSHONE, NOISE])
def test_large_planes_are_judged_by_a_part(monkeypatch, said):
    monkeypatch.setattr("napari_metastructure.images.limits._PIXELS", 160 * 180 // 4)
    plane = dusty(scene(), 20, 1) if said == OUTSHONE else photons(scene(), 2)
    assert said in told(plane)[0]


@pytest.mark.parametrize("scale", [1e-30, 1e34])
def test_units_do_not_matter(scale):
    for image in (scene(), dusty(scene()), photons(scene(), 2)):
        assert told((image * scale).astype(np.float32)) == told(image)
