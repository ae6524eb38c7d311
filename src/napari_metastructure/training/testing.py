"""Score a trained model on images it has never seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_metastructure.networks.model import Model
from napari_metastructure.training.pairs import Pair
from napari_metastructure.training.scores import Confusion, Scores, binary_scores
from napari_metastructure.training.store import check_values, is_mask, label_codes, label_values, read_image


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
