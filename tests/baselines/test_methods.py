"""Methods: no image is predicted by a network that saw its mask, or that of its frame."""

from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from sklearn.metrics import f1_score

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import (
    Task,
    adaptive_gaussian,
    cross_fitted,
    frame_of,
    local_contrast,
    otsu,
    ridge,
)
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
        patch.setattr("napari_metastructure.training.train.train", spy)
        _, found = result(cross_fitted(grouped(planes, groups, seed), "unet"))
    names = [f"p{i}" for i in range(len(groups))]
    assert sorted(spy.trained[0] + spy.trained[1]) == sorted(names)
    group = dict(zip(names, groups, strict=True))
    for name, said in zip(names, found, strict=True):
        number = int(said.score[0, 0])
        assert group[name] not in {group[other] for other in spy.trained[number]}


def test_the_comparison_sets_network_seed_and_validation(monkeypatch, task, discs):
    spy = Spy()
    monkeypatch.setattr("napari_metastructure.training.train.train", spy)
    seen, found = result(cross_fitted(task(*discs(4), seed=7, train=TrainConfig(epochs=3, patience=2)), "hrnet"))
    assert [e.message for e in seen] == ["so it goes"] * 2 and len(found) == 4
    for config in spy.configs:
        assert (config.network, config.seed, config.device, config.epochs) == ("hrnet", 7, "cpu", 3)
        assert (config.validation_fraction, config.patience) == (0, 0)


def test_it_learns_and_tells_how_far_it_is(task, discs):
    images, masks = discs(4)
    train = TrainConfig(epochs=2, steps_per_epoch=16, batch_size=2, base_channels=4, learning_rate=2e-2)
    seen, found = result(cross_fitted(task(images, masks, train=train), "light-unet"))
    assert np.mean([dice(s.mask, m) for s, m in zip(found, masks, strict=True)]) > 0.8
    np.testing.assert_array_equal(found[0].mask, found[0].score > 0.5)
    assert len(seen) == 2 * 2 * 16 and seen == sorted(seen) and seen[-1] == 1


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


# The training-free baselines, against brute force, other code and the numbers others measured.


FILTERS = {"otsu": otsu, "agt": adaptive_gaussian, "lc": local_contrast, "ridge": ridge}


def zscored(image):
    image = image.astype(np.float64)
    return ((image - image.mean()) / image.std()).astype(np.float32)


def dice_of_thresholds(mask, truth):
    return f1_score(truth.ravel(), mask.ravel())


@pytest.mark.parametrize("name", ["otsu", "lc", "ridge"])
@given(seed=st.integers(0, 999), shape=st.tuples(st.integers(8, 40), st.integers(8, 40)))
def test_the_score_is_what_was_cut(name, seed, shape):
    found = FILTERS[name](np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    assert found.mask.dtype == bool and found.score.dtype == np.float32
    assert found.mask.any() and not found.mask.all()
    assert found.score[found.mask].min() > found.score[~found.mask].max()


def test_otsu_divides_best(discs):
    """No other cut of the blurred image has less variance within its two parts, but for a histogram's width."""
    plane = zscored(discs(1)[0][0])
    found, blurred = otsu(plane), ndi.gaussian_filter(plane.astype(np.float64), 1)

    def within(mask):
        return sum(blurred[part].var() * part.sum() for part in (mask, ~mask))

    best = min(within(blurred > cut) for cut in np.unique(blurred)[:-1])
    assert best <= within(found.mask) <= 1.001 * best


@pytest.mark.parametrize(("shape", "window"), [((120, 130), 101), ((40, 20), 19), ((33, 60), 33)])
def test_adaptive_gaussian_is_brighter_than_the_weighted_surround(shape, window):
    plane = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = adaptive_gaussian(plane)
    # A window of b pixels stands for a Gaussian of (b - 1) / 6, as scikit-image has it.
    above = plane - ndi.gaussian_filter(plane.astype(np.float64), (window - 1) / 6, mode="reflect")
    np.testing.assert_allclose(found.score, above, atol=1e-4)
    np.testing.assert_array_equal(found.mask, found.score > 0)


def test_under_uneven_light_local_methods_find_tubules_that_otsu_misses():
    y, x = np.mgrid[:96, :96]
    tubules = (np.abs(x % 24 - 12) < 2) | (np.abs(y % 24 - 12) < 2)
    light = np.exp(-((y - 80) ** 2 + (x - 80) ** 2) / (2 * 25**2))
    plane = zscored(0.5 * tubules + light + np.random.default_rng(0).normal(0, 0.1, light.shape))
    plain = dice_of_thresholds(otsu(plane).mask, tubules)
    assert dice_of_thresholds(local_contrast(plane).mask, tubules) > plain + 0.1
    assert dice_of_thresholds(adaptive_gaussian(plane).mask, tubules) > plain + 0.2
    assert dice_of_thresholds(ridge(plane).mask, tubules) > 0.9


def test_ridges_are_found_if_they_are_bright_and_edges_are_not():
    plane = np.random.default_rng(0).normal(0, 0.05, (64, 64)).astype(np.float32)
    plane[20:23] += 1
    plane[40:43] -= 1
    found = ridge(plane).mask
    assert found[20:23, 4:-4].all() and not found[40:43].any() and not found[55:].any()


@pytest.mark.parametrize("name", FILTERS)
def test_nothing_to_split_is_no_foreground(name):
    found = FILTERS[name](np.zeros((20, 20), np.float32))
    assert not found.mask.any()


@pytest.mark.parametrize(
    ("folder", "name", "measured"),
    [("er", "otsu", 0.489), ("er", "agt", 0.634), ("mito", "otsu", 0.822), ("mito", "agt", 0.469)],
)
def test_the_numbers_measured_on_real_images(real_images, folder, name, measured):
    """Those of the table beside the images."""
    scores = []
    for file in sorted((real_images / folder / "images").iterdir()):
        truth = np.asarray(PIL.Image.open(real_images / folder / "masks" / file.name)) > 0
        scores.append(dice_of_thresholds(FILTERS[name](zscored(np.asarray(PIL.Image.open(file)))).mask, truth))
    assert np.mean(scores) == pytest.approx(measured, abs=6e-4)
