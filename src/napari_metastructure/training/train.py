"""Supervised training: a network, images and their labels, clean or noisy, epoch after epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.images.intensity import channels_of
from napari_metastructure.networks.build import ENCODERS, NetworkSpec, build
from napari_metastructure.networks.checkpoint import Use, save_model
from napari_metastructure.networks.device import release, resolve
from napari_metastructure.networks.model import Model
from napari_metastructure.networks.predict import class_probabilities
from napari_metastructure.training.config import MAY_CHANGE, TrainConfig
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import Event, Kept, Saved, TrainEpoch, TrainFinished, TrainStarted, Warned
from napari_metastructure.training.loop import EpochLog, Trainer, make_optimizer, make_schedule, run_epoch
from napari_metastructure.training.losses import LOSSES
from napari_metastructure.training.metrics import Confusion, Scores, binary_scores
from napari_metastructure.training.pairs import (
    Pair,
    Store,
    check_values,
    is_mask,
    label_codes,
    label_values,
    read_image,
    split,
)
from napari_metastructure.training.patches import Full, PatchSampler, patch_shape
from napari_metastructure.training.run_folder import Journal, RunFolder, warned

# -------- How good a network is on images it was not trained on.


class Validation:
    """Predicts whole images, tile by tile, and compares them with their labels.

    Parameters
    ----------
    store : Store
        The images and labels; none of them may be trained on.
    trainer : Trainer
        Whose network and loss are used.
    use : Use
    device : torch.device
    """

    def __init__(self, store: Store, trainer: Trainer, use: Use, device: torch.device) -> None:
        self.store, self.trainer, self.use, self.device = store, trainer, use, device

    def __call__(
        self, watch: Collection[str], checkpoint: Callable[[], None]
    ) -> tuple[tuple[float, Scores] | None, dict[str, np.ndarray]]:
        """Mean loss and scores (None if there is no image), and the labels predicted for the images watched."""
        self.trainer.network.eval()
        losses: list[float] = []
        found: list[np.ndarray] = []
        truths: list[np.ndarray] = []
        predictions: dict[str, np.ndarray] = {}
        confusion = Confusion(len(self.use.classes))
        values = np.array(self.use.classes, np.uint8)
        for pair, x, y in self.store.whole():
            p = class_probabilities(self.trainer.network, x, self.use.patch, self.device, checkpoint)
            codes = (p[0] > 0.5).astype(np.uint8) if len(p) == 1 else p.argmax(0).astype(np.uint8)
            losses.append(self._loss(p, y))
            confusion.add(codes, y)
            if len(p) == 1:
                found.append(p[0])
                truths.append(y)
            if pair.name in watch:
                predictions[pair.name] = values[codes]
        if not losses:
            return None, predictions
        scores = binary_scores(found, truths) if found else confusion.scores()
        return (float(np.mean(losses)), scores), predictions

    def _loss(self, p: np.ndarray, y: np.ndarray) -> float:
        """The training loss of a whole image, from its probabilities: their logits, kept finite."""
        inside = torch.from_numpy(np.clip(p, 1e-6, 1 - 1e-6))
        logits = torch.logit(inside) if len(p) == 1 else torch.log(inside)
        return float(self.trainer.loss(logits[None], torch.from_numpy(y)[None]))


# -------- One run of supervised training; `supervised.train` drives it.


AFTER_ALL = "Training goes on; the run folder is not up to date."
"""What a disk that fills up or a folder that vanishes costs."""

LEAST_STEPS = 20
"""Steps an epoch has at least where the images decide."""


class SupervisedRun:
    """See `supervised.train` for the parameters."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        config: TrainConfig,
        control: Control,
        validation: Sequence[Pair] | None,
        folder: Path | None,
        resume: bool,
        watch: Sequence[str],
    ) -> None:
        self.config, self.control, self.watch = config, control, frozenset(watch)
        if not pairs:
            raise InputError("There is no image to train on; give at least one image with its labels.")
        if validation is None:
            self.training, self.validation = split(pairs, config.validation_fraction, config.seed)
        else:
            self.training, self.validation = list(pairs), list(validation)
        self._cannot_split = validation is None and config.validation_fraction > 0 and not self.validation
        values, seen = (label_values(set_, control.checkpoint) for set_ in (self.training, self.validation))
        self.classes = check_values(values, config.classes)
        self.masks = is_mask(values), is_mask(seen)
        if seen:
            check_values(seen, self.classes)
        first = read_image(self.training[0])
        self.device = resolve(config.device)
        self.use = Use(
            inputs=config.inputs,
            patch=patch_shape([pair.shape for pair in self.training], config.patch_size),
            channels=len(first) if first.ndim == 3 else 1,
            classes=self.classes,
        )
        self.spec = NetworkSpec(
            architecture=config.network,
            in_channels=channels_of(config.inputs, self.use.channels),
            classes=1 if len(self.classes) == 2 else len(self.classes),
            encoder=config.encoder or ENCODERS[config.network],
            base_channels=config.base_channels,
        )
        self.steps = config.steps_per_epoch or self._steps()
        self._build()
        self.folder = RunFolder(folder) if folder is not None else None
        identity = [f"{p.name} {p.shape}" for p in (*self.training, *self.validation)]
        self.journal = Journal(config, _may_change(config), identity, self.folder)
        self.best_epoch, self.best_value, self.best = 0, -math.inf, self._weights()
        if resume:
            self._restore(self.journal.read(self.device))

    def _build(self) -> None:
        """Network, optimiser and schedule, and where patches come from."""
        c = self.config
        network = build(self.spec, c.seed, c.encoder_weights)
        network = network.to(memory_format=torch.channels_last).to(self.device)
        optimizer = make_optimizer(network, c.optimizer, c.learning_rate)
        self.trainer = Trainer(network, optimizer, LOSSES[c.loss], self.device, seen=self._count)
        self.schedule = make_schedule(optimizer, c.schedule, c.learning_rate, c.epochs * self.steps)
        self.rng = np.random.default_rng(c.seed)
        store = Store(self.training, c.inputs, self.classes, self.use.patch, self.masks[0])
        augment = Full() if c.augment == "full" else None
        shapes = [pair.shape for pair in self.training]
        self.sampler = PatchSampler(store, shapes, self.use.patch, self.device, augment, flips=c.augment != "none")
        held = Store(self.validation, c.inputs, self.classes, self.use.patch, self.masks[1])
        self.validate = Validation(held, self.trainer, self.use, self.device)

    def go(self) -> Iterator[Event]:
        """All epochs."""
        c = self.config
        folder = self.folder.path if self.folder else None
        yield TrainStarted(
            epochs=c.epochs,
            batches=self.steps,
            training=len(self.training),
            validation=len(self.validation),
            classes=self.classes,
            device=str(self.device),
            folder=folder,
            resumed_epoch=self.journal.epoch,
            before=tuple(self.journal.rows),
        )
        if self._cannot_split:
            yield Warned("All images are of one stack or there is only one: it trains without validation.")
        if self.folder:
            files = list(dict.fromkeys(f for p in (*self.training, *self.validation) for f in p.files))
            names = [p.name for p in (*self.training, *self.validation)]
            sets = {"training": _files(self.training), "validation": _files(self.validation)}
            yield Saved(self.folder.write_description(c, str(self.device), names, files, sets))
        stopped = False
        try:
            while self.journal.epoch < c.epochs and not self._out_of_patience():
                yield from self._epoch()
                yield from warned(self._save(last=False), AFTER_ALL)
        except Stopped:
            stopped = True
        except RunFailed as error:
            yield from warned(self._save_model(), AFTER_ALL)
            if self.best_epoch:
                yield Kept(self.best_epoch, self._best_model())
            kept = f" The network of epoch {self.best_epoch} is kept." if self.best_epoch else ""
            raise RunFailed(f"{error}{kept}") from error
        if not self.journal.rows:
            yield TrainFinished(True, "Stopped by the user before the first epoch was done.", 0, None, None)
            return
        yield from warned(self._save(last=True), AFTER_ALL)
        yield self._finished(stopped)

    def close(self) -> None:
        """Give the memory back."""
        device = self.__dict__.get("device")
        self.__dict__.clear()
        if device is not None:
            release(device)

    def _epoch(self) -> Iterator[Event]:
        """Train, validate, and keep the network if it is the best."""
        began, paused = time.perf_counter(), self.control.paused_seconds
        epoch, log = self.journal.epoch + 1, EpochLog()
        self._seen = Confusion(len(self.classes))
        draw = partial(self.sampler.draw, self.rng, self.config.batch_size)
        yield from run_epoch(self.trainer, draw, epoch, self.steps, self.control, log, self.schedule.step)
        found, predictions = self.validate(self.watch, self.control.checkpoint)
        loss, scores = found if found else (math.nan, None)
        value = scores.dice if scores else float(epoch)  # without validation the newest is kept
        if scores and len(self.classes) > 2:
            value = scores.iou
        if value > self.best_value or not self.best_epoch:
            self.best_epoch, self.best_value, self.best = epoch, value, self._weights()
        seconds = time.perf_counter() - began - (self.control.paused_seconds - paused)
        event = TrainEpoch(
            epoch=epoch,
            epochs=self.config.epochs,
            loss=log.loss,
            learning_rate=float(self.schedule.get_last_lr()[0]),
            training=self._seen.scores(),
            validation=scores,
            validation_loss=loss,
            best_epoch=self.best_epoch,
            seconds=seconds,
            seconds_data=log.drawing,
            predictions=predictions,
        )
        self.journal.rows.append(_row(event, self.classes))
        yield event

    def _count(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Compare what the network said while it learned with the labels it learned from."""
        said = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)
        self._seen.add(said.to(torch.uint8).cpu().numpy(), labels.cpu().numpy())

    def _weights(self) -> dict[str, torch.Tensor]:
        return {k: v.detach().clone() for k, v in self.trainer.network.state_dict().items()}

    def _save(self, last: bool) -> Iterator[Saved]:
        yield from self.journal.save(self._state, last=last)
        if last or self.best_epoch == self.journal.epoch:
            yield from self._save_model()

    def _save_model(self) -> Iterator[Saved]:
        """Write the best network so far."""
        if self.folder and self.best_epoch:
            yield Saved(save_model(self.folder.model, self._best_network(), self.spec, self.use))

    def _best_network(self) -> torch.nn.Module:
        """A copy of the network as of the best epoch, on the CPU."""
        network = build(self.spec, 0)
        network.load_state_dict({k: v.cpu() for k, v in self.best.items()})
        return network.eval()

    def _state(self) -> dict[str, Any]:
        return {
            "rng": json.dumps(self.rng.bit_generator.state),
            "trainer": self.trainer.state(),
            "schedule": self.schedule.state_dict(),
            "best": {"epoch": self.best_epoch, "value": self.best_value, "network": self.best},
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.trainer.load(state["trainer"])
        self.schedule.load_state_dict(state["schedule"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.best_epoch, self.best_value = state["best"]["epoch"], state["best"]["value"]
        self.best = state["best"]["network"]
        self.journal.restore(state)

    def _out_of_patience(self) -> bool:
        patience = self.config.patience if self.validation else 0
        return 0 < patience <= self.journal.epoch - self.best_epoch

    def _steps(self) -> int:
        """As many steps as cover the training images once."""
        pixels = sum(y * x for y, x in (pair.shape for pair in self.training))
        height, width = self.use.patch
        return max(LEAST_STEPS, math.ceil(pixels / (height * width * self.config.batch_size)))

    def _finished(self, stopped: bool) -> TrainFinished:
        kept = f"the network of epoch {self.best_epoch} is kept"
        if stopped:
            reason = f"Stopped by the user; {kept}."
        elif self._out_of_patience():
            reason = f"No better score in {self.config.patience} epochs; {kept}."
        else:
            reason = f"All {self.journal.epoch} epochs are done; {kept}."
        scores = _scores(self.journal.rows[self.best_epoch - 1]) if self.validation else None
        return TrainFinished(stopped, reason, self.best_epoch, scores, self._best_model())

    def _best_model(self) -> Model:
        path = self.folder.model if self.folder else Path("the network of this run")
        return Model(self._best_network(), self.spec, self.use, path)


def _files(pairs: Sequence[Pair]) -> list[list[str]]:
    """Image and label file of each pair, each couple once; with them a run can be repeated from its ``run.yaml``."""
    couples = dict.fromkeys(tuple(str(f.resolve()) for f in pair.files) for pair in pairs)
    return [list(couple) for couple in couples if couple]


def _row(event: TrainEpoch, classes: Sequence[int]) -> dict[str, Any]:
    """A line of ``metrics.csv``."""
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
    """The validation scores of a line of ``metrics.csv``."""
    ious = tuple(value for key, value in row.items() if key.startswith("validation_iou_"))
    dice, iou, accuracy, auc = (row[f"validation_{m}"] for m in ("dice", "iou", "accuracy", "auc"))
    return Scores(dice, iou, accuracy, auc, ious)


def _may_change(config: TrainConfig) -> tuple[str, ...]:
    """A schedule that looks ahead to the last epoch cannot get another one."""
    return MAY_CHANGE if config.schedule == "constant" else tuple(n for n in MAY_CHANGE if n != "epochs")


def train(
    pairs: Sequence[Pair],
    config: TrainConfig,
    control: Control | None = None,
    *,
    validation: Sequence[Pair] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    watch: Sequence[str] = (),
) -> Iterator[Event]:
    """Train a network on images and labels; tell how it goes.

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
        Out of memory with a single patch, or a loss that is no number. The best network so far is saved first.
    """
    try:
        run = SupervisedRun(pairs, config, control or Control(), validation, folder, resume, watch)
    except Stopped:  # while the labels were read
        yield TrainFinished(True, "Stopped by the user before the first epoch was done.", 0, None, None)
        return
    try:
        yield from run.go()
    finally:
        run.close()


# -------- Score a trained model on images it has never seen.


def score(model: Model, pairs: Sequence[Pair], device: str = "auto") -> Scores:
    """Agreement of a model's predictions with labels: means over images, or of pooled pixels for M > 2 classes.

    Raises
    ------
    InputError
        For an image or labels that cannot be used; it names them.
    """
    classes = model.use.classes
    values = label_values(pairs, lambda: None)
    check_values(values, classes)
    confusion, found, truths = Confusion(len(classes)), [], []
    for pair in pairs:
        said, p = model.predict(read_image(pair), device, name=pair.name)
        truth = label_codes(pair, classes, is_mask(values))
        confusion.add(np.searchsorted(classes, said), truth)
        if len(classes) == 2 and p is not None:
            found.append(p)
            truths.append(truth)
    return binary_scores(found, truths) if found else confusion.scores()
