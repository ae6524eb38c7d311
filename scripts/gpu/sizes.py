"""Sizes of a GPU check, on a GPU and without one, and its simulated images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from gpu.measure import Step
from napari_metastructure.images.simulate import endoplasmic_reticulum

NETWORKS = ("light-unet", "unet", "deeplabv3plus", "hrnet")


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes
    ----------
    crops, side, frame : int, int, (int, int)
        Images of iGTT: so many squares of that side, and one frame.
    rounds, steps, patch : int
        Of iGTT's rounds; the patch of all training.
    batches : dict of int to int
        Batch size of supervised training, and steps an epoch with it. It trains for four epochs.
    large : int
        Side of the image that is predicted.
    runs : int
        How many runs have to give their memory back.
    short : int
        Steps an epoch of those runs, and of those that are stopped and resumed.
    """

    crops: int
    side: int
    frame: tuple[int, int]
    rounds: int
    steps: int
    patch: int
    batches: Mapping[int, int]
    large: int
    runs: int
    short: int


FULL = Sizes(16, 256, (1040, 1392), 8, 40, 256, {4: 50, 16: 20, 64: 8}, 8192, 20, 6)
SMALL = Sizes(2, 64, (72, 96), 1, 2, 64, {2: 2}, 320, 5, 3)


def sizes_of(step: Step) -> Sizes:
    """Full ones where there is a GPU."""
    return FULL if step.on_gpu else SMALL


def scenes(count: int, shape: tuple[int, int], first: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Simulate images of endoplasmic reticulum from a seed on, and their masks."""
    pairs = [_scene(shape, first + number) for number in range(count)]
    return [image for image, _ in pairs], [mask for _, mask in pairs]


@cache
def _scene(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    return endoplasmic_reticulum(shape, np.random.default_rng(seed))
