"""iGTT: a network trained on its own improved output, from images alone (Algorithm 1)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.polarity import settle
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.igtt.start import start_probability
from napari_metastructure.images.checks import check_plane
from napari_metastructure.images.intensity import Polarity, channels_of, network_inputs, orient, zscore
from napari_metastructure.networks.build import NetworkSpec, build, refresh_statistics
from napari_metastructure.networks.checkpoint import save_model
from napari_metastructure.networks.device import resolve
from napari_metastructure.networks.predict import probability
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import (
    BatchFinished,
    EpochFinished,
    Event,
    Finished,
    RunStarted,
    Saved,
    Warned,
)
from napari_metastructure.training.loop import Trainer, make_optimizer
from napari_metastructure.training.losses import LOSSES
from napari_metastructure.training.patches import PatchSampler
from napari_metastructure.training.runs import RunFolder

STABLE_ROUNDS = 2
"""Rounds in a row whose masks must agree with the ones before for the run to be over."""

SAVING_SHARE = 0.02
"""Part of the run's time that saving the state to resume from may take."""

MAY_CHANGE = ("epochs", "device", "stop_agreement")
"""Settings that may differ when a run is resumed."""


def iterate(
    images: Sequence[np.ndarray] | np.ndarray,
    config: IGTTConfig,
    control: Control | None = None,
    *,
    names: Sequence[str] | None = None,
    folder: Path | None = None,
    inputs: Sequence[Path] | None = None,
    resume: bool = False,
    corrections: Mapping[int, np.ndarray] | None = None,
    start_masks: Sequence[np.ndarray] | None = None,
) -> Iterator[Event]:
    """Segment planes without labels; tell how it goes.

    Parameters
    ----------
    images : sequence of (Y, X) arrays of any sizes, or one (N, Y, X) stack
        Real numbers; not changed.
    config : IGTTConfig
    control : Control, optional
        To stop, pause and correct from another thread.
    names : sequence of str, optional
        What messages call the planes.
    folder : Path, optional
        The run folder: ``run.yaml``, ``metrics.csv``, ``model.safetensors``, ``last.pt``.
    inputs : sequence of Path, optional
        The files the planes came from, for the checksums in ``run.yaml``.
    resume : bool
        Go on from ``folder/last.pt`` up to ``config.epochs``.
    corrections : mapping of int to (Y, X) uint8 array, optional
        Pixels locked from the start on, by plane: 1 foreground, 0 background, 255 free.
    start_masks : sequence of (Y, X) arrays, optional
        Masks to start from in place of ``config.start``, nonzero = foreground.

    Yields
    ------
    Event
        `RunStarted`; `EpochFinished` 0, the start; then per round `BatchFinished` for each step and
        `EpochFinished`; `Saved` and `Warned` in between; `Finished` as the last.

    Raises
    ------
    InputError
        Before anything is trained: an image, option or folder that cannot be used.
    RunFailed
        Out of memory with a single patch, or a loss that is no number.
    """
    control = control or Control()
    for index, pixels in (corrections or {}).items():
        control.correct(index, pixels)
    began = time.perf_counter()
    run = _Run(images, config, names, folder, inputs, start_masks, resume)
    try:
        yield from run.go(control, began)
    finally:
        run.close()


class _Run:
    """One run's network, labels and bookkeeping."""

    def __init__(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        config: IGTTConfig,
        names: Sequence[str] | None,
        folder: Path | None,
        inputs: Sequence[Path] | None,
        start_masks: Sequence[np.ndarray] | None,
        resume: bool,
    ) -> None:
        self.config = config
        if len(images) == 0:
            raise InputError("There is no image to segment; give at least one.")
        self.names = list(names) if names is not None else [f"image {i + 1}" for i in range(len(images))]
        planes = [check_plane(image, name) for image, name in zip(images, self.names, strict=True)]
        self.device = resolve(config.device)
        self.objects: Polarity = settle(planes) if config.objects == "auto" else config.objects
        self.planes = [orient(p, self.objects) for p in planes]
        self.patch = self._patch()
        self.spec = NetworkSpec(
            architecture=config.network,
            in_channels=channels_of(config.inputs),
            encoder=config.encoder,
            base_channels=config.base_channels,
        )
        network = build(self.spec, config.seed, config.encoder_weights).to(self.device)
        optimizer = make_optimizer(network, config.optimizer, config.learning_rate)
        self.trainer = Trainer(network, optimizer, LOSSES[config.loss], self.device)
        self.rng = np.random.default_rng(config.seed)
        self.start_masks = start_masks
        self.history: list[dict[str, Any]] = []
        self.epoch = 0
        self.saved_epoch = -1
        self.saving_seconds = 0.0
        self.folder = RunFolder(folder) if folder is not None else None
        self.files = list(inputs or [])
        self.resume = resume

    def go(self, control: Control, began: float) -> Iterator[Event]:
        """All of Algorithm 1."""
        c = self.config
        self.features = [network_inputs(p, c.inputs, "bright") for p in self.planes]
        self.sampler = PatchSampler(self.features, self.patch, self.device)
        state = self._resumed_state()
        yield RunStarted(
            c.epochs,
            c.steps_per_epoch,
            len(self.planes),
            str(self.device),
            self.folder.path if self.folder else None,
            state["epoch"] if state else 0,
            self.objects,
        )
        if self.folder and not state:
            yield Saved(self.folder.write_description(c, str(self.device), self.names, self.files))
        self._start(state)
        self.labels.correct(control.take_corrections())
        stopped = False
        try:
            yield self._told(float("nan"), float("nan"), began, 0.0) if not state else self._event()
            while self.epoch < c.epochs and not self._converged():
                yield from self._round(control)
                yield from self._save(final=False)
        except Stopped:
            stopped = True
        yield from self._save(final=True)
        yield self._finished(stopped)

    def close(self) -> None:
        """Give the memory back."""
        self.__dict__.clear()

    def _patch(self) -> tuple[int, int]:
        """Patches of the size asked for, or smaller where every plane is (multiples of 32 fit every stride)."""
        sides = [max(p.shape[axis] for p in self.planes) for axis in (0, 1)]
        height, width = (min(self.config.patch_size, -(-side // 32) * 32) for side in sides)
        return height, width

    def _start(self, state: dict[str, Any] | None) -> None:
        c = self.config
        if self.start_masks is not None:
            start = [(np.asarray(m) > 0).astype(np.float32) for m in self.start_masks]
        elif state:
            start = []
        else:
            start = [start_probability(p, c.start) for p in self.planes]
        self.labels = PseudoLabels(start, c, self.rng)
        if not state:
            self.labels.begin()
            return
        self.labels.restore({k: [t.numpy() for t in v] for k, v in state["labels"].items()})
        self.trainer.load(state["trainer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.history.rows = state["history"]
        self.epoch = state["epoch"]

    def _round(self, control: Control) -> Iterator[Event]:
        """One epoch: train on the labels, predict, make the labels anew."""
        began = time.perf_counter()
        c = self.config
        network, epoch = self.trainer.network, self.epoch + 1
        labels = self.labels.training_labels()
        self.sampler.set_labels(labels)
        # Without foreground eq. (6) has no gradient; cross-entropy learns black labels.
        empty = not any(((y & 1) == 1)[y != 255].any() for y in labels)
        self.trainer.loss = LOSSES["bce" if empty else c.loss]
        inside, losses = 0.0, []
        for step in range(c.steps_per_epoch):
            control.checkpoint()
            resumed = time.perf_counter()
            losses.append(self.trainer.step(*self.sampler.draw(self.rng, c.batch_size)))
            inside += time.perf_counter() - resumed
            for message in self.trainer.warnings:
                yield Warned(message)
            self.trainer.warnings.clear()
            yield BatchFinished(epoch, step + 1, c.steps_per_epoch, losses[-1])
        resumed = time.perf_counter()
        refresh_statistics(network, self.sampler.batches(self.rng, c.batch_size, 8))
        network.eval()
        found = [probability(network, x, self.patch, self.device, control.checkpoint) for x in self.features]
        inside += time.perf_counter() - resumed
        found = [self._upright(p, plane) for p, plane in zip(found, self.planes, strict=True)]
        self.labels.corrections = control.take_corrections()
        agreement = self.labels.update(found)
        self.epoch = epoch
        yield self._told(float(np.mean(losses)), agreement, began, inside)

    def _upright(self, p: np.ndarray, plane: np.ndarray) -> np.ndarray:
        """The probability, turned around where it falls as the image rises: |det Q| cannot tell the two."""
        if self.config.loss == "dmi_iou" and float((zscore(p) * plane).mean()) < 0:
            return 1 - p
        return p

    def _told(self, loss: float, agreement: float, began: float, inside: float) -> EpochFinished:
        """The event of the newest labels, as the history now holds it."""
        pixels = sum(m.size for m in self.labels.masks)
        seconds = time.perf_counter() - began
        self.history.append(
            {
                "epoch": self.epoch,
                "loss": loss,
                "agreement": agreement,
                "foreground": sum(int(np.count_nonzero(m)) for m in self.labels.masks) / pixels,
                "seconds": seconds,
                "seconds_outside": seconds - inside,
            }
        )
        return self._event()

    def _event(self) -> EpochFinished:
        labels = self.labels
        return EpochFinished(
            epochs=self.config.epochs,
            masks=tuple(labels.masks),
            labels=tuple(labels.labels),
            probabilities=tuple(labels.evidence),
            curves=tuple(labels.curves),
            **self.history[-1],
        )

    def _save(self, final: bool) -> Iterator[Event]:
        """Write the run folder; while the run goes on, only where that costs little of its time."""
        if self.folder is None:
            return
        yield Saved(self.folder.write_metrics(self.history))
        if self.saved_epoch != self.epoch and (final or self.saving_seconds <= SAVING_SHARE * self._run_seconds()):
            began = time.perf_counter()
            yield Saved(self.folder.write_last(self._state()))
            self.saving_seconds += time.perf_counter() - began
            self.saved_epoch = self.epoch
        if final:
            use = {
                "inputs": self.config.inputs,
                "objects": self.objects,
                "patch": list(self.patch),
                "thresholds": [k.chosen for k in self.labels.curves],
            }
            yield Saved(save_model(self.folder.model, self.trainer.network, self.spec, use))

    def _run_seconds(self) -> float:
        return sum(row["seconds"] for row in self.history)

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump_json(),
            "shapes": [list(p.shape) for p in self.planes],
            "epoch": self.epoch,
            "history": self.history,
            "rng": json.dumps(self.rng.bit_generator.state),
            "trainer": self.trainer.state(),
            "labels": {k: [torch.from_numpy(a) for a in v] for k, v in self.labels.state().items()},
        }

    def _resumed_state(self) -> dict[str, Any] | None:
        """What ``last.pt`` holds, if it is this run's and a resume was asked for."""
        if not self.resume:
            return None
        if self.folder is None:
            raise InputError("A run can only be resumed in its folder; name the folder.")
        state = self.folder.read_last(self.device)
        then = json.loads(state["config"])
        now = self.config.model_dump(mode="json")
        changed = [k for k in now if k not in MAY_CHANGE and now[k] != then.get(k)]
        if changed:
            raise InputError(
                f"The run in {self.folder.path} was made with {changed[0]} = {then.get(changed[0])}, "
                f"not {now[changed[0]]}; resume it with the same settings or choose another folder."
            )
        if state["shapes"] != [list(p.shape) for p in self.planes]:
            raise InputError(f"The run in {self.folder.path} was made of other images; give the same ones again.")
        return state

    def _converged(self) -> bool:
        c = self.config
        newest = self.history[-STABLE_ROUNDS:]
        return (
            c.stop_agreement < 1
            and self.epoch >= STABLE_ROUNDS
            and all(row["agreement"] >= c.stop_agreement for row in newest)
        )

    def _finished(self, stopped: bool) -> Finished:
        if stopped:
            reason = f"Stopped by the user; the masks are those of epoch {self.epoch}."
        elif self._converged():
            reason = f"The masks no longer change; they are those of epoch {self.epoch}."
        else:
            reason = f"All {self.epoch} epochs are done; the masks are those of the last."
        return Finished(stopped, reason, self.epoch, tuple(self.labels.masks), tuple(self.labels.evidence))
