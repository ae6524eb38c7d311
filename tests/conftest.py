"""What all tests share: real images where they are, and how hypothesis searches."""

from __future__ import annotations

import gc
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from scipy import ndimage as ndi

from napari_metastructure.training.control import Control

ROOT = Path(__file__).parents[1]

# No deadline: a busy machine is no fault of the code. Few examples: the suite is for every commit.
settings.register_profile("suite", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


MANY = 40_000
"""Objects the garbage collector may still look at after a test."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Keep what has come to stay, torch and napari themselves, out of the garbage collector's sight.

    napari collects garbage with every layer that is removed, `make_napari_viewer` with every viewer. Each time costs
    half a second once torch is imported, and more with every window: of each napari keeps some thousand menu entries.
    """
    yield
    if len(gc.get_objects()) > MANY:
        gc.collect()
        gc.freeze()


@pytest.fixture
def hold() -> Callable[[Control], threading.Event]:
    """Pauses a control; the event it gives is set once the job stands still in it."""

    def pause(control: Control) -> threading.Event:
        held = threading.Event()

        class Go(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                held.set()
                return super().wait(timeout)

        control._go = Go()
        return held

    return pause


DAMAGES = int(os.environ.get("DAMAGES", 500))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change, cut out, double or overwrite a few bytes."""
    at, size = rng.randrange(len(data)), rng.choice((1, 1, 1, 4, 64))
    match rng.randrange(5):
        case 0 | 1:
            return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        case 2:
            return data[:at]
        case 3:
            return data[:at] + rng.randbytes(size) + data[at + size :]
        case _:
            return data[:at] + data[at : at + size] * 2 + data[at + size :]


@pytest.fixture(scope="session")
def damages() -> Callable[[bytes, str], Iterator[bytes]]:
    """Gives a file's bytes damaged in `DAMAGES` ways, the same for the same name."""

    def many(whole: bytes, name: str) -> Iterator[bytes]:
        rng = random.Random(name)
        return (damaged(whole, rng) for _ in range(DAMAGES))

    return many


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of real images with masks that stands beside the repository on some machines."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real images are not on this machine ({folder})")
    return folder


class Fundus(NamedTuple):
    """A drawing of a fundus photograph."""

    rgb: np.ndarray
    """(Y, X, 3) uint8: black outside a disc, dark vessels that show best in green."""
    vessels: np.ndarray
    """(Y, X) bool"""
    field: np.ndarray
    """(Y, X) bool: the disc."""


@pytest.fixture
def fundus():
    """Draws a fundus photograph of so many pixels a side."""

    def make(side: int = 160, seed: int = 0) -> Fundus:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:side, :side] / side
        field = np.hypot(y - 0.5, x - 0.5) < 0.46
        shift = rng.uniform(-0.05, 0.05)
        vessels = np.zeros((side, side), bool)
        for centre in (0.25, 0.45, 0.62, 0.78):
            vessels |= np.abs(y - centre - 0.06 * np.sin(9 * x + 20 * centre + shift)) * side < 2.2
        vessels &= field
        light = 1 - 0.5 * np.hypot(y - 0.5, x - 0.45)
        dark = ndi.gaussian_filter(vessels.astype(float), 0.8)
        channels = [(210, 0.06, 6), (120, 0.45, 3), (45, 0.35, 3)]  # brightness, contrast of vessels, noise
        rgb = [
            level * light * (1 - depth * dark) + rng.normal(0, noise, field.shape) for level, depth, noise in channels
        ]
        seen = ndi.gaussian_filter(field.astype(float), 0.5)[..., None]  # no lens makes a sharp rim
        return Fundus((np.dstack(rgb) * seen).clip(0, 255).astype(np.uint8), vessels, field)

    return make
