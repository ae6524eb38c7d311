"""Noise studies: a network trained on many kinds of noisy labels and tested on clean ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_metastructure.errors import InputError, all_are, counted
from napari_metastructure.images.writing import make_folder
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training import study_results
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Event, Saved, TrainEpoch, TrainFinished, Unsaved, Warned
from napari_metastructure.training.pairs import Pair, check_values, read_pairs, reader_of, split
from napari_metastructure.training.run_folder import FILES, RunFolder, read_config, read_description
from napari_metastructure.training.run_state import Saver, check_identity
from napari_metastructure.training.train import identity_of, prints_of, train


def study(
    pairs: Sequence[Pair],
    config: study_results.StudyConfig,
    control: Control | None = None,
    *,
    test: Sequence[Pair] | None = None,
    folder: Path | None = None,
) -> Iterator[Event | study_results.StudyEvent]:
    """Run a noise study and report progress.

    Every run has its own noise and first weights, both by its seed, and the same images; the test images keep their
    clean labels and are never trained on. There is no early stop: the score that counts is that of the last epoch.

    Parameters
    ----------
    pairs : sequence of Pair
        Images with clean labels.
    config : StudyConfig
    control : Control, optional
        To stop and pause from another thread.
    test : sequence of Pair, optional
        Images to test on; without them ``config.test_fraction`` of ``pairs``, whole images.
    folder : Path, optional
        ``run.yaml``, ``curves.csv``, ``table.csv``, ``study.png``, ``study.svg``, rewritten after each run. Runs
        that ``curves.csv`` holds already are not run again, if they were made with the same settings.

    Yields
    ------
    Event or StudyEvent
        `StudyStarted`; per run `ConditionStarted`, the events of `training.train.train`, `ConditionFinished`;
        `StudyFinished` as the last.

    Raises
    ------
    InputError
        For images, labels or settings that cannot be used, or a folder with a study of other settings.
    RunFailed
        If a training breaks down; the results so far are written.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_metastructure.images.simulate import nuclei
    >>> from napari_metastructure.training.config import TrainConfig
    >>> from napari_metastructure.training.pairs import pairs_of
    >>> from napari_metastructure.training.study_results import CONDITIONS, StudyConfig
    >>> images, masks = zip(*(nuclei((64, 64), np.random.default_rng(seed)) for seed in range(3)))
    >>> small = TrainConfig(epochs=1, steps_per_epoch=2, base_channels=4, patch_size=64, device="cpu")
    >>> config = StudyConfig(conditions=(CONDITIONS["CL"], CONDITIONS["RL 0.5"]), repeats=1, train=small)
    >>> *_, end = study(pairs_of(images, masks), config)
    >>> [(result.condition, result.rank) for result in end.results]
    [('CL', 2), ('RL 0.5', 1)]
    """
    control = control or Control()
    training, held = (
        split(pairs, config.test_fraction, config.train.seed) if test is None else (list(pairs), list(test))
    )
    if not training or not held:
        raise InputError(
            "A study needs images to train on and others to test on; give two images at least (the slices of a stack "
            "count as one)."
        )
    try:
        pairs, notes = read_pairs([*training, *held], config.train.reading, config.train.classes, control.checkpoint)
    except Stopped:
        yield study_results.StudyFinished(True, "Stopped by the user before the first run began.", ())
        return
    classes = check_values(pairs, config.train.classes)
    training, held = pairs[: len(training)], pairs[len(training) :]
    clean = [pair.read_labels() for pair in training]
    for condition in config.conditions:  # a recipe that does not fit the classes shall not wait for its turn
        if condition.recipe is not None:
            condition.recipe.transition(classes)
    runs = config.runs()
    everything = [*training, *held]
    prints = prints_of(everything) if folder is not None else {}
    identity = identity_of(everything, prints) if folder is not None else []
    names = [p.name for p in everything]
    images = {"training": names[: len(training)], "test": names[len(training) :]}
    facts = {"images": images, "checksums": [checksum for _, checksum in identity]}

    def describe(into: RunFolder) -> Path:
        return into.write_description(config, config.train.device, names, list(prints.values()), facts)

    def ended(stopped: bool, why: str) -> study_results.StudyFinished:
        done = f"{len(found)} of {counted(len(runs), 'run')} done"
        return study_results.StudyFinished(stopped, f"{why}; {done}.", tuple(found))

    writer = _Writer(RunFolder(folder) if folder is not None else None, control, describe)
    with closing(writer):
        found = writer.open(config, identity)
        yield study_results.StudyStarted(len(runs), len(training), len(held), classes, tuple(found))
        yield from writer.description()
        yield from map(Warned, notes)
        done = {(r.network, r.condition, r.seed) for r in found}
        for number, (network, condition, seed) in enumerate(runs, 1):
            if (network, condition.name, seed) in done:
                continue
            noisy = [condition.labels(y, seed, classes, k) for k, y in enumerate(clean)]
            predicted = study_results.predict(condition.recipe, clean, noisy, classes, config.bandwidth)
            yield study_results.ConditionStarted(
                *(number, len(runs), network, condition.name, seed, predicted),
                labels=tuple(noisy),
                names=tuple(pair.name for pair in training),
            )
            settings = config.train.model_copy(
                update={"network": network, "seed": seed, "classes": classes, "patience": 0}
            )
            epochs: list[TrainEpoch] = []
            for event in train(list(map(_with_labels, training, noisy)), settings, control, validation=held):
                if isinstance(event, TrainEpoch):
                    epochs.append(event)
                if not isinstance(event, TrainFinished):
                    yield event
            if control.stopped:
                yield ended(True, "Stopped by the user")
                return
            found.append(_result(network, condition, seed, predicted, epochs))
            yield from writer.results()
            yield study_results.ConditionFinished(found[-1])
            if writer.saver.lost:
                yield ended(False, "The study ended early, because it could not be saved")
                return
        yield study_results.StudyFinished(False, f"{all_are(len(runs), 'run')} done.", tuple(found))


def _with_labels(pair: Pair, labels: np.ndarray) -> Pair:
    return replace(pair, read_labels=reader_of(labels), values=tuple(np.setdiff1d(labels, UNLABELLED).tolist()))


def _result(
    network: str,
    condition: study_results.Condition,
    seed: int,
    predicted: study_results.Predicted,
    epochs: Sequence[TrainEpoch],
) -> study_results.RunResult:
    """Return loss and test score, epoch by epoch."""
    scores = [epoch.validation for epoch in epochs if epoch.validation is not None]
    return study_results.RunResult(
        *(network, condition.name, condition.family, seed, predicted.rank, predicted.classes, predicted.retained),
        loss=tuple(epoch.loss for epoch in epochs if epoch.validation is not None),
        test=tuple(score.dice if predicted.classes == 2 else score.iou for score in scores),
    )


class _Writer:
    """The folder of a study: ``run.yaml`` and, after each run, tables and figure of all results so far."""

    def __init__(self, folder: RunFolder | None, control: Control, describe: Callable[[RunFolder], Path]) -> None:
        self.describe = describe
        self.found: list[study_results.RunResult] = []
        self.saver = Saver(folder, control, self._write_all)

    def open(
        self, config: study_results.StudyConfig, identity: Sequence[tuple[str, str]]
    ) -> list[study_results.RunResult]:
        """Keep others out of the folder, and return the results so far, to which more may be added.

        Raises
        ------
        InputError
            If another study is going on there, or one of other settings or images is there.
        """
        if self.saver.folder is not None:
            self.saver.folder.lock()
            self.found = _earlier(self.saver.folder.path, config, identity)
        return self.found

    def close(self) -> None:
        """Let others write into the folder."""
        self.saver.close()

    def description(self) -> Iterator[Saved]:
        """Write ``run.yaml``."""
        if self.saver.folder is not None:
            yield Saved(self.describe(self.saver.folder))

    def results(self) -> Iterator[Saved | Unsaved]:
        """Write the results so far; where that fails, as `Saver.save` does."""
        yield from self.saver.save(self._write_results)

    def _write_results(self) -> Iterator[Saved]:
        if self.saver.folder is not None:
            self.saver.folder.check_here()
            yield from map(Saved, write_results(self.saver.folder.path, self.found))

    def _write_all(self) -> Iterator[Saved]:
        yield from self.description()
        yield from self._write_results()


def _earlier(
    folder: Path, config: study_results.StudyConfig, identity: Sequence[tuple[str, str]]
) -> list[study_results.RunResult]:
    """Read the runs that a study in this folder has finished.

    Raises
    ------
    InputError
        If there is a study of other settings, images or labels: their curves must not be mixed.
    """
    found = study_results.read(folder)
    if not found:
        _check_free(folder)
        return []
    then, checksums = read_config(folder, study_results.StudyConfig), read_description(folder).get("checksums")
    asked = {"conditions", "networks", "repeats"}  # more of these may be asked for later
    if then.model_dump(exclude=asked) != config.model_dump(exclude=asked):
        raise InputError(f"{folder} holds a study with other settings; choose another folder.")
    if not isinstance(checksums, list):
        raise InputError(f"{folder} holds a study that did not note its images; choose another folder.")
    check_identity(list(map(str, checksums)), identity, f"the study in {folder}")
    known = {condition.name: condition for condition in then.conditions}
    for condition in config.conditions:
        if known.get(condition.name, condition) != condition:
            raise InputError(f"{folder} holds a study in which {condition.name!r} is another noise; rename yours.")
    return found


def _check_free(folder: Path) -> None:
    """Refuse a folder in which a run, a comparison or a user's file would be written over.

    Raises
    ------
    InputError
        Naming what is there, unless a study has begun there.
    """
    for name in (*FILES, study_results.CURVES, study_results.TABLE, *study_results.FIGURES):
        if (folder / name).exists():
            try:
                read_config(folder, study_results.StudyConfig)
            except InputError:
                there = f"{folder / name} is there already, and not of a study that can be gone on with"
                raise InputError(f"{there}; choose another folder.") from None
            return


def write_results(folder: Path, results: Sequence[study_results.RunResult]) -> list[Path]:
    """Write tables and figure of a study; drawing with matplotlib takes seconds.

    Parameters
    ----------
    folder : Path
        Made if it is not there. It gets ``curves.csv``, ``table.csv``, ``study.png`` and ``study.svg``.
    results : sequence of RunResult

    Raises
    ------
    InputError
        If the folder cannot be made or written to.
    """
    make_folder(folder)
    return [*study_results.write(folder, results), *study_results.write_figure(folder, results)]
