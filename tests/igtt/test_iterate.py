"""Algorithm 1 from end to end, on images that take a second."""

import errno
import threading
import time
import weakref

import numpy as np
import pytest
import torch
import yaml

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.igtt import iterate as run_module
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import Run, iterate
from napari_metastructure.igtt.levels import Levels
from napari_metastructure.igtt.rounds import stable, unsettled
from napari_metastructure.igtt.start import start_probability
from napari_metastructure.images import intensity, simulate
from napari_metastructure.images.files import list_images, read_image
from napari_metastructure.images.image import planes
from napari_metastructure.images.intensity import orient
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.model_file import load_model as read_model
from napari_metastructure.training import run_state
from napari_metastructure.training.control import FREE, Control
from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Finished,
    RunStarted,
    Saved,
    Unsaved,
    Warned,
)
from napari_metastructure.training.metrics import dice
from napari_metastructure.training.run_folder import RunFolder


def epochs(events):
    return [e for e in events if isinstance(e, EpochFinished)]


def test_the_events_of_a_run(blobs, quick):
    images, masks = blobs
    copies = [i.copy() for i in images]
    events = list(iterate(images, quick))
    assert isinstance(events[0], RunStarted) and events[0].objects == "bright" and events[0].images == 2
    assert isinstance(events[-1], Finished) and not events[-1].stopped and events[-1].epoch == 2
    assert [e.epoch for e in epochs(events)] == [0, 1, 2]
    assert [(e.epoch, e.batch) for e in events if isinstance(e, BatchFinished)] == [
        (epoch, batch) for epoch in (1, 2) for batch in (1, 2, 3, 4)
    ]
    for event in epochs(events):
        for image, mask, label, p, curve in zip(
            images, event.masks, event.labels, event.probabilities, event.curves, strict=True
        ):
            assert mask.shape == label.shape == p.shape == image.shape
            assert mask.dtype == label.dtype == np.uint8 and p.dtype == np.float32
            expected, search = Levels(orient(image, "bright")).cut(p, quick.thresholds)
            np.testing.assert_array_equal(mask, expected)
            assert curve.chosen == search.chosen
    assert all(dice(m, truth) > 0.75 for m, truth in zip(events[-1].masks, masks, strict=True))
    for image, copy in zip(images, copies, strict=True):
        np.testing.assert_array_equal(image, copy)


def test_same_seed_same_masks_and_another_seed_others(blobs, quick):
    first, second = (list(iterate(blobs[0], quick))[-1] for _ in range(2))
    other = list(iterate(blobs[0], quick.model_copy(update={"seed": 1})))[-1]
    for a, b, c in zip(first.probabilities, second.probabilities, other.probabilities, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_dark_objects_are_found_as_well_as_bright_ones(blobs, quick):
    images = [200 - i for i in blobs[0]]
    dark = list(iterate(images, quick.model_copy(update={"objects": "dark"})))
    bright = list(iterate(blobs[0], quick.model_copy(update={"objects": "bright"})))
    assert dark[0].objects == "dark"
    for a, b in zip(dark[-1].masks, bright[-1].masks, strict=True):
        assert dice(a, b) > 0.99


def test_the_paper_preset_starts_black_and_ends_upright(blobs):
    config = IGTTConfig.from_preset("paper", epochs=3, steps_per_epoch=6, device="cpu", patch_size=64, batch_size=2)
    events = epochs(iterate(blobs[0], config))
    assert not any(m.any() for m in events[0].masks)
    assert len(events[-1].curves[0].thresholds) == 30
    assert events[-1].curves[0].chosen in events[-1].curves[0].thresholds
    for image, p in zip(blobs[0], events[-1].probabilities, strict=True):
        assert np.corrcoef(image.ravel(), p.ravel())[0, 1] > 0


@pytest.mark.parametrize(
    ("network", "batch"), [("unet", 2), ("deeplabv3plus", 2), ("deeplabv3plus", 1), ("deeplabv3", 2), ("hrnet", 2)]
)
def test_networks_of_smp(blobs, quick, network, batch):
    change = {"network": network, "batch_size": batch, "epochs": 1, "steps_per_epoch": 2, "patch_size": 64}
    config = quick.model_copy(update=change)
    final = list(iterate(blobs[0], config))[-1]
    assert all(np.isfinite(p).all() for p in final.probabilities)


def test_a_network_that_drops_channels_gives_the_same_from_the_same_seed(blobs, quick):
    change = {"network": "deeplabv3plus", "epochs": 1, "steps_per_epoch": 2, "patch_size": 64}
    ends = []
    for disturb in (0, 1):
        torch.manual_seed(disturb)
        ends.append(list(iterate(blobs[0], quick.model_copy(update=change)))[-1])
    for a, b in zip(ends[0].probabilities, ends[1].probabilities, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("extraction", ["none", "skeleton", "density"])
def test_ems_is_a_choice(blobs, quick, extraction):
    config = quick.model_copy(update={"extraction": extraction, "epochs": 1})
    label = epochs(iterate(blobs[0], config))[-1].labels[0]
    assert (label == 255).any() == (extraction == "density")


def test_planes_smaller_than_the_stride_and_larger_than_a_patch(quick):
    rng = np.random.default_rng(0)
    images = [rng.random((9, 11)), rng.random((40, 100))]
    final = list(iterate(images, quick.model_copy(update={"patch_size": 32, "epochs": 1})))[-1]
    assert [m.shape for m in final.masks] == [(9, 11), (40, 100)]


def test_it_stops_by_itself_when_the_masks_no_longer_change(blobs, quick):
    config = quick.model_copy(update={"epochs": 50, "stop_agreement": 0.5})
    final = list(iterate(blobs[0], config))[-1]
    assert final.epoch == 1 and not final.stopped and "no longer change" in final.reason


def test_it_stops_by_itself_when_the_masks_change_more_and_more(blobs, quick, monkeypatch):
    agreements = iter([0.9, 0.8, 0.7, 0.6])
    monkeypatch.setattr("napari_metastructure.igtt.pseudo_labels.dice", lambda *_: next(agreements))
    config = quick.model_copy(update={"epochs": 50, "stop_agreement": 0.99})
    final = list(iterate(blobs[0][:1], config))[-1]
    assert final.epoch == 3 and not final.stopped and "change more from round to round" in final.reason


def test_stop_ends_within_one_batch_and_keeps_the_last_masks(blobs, quick):
    control, events = Control(), []
    for event in iterate(blobs[0], quick, control):
        events.append(event)
        if isinstance(event, BatchFinished) and (event.epoch, event.batch) == (2, 2):
            control.stop()
    assert isinstance(events[-1], Finished) and events[-1].stopped and events[-1].epoch == 1
    assert sum(isinstance(e, BatchFinished) for e in events) == 6
    np.testing.assert_array_equal(events[-1].masks[0], epochs(events)[-1].masks[0])


def test_stopping_before_the_start_is_done_still_finishes(blobs, quick):
    control = Control()
    control.stop()
    events = list(iterate(blobs[0], quick, control))
    assert isinstance(events[-1], Finished) and events[-1].stopped and events[-1].masks == ()


@pytest.mark.parametrize("step", ["check_plane", "mended", "surround"])
def test_stop_is_heeded_between_the_images_that_are_prepared(blobs, quick, tmp_path, monkeypatch, step):
    list(iterate(blobs[0], quick, folder=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    module = intensity if step == "check_plane" else run_module
    control, seen, done = Control(), [], getattr(module, step)

    def prepared(plane, *more):
        seen.append(plane)
        control.stop()
        return done(plane, *more)

    monkeypatch.setattr(module, step, prepared)
    (event,) = iterate(blobs[0] * 3, quick, control, folder=tmp_path)
    assert isinstance(event, Finished) and event.stopped and event.masks == ()
    assert len(seen) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("ends", ["stopped", "left"])
def test_a_run_that_ends_before_its_first_mask_leaves_the_folder_free(blobs, quick, tmp_path, ends):
    control, folder = Control(), tmp_path / "run"
    events = iterate(blobs[0], quick, control, folder=folder)
    assert isinstance(next(events), RunStarted)
    assert any(isinstance(event, Saved) for event in events)
    assert (folder / "run.yaml").exists()
    if ends == "stopped":
        control.stop()
        assert [event.masks for event in events] == [()]
    else:
        events.close()  # as where nobody reads the output any more
    assert list(folder.iterdir()) == []


def test_pause_holds_the_run_and_its_clock(blobs, quick, hold, monkeypatch):
    control, seen, now = Control(), [], [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    held = hold(control)
    thread = threading.Thread(target=lambda: seen.extend(iterate(blobs[0], quick, control)))
    thread.start()
    assert held.wait(150)
    now[0] = 100.0
    assert not any(isinstance(e, BatchFinished) for e in seen)
    control.resume()
    thread.join(150)
    assert isinstance(seen[-1], Finished)
    assert control.paused_seconds == 100
    assert [event.seconds for event in epochs(seen)] == [0] * len(epochs(seen))


def test_the_run_folder(blobs, quick, tmp_path):
    events = list(iterate(blobs[0], quick, folder=tmp_path / "run", names=["a", "b"]))
    folder = tmp_path / "run"
    assert sorted(p.name for p in folder.iterdir()) == ["last.pt", "metrics.csv", "model.safetensors", "run.yaml"]
    facts = yaml.safe_load((folder / "run.yaml").read_text())
    assert IGTTConfig(**facts["config"]) == quick
    assert [i["name"] for i in facts["inputs"]] == ["a", "b"]
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0].startswith("epoch,loss,agreement,foreground")
    assert {e.path.name for e in events if isinstance(e, Saved)} == {p.name for p in folder.iterdir()}


def test_a_run_that_was_cut_off_goes_on_to_the_same_masks(blobs, quick, tmp_path):
    config = quick.model_copy(update={"epochs": 3})
    whole = list(iterate(blobs[0], config, folder=tmp_path / "whole"))[-1]
    cut = iterate(blobs[0], config, folder=tmp_path / "cut")
    for event in cut:  # leave it as a killed program would: nothing more is saved
        if isinstance(event, BatchFinished) and (event.epoch, event.batch) == (2, 3):
            break
    del cut
    resumed = list(iterate(blobs[0], config, folder=tmp_path / "cut", resume=True))
    assert resumed[0].resumed_epoch == 1
    for a, b in zip(whole.probabilities, resumed[-1].probabilities, strict=True):
        np.testing.assert_array_equal(a, b)
    same = [(tmp_path / n / "metrics.csv").read_text().splitlines() for n in ("whole", "cut")]
    assert [r.split(",")[:4] for r in same[0]] == [r.split(",")[:4] for r in same[1]]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_that_was_stopped_in_a_round_goes_on_to_the_same_masks(blobs, quick, tmp_path, monkeypatch, epoch):
    monkeypatch.setattr(run_state, "SAVING_SHARE", 0)  # no state is written after round 1
    config = quick.model_copy(update={"epochs": 3})
    *_, whole = iterate(blobs[0], config)
    control = Control()
    for event in iterate(blobs[0], config, control, folder=tmp_path):
        if isinstance(event, BatchFinished) and (event.epoch, event.batch) == (epoch, 2):
            control.stop()
    resumed = list(iterate(blobs[0], config, folder=tmp_path, resume=True))
    assert resumed[0].resumed_epoch == epoch - 1
    for a, b in zip(whole.probabilities, resumed[-1].probabilities, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("begun_by", ["strokes", "masks"])
def test_what_a_run_was_begun_with_counts_when_it_goes_on(blobs, tmp_path, begun_by):
    config = IGTTConfig(device="cpu", epochs=1)
    painted = np.full(blobs[0][0].shape, UNLABELLED, np.uint8)
    painted[10:16, 10:16], painted[30:36, 30:36] = 0, 1
    start = {"start_masks": [np.tri(*i.shape) for i in blobs[0]]}
    begun: dict = {"corrections": {0: painted}} if begun_by == "strokes" else start
    *_, whole = iterate(blobs[0], config, **begun)
    control = Control()
    for event in iterate(blobs[0], config, control, folder=tmp_path, **begun):
        if isinstance(event, EpochFinished):
            control.stop()
    assert event.stopped and event.epoch == 0
    *_, resumed = iterate(blobs[0], config, folder=tmp_path, resume=True)
    assert resumed.reason == whole.reason and resumed.epoch == 1
    for a, b in zip(whole.masks, resumed.masks, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_disk_that_fills_up_does_not_cost_the_masks(blobs, quick, tmp_path, monkeypatch):
    def write_last(self, state):
        with replacing(self.last) as beside:
            beside.write_bytes(b"the first half")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_last", write_last)

    events = list(iterate(blobs[0], quick, folder=tmp_path))
    (told,) = (e.message for e in events if isinstance(e, Unsaved))
    assert "disk is full" in told and "last.pt" in told
    assert isinstance(events[-1], Finished) and events[-1].epoch == 1 and events[-1].masks[0].any()
    assert "ended early, because it could not be saved" in events[-1].reason
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.csv", "run.yaml"]


def test_a_finished_run_goes_on_for_more_epochs(blobs, quick, tmp_path):
    list(iterate(blobs[0], quick, folder=tmp_path))
    more = list(iterate(blobs[0], quick.model_copy(update={"epochs": 3}), folder=tmp_path, resume=True))
    assert [e.epoch for e in epochs(more)] == [2, 3]
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["config"]["epochs"] == 3


@pytest.mark.parametrize("change, word", [({"seed": 5}, "seed"), ({"learning_rate": 0.5}, "learning_rate")])
def test_a_resume_with_other_settings_is_refused(blobs, quick, tmp_path, change, word):
    list(iterate(blobs[0], quick.model_copy(update={"epochs": 1}), folder=tmp_path))
    with pytest.raises(InputError, match=word):
        list(iterate(blobs[0], quick.model_copy(update=change), folder=tmp_path, resume=True))


def test_a_resume_of_other_images_of_nothing_and_of_rubbish_is_refused(blobs, quick, tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        list(iterate(blobs[0], quick, folder=tmp_path, resume=True))
    (tmp_path / "last.pt").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"last\.pt"):
        list(iterate(blobs[0], quick, folder=tmp_path, resume=True))
    list(iterate(blobs[0], quick.model_copy(update={"epochs": 1}), folder=tmp_path / "one"))
    with pytest.raises(InputError, match="fewer images or labels than before"):
        list(iterate(blobs[0][:1], quick, folder=tmp_path / "one", resume=True))
    with pytest.raises(InputError, match="image 1 has changed"):
        list(iterate([i + 1 for i in blobs[0]], quick, folder=tmp_path / "one", resume=True))


def test_corrections_hold_and_guide(blobs, quick):
    painted = np.full(blobs[0][0].shape, 255, np.uint8)
    painted[:10, :30], painted[30:40, 40:] = 1, 0
    control = Control()
    for event in iterate(blobs[0], quick, control):
        if isinstance(event, EpochFinished) and event.epoch == 1:
            control.correct(0, painted)
    locked = painted != 255
    np.testing.assert_array_equal(event.masks[0][locked], painted[locked])
    from_start = list(iterate(blobs[0], quick, corrections={0: painted}))
    for event in epochs(from_start):
        np.testing.assert_array_equal(event.masks[0][locked], painted[locked])
        np.testing.assert_array_equal(event.labels[0][locked], painted[locked])


def test_strokes_given_as_the_start_is_shown_are_answered(blobs):
    painted = np.full(blobs[0][0].shape, 255, np.uint8)
    painted[:10, :30] = 1
    control = Control()
    for event in iterate(blobs[0], IGTTConfig(device="cpu"), control):
        if isinstance(event, EpochFinished) and event.epoch == 0:
            control.correct(0, painted)
    assert isinstance(event, Finished) and event.epoch == 1 and "answer to what was painted" in event.reason
    assert event.masks[0][:10, :30].all()


def test_a_correction_that_is_taken_back_holds_no_longer(blobs, quick):
    everything = np.ones(blobs[0][0].shape, np.uint8)
    control = Control()
    seen = []
    for event in iterate(blobs[0], quick.model_copy(update={"epochs": 3}), control, corrections={0: everything}):
        if isinstance(event, EpochFinished):
            seen.append(event.masks[0].all())
            if event.epoch == 1:
                control.correct(0, np.full_like(everything, FREE))
    assert seen == [True, True, False, False]


def test_a_run_counts_on_from_another(blobs, quick, tmp_path):
    config = quick.model_copy(update={"epochs": 6})
    masks = [np.zeros(i.shape, np.uint8) for i in blobs[0]]
    masks[0][10:30, 10:30] = masks[1][5:9] = 1
    events = list(iterate(blobs[0], config, folder=tmp_path, start_masks=masks, first_epoch=4))
    assert [event.epoch for event in epochs(events)] == [4, 5, 6]
    assert next(e for e in events if isinstance(e, RunStarted)).resumed_epoch == 4
    assert events[-1].epoch == 6 and "6 epochs" in events[-1].reason
    further = list(iterate(blobs[0], config.model_copy(update={"epochs": 7}), folder=tmp_path, resume=True))
    assert [event.epoch for event in epochs(further)] == [6, 7]


def test_corrections_survive_a_resume(blobs, quick, tmp_path):
    painted = np.full(blobs[0][1].shape, 255, np.uint8)
    painted[:20] = 1
    list(iterate(blobs[0], quick.model_copy(update={"epochs": 1}), folder=tmp_path, corrections={1: painted}))
    final = list(iterate(blobs[0], quick, folder=tmp_path, resume=True))[-1]
    assert final.masks[1][:20].all()


def test_strokes_are_answered_by_an_epoch_without_training_that_knows_no_history(blobs, tmp_path):
    config = IGTTConfig(device="cpu")
    one, other = (np.full(blobs[0][0].shape, UNLABELLED, np.uint8) for _ in range(2))
    one[10:16, 10:16], other[30:36, 30:36] = 0, 1
    *_, expected = iterate(blobs[0], config, corrections={0: one})
    events = list(iterate(blobs[0], config, corrections={0: np.minimum(one, other)}, folder=tmp_path))
    assert [event.epoch for event in epochs(events)] == [0, 1] and np.isnan(epochs(events)[1].loss)
    assert "answer to what was painted (epoch 1)" in events[-1].reason
    again = list(iterate(blobs[0], config, folder=tmp_path, resume=True))
    for a, b in zip(again[-1].masks, events[-1].masks, strict=True):
        np.testing.assert_array_equal(a, b)
    back = np.where(other == 1, FREE, UNLABELLED).astype(np.uint8)  # the second stroke is taken back
    *_, taken = iterate(blobs[0], config, folder=tmp_path, resume=True, corrections={0: back})
    assert taken.epoch == 2
    for a, b in zip(taken.masks, expected.masks, strict=True):
        np.testing.assert_array_equal(a, b)


def test_strokes_are_answered_with_the_weight_of_the_start_that_was_set(blobs):
    painted = np.full(blobs[0][0].shape, UNLABELLED, np.uint8)
    painted[10:16, 10:16], painted[30:36, 30:36] = 0, 1
    found = {}
    for weight in (0.0, 1.0):
        *_, last = iterate(blobs[0], IGTTConfig(device="cpu", start_weight=weight), corrections={0: painted})
        found[weight] = last
    for mask, p in zip(found[0.0].masks, found[0.0].probabilities, strict=True):
        np.testing.assert_array_equal(mask, p > 0.5)
    assert all((a != b).any() for a, b in zip(found[0.0].masks, found[1.0].masks, strict=True))


def test_start_masks_are_where_a_run_starts(blobs, quick):
    masks = [np.zeros(i.shape, np.uint8) for i in blobs[0]]
    masks[0][10:30, 10:30] = masks[1][5:9] = 1
    start = epochs(iterate(blobs[0], quick, start_masks=masks))[0]
    for a, b in zip(start.masks, masks, strict=True):
        np.testing.assert_array_equal(a, b)


def test_start_masks_survive_a_stop_in_the_first_round(blobs, quick, tmp_path):
    masks = [np.zeros(i.shape, np.uint8) for i in blobs[0]]
    masks[0][10:30, 10:30] = masks[1][5:9] = 1
    control = Control()
    for event in iterate(blobs[0], quick, control, folder=tmp_path, start_masks=masks):
        if isinstance(event, BatchFinished):
            control.stop()
    resumed = epochs(iterate(blobs[0], quick, folder=tmp_path, resume=True))
    assert [e.epoch for e in resumed] == [0, 1, 2]
    for a, b in zip(resumed[0].masks, masks, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "arguments",
    [
        {"start_masks": [np.zeros((5, 5))]},
        {"start_masks": [np.zeros((5, 5)), np.zeros((5, 5))]},
        {"corrections": {0: np.zeros((5, 5), np.uint8)}},
        {"corrections": {7: np.zeros((64, 80), np.uint8)}},
    ],
)
def test_masks_that_fit_no_image_are_refused(blobs, quick, arguments):
    with pytest.raises(InputError):
        list(iterate(blobs[0], quick, **arguments))


@pytest.mark.parametrize(
    "image",
    [np.full((32, 32), 3), np.full((32, 32), np.nan), np.zeros((1, 1)), np.zeros((4, 4, 4)), np.zeros((3, 400))],
)
def test_images_that_cannot_be_used_are_named_before_anything_starts(quick, image, tmp_path):
    with pytest.raises(InputError, match="the bad one"):
        next(iterate([image], quick, names=["the bad one"], folder=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_run_that_collapses_ends_with_the_round_before(blobs, quick, monkeypatch, tmp_path, level):
    config = quick.model_copy(update={"epochs": 5, "anchor": 0, "memory": 0, "criterion": "edge", "start": "otsu"})
    real, calls = run_module.predicted, []

    def collapsing(*arguments):
        calls.append(1)
        for index, flat in real(*arguments):
            if len(calls) > 2:
                flat[:] = level
                flat[0, 0] = 1 - level if level else 0
            yield index, flat

    monkeypatch.setattr(run_module, "predicted", collapsing)
    events = list(iterate(blobs[0], config, folder=tmp_path))
    last = events[-1]
    assert isinstance(last, Finished) and last.epoch == 2 and "collapsed" in last.reason
    assert any(isinstance(e, Warned) and "collapsed" in e.message for e in events)
    for a, b in zip(last.masks, epochs(events)[2].masks, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "model.safetensors").exists()


def test_a_user_who_paints_everything_is_not_taken_for_a_collapse(blobs, quick):
    control = Control()
    for event in iterate(blobs[0], quick, control):
        if isinstance(event, EpochFinished) and event.epoch == 0:
            for index, image in enumerate(blobs[0]):
                control.correct(index, np.ones(image.shape, np.uint8))
    assert isinstance(event, Finished) and event.epoch == quick.epochs
    assert all(mask.all() for mask in event.masks)


def test_no_image_and_no_such_device(blobs, quick):
    with pytest.raises(InputError, match="no image"):
        next(iterate([], quick))
    with pytest.raises(InputError, match="cuda:99"):
        next(iterate(blobs[0], quick.model_copy(update={"device": "cuda:99"})))


def test_a_loss_that_is_no_number_says_what_to_change(blobs, quick, monkeypatch):
    monkeypatch.setitem(run_module.LOSSES, "bce", lambda logits, labels: logits.sum() * float("nan"))
    with pytest.raises(RunFailed, match="learning rate"):
        list(iterate(blobs[0], quick))


@pytest.mark.parametrize("where", ["PatchSampler.draw", "predicted", "InputsInMemory"])
def test_too_little_memory_for_anything_else_is_a_sentence(blobs, quick, monkeypatch, where):
    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(f"{run_module.__name__}.{where}", too_large)
    with pytest.raises(RunFailed, match=r"Out of memory; .* or device cpu\.") as failed:
        list(iterate(blobs[0], quick))
    assert failed.value.__suppress_context__


def test_a_run_that_fails_holds_nothing_when_it_gives_its_memory_back(blobs, quick, monkeypatch):
    held, alive = [], []

    def breaks(logits, labels):
        large = logits.detach().clone()
        held.append(weakref.ref(large))
        raise ZeroDivisionError("injected")

    monkeypatch.setitem(run_module.LOSSES, "bce", breaks)
    release = "napari_metastructure.networks.device.release"
    monkeypatch.setattr(release, lambda device: alive.append(held[0]() is not None))
    with pytest.raises(ZeroDivisionError, match="injected") as kept:  # the error is still there, as in a widget
        list(iterate(blobs[0], quick))
    assert alive == [False] and kept.value.__traceback__ is not None


def test_on_real_images_the_default_beats_otsu(real_images):
    files = list_images([real_images / "er" / "images"])[::6]
    images = [planes(read_image(f))[0] for f in files]
    truth = [planes(read_image(real_images / "er" / "masks" / f.name))[0] > 0 for f in files]
    config = IGTTConfig(epochs=1, steps_per_epoch=12, base_channels=8, batch_size=2, device="cpu")
    final = list(iterate(images, config))[-1]
    otsu = np.mean(
        [dice(start_probability(orient(i, "bright"), "otsu"), t) for i, t in zip(images, truth, strict=True)]
    )
    assert np.mean([dice(m, t) for m, t in zip(final.masks, truth, strict=True)]) > otsu


# When a run is over.


@pytest.mark.parametrize(
    ("agreements", "is_stable", "wanders"),
    [
        ([], False, False),
        ([0.985], False, False),
        ([0.991], True, False),
        ([0.9, 0.95, 0.98, 0.992], True, False),
        ([0.97, 0.96], False, False),  # two rounds are too few to say
        ([0.95, 0.98, 0.985, 0.981], False, False),
        ([0.95, 0.98, 0.97, 0.96], False, True),
        ([0.95, 0.98, 0.7, 0.96], False, False),  # somebody has painted
        ([0.98, 0.98, 0.98], False, False),
    ],
)
def test_a_run_is_over_once_its_masks_settle_or_wander(agreements, is_stable, wanders):
    assert (stable(agreements, 0.99), unsettled(agreements, 0.99)) == (is_stable, wanders)
    assert not stable(agreements, 1.0) and not unsettled(agreements, 1.0)


@pytest.mark.parametrize(
    ("change", "corrected", "rounds"),
    [
        ({}, False, 0),
        ({"rounds": "always"}, False, 1),
        ({}, True, 1),
        ({"rounds": "painted"}, False, 0),
        ({"rounds": "painted"}, True, 2),
        ({"start": "otsu"}, False, 2),
    ],
)
def test_a_start_by_the_prior_is_the_end_unless_there_is_something_to_learn(blobs, change, corrected, rounds):
    most = 1 if change == {"rounds": "always"} else 2
    config = IGTTConfig(epochs=most, steps_per_epoch=1, device="cpu", stop_agreement=1, **change)
    painted = np.full(blobs[0][0].shape, UNLABELLED, np.uint8)
    painted[:3, :3] = 1
    *_, end = iterate(blobs[0], config, corrections={0: painted} if corrected else None)
    assert end.epoch == rounds
    assert ("paint what is wrong" in end.reason) == (rounds == 0)


def test_images_of_both_polarities_are_told_apart(tmp_path):
    rng = np.random.default_rng(0)
    images = [simulate.nuclei((96, 96), rng)[0].astype(np.float32) for _ in range(4)]
    images[3] = images[3].max() - images[3]
    config = IGTTConfig(epochs=1, device="cpu")
    events = list(iterate(images, config, names=["a", "b", "c", "d"], folder=tmp_path))
    (begun,) = [e for e in events if isinstance(e, RunStarted)]
    assert begun.objects == "bright"
    (told,) = [e.message for e in events if isinstance(e, Warned)]
    assert "dark in 1 of 4 images (d)" in told
    again = list(iterate(images, config, names=["a", "b", "c", "d"], folder=tmp_path, resume=True))
    for one, other in zip(events[-1].masks, again[-1].masks, strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_whose_polarity_is_uncertain_are_named():
    noise = np.random.default_rng(0).normal(size=(96, 96)).astype(np.float32)
    images = [noise, np.zeros((96, 96), np.float32), -noise]
    told = [
        e.message for e in iterate(images, IGTTConfig(device="cpu"), names=["a", "blank", "c"]) if isinstance(e, Warned)
    ]
    assert any(message.startswith("Bright or dark is uncertain in 2 of 3 images (a and c);") for message in told)
    chosen = iterate(images, IGTTConfig(device="cpu", objects="bright"), names=["a", "blank", "c"])
    assert not any("uncertain" in e.message for e in chosen if isinstance(e, Warned))


@pytest.mark.parametrize(
    ("shapes", "change", "painted", "expected"),
    [
        ([(256, 256)], {}, False, (8, 1)),  # a step of two would see the one image twice
        ([(256, 256)], {"steps_per_epoch": 3}, False, (3, 1)),
        ([(256, 256)], {}, True, (40, 2)),
        ([(256, 256)], {"weights": "random"}, False, (40, 2)),
        ([(256, 256)] * 16, {}, False, (24, 2)),
        ([(512, 512)], {}, False, (8, 2)),
        ([(64, 64)] * 30, {}, False, (40, 2)),
        ([(1040, 1392)], {}, False, (34, 2)),
    ],
)
def test_few_images_take_few_steps_unless_there_is_much_to_learn(shapes, change, painted, expected):
    planes = [np.eye(*shape, dtype=np.float32) for shape in shapes]
    run = Run(planes, IGTTConfig(device="cpu", objects="bright", **change), Control(), None, None)
    assert run._steps_and_batch(painted) == expected


# ---- Fields of view: what lies outside is no object in any round


@pytest.mark.parametrize("start", ["otsu", "prior"])
def test_no_round_finds_anything_in_the_surround(green, quick, tmp_path, start):
    plane, _, outside = green
    config = quick.model_copy(update={"start": start, "objects": "dark"})
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
    config = quick.model_copy(update={"objects": "dark"})
    start = next(e for e in iterate([plane], config) if isinstance(e, EpochFinished))
    mask, inside = start.masks[0] > 0, ~outside
    assert mask.mean() < 0.3  # the surround alone is a third of the image
    assert 2 * (mask & vessels & inside).sum() / (mask.sum() + (vessels & inside).sum()) > 0.6


def test_who_paints_in_the_surround_means_it(green, quick):
    plane, _, outside = green
    painted = np.full(plane.shape, UNLABELLED, np.uint8)
    painted[:5, :5] = 1
    assert outside[:5, :5].all()
    finished = list(
        iterate([plane], quick.model_copy(update={"epochs": 1, "objects": "dark"}), corrections={0: painted})
    )[-1]
    assert finished.masks[0][:5, :5].all()
    assert not finished.masks[0][5:][outside[5:]].any()


def test_a_start_of_the_users_own_is_cut_as_well(green, quick):
    plane, _, outside = green
    everything = np.ones(plane.shape, np.uint8)
    config = quick.model_copy(update={"objects": "dark"})
    start = next(e for e in iterate([plane], config, start_masks=[everything]) if isinstance(e, EpochFinished))
    assert not start.masks[0][outside].any()


def test_resuming_goes_on_with_the_same_masks(green, quick, tmp_path):
    plane = green[0]
    whole = list(iterate([plane], quick, folder=tmp_path / "whole"))[-1]
    first = quick.model_copy(update={"epochs": 1})
    list(iterate([plane], first, folder=tmp_path / "parts"))
    parts = list(iterate([plane], quick, folder=tmp_path / "parts", resume=True))[-1]
    np.testing.assert_array_equal(parts.masks[0], whole.masks[0])
