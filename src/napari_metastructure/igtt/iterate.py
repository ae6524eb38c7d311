"""iGTT: a network trained on its own improved output, from images alone (Algorithm 1)."""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from napari_metastructure.errors import InputError, all_are, listed
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.igtt.polarity import polarities
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.igtt.rounds import is_trained, spec_of, stable, steps_and_batch, unsettled
from napari_metastructure.igtt.start import CUTS, cut_at, load_prior, prior_start, start_probability
from napari_metastructure.igtt.start import USE as PRIOR_USE
from napari_metastructure.igtt.storage import ArrayStorage, MemoryNeed
from napari_metastructure.images.channels import Colour
from napari_metastructure.images.defects import mended
from napari_metastructure.images.intensity import Polarity, check_planes, common_polarity, orient, zscore
from napari_metastructure.images.limits import limit_notes, limits
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.images.surround import (
    fill,
    measured,
    missing_notes,
    missing_share,
    noted,
    surround,
    together,
)
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks import device
from napari_metastructure.networks.build import build, has_statistics, refresh_statistics
from napari_metastructure.networks.model_file import Use, save_model
from napari_metastructure.networks.predict import inputs_on, predicted
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.events import EpochFinished, Event, Finished, RunStarted, Saved, Unsaved, Warned
from napari_metastructure.training.loop import EpochLog, Trainer, make_optimizer, run_epoch
from napari_metastructure.training.losses import LOCKED, LOSSES
from napari_metastructure.training.patches import InputsInMemory, PatchSampler, patch_shape
from napari_metastructure.training.run_folder import CHOSEN, RunFolder, described
from napari_metastructure.training.run_state import RunState, Saver

if TYPE_CHECKING:
    from napari_metastructure.igtt.steering import Steering

STATISTICS_BATCHES = 8
"""Batches that batch-normalisation statistics are recomputed from before each relabelling."""

COLLAPSED = (0.0001, 0.95)
"""Foreground fractions below and above which masks say nothing."""


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
    first_epoch: int = 0,
    colour: Colour | None = None,
    ranks: Ranks = ALONE,
    chosen: Chosen | None = None,
) -> Iterator[Event]:
    """Segment planes without labels, and tell how it goes.

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
    first_epoch : int
        The number of the start, of a run that counts on from another; it ends at ``config.epochs`` as any.
    colour : {"red", "green", "blue"}, optional
        The channel of colour images that the planes are; the saved model takes the same one.
    ranks : Ranks
        The processes that work on the planes together (`training.distributed.join`), each called with the same
        arguments; only the first writes.
    chosen : Chosen, optional
        Which planes and frames of the inputs the planes are, for ``run.yaml``.

    Yields
    ------
    Event
        `RunStarted`; `EpochFinished` 0, the start; then per round `BatchFinished` for each step and
        `EpochFinished`; `Saved` and `Warned` in between; `Finished` as the last, and alone if it is stopped before.

    Raises
    ------
    InputError
        Before anything is trained: an image, option or folder that cannot be used.
    RunFailed
        Out of memory with a single patch or elsewhere, or a loss that is no number.

    Examples
    --------
    >>> from napari_metastructure.images.simulate import nuclei
    >>> from napari_metastructure.training.metrics import dice
    >>> image, truth = nuclei((128, 128), np.random.default_rng(1))
    >>> for event in iterate([image], IGTTConfig(device="cpu")):
    ...     if isinstance(event, Finished):
    ...         (mask,) = event.masks
    >>> dice(mask, truth) > 0.9
    True
    """
    control = control or Control()
    with device.short_of_memory_fails(), ranks.lost_fails():
        given = config, control, names, folder if ranks.first else None, colour, first_epoch, ranks, chosen
        try:
            run = ranks.together(lambda: Run(images, *given))
            try:
                run.check(corrections or {}, start_masks)
                for index, pixels in (corrections or {}).items():
                    control.correct(index, pixels)
                yield from run.go(start_masks, list(inputs or []), resume)
            except BaseException as error:
                device.clear_frames(error)
                raise
            finally:
                run.close()
        except Stopped:
            yield Finished(True, "Stopped by the user before there was a first mask.", 0, (), ())


# ---- A run ----------------------------------------------------------------------------------------------


class _Result(NamedTuple):
    """Masks and probabilities of an epoch, as a run that ends there returns them."""

    epoch: int
    masks: tuple[np.ndarray, ...]
    probabilities: tuple[np.ndarray, ...]


class Run:
    """One run: planes, network and labels, round after round; `iterate` says what the parameters are."""

    def __init__(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        config: IGTTConfig,
        control: Control,
        names: Sequence[str] | None,
        folder: Path | None,
        colour: Colour | None = None,
        first_epoch: int = 0,
        ranks: Ranks = ALONE,
        chosen: Chosen | None = None,
    ) -> None:
        self._clock, self._paused = time.perf_counter(), control.paused_seconds
        self.config, self.control, self.colour, self.first_epoch = config, control, colour, first_epoch
        self.ranks, self.checkpoint = ranks, ranks.stopping(control)
        ranks.check_batch(config.batch_size)
        self.chosen = chosen or Chosen()
        if len(images) == 0:
            raise InputError("There is no image to segment; give at least one.")
        self.names = list(names) if names is not None else [f"image {i + 1}" for i in range(len(images))]
        self.storage = ArrayStorage(MemoryNeed.of([np.shape(image) for image in images], config), folder)
        checked = check_planes(self._each(images), self.names, self.storage.keep)
        self.notes = missing_notes((name, missing_share(p)) for name, p in zip(self.names, checked, strict=True))
        self.missing: list[np.ndarray | None] = []
        planes = self.storage.keep(self._measured(checked))
        self.missing = self.storage.keep(self.missing)
        del checked
        self.patch = patch_shape([p.shape for p in planes], config.patch_size)
        self.device = ranks.resolve(config.device)
        self.by_prior = config.start == "prior"
        self._painted = False  # since the last answer
        self.given = self.planes = planes  # the second as the user knows them until `_turn_upright`
        self.spec, self.trained = spec_of(config), is_trained(config)
        if self.trained:
            network: torch.nn.Module = load_prior()
        else:
            network = build(self.spec, config.seed, config.encoder_weights)
        network = ranks.synchronised(device.place(network, self.device), self.device)
        optimizer = make_optimizer(network, config.optimizer, config.learning_rate)
        self.trainer = Trainer(network, optimizer, LOSSES[config.loss], self.device, config.seed, ranks=ranks)
        self.rng = np.random.default_rng(config.seed)
        identity = [(name, _fingerprint(p)) for name, p in zip(self.names, planes, strict=True)] if folder else []
        self.run_state = RunState(config, MAY_CHANGE, identity)
        self.saver = Saver(RunFolder(folder) if folder is not None else None, control, self._write_all)
        self.resumed = False
        self.uncertain: list[str] = []  # names of planes whose objects may be bright or dark

    def _each(self, planes: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Heed Stop and Pause between planes, of which there may be thousands."""
        for plane in planes:
            self.checkpoint()
            yield plane

    def _measured(self, planes: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        defective, framed, shown = [], [], []
        for name, plane in zip(self.names, self._each(planes), strict=True):
            whole = mended(plane) if self.mends else plane
            filled, missing = measured(whole, margins=self.mends)
            self.missing.append(missing)
            if whole is not plane:
                defective.append(name)
            if missing is not None and not missing.all() and np.isfinite(whole[missing]).any():
                framed.append(name)
            shown.append(limits(filled, missing))
            yield filled
        self.notes += noted(
            (
                defective,
                "hot pixels, or lines of one value, were replaced by the pixels around them; set flaws to keep if they "
                "are objects.",
            ),
            (
                framed,
                "a margin of one value (padding, a frame) or scale bar counts as outside the field of view; set flaws "
                "to keep if it is an object.",
            ),
        )
        self.notes += limit_notes(self.names, shown)

    def _turn_upright(self, polarities: list[Polarity]) -> None:
        """Turn dark objects bright, image by image, and fill what lies outside a field of view."""
        self.polarities = polarities
        self.outside = self.storage.keep(
            together(surround(plane, objects) if self.mends else None, missing)
            for plane, objects, missing in zip(self._each(self.planes), self.polarities, self.missing, strict=True)
        )
        filled = (p if o is None or o.all() else fill(p, o) for p, o in zip(self.planes, self.outside, strict=True))
        self.planes = self.storage.keep(orient(p, o) for p, o in zip(filled, self.polarities, strict=True))

    def _polarities(self) -> list[Polarity]:
        """Find whether the objects of each plane are bright or dark; without the prior, of all alike."""
        if self.config.objects != "auto":
            return [self.config.objects] * len(self.planes)
        if self.config.start != "prior":
            seen = [p for p, m in zip(self.planes, self.missing, strict=True) if m is None or not m.all()]
            return [common_polarity(seen)] * len(self.planes)
        found = polarities(self.prior, self.planes, self.device, self.checkpoint, self.ranks, self.mends)
        blank = [m is not None and m.all() for m in self.missing]
        self.uncertain = [n for n, u, b in zip(self.names, found.uncertain, blank, strict=True) if u and not b]
        return found.objects

    @cached_property
    def prior(self) -> torch.nn.Module:
        """The prior as trained, for polarity and start; the network of the run is another copy."""
        return device.place(load_prior(), self.device)

    @property
    def mends(self) -> bool:
        """Whether flaws are mended, and what lies outside a field of view is left out."""
        return self.config.flaws == "mend"

    @property
    def objects(self) -> Polarity:
        """What most planes hold."""
        return "bright" if 2 * self.polarities.count("bright") >= len(self.planes) else "dark"

    def _mixed(self) -> Iterator[Warned]:
        """Say so if the images are not all alike, and where neither way round is clearly the right one."""
        few: Polarity = "dark" if self.objects == "bright" else "bright"
        names = [name for name, objects in zip(self.names, self.polarities, strict=True) if objects == few]
        if names:
            yield Warned(
                f"Objects are taken as {few} in {len(names)} of {len(self.planes)} images ({_some(names)}); choose "
                f"bright or dark objects if that is wrong. The model of this run looks for {self.objects} ones."
            )
        if self.uncertain:
            yield Warned(
                f"Bright or dark is uncertain in {len(self.uncertain)} of {len(self.planes)} images "
                f"({_some(self.uncertain)}); look at their masks, and choose bright or dark objects if they are wrong."
            )

    def check(self, corrections: Mapping[int, np.ndarray], start_masks: Sequence[np.ndarray] | None) -> None:
        """Refuse corrections and start masks that do not lie on the planes."""
        given = {**corrections, **dict(enumerate(start_masks or []))}
        if start_masks is not None and len(start_masks) != len(self.planes):
            raise InputError(f"{len(start_masks)} start masks were given for {len(self.planes)} images; give one each.")
        for index, pixels in given.items():
            if not 0 <= index < len(self.planes) or np.shape(pixels) != self.planes[index].shape:
                raise InputError(f"A correction or start mask of shape {np.shape(pixels)} fits no image {index + 1}.")

    def go(self, start_masks: Sequence[np.ndarray] | None, files: list[Path], resume: bool) -> Iterator[Event]:
        """Run all of Algorithm 1."""
        c, folder = self.config, self.saver.folder
        self.inputs = [described(file) for file in files] if folder else []
        if folder:
            folder.lock()
        if resume:
            self.run_state.resume(folder, self._restore, self.ranks)
            self.resumed = True
        else:
            self.ranks.together(lambda: self._turn_upright(self._polarities()))
            if folder:
                folder.clear()
        here = device.data_device(self.device, 4 * self.spec.in_channels * sum(p.size for p in self.planes))
        here = here if self.storage.in_memory else torch.device("cpu")
        inputs = (inputs_on(here, p, c.inputs, "bright") for p in self.planes)
        self.held = InputsInMemory(inputs, self.patch, here, None if self.storage.in_memory else self.storage.keep)
        shapes = [p.shape for p in self.planes]
        self.sampler = PatchSampler(self.held, shapes, self.patch, self.device, ranks=self.ranks)
        where = folder.path if folder else None
        epoch = self.run_state.epoch if self.resumed else self.first_epoch
        steps, _ = self._steps_and_batch(painted=bool(self.control.take_corrections()))
        locked = self._locked()
        yield RunStarted(c.epochs, steps, len(self.planes), str(self.device), where, epoch, self.objects, locked)
        yield from map(Warned, self.notes)
        yield from self._mixed()
        if folder:  # on a resume too: the number of epochs may be another
            yield self._describe(folder)
        stopped = False
        try:
            yield self._start(start_masks)
            while True:
                self._painted |= self.labels.correct(self.control.take_corrections())
                if not self.ranks.from_first(self._goes_on):
                    break
                network = {k: v.clone() for k, v in self.trainer.network.state_dict().items()}
                good = _Result(self.run_state.epoch, tuple(self.labels.masks), tuple(self.labels.evidence))
                yield from self._answer() if self._painted else self._round()
                if self._collapsed():
                    yield from self._take_back(good, network)
                    return
                yield from self._save(last=False)
        except Stopped:
            if not self.run_state.rows:
                raise
            stopped = True
        yield from self._save(last=True)
        yield self._finished(stopped)

    def _locked(self) -> dict[int, np.ndarray]:
        """Return the pixels that are locked before the first round: of the run that is resumed, and new ones."""
        found = dict(self.labels.corrections) if self.resumed else {}
        for index, pixels in self.control.take_corrections().items():
            found[index] = np.where(pixels == UNLABELLED, found.get(index, pixels), pixels)
        return {i: np.where(pixels <= 1, pixels, UNLABELLED).astype(np.uint8) for i, pixels in found.items()}

    def _goes_on(self) -> bool:
        return self.run_state.epoch < self.config.epochs and not self._over() and not self.saver.lost

    def close(self) -> None:
        """Give the memory and the folder back."""
        if self.saver.folder is not None:
            self.saver.folder.free_if_unused()
        self.saver.close()
        device.release_all(self)

    def _save(self, last: bool) -> Iterator[Saved | Unsaved]:
        """Write the run folder as of this round; the model only at the end."""
        yield from self.saver.save(partial(self._write, last))

    def _write(self, last: bool) -> Iterator[Saved]:
        if self.saver.folder is not None:
            yield from self.run_state.save(self.saver.folder, self._state, last=last)
            if last:
                yield self._save_model(self.saver.folder)

    def _write_all(self) -> Iterator[Saved]:
        """Write all there is, into a folder that holds nothing yet."""
        if self.saver.folder is not None:
            yield self._describe(self.saver.folder)
            yield from self._write(last=True)

    def _describe(self, folder: RunFolder) -> Saved:
        chosen = {CHOSEN: facts} if (facts := self.chosen.facts()) else None
        return Saved(folder.write_description(self.config, str(self.device), self.names, self.inputs, chosen))

    def _state(self) -> dict[str, Any]:
        return {
            "rng": json.dumps(self.rng.bit_generator.state),
            "by_prior": self.by_prior,
            "painted": self._painted,
            "dark": [objects == "dark" for objects in self.polarities],
            "trainer": self.trainer.state(),
            "labels": {k: [torch.from_numpy(a) for a in v] for k, v in self.labels.state().items()},
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Put everything back to where `_state` saw it."""
        labels = {k: [t.numpy() for t in v] for k, v in state["labels"].items()}
        shapes = [p.shape for p in self.planes]
        for name, arrays in labels.items():
            found = [a.shape for a in arrays]
            given = [f for f in zip(found, shapes, strict=bool(found)) if f[0] != (0,) or name != "corrections"]
            if any(a != b for a, b in given) or not (found or name in ("memory", "steered")):
                raise ValueError(f"{name} of other sizes")
        dark = state["dark"]
        if len(dark) != len(self.planes) or not set(map(type, dark)) <= {bool}:
            raise ValueError("polarities of other images")
        self._turn_upright(["dark" if d else "bright" for d in dark])
        self.labels = self._labels([])
        self.labels.restore(labels)
        self.trainer.load(state["trainer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        # States that were saved before there were these two lack them.
        self.by_prior, self._painted = bool(state.get("by_prior", self.by_prior)), bool(state.get("painted", False))

    def _save_model(self, folder: RunFolder) -> Saved:
        return Saved(save_model(folder.model, self.trainer.network, self.spec, self._use()))

    def _take_back(self, good: _Result, network: dict[str, torch.Tensor]) -> Iterator[Event]:
        """End a run whose masks collapsed with those of the round before; what is saved is of that round too."""
        now = self.run_state.rows[-1]
        reason = (
            f"The masks collapsed to {100 * now['foreground']:.1f} % foreground in epoch {now['epoch']}; "
            f"they are those of epoch {good.epoch}."
        )
        yield Warned(reason)
        self.trainer.network.load_state_dict(network)
        self.saver.whole = self._write_collapsed
        yield from self.saver.save(self._write_collapsed)
        yield Finished(False, reason, good.epoch, good.masks, good.probabilities)

    def _write_collapsed(self) -> Iterator[Saved]:
        """Write what went wrong and the model of before; ``last.pt`` stays that of before as well."""
        if self.saver.folder is not None:
            yield self._describe(self.saver.folder)
            yield Saved(self.saver.folder.write_metrics(self.run_state.rows))
            yield self._save_model(self.saver.folder)

    def _start(self, start_masks: Sequence[np.ndarray] | None) -> EpochFinished:
        """Make epoch 0: the labels before any training, or those of the run that is resumed."""
        if not self.resumed:
            if start_masks is not None:
                start = [(np.asarray(m) > 0).astype(np.float32) for m in start_masks]
                self.by_prior = False
                self._cut_network(CUTS[-1])
            else:
                start = self._start_probabilities()
            self.labels = self._labels(start)
            self.labels.begin(given=start_masks is not None)
        self._painted |= self.labels.correct(self.control.take_corrections())
        if not self.run_state.rows:
            self._note(self.first_epoch, float("nan"), float("nan"), 0.0)
            if self.saver.folder is not None:
                self.run_state.keep(self._state)
        return self._event()

    def _labels(self, start: list[np.ndarray]) -> PseudoLabels:
        return PseudoLabels(
            start, self.config, self.rng, self.planes, self.outside, self.device, self.ranks, self.storage
        )

    def _start_probabilities(self) -> list[np.ndarray]:
        """Estimate foreground probabilities before any training."""
        method = self.config.start
        if method == "prior":
            same = self.config.inputs == PRIOR_USE.inputs
            inputs = [self.held.inputs(i) for i in range(len(self.planes))] if same else None
            where = (self.device, self.checkpoint, inputs, self.ranks, self.storage)
            found, cut = prior_start(self.prior, self.planes, *where)
            self._cut_network(cut)
            return found
        self._cut_network(CUTS[-1])

        def started(mine: Sequence[int]) -> Iterator[np.ndarray]:
            for index in mine:
                self.checkpoint()
                yield start_probability(self.planes[index], method)

        return self.storage.shared_out(self.ranks, len(self.planes), started)

    def _cut_network(self, cut: float) -> None:
        """Let a network that begins with the weights of the prior call one half what the prior calls ``cut``."""
        if self.trained:
            cut_at(self.trainer.network, cut)

    @cached_property
    def _steering(self) -> "Steering":
        """Features of the planes, and what the start says before any stroke."""
        from napari_metastructure.igtt.steering import Steering  # libraries that no run without strokes needs

        start = [s.astype(np.float32) for s in self.labels.start]
        return Steering(self.given, start, self.checkpoint, self.config.start_weight)

    def _answer(self) -> Iterator[Event]:
        """Run the epoch that answers strokes: no training, the start as they would have it."""
        self._clock, self._paused = time.perf_counter(), self.control.paused_seconds
        agreement = self._steer()
        self._painted = False
        self._note(self.run_state.epoch + 1, float("nan"), agreement, 0.0)
        yield self._event()

    def _steer(self) -> float:
        """Put the start as the strokes would have it in the place of the start; return the agreement of the masks."""
        strokes = {i: pixels for i, pixels in self.labels.corrections.items() if (pixels <= 1).any()}
        return self.labels.steer(self._steering.answer(strokes) if strokes else [])

    def _round(self) -> Iterator[Event]:
        """Run one epoch: train on the labels, predict, make new labels."""
        self._clock, self._paused = time.perf_counter(), self.control.paused_seconds
        c, epoch = self.config, self.run_state.epoch + 1
        labels = self.labels.training_labels()
        self.held.set_labels(labels)
        # Without foreground eq. (6) has no gradient; cross-entropy learns black labels.
        empty = not any(np.any((y == 1) | (y == 1 + LOCKED)) for y in labels)
        self.trainer.loss = LOSSES["bce" if empty else c.loss]
        log = EpochLog()
        steps, batch = self._steps_and_batch(painted=bool(self.labels.corrections))
        draw = partial(self.sampler.draw, self.rng, batch)
        yield from run_epoch(self.trainer, draw, epoch, steps, self.control, log)
        resumed = time.perf_counter()
        found = self._predict()
        inside = log.seconds + time.perf_counter() - resumed
        if self.labels.correct(self.control.take_corrections()):
            self._steer()
        agreement = self.labels.update(found)
        self._note(epoch, log.loss, agreement, inside)
        yield self._event()

    def _steps_and_batch(self, painted: bool) -> tuple[int, int]:
        """Return the steps of a round and the patches of a step, see `rounds.steps_and_batch`."""
        patches = sum(p.size for p in self.planes) / (self.patch[0] * self.patch[1])
        return steps_and_batch(self.config, self.trained and not painted, patches)

    def _predict(self) -> list[np.ndarray]:
        network = self.trainer.network
        if has_statistics(network):
            batches = self.sampler.batches(self.rng, self.config.batch_size, STATISTICS_BATCHES)
            seed = self.config.seed + self.run_state.epoch  # some drop channels at random
            with device.seeded(seed, self.device), self.ranks.statistics(self.device):
                refresh_statistics(network, batches)
        network.eval()

        def seen(mine: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
            shapes = [self.planes[i].shape for i in mine]
            read = lambda k: self.held.inputs(mine[k])  # noqa: E731
            return predicted(network, shapes, read, self.patch, self.device, self.checkpoint)

        found = self.storage.shared_out_numbered(self.ranks, len(self.planes), seen)
        if self.config.loss == "dmi_iou":
            # |det Q| of eq. (6) cannot tell a mask from its inverse: turn around what falls as the image rises.
            inverse = (float((zscore(p) * plane).mean()) < 0 for p, plane in zip(found, self.planes, strict=True))
            found = self.storage.keep(1 - p if turned else p for p, turned in zip(found, inverse, strict=True))
        return found

    def _note(self, epoch: int, loss: float, agreement: float, inside: float) -> None:
        """Add a row to the journal; time spent paused counts for nothing."""
        seconds = time.perf_counter() - self._clock - (self.control.paused_seconds - self._paused)
        pixels = sum(m.size for m in self.labels.masks)
        self.run_state.rows.append(
            {
                "epoch": epoch,
                "loss": loss,
                "agreement": agreement,
                "foreground": sum(int(np.count_nonzero(m)) for m in self.labels.masks) / pixels,
                "seconds": seconds,
                "seconds_outside": seconds - inside,
            }
        )

    def _event(self) -> EpochFinished:
        labels = self.labels
        return EpochFinished(
            epochs=self.config.epochs,
            masks=tuple(labels.masks),
            labels=tuple(labels.labels),
            probabilities=tuple(labels.evidence),
            curves=tuple(labels.curves),
            **self.run_state.rows[-1],
        )

    def _over(self) -> str | None:
        """Say why more rounds would make the masks no better; None while they may."""
        if self._painted:
            return None
        c, trained = self.config, [row for row in self.run_state.rows[1:] if not math.isnan(row["loss"])]
        agreements = [row["agreement"] for row in trained]
        steered = bool(self.labels.steered)
        ended = c.rounds == "never" or (c.rounds == "painted" and not steered)
        if ended and not trained and self.trained and (self.by_prior or steered):
            if steered:
                return (
                    f"The masks are the answer to what was painted (epoch {self.run_state.epoch}); paint on to go on."
                )
            return (
                "The masks are those of the start: without paint, training rarely helps; paint what is wrong to go on."
            )
        if stable(agreements, c.stop_agreement):
            return f"The masks no longer change; they are those of epoch {self.run_state.epoch}."
        if unsettled(agreements, c.stop_agreement):
            return f"The masks change more from round to round; they are those of epoch {self.run_state.epoch}."
        return None

    def _collapsed(self) -> bool:
        """Whether this round's masks have become almost empty or almost full, and those before were not.

        Never where the user has painted: a mask that is all foreground may be meant.
        """
        if self.labels.corrections:
            return False
        small, large = COLLAPSED
        before, now = (row["foreground"] for row in self.run_state.rows[-2:])
        return small <= before <= large and not small <= now <= large

    def _use(self) -> Use:
        """Return what applying the model to another image takes."""
        c = self.config
        return Use(
            inputs=c.inputs,
            objects=self.objects,
            patch=self.patch,
            cut=c.criterion,
            signed=c.loss != "dmi_iou",
            colour=self.colour,
            surround=self.mends,
        )

    def _finished(self, stopped: bool) -> Finished:
        epoch = self.run_state.epoch
        if stopped:
            reason = f"Stopped by the user; the masks are those of epoch {epoch}."
        elif self.saver.lost:
            reason = f"The run ended early, because it could not be saved; the masks are those of epoch {epoch}."
        else:
            reason = self._over() or f"{all_are(epoch, 'epoch')} done; the masks are those of the last."
        return Finished(stopped, reason, epoch, tuple(self.labels.masks), tuple(self.labels.evidence))


def _some(names: Sequence[str]) -> str:
    """Name the first five."""
    return f"{listed(names[:5])}{', ...' if len(names) > 5 else ''}"


def _fingerprint(plane: np.ndarray) -> str:
    """Return a checksum of a plane's size and pixels."""
    return hashlib.blake2b(repr(plane.shape).encode() + plane.tobytes(), digest_size=16).hexdigest()
