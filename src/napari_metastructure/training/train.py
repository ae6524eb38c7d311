"""Supervised training: a network, images and their labels, clean or noisy, epoch after epoch."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_metastructure.errors import InputError, RunFailed, all_are, counted
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.images.lazy import Plane, opened, row_blocks
from napari_metastructure.images.ranges import ALL, Chosen
from napari_metastructure.images.surround import measured
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks import ENCODERS
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.device import clear_frames, place, release_all, short_of_memory_fails
from napari_metastructure.networks.model import Model
from napari_metastructure.networks.model_file import Use, save_model
from napari_metastructure.networks.predict import class_probabilities
from napari_metastructure.training.config import MAY_CHANGE, TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.events import Event, Kept, Saved, TrainEpoch, TrainFinished, TrainStarted, Warned
from napari_metastructure.training.loop import EpochLog, Trainer, make_optimizer, make_schedule, run_epoch
from napari_metastructure.training.losses import LOSSES
from napari_metastructure.training.metrics import Confusion, Scores, binary_scores, mean, mean_scores
from napari_metastructure.training.pairs import Pair, check_values, label_codes, read_image, read_pairs, split
from napari_metastructure.training.patches import FullAugmentation, PairReader, PatchSampler, patch_shape
from napari_metastructure.training.run_folder import CHOSEN, RunFolder, described
from napari_metastructure.training.run_state import RunState, Saver

LEAST_STEPS = 20
"""Steps an epoch has at least where the images decide."""


def train(
    pairs: Sequence[Pair],
    config: TrainConfig,
    control: Control | None = None,
    *,
    validation: Sequence[Pair] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    watch: Sequence[str] = (),
    ranks: Ranks = ALONE,
    chosen: Chosen = ALL,
) -> Iterator[Event]:
    """Train a network on images and labels, and tell how it goes.

    Parameters
    ----------
    pairs : sequence of Pair
        What it is trained on (`pairs.pairs_of` makes them from arrays, `folders.find_pairs` from files).
    config : TrainConfig
    control : Control, optional
        To stop and pause from another thread.
    validation : sequence of Pair, optional
        What it is validated on; without it ``config.validation_fraction`` of the images.
    folder : Path, optional
        The run folder: ``run.yaml``, ``metrics.csv``, ``model.safetensors`` (the best epoch), ``last.pt``.
    resume : bool
        Go on from ``folder/last.pt`` up to ``config.epochs``.
    watch : sequence of str
        Names of validation pairs whose predictions are wanted with every epoch.
    ranks : Ranks
        The processes that train together (`distributed.join`), each called with the same arguments; only the first
        writes.
    chosen : Chosen
        Which planes of stacks the pairs are; ``run.yaml`` keeps it.

    Yields
    ------
    Event
        `TrainStarted`; per epoch a `BatchFinished` for each step and a `TrainEpoch`; `Saved` and `Warned` in
        between; `TrainFinished` as the last, or `Kept` before a run that has a network fails.

    Raises
    ------
    InputError
        Before anything is trained: an image, label, option or folder that cannot be used. Later: a file that can
        no longer be read.
    RunFailed
        Out of memory with a single patch or elsewhere, or a loss that is no number. The best network so far is saved
        first.

    Examples
    --------
    >>> from napari_metastructure.images.simulate import nuclei
    >>> from napari_metastructure.training.pairs import pairs_of
    >>> images, masks = zip(*(nuclei((64, 64), np.random.default_rng(seed)) for seed in range(4)))
    >>> config = TrainConfig(epochs=2, steps_per_epoch=5, base_channels=4, patch_size=64, device="cpu")
    >>> for event in train(pairs_of(images, masks), config):
    ...     if isinstance(event, TrainFinished):
    ...         model = event.model
    >>> labels, probability = model.predict(images[0], device="cpu")
    >>> labels.shape
    (64, 64)
    """
    try:
        with short_of_memory_fails(), ranks.lost_fails():
            given = config, control or Control(), validation, folder if ranks.first else None, watch, ranks, chosen
            run = ranks.together(lambda: SupervisedRun(pairs, *given))
    except Stopped:  # while the labels were read
        yield TrainFinished(True, "Stopped by the user before the first epoch was done.", 0, None, None)
        return
    try:
        with ranks.lost_fails():
            yield from run.go(resume)
    except BaseException as error:
        clear_frames(error)
        raise
    finally:
        run.close()


def score(model: Model, pairs: Sequence[Pair], device: str = "auto") -> Scores:
    """Score a model on images it was not trained on: means over images, or of pooled pixels for M > 2 classes.

    As in validation, pixels at which nothing was measured do not count.

    Raises
    ------
    InputError
        For an image or labels that cannot be used; it names them.
    """
    classes = model.use.classes
    pairs, _ = read_pairs(pairs, "auto", classes)
    check_values(pairs, classes)
    confusion, found, truths = Confusion(len(classes)), [], []
    for pair in pairs:
        image = read_image(pair)
        said, p = model.predict(image, device, name=pair.name)
        truth, missing = np.asarray(label_codes(pair, classes)), measured(image)[1]
        if missing is not None:
            truth[np.asarray(missing)] = UNLABELLED
        confusion.add(np.searchsorted(classes, said), truth)
        if len(classes) == 2 and p is not None:
            found.append(p)
            truths.append(truth)
    return binary_scores(found, truths) if found else confusion.scores()


# ---- What a run is made of --------------------------------------------------------------------------------


class _Data(NamedTuple):
    """The images and labels of a run, and the network that fits them."""

    training: PairReader
    validation: PairReader
    use: Use
    spec: NetworkSpec
    notes: list[str]

    @property
    def pairs(self) -> list[Pair]:
        return [*self.training.pairs, *self.validation.pairs]


def _data_of(
    training: Sequence[Pair],
    validation: Sequence[Pair],
    config: TrainConfig,
    device: torch.device,
    checkpoint: Callable[[], None],
) -> _Data:
    """Look through all labels, and see what network they and the first image take."""
    pairs, notes = read_pairs([*training, *validation], config.reading, config.classes, checkpoint)
    training, validation = pairs[: len(training)], pairs[len(training) :]
    classes = check_values(training, config.classes)
    check_values(validation, classes)
    first = read_image(training[0])
    use = Use(
        inputs=config.inputs,
        patch=patch_shape([pair.shape for pair in training], config.patch_size),
        channels=first.shape[0] if first.ndim == 3 else 1,
        classes=classes,
    )
    spec = NetworkSpec(
        architecture=config.network,
        in_channels=channels_of(config.inputs, use.channels),
        classes=1 if len(classes) == 2 else len(classes),
        encoder=config.encoder or ENCODERS[config.network],
        base_channels=config.base_channels,
    )

    def store(pairs: Sequence[Pair]) -> PairReader:
        return PairReader(pairs, config.inputs, spec.in_channels, classes, use.patch, device)

    return _Data(store(training), store(validation), use, spec, notes)


class Agreement:
    """Agreement of a network with its labels while it learns, counted on its device: the host waits for nothing.

    Parameters
    ----------
    classes : int
    device : torch.device
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self._counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=device)  # the last: unlabelled

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count the pixels of (N, 1, Y, X) or (N, M, Y, X) logits and of (N, Y, X) class codes."""
        said = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)
        pairs = torch.where(labels != UNLABELLED, labels.long() * self.classes + said, self.classes**2).flatten()
        self._counts.scatter_add_(0, pairs, torch.ones_like(pairs))

    def scores(self, ranks: Ranks = ALONE) -> Scores:
        """Return what the counts of all processes come to."""
        confusion = Confusion(self.classes)
        confusion.counts += ranks.total(self._counts)[:-1].reshape(self.classes, self.classes).cpu().numpy()
        return confusion.scores()


class _Validated(NamedTuple):
    """Validation of one image; ``said`` holds the predicted class codes of an image that is watched."""

    loss: float
    counts: np.ndarray
    scores: Scores | None
    said: np.ndarray | None


class Validation:
    """Predicts whole images, tile by tile, and compares them with their labels.

    Parameters
    ----------
    store : PairReader
        The images and labels; none of them may be trained on.
    trainer : Trainer
        Whose network and loss are used; its processes share the images out.
    use : Use
    """

    def __init__(self, store: PairReader, trainer: Trainer, use: Use) -> None:
        self.store, self.trainer, self.use = store, trainer, use

    def __call__(
        self, watch: Collection[str], checkpoint: Callable[[], None]
    ) -> tuple[tuple[float, Scores] | None, dict[str, np.ndarray]]:
        """Return mean loss and scores (None if there is no image), and the labels predicted for the images watched."""
        self.trainer.network.eval()
        pairs = self.store.pairs
        found = self.trainer.ranks.shared_out(
            len(pairs), lambda mine: [self._one(i, pairs[i].name in watch, checkpoint) for i in mine]
        )
        values = np.array(self.use.classes, np.uint8)
        predictions = {p.name: values[f.said] for p, f in zip(pairs, found, strict=True) if f.said is not None}
        if not found:
            return None, predictions
        confusion = Confusion(len(values))
        confusion.counts += sum(each.counts for each in found)
        binary = [each.scores for each in found if each.scores is not None]
        return (
            mean([f.loss for f in found]),
            mean_scores(binary) if binary else confusion.scores(),
        ), predictions

    def _one(self, index: int, watched: bool, checkpoint: Callable[[], None]) -> _Validated:
        """Predict one image, and compare it with its labels."""
        confusion, losses, said = Confusion(len(self.use.classes)), list[float](), None
        found: list[np.ndarray] = []
        truths: list[np.ndarray] = []
        for x, codes in self.store.whole(index):
            p = class_probabilities(self.trainer.network, x, self.use.patch, self.trainer.device, checkpoint)
            y = codes.cpu().numpy()
            said = (p[0] > 0.5).astype(np.uint8) if len(p) == 1 else p.argmax(0).astype(np.uint8)
            losses.append(self._loss(p, y))
            confusion.add(said, y)
            found.append(p[0])
            truths.append(y)
        scores = binary_scores(found, truths) if len(self.use.classes) == 2 else None
        shown = said if watched and said is not None and said.shape == self.store.pairs[index].shape else None
        return _Validated(mean(losses), confusion.counts, scores, shown)

    def _loss(self, p: np.ndarray, y: np.ndarray) -> float:
        """Return the training loss of a whole image, from its probabilities: their logits, kept finite.

        It is nan where nothing is labelled: no loss is defined then, and 0 would be the best there is.
        """
        if (y == UNLABELLED).all():
            return math.nan
        inside = torch.from_numpy(np.clip(p, 1e-6, 1 - 1e-6))
        logits = torch.logit(inside) if len(p) == 1 else torch.log(inside)
        return float(self.trainer.loss(logits[None], torch.from_numpy(y)[None]))


# ---- A run ----------------------------------------------------------------------------------------------


class SupervisedRun:
    """One run of `train`, which says what the parameters are."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        config: TrainConfig,
        control: Control,
        validation: Sequence[Pair] | None,
        folder: Path | None,
        watch: Sequence[str],
        ranks: Ranks,
        chosen: Chosen = ALL,
    ) -> None:
        self.chosen = chosen
        c, self.config, self.control, self.watch, self.ranks = config, config, control, frozenset(watch), ranks
        ranks.check_batch(c.batch_size)
        if not pairs:
            raise InputError("There is no image to train on; give at least one image with its labels.")
        given = split(pairs, c.validation_fraction, c.seed) if validation is None else (pairs, validation)
        self._cannot_split = validation is None and c.validation_fraction > 0 and not given[1]
        self.device = ranks.resolve(c.device)
        self.data = _data_of(*given, c, self.device, control.checkpoint)
        self.use, self.spec = self.data.use, self.data.spec
        shapes = [pair.shape for pair in self.data.training.pairs]
        self.steps = c.steps_per_epoch or self._steps(shapes)
        network = ranks.synchronised(place(build(self.spec, c.seed, c.encoder_weights), self.device), self.device)
        optimizer = make_optimizer(network, c.optimizer, c.learning_rate)
        self.trainer = Trainer(network, optimizer, LOSSES[c.loss], self.device, c.seed, self._count, ranks)
        self.schedule = make_schedule(optimizer, c.schedule, c.learning_rate, c.epochs * self.steps)
        self.rng = np.random.default_rng(c.seed)
        augment = FullAugmentation() if c.augment == "full" else None
        self.sampler = PatchSampler(
            self.data.training, shapes, self.use.patch, self.device, augment, c.augment != "none", ranks
        )
        self.validate = Validation(self.data.validation, self.trainer, self.use)
        self.prints = prints_of(self.data.pairs) if folder is not None else {}
        identity = identity_of(self.data.pairs, self.prints) if folder is not None else []
        self.run_state = RunState(c, _may_change(c), identity)
        self.saver = Saver(RunFolder(folder) if folder is not None else None, control, self._write_all)
        self.best_epoch, self.best_value, self.best = 0, -math.inf, self._weights()
        self._told: Collection[str] = frozenset()

    def go(self, resume: bool) -> Iterator[Event]:
        """Run all epochs."""
        c, folder = self.config, self.saver.folder
        if folder:
            folder.lock()
        if resume:
            self.run_state.resume(folder, self._restore, self.ranks)
        elif folder:
            folder.clear()
        training, validation = self.data.training.pairs, self.data.validation.pairs
        yield TrainStarted(
            epochs=c.epochs,
            batches=self.steps,
            training=len(training),
            validation=len(validation),
            classes=self.use.classes,
            device=str(self.device),
            folder=folder.path if folder else None,
            resumed_epoch=self.run_state.epoch,
            before=tuple(self.run_state.rows),
        )
        yield from map(Warned, self.data.notes)
        if self._cannot_split:
            yield Warned("All images are of one stack or there is only one: it trains without validation.")
        if folder:
            yield self._describe(folder)
        stopped = False
        try:
            with short_of_memory_fails():
                while self.ranks.from_first(self._goes_on):
                    yield from self._epoch()
                    yield from map(Warned, self._notes())
                    yield from self.saver.save(partial(self._write, last=False))
        except Stopped:
            stopped = True
        except RunFailed as error:
            yield from self.saver.save(self._write_model)
            if self.best_epoch:
                yield Kept(self.best_epoch, self._best_model())
            kept = f" The network of epoch {self.best_epoch} is kept." if self.best_epoch else ""
            raise RunFailed(f"{error}{kept}") from error
        if not self.run_state.rows:
            yield TrainFinished(True, "Stopped by the user before the first epoch was done.", 0, None, None)
            return
        yield from self.saver.save(partial(self._write, last=True))
        yield self._finished(stopped)

    def close(self) -> None:
        """Give the memory and the folder back."""
        if self.saver.folder is not None:
            self.saver.folder.free_if_unused()
        self.saver.close()
        release_all(self)

    def _goes_on(self) -> bool:
        return self.run_state.epoch < self.config.epochs and not self._out_of_patience() and not self.saver.lost

    def _notes(self) -> list[str]:
        """Say what is odd about images that any process has read since the last epoch, each once."""
        new = [*self.data.training.notes(), *self.data.validation.notes()]
        every = dict.fromkeys(note for notes in self.ranks.gathered(new) for note in notes)
        told, self._told = self._told, self._told | every.keys()
        return [note for note in every if note not in told]

    def _epoch(self) -> Iterator[Event]:
        """Train, validate, and keep the network if it is the best."""
        began, paused = time.perf_counter(), self.control.paused_seconds
        epoch, log = self.run_state.epoch + 1, EpochLog()
        self._seen = Agreement(len(self.use.classes), self.device)
        draw = partial(self.sampler.draw, self.rng, self.config.batch_size)
        yield from run_epoch(self.trainer, draw, epoch, self.steps, self.control, log, self.schedule.step)
        found, predictions = self.validate(self.watch, self.ranks.stopping(self.control))
        loss, scores = found if found else (math.nan, None)
        value = math.nan if scores is None else scores.iou if len(self.use.classes) > 2 else scores.dice
        if math.isnan(value):
            value = float(epoch)  # without validation, or where no pixel of it counts, the newest is kept
        if value > self.best_value or not self.best_epoch:
            self.best_epoch, self.best_value, self.best = epoch, value, self._weights()
        seconds = time.perf_counter() - began - (self.control.paused_seconds - paused)
        event = TrainEpoch(
            epoch=epoch,
            epochs=self.config.epochs,
            loss=log.loss,
            learning_rate=float(self.schedule.get_last_lr()[0]),
            training=self._seen.scores(self.ranks),
            validation=scores,
            validation_loss=loss,
            best_epoch=self.best_epoch,
            seconds=seconds,
            seconds_data=log.drawing,
            predictions=predictions,
        )
        self.run_state.rows.append(_row(event, self.use.classes))
        yield event

    def _count(self, logits: Tensor, labels: Tensor) -> None:
        """Compare what the network says while it learns with the labels it learns from."""
        self._seen.add(logits, labels)

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.trainer.network.state_dict().items()}

    def _write(self, last: bool) -> Iterator[Saved]:
        """Write the run folder as of this epoch."""
        if self.saver.folder is not None:
            yield from self.run_state.save(self.saver.folder, self._state, last=last)
            if last or self.best_epoch == self.run_state.epoch:
                yield from self._write_model()

    def _write_model(self) -> Iterator[Saved]:
        """Write the best network so far."""
        if self.saver.folder is not None and self.best_epoch:
            yield Saved(save_model(self.saver.folder.model, self._best_network(), self.spec, self.use))

    def _write_all(self) -> Iterator[Saved]:
        """Write all there is, into a folder that holds nothing yet."""
        if self.saver.folder is not None:
            yield self._describe(self.saver.folder)
            yield from self._write(last=True)

    def _describe(self, folder: RunFolder) -> Saved:
        training, validation = self.data.training.pairs, self.data.validation.pairs
        sets: dict[str, Any] = {"training": _files(training), "validation": _files(validation)}
        sets |= {CHOSEN: facts} if (facts := self.chosen.facts()) else {}
        names, inputs = [p.name for p in self.data.pairs], list(self.prints.values())
        return Saved(folder.write_description(self.config, str(self.device), names, inputs, sets))

    def _best_network(self) -> torch.nn.Module:
        """Return a copy of the network as of the best epoch, on the CPU."""
        network = build(self.spec, 0)
        network.load_state_dict({k: v.cpu() for k, v in self.best.items()})
        return network.eval()

    def _state(self) -> dict[str, Any]:
        return {
            "rng": json.dumps(self.rng.bit_generator.state),
            "trainer": self.trainer.state(),
            # Without milestones, which follow from the settings: a Counter is no plain data that torch reads back.
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "milestones"},
            "best": {"epoch": self.best_epoch, "value": self.best_value, "network": self.best},
        }

    def _restore(self, state: dict[str, Any]) -> None:
        best, epoch = state["best"], int(state["best"]["epoch"])
        now = {k: (v.shape, v.dtype) for k, v in self.best.items()}
        if not 0 < epoch <= self.run_state.epoch or {k: (v.shape, v.dtype) for k, v in best["network"].items()} != now:
            raise ValueError("a best network that is none")
        self.trainer.load(state["trainer"])
        self.schedule.load_state_dict(state["schedule"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.best_epoch, self.best_value, self.best = epoch, float(best["value"]), best["network"]
        if self.data.validation.pairs:
            _scores(self.run_state.rows[-1])

    def _out_of_patience(self) -> bool:
        patience = self.config.patience if self.data.validation.pairs else 0
        return 0 < patience <= self.run_state.epoch - self.best_epoch

    def _steps(self, shapes: Sequence[tuple[int, int]]) -> int:
        """Count the steps that cover the training images once."""
        height, width = self.use.patch
        pixels = sum(y * x for y, x in shapes)
        return max(LEAST_STEPS, math.ceil(pixels / (height * width * self.config.batch_size)))

    def _finished(self, stopped: bool) -> TrainFinished:
        kept = f"the network of epoch {self.best_epoch} is kept"
        if stopped:
            reason = f"Stopped by the user; {kept}."
        elif self.saver.lost:
            reason = f"The run ended early, because it could not be saved; {kept}."
        elif self._out_of_patience():
            reason = f"No better score in {counted(self.config.patience, 'epoch')}; {kept}."
        else:
            reason = f"{all_are(self.run_state.epoch, 'epoch')} done; {kept}."
        scores = _scores(self.run_state.rows[self.best_epoch - 1]) if self.data.validation.pairs else None
        return TrainFinished(stopped, reason, self.best_epoch, scores, self._best_model())

    def _best_model(self) -> Model:
        path = self.saver.folder.model if self.saver.folder else Path("the network of this run")
        return Model(self._best_network(), self.spec, self.use, path)


def prints_of(pairs: Sequence[Pair]) -> dict[Path, dict[str, Any]]:
    """Describe each file of a set by its place, size and SHA-256."""
    return {file: described(file) for file in dict.fromkeys(f for pair in pairs for f in pair.files)}


def identity_of(pairs: Sequence[Pair], prints: Mapping[Path, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name all that a set is made of, with checksums: its files, or what is in no file, and how files are read.

    Returns
    -------
    list of (str, str)
        Of each pair the image and the labels.
    """
    found: list[tuple[str, str]] = []
    for number, pair in enumerate(pairs):
        for which, (what, read) in enumerate((("image", pair.read_image), ("labels", pair.read_labels))):
            named = str(pair.files[which]) if which < len(pair.files) else f"The {what} of {pair.name}"
            parts = [str(pair.shape), *(str(prints[file]["sha256"]) for file in pair.files[which : which + 1])]
            if number == 0 or not pair.files:  # of files the first shows whether channel and classes are read as before
                pixels, digest = opened(read()), hashlib.sha256()
                for block in row_blocks(pixels) if isinstance(pixels, Plane) else [np.asarray(pixels)]:
                    digest.update(block.tobytes())
                parts += [str(pixels.dtype), digest.hexdigest()]
            found.append((named, hashlib.sha256(" ".join(parts).encode()).hexdigest()))
    return found


def _files(pairs: Sequence[Pair]) -> list[list[str]]:
    """List image and label file of each pair, each couple once: from them ``run.yaml`` can repeat the run."""
    couples = dict.fromkeys(tuple(str(f.resolve()) for f in pair.files) for pair in pairs)
    return [list(couple) for couple in couples if couple]


def _row(event: TrainEpoch, classes: Sequence[int]) -> dict[str, Any]:
    """Return a line of ``metrics.csv``."""
    row: dict[str, Any] = {"epoch": event.epoch, "loss": event.loss, "learning_rate": event.learning_rate}
    row["validation_loss"] = event.validation_loss
    for name, scores in (("training", event.training), ("validation", event.validation)):
        for measure in ("dice", "iou", "accuracy", "auc"):
            if (name, measure) != ("training", "auc"):
                row[f"{name}_{measure}"] = getattr(scores, measure) if scores else math.nan
    if len(classes) > 2:
        ious = event.validation.class_iou if event.validation else (math.nan,) * len(classes)
        row |= {f"validation_iou_{c}": value for c, value in zip(classes, ious, strict=True)}
    return {**row, "best_epoch": event.best_epoch, "seconds": event.seconds, "seconds_data": event.seconds_data}


def _scores(row: dict[str, Any]) -> Scores:
    """Return the validation scores of a line of ``metrics.csv``."""
    ious = tuple(value for key, value in row.items() if key.startswith("validation_iou_"))
    dice, iou, accuracy, auc = (row[f"validation_{m}"] for m in ("dice", "iou", "accuracy", "auc"))
    return Scores(dice, iou, accuracy, auc, ious)


def _may_change(config: TrainConfig) -> tuple[str, ...]:
    """List the settings that may differ on a resume: a schedule that looks ahead needs its last epoch."""
    return MAY_CHANGE if config.schedule == "constant" else tuple(n for n in MAY_CHANGE if n != "epochs")
