"""The comparison: what it measures, in which order, and what it does where a method fails or the user stops."""

import json
import subprocess
import sys
import threading
import time
from typing import get_args

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from napari_metastructure.baselines.compare import PeakMemory, compare
from napari_metastructure.baselines.config import TITLES, CompareConfig, MethodName
from napari_metastructure.baselines.methods import METHODS, Segmentation, ridge
from napari_metastructure.baselines.results import (
    CompareFinished,
    CompareStarted,
    MethodFinished,
    MethodProgress,
    MethodStarted,
)
from napari_metastructure.errors import InputError, RunFailed, explain
from napari_metastructure.igtt.config import PRESETS, IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Finished, Saved, Warned


def config(*methods, **more):
    return CompareConfig(methods=methods, **{"repeats": 1, "device": "cpu", **more})


def finished(events):
    last = list(events)[-1]
    assert isinstance(last, CompareFinished)
    return last


def noisy(task, plane):
    return np.random.default_rng(task.seed).random(plane.shape) > 0.5


def test_scores_are_those_of_scikit_learn(discs):
    images, masks = discs(3)
    events = list(compare(images, config("otsu", "ridge"), masks=masks, names=["a", "b", "c"]))
    assert isinstance(events[0], CompareStarted) and events[0].labelled and events[0].polarity == "bright"
    runs = [e for e in events if isinstance(e, MethodFinished)]
    assert [(r.result.method, r.result.repeat) for r in runs] == [("otsu", 0), ("ridge", 0)]
    for run in runs:
        assert [s.name for s in run.result.scores] == ["a", "b", "c"]
        assert run.result.seconds > 0 and run.result.memory >= 0
        for found, truth, s in zip(run.masks, masks, run.result.scores, strict=True):
            assert found.dtype == np.uint8 and set(np.unique(found)) <= {0, 1}
            assert s.dice == pytest.approx(f1_score(truth.ravel(), found.ravel()))
            assert s.accuracy == pytest.approx(accuracy_score(truth.ravel(), found.ravel()))
            assert s.oracle is None
    planes = [(i - i.mean(dtype=float)) / i.std(dtype=float) for i in images]
    scores = [ridge(p.astype(np.float32)).score for p in planes]
    expected = [roc_auc_score(t.ravel(), s.ravel()) for t, s in zip(masks, scores, strict=True)]
    assert [s.auc for s in runs[1].result.scores] == pytest.approx(expected, abs=1e-6)


def test_runs_come_repeat_by_repeat_and_those_without_chance_once(discs, invent):
    invent("ac", noisy)
    images, _ = discs(2)
    events = list(compare(images, config("otsu", "ac", repeats=3, seed=5)))
    started = [e for e in events if isinstance(e, MethodStarted)]
    assert [(e.method, e.repeat) for e in started] == [("otsu", 0), ("ac", 0), ("ac", 1), ("ac", 2)]
    assert [(e.number, e.runs) for e in started] == [(i, 4) for i in (1, 2, 3, 4)] and events[0].runs == 4
    found = [e.masks[0] for e in events if isinstance(e, MethodFinished) and e.result.method == "ac"]
    for repeat, mask in enumerate(found):
        np.testing.assert_array_equal(mask, np.random.default_rng(5 + repeat).random(mask.shape) > 0.5)
    shares = [e.done for e in events if isinstance(e, MethodProgress) and (e.method, e.repeat) == ("ac", 1)]
    assert shares == [0.5, 1]
    assert events[-1].reason == "All 4 runs are done." and not events[-1].stopped
    assert all(r.scores is None for r in events[-1].results)


def test_igtt_sees_what_it_sees_alone(discs, monkeypatch):
    monkeypatch.setitem(PRESETS["default"], "steps_per_epoch", 2)
    images, _ = discs(2)
    images = [255 - image for image in images]
    events = compare(images, config("igtt", "igtt-no-ems", objects="dark", rounds=1, seed=3))
    found = {e.result.method: e.masks for e in events if isinstance(e, MethodFinished)}
    for name, more in (("igtt", {}), ("igtt-no-ems", {"extraction": "none"})):
        alone = IGTTConfig.from_preset("default", seed=3, device="cpu", objects="dark", epochs=1, **more)
        last = [e for e in iterate(images, alone) if isinstance(e, Finished)][-1]
        for ours, theirs in zip(found[name], last.masks, strict=True):
            assert np.mean(ours == theirs) > 0.99  # z-scored twice, so the last bits of the pixels differ


@pytest.mark.parametrize("method", ["igtt", "igtt-no-ems", "igtt-paper"])
def test_igtt_takes_images_as_they_are_if_asked_to(discs, method, monkeypatch):
    for preset in PRESETS.values():
        monkeypatch.setitem(preset, "steps_per_epoch", 1)
    (image,), _ = discs(1)
    image[:, :12] = 0
    told = {}
    for flaws in ("mend", "keep"):
        events = compare([image], config(method, objects="bright", rounds=1, flaws=flaws))
        told[flaws] = [e.message for e in events if isinstance(e, Warned) and "margin" in e.message]
    assert (len(told["mend"]), told["keep"]) == (method != "igtt-paper", [])


@pytest.mark.parametrize("change", [{"dfc_iterations": 4, "ac_steps": 9}, {"dfc_iterations": 9, "ac_steps": 4}])
def test_clusters_take_as_many_steps_as_are_set(discs, change):
    images, _ = discs(1)
    events = list(compare(images, config("dfc", "ac", **change)))
    steps = {name: sum(isinstance(e, MethodProgress) and e.method == name for e in events) for name in ("dfc", "ac")}
    assert steps["dfc"] == pytest.approx(change["dfc_iterations"], abs=1)
    assert steps["ac"] == pytest.approx(change["ac_steps"], abs=2)


def test_dark_objects_are_found_as_bright_ones_are(discs):
    images, masks = discs(2)
    bright = finished(compare(images, config("otsu", "lc"), masks=masks))
    inverse = [255 - image for image in images]
    for objects in ("auto", "dark"):
        dark = finished(compare(inverse, config("otsu", "lc", objects=objects), masks=masks))
        for ours, theirs in zip(dark.results, bright.results, strict=True):
            assert [s.dice for s in ours.scores] == pytest.approx([s.dice for s in theirs.scores], abs=0.02)


def test_agreement_is_the_dice_between_masks(discs, invent):
    images, _ = discs(2)
    pair = {"dfc": (slice(0, 20), slice(None)), "ac": (slice(10, 40), slice(None))}
    for name, part in pair.items():

        def mask(task, plane, part=part):
            found = np.zeros(plane.shape, bool)
            found[part] = True
            return found

        invent(name, mask)
    events = list(compare(images, config("dfc", "ac", repeats=2)))
    so_far = [e.agreement for e in events if isinstance(e, MethodFinished)]
    assert so_far[0] is None and [a.methods for a in so_far[1:]] == [("dfc", "ac")] * 3
    last = finished(events)
    assert last.agreement.methods == ("dfc", "ac")
    np.testing.assert_allclose(last.agreement.dice, [[1, 2 * 10 / 50], [2 * 10 / 50, 1]])
    assert finished(compare(images, config("dfc"))).agreement is None


def test_clusters_have_an_oracle_and_are_called_by_brightness_all_the_same(discs, invent):
    images, masks = discs(2)

    def clusters(task, plane):
        truth = masks[[np.array_equal(plane, p) for p in task.planes].index(True)]
        return Segmentation(~truth, (~truth).astype(np.float32), truth.astype(int))

    invent("dfc", clusters)
    for truth in (masks, [_unlabelled(m) for m in masks]):
        scores = finished(compare(images, config("dfc"), masks=truth)).results[0].scores
        assert [(s.oracle, s.dice, s.auc) for s in scores] == [(1.0, 0.0, 0.0)] * 2


def _unlabelled(mask):
    coded = mask.astype(np.uint8)
    coded[:, :8] = 255
    return coded


def test_unlabelled_pixels_count_for_nothing(discs, invent):
    images, masks = discs(2)
    invent("dfc", lambda task, plane: plane > 0)
    whole, coded = (
        finished(compare(images, config("dfc"), masks=truth)) for truth in (masks, [_unlabelled(m) for m in masks])
    )
    for i, (image, truth) in enumerate(zip(images, masks, strict=True)):
        found, known = (image > image.mean())[:, 8:].ravel(), truth[:, 8:].ravel()
        assert coded.results[0].scores[i].dice == pytest.approx(f1_score(known, found))
        assert coded.results[0].scores[i].accuracy == pytest.approx(accuracy_score(known, found))
    assert whole.results[0].scores != coded.results[0].scores


def test_all_above_0_is_foreground_in_other_masks(discs):
    images, masks = discs(2)
    plain, values, many = (
        finished(compare(images, config("agt"), masks=truth)).results[0].scores
        for truth in (masks, [m * np.uint8(255) for m in masks], [m * np.uint16(300) for m in masks])
    )
    assert plain == values == many


@pytest.mark.parametrize("error", [InputError("no such thing."), RunFailed("it broke."), MemoryError()])
def test_a_method_that_fails_is_told_and_the_others_go_on(discs, invent, error):
    def fail(task, plane):
        raise error

    invent("dfc", fail)
    events = list(compare(discs(2)[0], config("dfc", "otsu", "lc")))
    warnings = [e.message for e in events if isinstance(e, Warned)]
    assert len(warnings) == 1 and warnings[0].startswith("DFC") and str(error) in warnings[0]
    assert [r.method for r in events[-1].results] == ["otsu", "lc"]
    assert events[-1].agreement.methods == ("otsu", "lc") and not events[-1].stopped
    assert events[-1].reason == "2 of 3 runs are done; the others failed."


def test_an_error_of_ours_is_not_hidden(discs, invent):
    def fail(task, plane):
        raise ZeroDivisionError

    invent("dfc", fail)
    with pytest.raises(ZeroDivisionError):
        list(compare(discs(1)[0], config("dfc")))


def test_a_stop_keeps_what_is_done(discs, invent):
    control = Control()

    def stop(task, plane):
        control.stop()
        return plane > 0

    invent("dfc", stop)
    last = finished(compare(discs(3)[0], config("otsu", "dfc", "lc"), control))
    assert last.stopped and [r.method for r in last.results] == ["otsu"]
    assert last.reason == "Stopped by the user; 1 of 3 runs are done."


def test_neither_pauses_nor_listeners_count_as_time(discs, invent, hold, monkeypatch):
    control, now = Control(), [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def spend(seconds):
        now[0] += seconds

    def resume(held):
        held.wait(60)
        spend(100)
        control.resume()

    def pause(task, plane):
        spend(7)
        threading.Thread(target=resume, args=(hold(control),)).start()
        control.checkpoint()
        return plane > 0

    invent("dfc", pause)
    for event in compare(discs(1)[0], config("dfc"), control):
        if isinstance(event, MethodProgress):
            spend(1000)
    assert event.results[0].seconds == 7
    assert now[0] > 1100  # it was paused, and listened to


def test_same_seed_same_results(discs, invent):
    invent("dfc", noisy)
    images, masks = discs(2)
    first, again, other = (
        [r.scores for r in finished(compare(images, config("dfc", repeats=2, seed=s), masks=masks)).results]
        for s in (0, 0, 1)
    )
    assert first == again and first[1] == other[0] and first[0] != other[1]


def test_the_folder_holds_all_and_is_told(discs, invent, tmp_path):
    invent("dfc", noisy)
    images, masks = discs(2)
    events = list(compare(images, config("otsu", "dfc", repeats=2), masks=masks, folder=tmp_path / "out"))
    files = {"run.yaml", "results.csv", "table.csv", "table.md", "agreement.csv", "compare.png"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == files
    assert {e.path.name for e in events if isinstance(e, Saved)} == files
    facts = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    assert facts["config"]["methods"] == ["otsu", "dfc"] and facts["objects"] == "bright"
    assert facts["groups"] == ["image 1", "image 2"]
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 1 + 3 * 2


def test_a_folder_that_vanishes_costs_the_tables_and_not_the_results(discs, invent, tmp_path):
    out = tmp_path / "out"

    def vandal(task, plane):
        if out.is_dir():
            for file in out.iterdir():
                file.unlink()
            out.rmdir()
        return plane > 0

    invent("dfc", vandal)
    events = list(compare(discs(1)[0], config("dfc", "otsu"), folder=out))
    assert len(events[-1].results) == 2
    assert "folder is not up to date" in next(e.message for e in events if isinstance(e, Warned))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": []}, "no image"),
        ({"masks": None}, "trained on masks"),
        ({"groups": ["a"] * 4}, "two files or frames"),
        ({"masks": [np.ones((40, 48), bool)]}, "4 images and 1 masks"),
        ({"masks": [np.ones((40, 47), bool)] * 4}, r"image 1: .* has 40 x 48 pixels \(Y x X\), its labels 40 x 47"),
        ({"masks": [np.ones((40, 48), np.float32)] * 4}, "type float32"),
        ({"device": "cuda:99"}, "'cuda:99' is not available"),
        ({"images": [np.full((40, 48), np.nan)] * 4}, "NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(discs, invent, change, sentence):
    invent("dfc", lambda task, plane: pytest.fail("it ran"))
    images, masks = discs(4)
    given = {"images": images, "masks": masks, "groups": None, "device": "cpu", **change}
    settings = config("dfc", "unet", device=given.pop("device"))
    with pytest.raises(InputError, match=sentence):
        next(compare(given.pop("images"), settings, **given))


def test_the_settings_name_methods_once_and_known_ones():
    with pytest.raises(ValidationError) as caught:
        config("otsu", "magic")
    sentence = explain(caught.value, CompareConfig)
    assert sentence.startswith("Methods must be 'otsu', 'agt', ") and sentence.endswith("not 'magic'.")
    with pytest.raises(ValueError, match="otsu is named twice"):
        config("otsu", "otsu")
    assert (
        list(METHODS)
        == list(TITLES)
        == list(get_args(MethodName))
        == [
            *("otsu", "agt", "lc", "ridge", "dfc", "ac", "igtt", "igtt-no-ems", "igtt-paper", "igtt-paper-no-ems"),
            *("light-unet", "unet", "hrnet", "deeplabv3", "deeplabv3plus"),
        ]
    )


# Peak memory of blocks that take a known amount, in a process of their own: what the tests before them give back while
# a block runs would be taken off its peak.


SIZE = 100_000_000


SLACK = 0.2 * SIZE
"""What else the process takes and gives back meanwhile."""


BLOCKS = f"""
import gc, json
import numpy as np
from napari_metastructure.baselines.compare import PeakMemory

def hundred_megabytes():
    return np.ones({SIZE}, np.uint8)  # ones: pages that nobody writes to are not there yet

there = hundred_megabytes()
with PeakMemory() as kept:
    held = hundred_megabytes()
with PeakMemory() as passing:
    for _ in range(3):
        hundred_megabytes().sum()
with PeakMemory() as before:
    there += 1
garbage = [hundred_megabytes()]
garbage.append(garbage)
del garbage
with PeakMemory() as collected:
    gc.collect()
    more = hundred_megabytes()
try:
    with PeakMemory() as failed:
        most = hundred_megabytes()
        1 / 0
except ZeroDivisionError:
    pass
print(json.dumps([m.bytes for m in (kept, passing, before, collected, failed)]))
"""


def test_peaks_of_memory():
    done = subprocess.run([sys.executable, "-c", BLOCKS], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    kept, passing, before, collected, failed = json.loads(done.stdout)
    assert kept == pytest.approx(SIZE, abs=SLACK)
    assert passing == pytest.approx(SIZE, abs=SLACK)  # the peak and not the end
    assert before < SLACK
    assert collected == pytest.approx(SIZE, abs=SLACK)
    assert failed == pytest.approx(SIZE, abs=SLACK)


def test_it_ends_with_the_block_also_where_that_fails():
    def watching():
        return sum(thread.name == "peak memory" for thread in threading.enumerate())

    with pytest.raises(ZeroDivisionError), PeakMemory():
        assert watching() == 1
        raise ZeroDivisionError
    assert watching() == 0


def test_memory_of_a_gpu_is_added():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    torch.zeros(1, device="cuda:0")
    with PeakMemory("cuda:0") as memory:
        torch.ones(SIZE, dtype=torch.uint8, device="cuda:0").sum().item()
    assert memory.bytes >= SIZE
