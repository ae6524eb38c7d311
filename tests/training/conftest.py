"""Small sets to train on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_metastructure.training.config import TrainConfig


@pytest.fixture(scope="session")
def discs() -> Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]:
    """Makes images with bright discs, and their masks (of two kinds of discs with ``classes=3``)."""

    def make(count: int = 6, side: int = 64, seed: int = 0, classes: int = 2):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:side, :side]
        images, labels = [], []
        for _ in range(count):
            image, label = rng.normal(100, 8, (side, side)), np.zeros((side, side), np.uint8)
            for number in range(4):
                disc = (y - rng.uniform(8, side - 8)) ** 2 + (x - rng.uniform(8, side - 8)) ** 2 < 60
                kind = 1 + number % (classes - 1)
                image[disc] += 60 * kind
                label[disc] = np.maximum(label[disc], kind)
            images.append(image.astype(np.float32))
            labels.append(label)
        return images, labels

    return make


@pytest.fixture(scope="session")
def small() -> TrainConfig:
    """Settings of a run that takes about a second."""
    return TrainConfig(
        epochs=3, steps_per_epoch=12, batch_size=2, base_channels=4, patch_size=64, device="cpu", learning_rate=2e-2
    )
