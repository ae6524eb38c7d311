"""A noise study: the conditions asked for, clean test images, numbers that are those of the runs."""

import csv
import math

import numpy as np
import pytest
from PIL import Image

from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import Dilate, Flip, Random, Sample, apply
from napari_metastructure.training import study_results as files
from napari_metastructure.training import study_results as module
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import BatchFinished, TrainEpoch, TrainFinished
from napari_metastructure.training.pairs import pairs_of
from napari_metastructure.training.study import study
from napari_metastructure.training.study_results import (
    CONDITIONS,
    STUDIES,
    Condition,
    ConditionFinished,
    ConditionStarted,
    StudyConfig,
    StudyFinished,
    StudyStarted,
    predict,
)
from napari_metastructure.training.train import train

THREE = (
    Condition(name="CL"),
    Condition(name="kept", recipe=Sample(keep=0.3)),
    Condition(name="RL", recipe=Random(probability=0.5)),
)


@pytest.fixture(scope="module")
def config(small):
    return StudyConfig(conditions=THREE, repeats=2, train=small)


@pytest.fixture(scope="module")
def done(discs, config, tmp_path_factory):
    folder, write = tmp_path_factory.mktemp("study"), module.write_figure
    with pytest.MonkeyPatch.context() as patch:  # it is drawn after each run; the last time is enough
        patch.setattr(module, "write_figure", lambda folder, found: write(folder, found) if len(found) == 6 else ())
        return list(study(pairs_of(*discs(8)), config, folder=folder)), folder


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_every_run_is_run_and_told(done, config):
    events, _ = done
    (started,) = of(events, StudyStarted)
    assert (started.runs, started.training, started.test, started.classes) == (6, 6, 2, (0, 1))
    order = [(e.network, e.condition, e.seed) for e in of(events, ConditionStarted)]
    assert order == [("light-unet", name, seed) for seed in (0, 1) for name in ("CL", "kept", "RL")]
    assert len(of(events, TrainEpoch)) == 6 * 3
    assert [e.result for e in of(events, ConditionFinished)] == list(events[-1].results)
    assert isinstance(events[-1], StudyFinished) and not events[-1].stopped


def test_clean_and_sampled_labels_teach_and_random_ones_do_not(done):
    lines = {line["condition"]: line for line in files.table(done[0][-1].results)}
    assert lines["CL"]["test_mean"] > 0.8 and lines["kept"]["test_mean"] > 0.7
    assert lines["RL"]["test_mean"] < 0.5
    assert [lines[name]["rank"] for name in ("CL", "kept", "RL")] == [2, 2, 1]
    assert lines["RL"]["left"] == 0 and lines["CL"]["left"] == pytest.approx(1)


def test_labels_are_the_recipes_and_differ_by_seed(done):
    starts = [e for e in of(done[0], ConditionStarted) if e.condition == "kept"]
    clean = next(e.labels for e in of(done[0], ConditionStarted) if e.condition == "CL")
    for start in starts:
        for k, (noisy, y) in enumerate(zip(start.labels, clean, strict=True)):
            np.testing.assert_array_equal(noisy, apply(THREE[1].recipe, y, start.seed, (0, 1), first=k))
    assert any((a != b).any() for a, b in zip(starts[0].labels, starts[1].labels, strict=True))


def test_a_run_is_the_training_it_says(done, discs, config):
    """The clean condition of seed 1 equals a training by hand on the same images."""
    events, _ = done
    result = next(r for r in events[-1].results if (r.condition, r.seed) == ("CL", 1))
    names = next(e.names for e in of(events, ConditionStarted))
    pairs = {p.name: p for p in pairs_of(*discs(8))}
    training, test = [pairs[n] for n in names], [p for n, p in pairs.items() if n not in names]
    by_hand = of(train(training, config.train.model_copy(update={"seed": 1}), validation=test), TrainEpoch)
    assert result.test == tuple(e.validation.dice for e in by_hand)
    assert result.loss == tuple(e.loss for e in by_hand)


def test_files_hold_the_numbers_and_the_figure(done):
    events, folder = done
    assert files.read(folder) == list(events[-1].results)
    lines = list(csv.DictReader((folder / files.TABLE).open()))
    for line in lines:
        runs = [r for r in events[-1].results if r.condition == line["condition"]]
        finals = [r.test[-1] for r in runs]
        assert float(line["test_mean"]) == pytest.approx(np.mean(finals))
        assert float(line["test_std"]) == pytest.approx(abs(finals[0] - finals[1]) / math.sqrt(2))
        assert int(line["repeats"]) == 2
    picture = np.asarray(Image.open(folder / "study.png").convert("L"))
    assert picture.shape[1] > 1000 and picture.std() > 10
    assert "<svg" in (folder / "study.svg").read_text()[:1000]


def test_a_stopped_study_goes_on_where_it_was(discs, config, done, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_figure", lambda folder, found: ())  # drawn above
    control, pairs = Control(), pairs_of(*discs(8))
    for event in study(pairs, config, control, folder=tmp_path):
        if isinstance(event, BatchFinished) and event.epoch == 2:
            seen = len(files.read(tmp_path))
            if seen == 1:
                control.stop()
    assert event.stopped and len(event.results) == 1
    rest = list(study(pairs, config, folder=tmp_path))
    assert len(of(rest, ConditionStarted)) == 5
    assert of(rest, StudyStarted)[0].done == event.results
    key = lambda r: (r.seed, r.condition)  # noqa: E731
    assert sorted(rest[-1].results, key=key) == sorted(done[0][-1].results, key=key)
    other = config.model_copy(update={"train": config.train.model_copy(update={"learning_rate": 0.1})})
    with pytest.raises(InputError, match="other settings"):
        list(study(pairs, other, folder=tmp_path))
    with pytest.raises(InputError, match="fewer images or labels than before"):
        list(study(pairs[:-1], config, folder=tmp_path))
    images, masks = discs(8)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changed in (pairs_of(images, [*masks[:-1], 1 - masks[-1]]), pairs_of([images[0] + 1, *images[1:]], masks)):
        with pytest.raises(InputError, match=r"image [18]"):  # the numbers of before would stand beside other ones
            list(study(changed, config, folder=tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_study_stopped_while_labels_are_read_ends_well(discs, config):
    control, pairs = Control(), pairs_of(*discs(4))
    control.stop()
    (event,) = study(pairs, config, control)
    assert isinstance(event, StudyFinished) and event.stopped and event.results == ()
    (event,) = train(pairs, config.train, control)
    assert isinstance(event, TrainFinished) and event.stopped and event.model is None


def test_several_classes(discs, small):
    flipped = (Condition(name="CL"), Condition(name="flipped", recipe=Flip(fraction=0.3)))
    config = StudyConfig(conditions=flipped, repeats=1, train=small)
    *_, end = study(pairs_of(*discs(6, classes=3)), config)
    assert [r.rank for r in end.results] == [3, 3] and all(r.classes == 3 for r in end.results)
    random = config.model_copy(update={"conditions": (CONDITIONS["CL"], CONDITIONS["RL 0.5"])})
    with pytest.raises(InputError, match="per_class"):
        list(study(pairs_of(*discs(6, classes=3)), random))


def test_the_figures_of_the_paper_are_named():
    assert set(STUDIES) == {"all", "figure 1", "figure 2", "figure 5"}
    for name in STUDIES:
        config = StudyConfig.preset(name, repeats=1)
        assert [c.name for c in config.conditions] == list(STUDIES[name])
    families = {c.family for c in StudyConfig.preset("all").conditions}
    assert families == {"CL", "RCL", "PCL", "RL"}
    with pytest.raises(ValueError, match="two conditions are called 'CL'"):
        StudyConfig(conditions=(Condition(name="CL"), Condition(name="CL", recipe=Dilate(n=1))))


def test_predictions_of_theory(discs):
    _, labels = discs(3)
    for recipe, rank in ((None, 2), (Flip(fraction=0.45), 2), (Flip(fraction=0.5), 1), (Random(probability=0.1), 1)):
        noisy = [y if recipe is None else apply(recipe, y, 0, (0, 1), first=k) for k, y in enumerate(labels)]
        said = predict(recipe, labels, noisy, (0, 1), 4.0)
        assert (said.rank, said.classes) == (rank, 2)
    left = []
    for n in (1, 2, 4):
        noisy = [apply(Dilate(n=n), y, 0, (0, 1)) for y in labels]
        left.append(predict(Dilate(n=n), labels, noisy, (0, 1), 4.0).retained)
    assert 1 > left[0] > left[1] > left[2] > 0


def test_one_image_is_not_enough(discs, config):
    with pytest.raises(InputError, match="two images at least"):
        list(study(pairs_of(*discs(1)), config))


@pytest.mark.parametrize("name", ["run.yaml", "model.safetensors", "curves.csv", "table.csv", "study.png"])
def test_a_folder_of_something_else_is_left_alone(discs, config, tmp_path, name):
    (tmp_path / name).write_text("config: {objects: dark}\n")
    with pytest.raises(InputError, match=f"{name} is there already, and not of a study"):
        list(study(pairs_of(*discs(4)), config, folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "config: {objects: dark}\n"
