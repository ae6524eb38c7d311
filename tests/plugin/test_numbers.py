"""Messages that count: one thing is in the singular, wherever it is said."""

import re

import numpy as np
import pytest

from napari_metastructure.baselines.compare import _reason
from napari_metastructure.errors import InputError, all_are, counted, span
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.labels.regions import CleanUp, clean_up
from napari_metastructure.networks.batch import PredictionFinished
from napari_metastructure.plugin import _estimate, _painting, _previews, predict
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.pairs import TrainingSet, pairs_of


def test_a_number_and_what_it_counts():
    assert [counted(n, "image") for n in (0, 1, 2, 3000)] == ["0 images", "1 image", "2 images", "3,000 images"]
    assert [all_are(n, "run") for n in (1, 2)] == ["The run is", "All 2 runs are"]
    assert [span(1, n) for n in (1, 4)] == ["1", "1 to 4"]


def beyond() -> str:
    with pytest.raises(InputError) as told:
        Chosen(planes="3").kept((1,), "Layer 'cells'")
    return str(told.value)


def cleaned() -> str:
    before = np.ones((4, 4), np.int32)
    before[1, 1] = 0
    return _previews.describe(
        _previews.CleanPreview(None, 0, before, before, clean_up(before, CleanUp(smallest_hole=5)))
    )


def to_train_on() -> str:
    square = np.arange(4096.0).reshape(64, 64)
    return TrainingSet(pairs_of([square], [(square > 9).astype(int)])).in_words(TrainConfig(validation_fraction=0))


SAID = {
    "planes beyond": (beyond, "has 1 plane, so there are no planes '3'; choose 1."),
    "clean-up": (cleaned, "1 of 1 object kept. Filled in holes: 1 pixel."),
    "pairs": (to_train_on, "1 image to train on"),
    "strokes": (lambda: _painting.painted_in_words({0: np.array([[0, 1, 255]])}), "1 pixel as object and 1 as"),
    "estimate": (lambda: _estimate.planes_in_words(1, (64, 64)), "1 plane of 64 x 64"),
    "prediction": (lambda: predict.summary(PredictionFinished(False, 1, 2.0), 1), "1 image predicted"),
    "cancelled": (lambda: predict.summary(PredictionFinished(True, 0, 2.0), 1), "1 layer was made"),
    "comparison": (lambda: _reason(False, 1, 1), "The run is done."),
}


@pytest.mark.parametrize("what", SAID)
def test_one_thing_is_in_the_singular(what):
    say, words = SAID[what]
    assert words in say()
    assert not re.search(r"(?<![.\d])1 (?!of|to|as|is|was)\w+s\b", say())
