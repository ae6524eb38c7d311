"""How a run went, and all that is needed to go on with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from napari_metastructure.igtt.config import MAY_CHANGE, IGTTConfig
from napari_metastructure.igtt.pseudo_labels import PseudoLabels
from napari_metastructure.training import journal
from napari_metastructure.training.events import Saved
from napari_metastructure.training.loop import Trainer
from napari_metastructure.training.runs import RunFolder


class Journal(journal.Journal):
    """The journal of an iGTT run: masks and pseudo-labels belong to its state.

    Parameters
    ----------
    config : IGTTConfig
    planes : sequence of (Y, X) arrays
        To know them again when the run is resumed.
    folder : RunFolder, optional
        Without one nothing is written.
    """

    def __init__(self, config: IGTTConfig, planes: Sequence[np.ndarray], folder: RunFolder | None) -> None:
        super().__init__(config, MAY_CHANGE, [_fingerprint(p) for p in planes] if folder else [], folder)
        self.stop_agreement = config.stop_agreement

    def stable(self, rounds: int) -> bool:
        """Whether the masks of the newest rounds all agree with the ones before them."""
        newest = self.rows[-rounds:]
        return (
            self.stop_agreement < 1
            and self.epoch >= rounds
            and all(row["agreement"] >= self.stop_agreement for row in newest)
        )

    def wandering(self, rounds: int) -> bool:
        """Whether each of the newest rounds changed the masks more than the one before it: they will not settle."""
        agreements = [row["agreement"] for row in self.rows[1:]][-rounds - 1 :]
        return (
            self.stop_agreement < 1
            and len(agreements) > rounds
            and all(later < earlier for earlier, later in pairwise(agreements))
        )

    def save_run(
        self, trainer: Trainer, labels: PseudoLabels, rng: np.random.Generator, *, last: bool
    ) -> Iterator[Saved]:
        """Write what `save` writes, with the network, the labels and the random numbers."""
        return self.save(
            lambda: {
                "rng": json.dumps(rng.bit_generator.state),
                "trainer": trainer.state(),
                "labels": {k: [torch.from_numpy(a) for a in v] for k, v in labels.state().items()},
            },
            last=last,
        )

    def restore_run(
        self, state: dict[str, Any], trainer: Trainer, labels: PseudoLabels, rng: np.random.Generator
    ) -> None:
        """Put everything back to where `save_run` saw it."""
        labels.restore({k: [t.cpu().numpy() for t in v] for k, v in state["labels"].items()})
        trainer.load(state["trainer"])
        rng.bit_generator.state = json.loads(state["rng"])
        self.restore(state)


def _fingerprint(plane: np.ndarray) -> str:
    """A checksum of a plane's size and pixels."""
    return hashlib.blake2b(repr(plane.shape).encode() + plane.tobytes(), digest_size=16).hexdigest()
