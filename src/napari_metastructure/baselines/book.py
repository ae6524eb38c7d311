"""What came of the runs of a comparison, in memory and in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.baselines.events import Agreement, MethodResult
from napari_metastructure.baselines.figure import write_figure
from napari_metastructure.baselines.methods import Segmentation, Task
from napari_metastructure.baselines.scoring import agreement, image_scores
from napari_metastructure.baselines.table import write_csv, write_markdown
from napari_metastructure.images.intensity import Polarity
from napari_metastructure.training.events import Saved, Warned

AFTER_ALL = "The comparison goes on; its folder is not up to date."


class Book:
    """Scores the runs, and keeps the masks of the first repeats.

    Parameters
    ----------
    task : Task
    objects : {"bright", "dark"}
        The polarity in force, by which the task's planes were oriented.
    folder : Path, optional
        Made if it is not there; without one nothing is written.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """

    def __init__(self, task: Task, objects: Polarity, folder: Path | None) -> None:
        self.task, self.objects, self.folder = task, objects, folder
        self.results: list[MethodResult] = []
        self.masks: dict[str, tuple[np.ndarray, ...]] = {}
        """Of the first repeats, (Y, X) uint8 arrays of 0 and 1."""
        if folder is not None:
            from napari_metastructure.training.runs import RunFolder  # it needs torch

            self._run_folder = RunFolder(folder)

    def describe(self, inputs: Sequence[Path]) -> Iterator[Saved]:
        """Write ``run.yaml``."""
        if self.folder is not None:
            task = self.task
            facts = {"images": list(task.names), "groups": list(task.groups), "objects": self.objects}
            yield Saved(self._run_folder.write_description(task.config, task.device, task.names, inputs, facts))

    def add(
        self, method: str, repeat: int, found: Sequence[Segmentation], seconds: float, memory: int
    ) -> tuple[MethodResult, tuple[np.ndarray, ...]]:
        """Score a run; its result and its masks.

        Parameters
        ----------
        seconds : float
            For all images together.
        """
        task, scores = self.task, None
        if task.masks is not None:
            scores = tuple(map(image_scores, found, task.masks, task.names))
        masks = tuple(s.mask.astype(np.uint8) for s in found)
        if repeat == 0:
            self.masks[method] = masks
        self.results.append(MethodResult(method, repeat, seconds / len(task.planes), memory, scores))
        return self.results[-1], masks

    def agreement(self) -> Agreement | None:
        """Between the methods, in the order they were asked for."""
        return agreement(self.masks)

    def write(self) -> Iterator[Saved | Warned]:
        """Write the tables; what cannot be written is told."""
        yield from self._told(write_csv, write_markdown)

    def draw(self) -> Iterator[Saved | Warned]:
        """Write the figure; what cannot be written is told."""
        yield from self._told(self._figure)

    def _told(
        self, *writers: Callable[[Path, Sequence[MethodResult], Agreement | None], list[Path]]
    ) -> Iterator[Saved | Warned]:
        from napari_metastructure.training.runs import warned

        def writing(folder: Path) -> Iterator[Saved]:
            for write in writers:
                yield from map(Saved, write(folder, self.results, self.agreement()))

        if self.folder is not None and self.results:
            yield from warned(writing(self.folder), AFTER_ALL)

    def _figure(self, folder: Path, *_: Any) -> list[Path]:
        planes = [-p if self.objects == "dark" else p for p in self.task.planes]  # as the user knows them
        return [write_figure(folder, planes, self.task.masks, self.masks, self.task.names)]
