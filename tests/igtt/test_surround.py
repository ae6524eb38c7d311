"""What lies outside a field of view is no object: not in any round, and not when the model is applied."""

import numpy as np
import pytest

from napari_metastructure.igtt.apply import load_model
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.levels import Levels
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.images.surround import fill, surround
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.checkpoint import load_model as read_model
from napari_metastructure.training.events import EpochFinished, RunStarted


@pytest.fixture
def green(fundus):
    """The green channel of a small photograph, its vessels, and what lies outside."""
    picture = fundus(128)
    plane = picture.rgb[..., 1].astype(np.float32)
    return plane, picture.vessels, surround(plane, "dark")


@pytest.mark.parametrize("start", ["otsu", "prior"])
def test_no_round_finds_anything_in_the_surround(green, quick, tmp_path, start):
    plane, _, outside = green
    config = quick.model_copy(update={"start": start})
    events = list(iterate([plane], config, folder=tmp_path, colour="green"))
    (begun,) = [e for e in events if isinstance(e, RunStarted)]
    assert begun.objects == "dark"
    rounds = [e for e in events if isinstance(e, EpochFinished)]
    assert len(rounds) == 3
    for event in rounds:
        assert not event.masks[0][outside].any()
        assert not event.probabilities[0][outside].any()
        assert (event.labels[0][outside] == UNLABELLED).all()
        assert not (event.labels[0][~outside] == UNLABELLED).all()
    use = read_model(tmp_path / "model.safetensors")[2]
    assert (use.colour, use.surround) == ("green", True)


def test_the_start_finds_vessels_and_not_the_surround(green, quick):
    plane, vessels, outside = green
    start = next(e for e in iterate([plane], quick) if isinstance(e, EpochFinished))
    mask, inside = start.masks[0] > 0, ~outside
    assert mask.mean() < 0.3  # the surround alone is a third of the image
    assert 2 * (mask & vessels & inside).sum() / (mask.sum() + (vessels & inside).sum()) > 0.6


def test_a_model_that_was_saved_leaves_the_surround_out_as_well(green, quick, tmp_path):
    plane, _, outside = green
    list(iterate([plane], quick, folder=tmp_path))
    model = load_model(tmp_path)
    labels, probability = model.predict(plane, "cpu")
    assert not labels[outside].any() and not probability[outside].any()
    filled = fill(plane, outside)
    assert surround(filled, "dark") is None
    p = model.predict(filled, "cpu").probability
    np.testing.assert_array_equal(probability[~outside], p[~outside])
    mask, _ = Levels(filled, "dark").cut(np.where(outside, 0, p))
    np.testing.assert_array_equal(labels > 0, mask & ~outside)
    assert 0.01 < mask.mean() < 0.5


@pytest.mark.parametrize("criterion", ["level", "edge", "dmi"])
def test_what_is_remembered_of_the_surround_is_nothing(criterion):
    rng = np.random.default_rng(0)
    planes = [rng.normal(size=(32, 40)).astype(np.float32)]
    outside = np.zeros((32, 40), bool)
    outside[:, :9] = True
    config = IGTTConfig(criterion=criterion)
    labels = PseudoLabels([rng.random((32, 40))], config, np.random.default_rng(0), planes, [outside])
    labels.begin()
    for _ in range(2):
        labels.update([np.where(outside, 1, rng.random((32, 40))).astype(np.float32)])
        assert not labels.masks[0][outside].any() and labels.masks[0].any()
        assert not labels.evidence[0][outside].any()
        assert (labels.labels[0][outside] == UNLABELLED).all()
    again = PseudoLabels([], config, np.random.default_rng(0), planes, [outside])
    again.restore(labels.state())
    np.testing.assert_array_equal(again.masks[0], labels.masks[0])
    np.testing.assert_array_equal(again.labels[0], labels.labels[0])


def test_who_paints_in_the_surround_means_it(green, quick):
    plane, _, outside = green
    painted = np.full(plane.shape, UNLABELLED, np.uint8)
    painted[:5, :5] = 1
    assert outside[:5, :5].all()
    finished = list(iterate([plane], quick.model_copy(update={"epochs": 1}), corrections={0: painted}))[-1]
    assert finished.masks[0][:5, :5].all()
    assert not finished.masks[0][5:][outside[5:]].any()


def test_a_start_of_the_users_own_is_cut_as_well(green, quick):
    plane, _, outside = green
    everything = np.ones(plane.shape, np.uint8)
    start = next(e for e in iterate([plane], quick, start_masks=[everything]) if isinstance(e, EpochFinished))
    assert not start.masks[0][outside].any()


def test_resuming_goes_on_with_the_same_masks(green, quick, tmp_path):
    plane = green[0]
    whole = list(iterate([plane], quick, folder=tmp_path / "whole"))[-1]
    first = quick.model_copy(update={"epochs": 1})
    list(iterate([plane], first, folder=tmp_path / "parts"))
    parts = list(iterate([plane], quick, folder=tmp_path / "parts", resume=True))[-1]
    np.testing.assert_array_equal(parts.masks[0], whole.masks[0])
