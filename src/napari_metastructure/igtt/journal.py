"""How a run went, and all that is needed to go on with it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.training.events import Saved
from napari_metastructure.training.loop import Trainer
from napari_metastructure.training.runs import RunFolder

SAVING_SHARE = 0.02
"""Part of the run's time that saving the state to resume from may take."""


class Journal:
    """The rows of ``metrics.csv``, and the state of a run in and out of its folder.

    Parameters
    ----------
    config : IGTTConfig
    planes : sequence of (Y, X) arrays
        To know them again when the run is resumed.
    folder : RunFolder, optional
        Without one nothing is written.
    """

    def __init__(self, config: IGTTConfig, planes: Sequence[np.ndarray], folder: RunFolder | None) -> None:
        self.config = config
        self.planes = [_fingerprint(p) for p in planes] if folder else []
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self._saved_epoch = -1
        self._saving_seconds = 0.0

    @property
    def epoch(self) -> int:
        """The newest epoch; 0 is the start."""
        return self.rows[-1]["epoch"] if self.rows else 0

    def stable(self, rounds: int) -> bool:
        """Whether the masks of the newest rounds all agree with the ones before them."""
        c = self.config
        newest = self.rows[-rounds:]
        return (
            c.stop_agreement < 1
            and self.epoch >= rounds
            and all(row["agreement"] >= c.stop_agreement for row in newest)
        )

    def save(self, trainer: Trainer, labels: PseudoLabels, rng: np.random.Generator, *, last: bool) -> Iterator[Saved]:
        """Write ``metrics.csv`` and, where that costs little of the run's time or it is the last call, ``last.pt``.

        A state that an epoch has written stays when the run is stopped inside the next one, so that going on
        gives the masks an undisturbed run gives.
        """
        if self.folder is None:
            return
        yield from self.save_rows()
        spent = sum(row["seconds"] for row in self.rows)
        if self._saved_epoch == self.epoch or not (last or self._saving_seconds <= SAVING_SHARE * spent):
            return
        began = time.perf_counter()
        yield Saved(
            self.folder.write_last(
                {
                    "config": self.config.model_dump_json(),
                    "planes": self.planes,
                    "rows": self.rows,
                    "rng": json.dumps(rng.bit_generator.state),
                    "trainer": trainer.state(),
                    "labels": {k: [torch.from_numpy(a) for a in v] for k, v in labels.state().items()},
                }
            )
        )
        self._saving_seconds += time.perf_counter() - began
        self._saved_epoch = self.epoch

    def save_rows(self) -> Iterator[Saved]:
        """Write ``metrics.csv`` alone."""
        if self.folder is not None:
            yield Saved(self.folder.write_metrics(self.rows))

    def read(self, device: torch.device) -> dict[str, Any]:
        """What ``last.pt`` holds, for `restore`.

        Raises
        ------
        InputError
            If there is none, or it is that of another run.
        """
        if self.folder is None:
            raise InputError("A run can only be resumed in its folder; name the folder.")
        state = self.folder.read_last(device)
        then, now = json.loads(state["config"]), self.config.model_dump(mode="json")
        changed = [k for k in now if k not in MAY_CHANGE and now[k] != then.get(k)]
        if changed:
            name = changed[0]
            raise InputError(
                f"The run in {self.folder.path} was made with {name} = {then.get(name)}, not {now[name]}; "
                "resume it with the same settings or choose another folder."
            )
        if state["planes"] != self.planes:
            raise InputError(f"The run in {self.folder.path} was made of other images; give the same ones again.")
        return state

    def restore(self, state: dict[str, Any], trainer: Trainer, labels: PseudoLabels, rng: np.random.Generator) -> None:
        """Put everything back to where `save` saw it."""
        labels.restore({k: [t.cpu().numpy() for t in v] for k, v in state["labels"].items()})
        trainer.load(state["trainer"])
        rng.bit_generator.state = json.loads(state["rng"])
        self.rows = state["rows"]
        self._saved_epoch = self.epoch


def _fingerprint(plane: np.ndarray) -> str:
    """A checksum of a plane's size and pixels."""
    return hashlib.blake2b(repr(plane.shape).encode() + plane.tobytes(), digest_size=16).hexdigest()
