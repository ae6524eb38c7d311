"""Supervised baselines: no image is predicted by a network that saw its mask, or that of its frame."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import Task
from napari_metastructure.baselines.supervised import cross_fitted, frame_of
from napari_metastructure.errors import InputError
from napari_metastructure.networks.model import Prediction
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import TrainFinished, Warned
from napari_metastructure.training.metrics import dice


def result(steps):
    """What a generator yields, and what it returns."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


class Spy:
    """Stands for the training: its models tell by the value of the probability which planes they were trained on."""

    def __init__(self):
        self.trained, self.configs = [], []

    def __call__(self, pairs, config, control):
        self.trained.append([pair.name for pair in pairs])
        self.configs.append(config)
        number = len(self.trained) - 1

        def predict(image, device, checkpoint, name):
            assert name not in self.trained[number]
            return Prediction(np.ones(image.shape, np.uint8), np.full(image.shape, number, np.float32))

        yield Warned("so it goes")
        yield TrainFinished(False, "", 1, None, SimpleNamespace(predict=predict, release=lambda: None))


def grouped(planes, groups, seed):
    masks = tuple(p > p.mean() for p in planes)
    names = tuple(f"p{i}" for i in range(len(planes)))
    return Task(tuple(planes), masks, tuple(groups), names, seed, "cpu", Control(), CompareConfig())


@given(groups=st.lists(st.sampled_from("abcd"), min_size=2, max_size=12), seed=st.integers(0, 99))
def test_every_plane_is_predicted_once_by_a_network_that_saw_nothing_of_its_group(groups, seed):
    if len(set(groups)) < 2:
        return
    spy, planes = Spy(), [np.arange(64.0).reshape(8, 8)] * len(groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_metastructure.training.supervised.train", spy)
        _, found = result(cross_fitted(grouped(planes, groups, seed), "unet"))
    names = [f"p{i}" for i in range(len(groups))]
    assert sorted(spy.trained[0] + spy.trained[1]) == sorted(names)
    group = dict(zip(names, groups, strict=True))
    for name, said in zip(names, found, strict=True):
        number = int(said.score[0, 0])
        assert group[name] not in {group[other] for other in spy.trained[number]}


def test_the_comparison_sets_network_seed_and_validation(monkeypatch, task, discs):
    spy = Spy()
    monkeypatch.setattr("napari_metastructure.training.supervised.train", spy)
    seen, found = result(cross_fitted(task(*discs(4), seed=7, train=TrainConfig(epochs=3, patience=2)), "hrnet"))
    assert [e.message for e in seen] == ["so it goes"] * 2 and len(found) == 4
    for config in spy.configs:
        assert (config.network, config.seed, config.device, config.epochs) == ("hrnet", 7, "cpu", 3)
        assert (config.validation_fraction, config.patience) == (0, 0)


def test_it_learns_and_tells_how_far_it_is(task, discs):
    images, masks = discs(4)
    train = TrainConfig(epochs=2, steps_per_epoch=12, batch_size=2, base_channels=4, learning_rate=2e-2)
    seen, found = result(cross_fitted(task(images, masks, train=train), "light-unet"))
    assert np.mean([dice(s.mask, m) for s, m in zip(found, masks, strict=True)]) > 0.8
    np.testing.assert_array_equal(found[0].mask, found[0].score > 0.5)
    assert len(seen) == 2 * 2 * 12 and seen == sorted(seen) and seen[-1] == 1


def test_a_real_unet(task, discs):
    images, masks = discs(2)
    masks = [m.astype(np.uint8) for m in masks]
    masks[0][:10] = 255  # unlabelled
    train = TrainConfig(epochs=1, steps_per_epoch=1, batch_size=2, encoder="resnet18")
    _, found = result(cross_fitted(task(images, masks, train=train), "unet"))
    assert [s.mask.shape for s in found] == [(40, 48)] * 2


@pytest.mark.parametrize(
    ("groups", "change", "sentence"),
    [
        ("aaaa", None, "two files or frames"),
        ("abcd", lambda m: None, "need masks"),
        ("abcd", lambda m: [x & False for x in m], "hold no foreground"),
        ("abcd", lambda m: [x | True for x in m], "hold no background"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(task, discs, groups, change, sentence):
    images, masks = discs(4)
    with pytest.raises(InputError, match=sentence):
        result(cross_fitted(task(images, change(masks) if change else masks, groups), "unet"))


def test_a_stop_gives_no_half_result(task, discs):
    images, masks = discs(4)
    job = task(images, masks)
    steps = cross_fitted(job, "light-unet")
    next(steps)
    job.control.stop()
    with pytest.raises(Stopped):
        result(steps)


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("stack1_000_y0048_x0944", "stack1_000"),
        ("stack1_000_y0048", "stack1_000"),
        ("stack1_000", "stack1_000"),
        ("my_yeast_x2", "my_yeast_x2"),
    ],
)
def test_crops_are_of_the_frame_they_were_cut_from(name, frame):
    assert frame_of(name) == frame
