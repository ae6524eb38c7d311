"""Supervised training from pairs to a model: it learns, stops, resumes, keeps the best, and says what is wrong."""

import csv
import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.model import Model
from napari_metastructure.training import run_state
from napari_metastructure.training import train as supervised_run
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import BatchFinished, TrainEpoch, TrainFinished, TrainStarted, Unsaved, Warned
from napari_metastructure.training.metrics import Confusion, dice
from napari_metastructure.training.pairs import Pair, pairs_of
from napari_metastructure.training.patches import PairReader
from napari_metastructure.training.run_folder import FILES
from napari_metastructure.training.train import Agreement, train


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def done(discs, small, tmp_path_factory):
    """A whole run with its folder."""
    folder = tmp_path_factory.mktemp("run")
    images, labels = discs()
    config = small.model_copy(update={"epochs": 5})
    validation = pairs_of(*discs(2, seed=1), ["v1", "v2"])
    events = list(train(pairs_of(images, labels), config, validation=validation, folder=folder, watch=["v2"]))
    return events, folder, validation


def test_it_learns_and_tells_every_step(done):
    events, folder, _ = done
    (started,) = of(events, TrainStarted)
    assert events[0] is started and isinstance(events[-1], TrainFinished)
    assert (started.training, started.validation, started.classes, started.folder) == (6, 2, (0, 1), folder)
    epochs = of(events, TrainEpoch)
    assert [e.epoch for e in epochs] == [1, 2, 3, 4, 5]
    assert len(of(events, BatchFinished)) == 5 * 12
    assert epochs[-1].loss < 0.7 * epochs[0].loss
    assert events[-1].scores.dice > 0.8 and events[-1].scores.auc > 0.9
    assert epochs[-1].training.dice > epochs[0].training.dice
    assert all(0 < e.seconds_data < e.seconds for e in epochs)


def test_the_best_epoch_is_kept_and_its_model_predicts_what_was_shown(done):
    events, folder, validation = done
    epochs, end = of(events, TrainEpoch), events[-1]
    best = max(epochs, key=lambda e: e.validation.dice)
    assert end.best_epoch == best.epoch == epochs[-1].best_epoch
    assert end.scores == best.validation
    loaded = Model.load(folder)
    for model in (end.model, loaded):
        found = [model.predict(pair.read_image()).labels for pair in validation]
        np.testing.assert_array_equal(found[1], best.predictions["v2"])
        scores = [dice(p, pair.read_labels()) for p, pair in zip(found, validation, strict=True)]
        assert np.mean(scores) == pytest.approx(best.validation.dice)
    assert list(epochs[0].predictions) == ["v2"]


def test_the_run_folder_tells_the_run(done):
    events, folder, _ = done
    assert {p.name for p in folder.iterdir()} == {"run.yaml", "metrics.csv", "model.safetensors", "last.pt"}
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    for row, event in zip(rows, of(events, TrainEpoch), strict=True):
        assert float(row["validation_dice"]) == event.validation.dice
        assert float(row["loss"]) == event.loss
        assert int(row["best_epoch"]) == event.best_epoch


def test_three_classes(discs, small):
    pairs, validation = pairs_of(*discs(classes=3)), pairs_of(*discs(2, seed=1, classes=3))
    config = small.model_copy(update={"epochs": 6})
    events = list(train(pairs, config, validation=validation))
    assert events[0].classes == (0, 1, 2)
    end = events[-1]
    assert len(end.scores.class_iou) == 3 and end.scores.iou == pytest.approx(np.nanmean(end.scores.class_iou))
    assert end.scores.iou > 0.6 and math.isnan(end.scores.auc)
    assert set(np.unique(end.model.predict(validation[0].read_image()).labels)) <= {0, 1, 2}


def test_class_values_need_not_be_their_codes(discs, small):
    images, labels = discs()
    seven = [np.where(y == 1, 7, 3).astype(np.int32) for y in labels]
    events = list(train(pairs_of(images, seven), small))
    assert events[0].classes == (3, 7)
    said = events[-1].model.predict(images[0]).labels
    assert set(np.unique(said)) == {3, 7} and dice(said == 7, labels[0] == 1) > 0.5


@pytest.mark.parametrize("network, encoder", [("unet", "resnet18"), ("hrnet", "hrnet_w18_small")])
def test_other_networks_train(discs, small, network, encoder):
    config = small.model_copy(update={"network": network, "encoder": encoder, "epochs": 1, "steps_per_epoch": 2})
    (epoch,) = of(train(pairs_of(*discs()), config), TrainEpoch)
    assert math.isfinite(epoch.loss) and 0 <= epoch.validation.dice <= 1


def test_deeplabv3plus_trains_on_single_patches_and_the_same_from_the_same_seed(discs, small):
    """Its pooled branch leaves a value a channel to normalise, and it drops channels at random."""
    change = {"network": "deeplabv3plus", "encoder": "resnet18", "batch_size": 1, "epochs": 1, "steps_per_epoch": 3}
    config = small.model_copy(update=change)
    ends = []
    for disturb in (0, 1):
        torch.manual_seed(disturb)
        ends.append(list(train(pairs_of(*discs(2)), config))[-1])
    assert ends[0].scores == ends[1].scores and 0 <= ends[0].scores.dice <= 1
    assert same(ends[0].model.network, ends[1].model.network)


@pytest.mark.parametrize("classes", [2, 4])
def test_agreement_on_the_device_is_that_of_a_confusion_matrix(classes):
    rng = np.random.default_rng(0)
    counted, confusion = Agreement(classes, torch.device("cpu")), Confusion(classes)
    for _ in range(3):
        logits = rng.normal(size=(2, 1 if classes == 2 else classes, 9, 8)).astype(np.float32)
        labels = rng.choice([*range(classes), 255], (2, 9, 8)).astype(np.uint8)
        counted.add(torch.from_numpy(logits), torch.from_numpy(labels))
        confusion.add((logits[:, 0] > 0).astype(int) if classes == 2 else logits.argmax(1), labels)
    assert repr(counted.scores()) == repr(confusion.scores())  # nan is nan


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "sgd", "schedule": "step", "loss": "dice"},
        {"schedule": "onecycle", "loss": "iou", "inputs": "multiscale"},
        {"loss": "dmi_iou", "inputs": "local", "augment": "none"},
        {"inputs": "zscore", "augment": "full"},
    ],
)
def test_every_setting_trains(discs, small, change):
    events = list(train(pairs_of(*discs()), small.model_copy(update=change)))
    assert len(of(events, TrainEpoch)) == 3
    assert all(math.isfinite(e.loss) for e in of(events, TrainEpoch))


def test_schedules_change_the_learning_rate(discs, small):
    rates = {}
    for name in ("constant", "step", "onecycle"):
        config = small.model_copy(update={"schedule": name, "epochs": 4, "steps_per_epoch": 2})
        rates[name] = [e.learning_rate for e in of(train(pairs_of(*discs()), config), TrainEpoch)]
    assert rates["constant"] == [small.learning_rate] * 4
    np.testing.assert_allclose(rates["step"], small.learning_rate * np.array([1, 0.1, 0.01, 0.01]), rtol=1e-6)
    assert max(rates["onecycle"]) < 1.0001 * small.learning_rate and rates["onecycle"][-1] < rates["onecycle"][0]


def test_several_channels(discs, small):
    images, labels = discs()
    rng = np.random.default_rng(0)
    pairs = [
        Pair(str(i), str(i), y.shape, lambda x=x: np.stack([rng.normal(size=x.shape), x]), lambda y=y: y)
        for i, (x, y) in enumerate(zip(images, labels, strict=True))
    ]
    events = list(train(pairs, small.model_copy(update={"epochs": 4})))
    assert events[-1].model.use.channels == 2
    assert events[-1].scores.dice > 0.6


def test_masks_of_0_and_255_are_masks_and_255_beside_1_is_unlabelled(discs, small):
    images, labels = discs()
    as_masks = list(train(pairs_of(images, [255 * y for y in labels]), small))
    plain = list(train(pairs_of(images, labels), small))
    assert as_masks[0].classes == (0, 1)
    assert [e.loss for e in of(as_masks, TrainEpoch)] == [e.loss for e in of(plain, TrainEpoch)]
    sampled = [np.where(np.random.default_rng(i).random(y.shape) < 0.3, y, 255) for i, y in enumerate(labels)]
    validation = pairs_of(images, labels)
    events = list(train(pairs_of(images, sampled), small, validation=validation))
    assert events[-1].scores.dice > 0.6


def test_without_validation_nothing_is_made_up(discs, small):
    images, labels = discs()
    one_stack = pairs_of([np.stack(images)], [np.stack(labels)])
    events = list(train(one_stack, small))
    assert [w.message for w in of(events, Warned)] == [
        "All images are of one stack or there is only one: it trains without validation."
    ]
    assert events[0].validation == 0
    assert all(e.validation is None and math.isnan(e.validation_loss) for e in of(events, TrainEpoch))
    assert events[-1].best_epoch == 3 and events[-1].scores is None
    quiet = list(train(pairs_of(images, labels), small.model_copy(update={"validation_fraction": 0.0})))
    assert quiet[0].validation == 0 and not of(quiet, Warned)


@pytest.mark.parametrize("classes", [2, 3])
def test_an_image_without_labels_takes_no_part_in_validation(discs, small, classes):
    images, labels = discs(classes=classes)
    config = small.model_copy(update={"epochs": 1, "reading": "classes"})
    blank = np.full_like(labels[0], UNLABELLED)
    found = [
        of(train(pairs_of(images[2:], labels[2:]), config, validation=pairs_of(images[:2], masks)), TrainEpoch)[0]
        for masks in ([labels[0], blank], [labels[0], labels[0]])
    ]
    alone = of(train(pairs_of(images[2:], labels[2:]), config, validation=pairs_of(images[:1], labels[:1])), TrainEpoch)
    assert found[0].validation_loss == alone[0].validation_loss and found[0].validation == alone[0].validation
    assert found[1].validation_loss != alone[0].validation_loss


def test_an_image_smaller_than_a_patch_and_one_larger(discs, small):
    (a, b), (ya, yb) = discs(2)
    pairs = pairs_of([a[:40, :50], np.tile(b, (2, 3))], [ya[:40, :50], np.tile(yb, (2, 3))])
    events = list(train(pairs, small.model_copy(update={"patch_size": 96})))
    assert events[-1].model.use.patch == (96, 96)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_stopped_run_goes_on_to_what_an_undisturbed_run_gives(discs, small, tmp_path):
    pairs, config = pairs_of(*discs()), small.model_copy(update={"schedule": "onecycle", "augment": "full"})
    whole = list(train(pairs, config))[-1]
    control, seen = Control(), []
    for event in train(pairs, config, control, folder=tmp_path):
        seen.append(event)
        if isinstance(event, BatchFinished) and (event.epoch, event.batch) == (2, 5):
            control.stop()
    assert seen[-1].stopped and "epoch 1 is kept" in seen[-1].reason
    resumed = list(train(pairs, config, folder=tmp_path, resume=True))
    assert resumed[0].resumed_epoch == 1 and [row["epoch"] for row in resumed[0].before] == [1]
    assert resumed[-1].scores == whole.scores
    assert same(resumed[-1].model.network, whole.model.network)


@pytest.mark.parametrize("schedule", ["constant", "step", "onecycle"])
def test_it_goes_on_from_the_end_of_an_epoch_that_was_too_short_to_be_saved(
    discs, small, tmp_path, monkeypatch, schedule
):
    monkeypatch.setattr(run_state, "SAVING_SHARE", 0)
    pairs, config = pairs_of(*discs()), small.model_copy(update={"schedule": schedule, "steps_per_epoch": 4})
    whole, control = list(train(pairs, config))[-1], Control()
    for event in train(pairs, config, control, folder=tmp_path):
        if isinstance(event, BatchFinished) and (event.epoch, event.batch) == (3, 2):
            control.stop()
    resumed = list(train(pairs, config, folder=tmp_path, resume=True))
    assert resumed[0].resumed_epoch == 2
    assert resumed[-1].scores == whole.scores and same(resumed[-1].model.network, whole.model.network)


def test_a_run_stopped_before_its_first_epoch_is_done_leaves_the_folder_free(discs, small, tmp_path):
    pairs, control = pairs_of(*discs()), Control()
    for event in train(pairs, small, control, folder=tmp_path):
        if isinstance(event, BatchFinished):
            assert (tmp_path / "run.yaml").exists()
            control.stop()
    assert event.stopped and event.model is None
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_needs_the_same_settings_and_images(discs, small, tmp_path):
    pairs = pairs_of(*discs())
    list(train(pairs, small, folder=tmp_path))
    longer = list(train(pairs, small.model_copy(update={"epochs": 4}), folder=tmp_path, resume=True))
    assert [e.epoch for e in of(longer, TrainEpoch)] == [4]
    with pytest.raises(InputError, match="loss = cross_entropy, not dice"):
        list(train(pairs, small.model_copy(update={"loss": "dice"}), folder=tmp_path, resume=True))
    with pytest.raises(InputError, match="images or labels than before"):
        list(train(pairs[:-1], small, folder=tmp_path, resume=True))


def test_patience_ends_a_run_that_no_longer_improves(discs, small):
    config = small.model_copy(update={"learning_rate": 1e-9, "patience": 2, "epochs": 50})
    events = list(train(pairs_of(*discs()), config))
    assert len(of(events, TrainEpoch)) < 10
    assert "No better score in 2 epochs" in events[-1].reason


def test_a_loss_that_is_no_number_keeps_the_best_network(discs, small, tmp_path, monkeypatch):
    class Breaks:
        def __init__(self):
            self.calls = 0

        def __call__(self, logits, labels):
            self.calls += 1
            return logits.mean() * (math.nan if self.calls > 18 else 0)

    monkeypatch.setitem(supervised_run.LOSSES, "iou", Breaks())
    with pytest.raises(RunFailed, match=r"no longer a number.*smaller learning rate.*epoch 1 is kept"):
        list(train(pairs_of(*discs()), small.model_copy(update={"loss": "iou"}), folder=tmp_path))
    assert Model.load(tmp_path).use.classes == (0, 1)


def test_too_little_memory_for_a_batch_keeps_the_best_network(discs, small, tmp_path, monkeypatch):
    real, calls = supervised_run.PatchSampler.draw, []

    def draw(*arguments):
        calls.append(1)
        if len(calls) > 18:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(*arguments)

    monkeypatch.setattr(supervised_run.PatchSampler, "draw", draw)
    with pytest.raises(RunFailed, match=r"Out of memory; .* The network of epoch 1 is kept"):
        list(train(pairs_of(*discs()), small, folder=tmp_path))
    assert Model.load(tmp_path).use.classes == (0, 1)


def test_a_run_that_fails_holds_nothing_when_it_gives_its_memory_back(discs, small, monkeypatch):
    held, alive = [], []

    def breaks(logits, labels):
        large = logits.detach().clone()
        held.append(weakref.ref(large))
        return logits.mean() * math.nan

    monkeypatch.setitem(supervised_run.LOSSES, "iou", breaks)
    release = "napari_metastructure.networks.device.release"
    monkeypatch.setattr(release, lambda device: alive.append(held[0]() is not None))
    with pytest.raises(RunFailed, match="no longer a number"):
        list(train(pairs_of(*discs()), small.model_copy(update={"loss": "iou"})))
    assert alive == [False]


def test_a_folder_that_vanishes_ends_the_run_with_its_network_in_memory(discs, small, tmp_path):
    folder = tmp_path / "run"
    events = []
    for event in train(pairs_of(*discs()), small, folder=folder):
        events.append(event)
        if isinstance(event, TrainEpoch) and event.epoch == 1:
            folder.rename(tmp_path / "moved")
            folder.mkdir()
    assert [(e.folder, "moved, replaced or removed" in e.message) for e in of(events, Unsaved)] == [(folder, True)]
    assert events[-1].model is not None and len(of(events, TrainEpoch)) == 1
    assert "could not be saved; the network of epoch 1 is kept" in events[-1].reason
    assert not list(folder.iterdir())


def test_a_run_goes_on_in_a_folder_that_is_named_and_can_be_resumed_there(discs, small, tmp_path):
    pairs, control, folder, other = pairs_of(*discs()), Control(), tmp_path / "run", tmp_path / "other"
    whole = list(train(pairs, small))[-1]
    taken = [tmp_path / "file", folder.parent / "held", other]
    taken[0].write_text("in the way")
    taken[1].mkdir()
    (taken[1] / "model.safetensors").write_text("another run")
    told = []
    for event in train(pairs, small, control, folder=folder):
        if isinstance(event, TrainEpoch) and event.epoch == 1:
            folder.rename(tmp_path / "moved")
        if isinstance(event, Unsaved):
            told.append(event.message)
            control.save_to(taken[len(told) - 1])
    assert [word for word, said in zip(("moved", "in the way", "another run"), told, strict=True) if word in said]
    assert same(event.model.network, whole.model.network)
    assert {p.name for p in other.iterdir()} == set(FILES)
    assert (taken[1] / "model.safetensors").read_text() == "another run"
    longer = list(train(pairs, small.model_copy(update={"epochs": 4}), folder=other, resume=True))
    assert [e.epoch for e in of(longer, TrainEpoch)] == [4]


@pytest.mark.parametrize(
    "labels, classes, sentence",
    [
        (lambda y: 0 * y + 255, None, "every pixel is 255, unlabelled"),
        (lambda y: 0 * y + 255, (0, 1), "every pixel is 255, unlabelled"),
        (lambda y: 0 * y, None, "All labelled pixels are 0"),
        (lambda y: y + 3 * (y > 0), (0, 1), "image [12]: the label 4 is none of the classes 0 and 1"),
        (lambda y: y * 1000.0, None, "image [12]: pixels of type float64 are no labels"),
        (lambda y: y.astype(int) * 1000 + 1, None, "image [12]: the label 1001 is above 254"),
        (lambda y: -y.astype(int), None, "image [12]: the label -1 is negative"),
    ],
)
def test_labels_that_cannot_be_used_are_named(discs, small, labels, classes, sentence):
    images, masks = discs(2)
    config = small.model_copy(update={"classes": classes})
    with pytest.raises(InputError, match=sentence):
        list(train(pairs_of(images, [labels(y) for y in masks]), config))


def test_other_input_that_cannot_be_used(discs, small):
    images, masks = discs(2)
    with pytest.raises(InputError, match="no image to train on"):
        list(train([], small))
    images[1] = images[1].astype(complex)
    with pytest.raises(InputError, match="image 2: its pixels are complex"):
        list(train(pairs_of(images, masks), small.model_copy(update={"validation_fraction": 0.0})))
    good = pairs_of(*discs(2))
    gone = replace(good[1], read_image=lambda: (_ for _ in ()).throw(InputError("b.tif does not exist; check it.")))
    with pytest.raises(InputError, match=r"b\.tif does not exist"):
        list(train([good[0], gone], small.model_copy(update={"validation_fraction": 0.0})))


def test_where_nothing_was_measured_nothing_is_learned(discs, small):
    images, masks = discs(3)
    images[0][:5], images[1][:] = np.nan, 7
    config = small.model_copy(update={"validation_fraction": 0.0, "steps_per_epoch": 8})
    store = PairReader(pairs_of(images, masks), "zscore", 1, (0, 1), (64, 64), torch.device("cpu"))
    assert (store(0)[1][:5] == UNLABELLED).all()
    assert not (store(0)[1][5:] == UNLABELLED).any()
    assert (store(1)[1] == UNLABELLED).all()
    assert all(store(i)[0].isfinite().all() for i in range(3))
    told = [event.message for event in train(pairs_of(images, masks), config) if isinstance(event, Warned)]
    assert sum("image 2: all pixels have the same value" in words for words in told) == 1
    assert sum("image 1: pixels that are NaN or infinite" in words for words in told) == 1


def test_where_nothing_was_measured_no_score_counts(done, discs):
    events, _, _ = done
    (image,), (mask,) = discs(1, seed=3)
    image[:20] = np.nan
    known = mask.copy()
    known[:20] = UNLABELLED
    found = [
        supervised_run.score(events[-1].model, pairs_of([image], [truth]), "cpu") for truth in (mask, 1 - mask, known)
    ]
    assert found[0] == found[2] != found[1]
    mask[:20] = 1 - mask[:20]
    assert supervised_run.score(events[-1].model, pairs_of([image], [mask]), "cpu") == found[0]


def test_validation_in_which_no_pixel_counts_keeps_the_newest_network(discs, small):
    images, masks = discs(3)
    images[2][:] = np.nan
    pairs = pairs_of(images, masks)
    config = small.model_copy(update={"epochs": 3, "patience": 1})
    *_, end = train(pairs[:2], config, validation=pairs[2:])
    assert end.best_epoch == 3 and math.isnan(end.scores.dice)


def test_twenty_runs_leave_no_more_memory_than_the_first(discs):
    config = TrainConfig(epochs=1, steps_per_epoch=2, batch_size=1, base_channels=4, patch_size=64, device="cpu")
    pairs, used = pairs_of(*discs(4)), []
    for _ in range(20):
        list(train(pairs, config))
        gc.collect()
        used.append(psutil.Process().memory_info().rss)
    # An image of this set is 16 kB and a network 0.1 MB; the allocator keeps a few pages of its own.
    assert used[-1] - used[2] < 16 * 2**20
