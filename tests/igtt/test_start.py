"""The labels before the first round."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi
from scipy import special
from scipy.special import expit
from skimage.transform import resize

from napari_metastructure.igtt import start
from napari_metastructure.igtt.start import (
    CUTS,
    PRIOR,
    PRIOR_SCALES,
    SPEC,
    TOGETHER,
    USE,
    _of_all_ways,
    candidates,
    cut_at,
    load_prior,
    prior_start,
    start_probability,
)
from napari_metastructure.images import simulate
from napari_metastructure.images.intensity import local_contrast, network_inputs, orient
from napari_metastructure.networks.model_file import load_model
from napari_metastructure.networks.predict import probability
from napari_metastructure.training.metrics import auc, dice


@pytest.mark.parametrize("method", ["fusion", "contrast", "otsu"])
def test_a_start_finds_bright_blobs(blobs, method):
    for image, mask in zip(*blobs, strict=True):
        p = start_probability(image, method)
        assert p.dtype == np.float32 and p.shape == image.shape
        assert p.min() >= 0 and p.max() <= 1
        assert dice(p > 0.5, mask) > 0.75


def test_black_is_black(blobs):
    assert not start_probability(blobs[0][0], "black").any()


@pytest.mark.parametrize("shape", [(8, 8), (8, 400), (33, 9)])
def test_tiny_and_thin_planes(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert candidates(image).shape == (14, *shape)
    assert np.isfinite(start_probability(image, "fusion")).all()


def test_a_plane_that_is_constant_but_for_one_pixel():
    image = np.zeros((32, 32), np.float32)
    image[5, 5] = 1
    assert np.isfinite(start_probability(image, "fusion")).all()


# The prior that ships: what it says of images it was not made from.


CPU = torch.device("cpu")


def test_the_file_says_what_the_code_says():
    _, spec, use = load_model(PRIOR)
    assert (spec, use) == (SPEC, USE)
    assert PRIOR.stat().st_size < 4 * 2**20  # it ships with every install


@pytest.mark.parametrize("simulator", [simulate.endoplasmic_reticulum, simulate.mitochondria, simulate.nuclei])
@pytest.mark.parametrize("objects", ["bright", "dark"])
def test_it_knows_objects_it_was_not_made_from(simulator, objects):
    image, truth = simulator((256, 256), np.random.default_rng(0))
    image = 1e5 - image.astype(float) if objects == "dark" else image
    (p,), _ = prior_start(load_prior(), [orient(image, objects)], CPU)
    assert p.shape == truth.shape
    assert auc(p, truth) > 0.9
    assert dice(p > 0.5, truth) > 0.6


def test_it_is_the_mean_of_the_logits_at_three_sizes_and_in_three_ways(monkeypatch):
    monkeypatch.setattr(start, "LEFT_OUT", np.inf)  # so all three
    image, _ = simulate.endoplasmic_reticulum((256, 256), np.random.default_rng(1))
    plane, prior = orient(image, "bright"), load_prior()

    def seen(z):
        return probability(prior, network_inputs(z.astype(np.float32), USE.inputs, "bright"), USE.patch, CPU)

    def root(z):
        low, high = np.percentile(z, (0.5, 99.9))
        return np.sqrt(((z - low) / (high - low)).clip(0))

    def in_three_ways(z):
        intensity, *others = (logit(seen(way(z))) for way in (np.asarray, root, evened))
        share = (intensity > 0).mean()
        wider = [np.quantile(o, 1 - share) if share < (o > 0).mean() < 1.5 * share else 0 for o in others]
        return expit(intensity / 2 + sum(o - w for o, w in zip(others, wider, strict=True)) / 4)

    logits = [logit(at_size(in_three_ways, plane, side)) for side in (256, 181, 128)]
    (found,), cut = prior_start(prior, [plane], CPU)
    errors = [
        np.abs(found - expit(np.mean(some, axis=0) - logit(cut))).mean() for some in (logits, logits[:2], logits[1:])
    ]
    assert errors[0] < 0.01  # sizes are changed by another library
    assert errors[0] < 0.5 * min(errors[1:])


def logit(p):
    """With P no nearer to 0 and 1 than a thousandth."""
    return special.logit(np.clip(p, 1e-3, 1 - 1e-3))


def evened(z):
    """Local contrast at 32 pixels."""
    return local_contrast(z, 32, fine=0)


@pytest.mark.parametrize(("radius", "found"), [(12, 10), (11, 10), (8, 9), (18, 14)])
def test_a_way_that_finds_somewhat_more_than_intensity_is_narrowed(radius, found):
    """One that finds less, or other objects, counts as it is."""
    away = np.hypot(*np.mgrid[-32:33, -32:33])
    intensity, other = (expit((r - away) / 2) for r in (10, radius))
    (across,) = np.flatnonzero(np.diff(np.sign(_of_all_ways([intensity, other, other])[32, 32:])))
    assert abs(across + 0.5 - found) < 1


def test_where_intensity_finds_nothing_the_other_ways_count():
    nothing, objects = np.full((20, 20), 0.01), np.full((20, 20), 0.01)
    objects[5:15, 5:15] = 0.999
    np.testing.assert_array_equal(_of_all_ways([nothing, objects, objects]) > 0, objects > 0.5)


def test_what_vanishes_at_smaller_sizes_is_looked_at_in_full_size_alone():
    image, truth = simulate.nuclei((128, 128), np.random.default_rng(0))

    class Large(torch.nn.Module):
        """Sees the objects at full size alone."""

        stride = 1

        def forward(self, x):
            p = np.where((truth > 0) & (x.shape[-1] == 128), 0.9, 0.1)
            logits = torch.from_numpy(np.log(p / (1 - p)).astype(np.float32))[None, None]
            return torch.nn.functional.interpolate(logits, x.shape[-2:], mode="bilinear").expand(len(x), 1, -1, -1)

    (p,), _ = prior_start(Large(), [orient(image, "bright")], CPU)
    assert dice(p > 0.5, truth) > 0.9


def test_faint_objects_beside_bright_ones_are_seen_by_the_root_of_the_intensity():
    rng = np.random.default_rng(2)
    image, truth = simulate.mitochondria((256, 256), rng)
    plane = image.astype(float)
    plane[:, 128:] *= 0.04
    plane += rng.normal(0, 0.002 * plane.max(), plane.shape)
    prior, faint = load_prior(), truth[:, 128:]
    (p,), _ = prior_start(prior, [orient(plane, "bright")], CPU)
    alone = probability(prior, network_inputs(orient(plane, "bright"), USE.inputs, "bright"), USE.patch, CPU)
    assert auc(p[:, 128:], faint) > auc(alone[:, 128:], faint)


@pytest.mark.parametrize(("simulator", "side"), [(simulate.endoplasmic_reticulum, 160), (simulate.nuclei, 128)])
def test_an_image_of_more_pixels_than_detail_is_looked_at_in_smaller_sizes(simulator, side, monkeypatch):
    image, truth = simulator((side, side), np.random.default_rng(3))
    whole = (4 * side, 4 * side)
    large, wide = resize(image.astype(float), whole), resize(truth.astype(float), whole) > 0.5
    large += np.random.default_rng(0).normal(0, 0.02 * large.std(), large.shape)
    plane, prior = orient(large, "bright"), load_prior()
    (chosen,), _ = prior_start(prior, [plane], CPU)
    monkeypatch.setattr("napari_metastructure.igtt.start.PRIOR_SCALES", PRIOR_SCALES[:TOGETHER])
    (largest,), _ = prior_start(prior, [plane], CPU)
    assert dice(chosen > 0.5, wide) > max(0.8, dice(largest > 0.5, wide) - 0.03)


def test_sizes_are_chosen_for_the_whole_set():
    rng, prior = np.random.default_rng(4), load_prior()
    planes = [orient(simulate.mitochondria((256, 256), rng)[0], "bright") for _ in range(5)]
    coarse = orient(resize(planes[0], (1024, 1024))[:256, :256], "bright")
    (alone,), cut = prior_start(prior, planes[:1], CPU)
    together = prior_start(prior, [*planes, coarse], CPU)
    shift = np.log(cut / (1 - cut)) - np.log(together.cut / (1 - together.cut))
    p = together.probabilities[0]
    np.testing.assert_allclose(1 / (1 + (1 / p - 1) * np.exp(shift)), alone, atol=1e-4)
    assert prior_start(prior, [], CPU).probabilities == []


def test_inputs_that_are_there_already_are_not_made_again():
    plane, prior = orient(simulate.nuclei((96, 128), np.random.default_rng(0))[0], "bright"), load_prior()
    inputs = [torch.from_numpy(network_inputs(plane, USE.inputs, "bright"))]
    found, expected = (prior_start(prior, [plane], CPU, None, given) for given in (inputs, None))
    np.testing.assert_array_equal(found.probabilities[0], expected.probabilities[0])


def at_size(apply, plane, side):
    """What a function says of a plane that is resized."""
    reduced = resize(plane, (side, side), anti_aliasing=side < len(plane)).astype(np.float32)
    return resize(apply(reduced), plane.shape).clip(1e-6, 1 - 1e-6)


def test_noise_is_taken_for_less_at_several_sizes_and_for_next_to_nothing_at_any(monkeypatch):
    plane, prior = orient(np.random.default_rng(0).normal(size=(256, 256)), "bright"), load_prior()
    one = probability(prior, network_inputs(plane, USE.inputs, "bright"), USE.patch, CPU)
    (chosen,), _ = prior_start(prior, [plane], CPU)
    assert (chosen > 0.5).mean() < 0.001
    monkeypatch.setattr(start, "LEFT_OUT", np.inf)
    (several,), _ = prior_start(prior, [plane], CPU)
    assert (several > 0.5).mean() <= (one > 0.5).mean()


def test_it_can_be_left():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prior_start(load_prior(), [np.zeros((64, 64), np.float32)], CPU, stop)


@pytest.mark.parametrize("shape", [(40, 300), (17, 19), (65, 1), (300, 129)])
def test_planes_of_any_size(shape):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (p,), _ = prior_start(load_prior(), [plane], CPU)
    assert p.shape == shape
    assert np.isfinite(p).all()


def test_the_cut_is_that_whose_outlines_the_edges_confirm():
    image, truth = simulate.nuclei((128, 128), np.random.default_rng(0))
    plane = orient(image, "bright")

    class Wide(torch.nn.Module):
        """Says .75 in the objects, and less the farther out: at each cut but the last they are too wide."""

        stride = 1

        def forward(self, x):
            wide = [np.asarray(ndi.binary_dilation(truth > 0, iterations=n)) for n in (9, 6, 3)]
            p = np.select([truth > 0, wide[2], wide[1], wide[0]], [0.75, 0.65, 0.55, 0.4], 0.1)
            logits = torch.from_numpy(np.log(p / (1 - p)).astype(np.float32))[None, None]
            return torch.nn.functional.interpolate(logits, x.shape[-2:], mode="bilinear").expand(len(x), 1, -1, -1)

    (p,), cut = prior_start(Wide(), [plane], CPU)
    assert cut == CUTS[-1]
    assert dice(p > 0.5, truth) > 0.9


def test_a_cut_network_calls_one_half_what_it_called_the_cut():
    prior, x = load_prior(), torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        before = torch.sigmoid(prior(x))
        cut_at(prior, 0.7)
        after = torch.sigmoid(prior(x))
    assert ((before > 0.7) == (after > 0.5)).float().mean() > 0.999
