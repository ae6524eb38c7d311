"""Bright or dark objects."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import ndimage as ndi

from napari_metastructure.igtt.polarity import (
    WEIGHTS,
    PolarityNetwork,
    answer,
    evidence,
    load_polarity_network,
    polarities,
    seen,
    with_set,
)
from napari_metastructure.igtt.start import load_prior
from napari_metastructure.images import simulate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prior():
    return load_prior()


def told(prior, plane):
    return polarities(prior, [plane], CPU).objects[0]


def test_the_file_holds_the_network_of_the_code_in_half_precision():
    weights, network = load_file(WEIGHTS), load_polarity_network()
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in PolarityNetwork().state_dict().items()
    }
    assert (network.shares > 0).all()  # both speak for what they say
    assert WEIGHTS.stat().st_size < 250 * 2**10  # it ships with every install


@pytest.mark.parametrize("simulator", [simulate.endoplasmic_reticulum, simulate.mitochondria, simulate.nuclei])
def test_it_knows_objects_it_was_not_made_from_and_an_inverted_image_is_inverted(simulator, prior):
    for seed in range(3):
        image = simulator((160, 192), np.random.default_rng(seed))[0].astype(np.float32)
        assert told(prior, image) == "bright"
        assert told(prior, 1e5 - image) == "dark"


def test_the_network_answers_an_inverted_plane_by_the_inverse():
    network = load_polarity_network()
    for shape in ((128, 128), (40, 90), (300, 257)):
        plane = ndi.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2).astype(np.float32)
        upright, inverted = (answer(network, seen(p)) for p in (plane, 3 - 7 * plane))
        assert upright == pytest.approx(-inverted, abs=1e-3)
        assert abs(upright) > 1e-4


def crowded_discs(dark_discs):
    """Discs on a lattice that touch, with thin gaps of the other brightness between them."""
    y, x = np.mgrid[:256, :256]
    image = np.zeros((256, 256))
    for row in range(-1, 8):
        for column in range(-1, 8):
            away = np.hypot(y - 36 * row, x - 40 * (column + row % 2 / 2))
            image = np.maximum(image, np.clip(20 - away, 0, 1) * (0.8 + 0.2 * (1 - (away / 20) ** 2).clip(0)))
    image = ndi.gaussian_filter(image, 1) + np.random.default_rng(0).normal(0, 0.04, image.shape)
    return ((1 - image) if dark_discs else image).astype(np.float32)


def test_dark_discs_that_fill_the_image_are_no_bright_network(prior):
    plane = crowded_discs(dark_discs=True)
    (found,) = evidence(prior, load_polarity_network(), [plane], CPU)
    assert found.sureness > 0  # the prior takes the gaps for a network
    assert told(prior, plane) == "dark"
    assert told(prior, crowded_discs(dark_discs=False)) == "bright"


def test_polarity_is_found_image_by_image(prior):
    rng = np.random.default_rng(0)
    images = [make((128, 128), rng)[0].astype(np.float32) for make in (simulate.nuclei, simulate.mitochondria) * 2]
    images = [image if i < 2 else 1e5 - image for i, image in enumerate(images)]
    assert polarities(prior, images, CPU) == (["bright", "bright", "dark", "dark"], [False] * 4)
    assert polarities(prior, images[2:], CPU) == (["dark", "dark"], [False] * 2)
    assert polarities(prior, [], CPU) == ([], [])


def test_what_speaks_for_a_plane_does_not_depend_on_those_it_is_asked_about_with(prior):
    rng, network = np.random.default_rng(0), load_polarity_network()
    sizes = [(64, 64), (400, 300), (64, 64), (40, 90), (64, 64), (40, 90), (64, 64)]
    planes = [simulate.nuclei(size, rng)[0].astype(np.float32) for size in sizes]
    planes[2][:, :20] = 0  # outside the field of view
    together = evidence(prior, network, planes, CPU)
    for plane, own in zip(planes, together, strict=True):
        np.testing.assert_allclose(own, evidence(prior, network, [plane], CPU)[0], atol=1e-4)
    assert len({round(own.sureness, 6) for own in together}) == len(planes)


def test_a_set_decides_for_the_doubtful_and_for_no_other():
    most, doubtful, sure = np.full(18, 10.0), -0.5, -4.0
    assert (np.sign(with_set(np.array([*most, doubtful, sure]))) == [1] * 19 + [-1]).all()
    assert with_set(np.array([0.1])) == pytest.approx([0.2], abs=1e-3)
    assert with_set(np.empty(0)).size == 0


def test_polarity_is_uncertain_where_neither_way_shows_objects(prior):
    noise = np.random.default_rng(0).normal(size=(96, 96)).astype(np.float32)
    assert polarities(prior, [noise, -noise], CPU).uncertain == [True, True]


def test_the_black_around_a_field_of_view_is_not_asked(prior):
    image = simulate.nuclei((200, 200), np.random.default_rng(1))[0].astype(np.float32)
    y, x = np.mgrid[:200, :200]
    around = np.hypot(y - 100, x - 100) > 95
    inverted = np.where(around, 0, image.max() - image + 0.2 * np.ptp(image)).astype(np.float32)
    assert told(prior, inverted) == "dark"


@pytest.mark.parametrize("shape", [(8, 8), (8, 400), (300, 9), (33, 65)])
def test_planes_of_any_size(shape, prior):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = polarities(prior, [plane, np.zeros(shape, np.float32), np.full(shape, 3e4, np.float32)], CPU)
    assert set(found.objects) <= {"bright", "dark"}
    network = load_polarity_network()
    assert answer(network, seen(np.full(shape, 3e4, np.float32))) == pytest.approx(0, abs=1e-3)


def test_the_same_images_get_the_same_answer(prior):
    plane = simulate.nuclei((96, 128), np.random.default_rng(2))[0].astype(np.float32)
    network = load_polarity_network()
    before = plane.copy()
    plane.setflags(write=False)
    assert answer(network, seen(plane)) == answer(network, seen(plane))
    np.testing.assert_array_equal(plane, before)


def test_it_can_be_left(prior):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        polarities(prior, [np.eye(64, dtype=np.float32)], CPU, stop)
