"""How good a network is on images it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch

from napari_metastructure.networks.checkpoint import Use
from napari_metastructure.networks.predict import class_probabilities
from napari_metastructure.training.loop import Trainer
from napari_metastructure.training.scores import Confusion, Scores, binary_scores
from napari_metastructure.training.store import Store


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
