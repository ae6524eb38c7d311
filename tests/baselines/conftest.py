"""Small scenes with known masks, and methods that do what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Method, Segmentation, Task
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.control import Control


@pytest.fixture(scope="session")
def discs() -> Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]:
    """Makes noisy (Y, X) images with bright discs, and their bool masks."""

    def make(count: int = 4, shape: tuple[int, int] = (40, 48), seed: int = 0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: shape[0], : shape[1]]
        images, masks = [], []
        for _ in range(count):
            centres = rng.uniform(6, [shape[0] - 6, shape[1] - 6], (4, 2))
            masks.append(np.any([(y - b) ** 2 + (x - a) ** 2 < 20 for b, a in centres], axis=0))
            images.append((100 + 60 * masks[-1] + rng.normal(0, 8, shape)).astype(np.float32))
        return images, masks

    return make


@pytest.fixture
def task() -> Callable[..., Task]:
    """Makes a task of planes (z-scored here) and masks."""

    def make(planes: Any, masks: Any = None, groups: Any = None, train: TrainConfig | None = None, **more: Any) -> Task:
        names = tuple(f"p{i}" for i in range(len(planes)))
        config = CompareConfig(device="cpu", train=train or TrainConfig(epochs=1, steps_per_epoch=2))
        facts = {"seed": 0, "device": "cpu", "control": Control(), "config": config, **more}
        planes = tuple(((p - p.mean()) / p.std()).astype(np.float32) for p in planes)
        return Task(planes, None if masks is None else tuple(masks), tuple(groups or names), names, **facts)

    return make


@pytest.fixture
def invent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a function of (task, plane) that returns a `Segmentation` or mask in the place of a method."""

    def make(name: str, function: Callable[[Task, np.ndarray], Any], **facts: bool) -> None:
        def run(task: Task):
            found = []
            for plane in task.planes:
                task.control.checkpoint()
                said = function(task, plane)
                found.append(said if isinstance(said, Segmentation) else Segmentation(said, said.astype(np.float32)))
                yield len(found) / len(task.planes)
            return found

        monkeypatch.setitem(METHODS, name, Method(name, METHODS[name].title, run, **{"torch": False, **facts}))

    return make
