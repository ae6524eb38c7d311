"""What the background thread of a comparison does, from layers to events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.events import Agreement, CompareFinished, MethodFinished, MethodProgress
from napari_metastructure.baselines.supervised import frame_of
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.labels.classes import check_labels, values_in
from napari_metastructure.plugin.job import now_and_then, read_planes, torch_beside_a_window
from napari_metastructure.plugin.sources import ColourTaken, Source, colour_of
from napari_metastructure.plugin.visible import full
from napari_metastructure.training.control import Control, Stopped

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_metastructure.baselines.events import CompareEvent
    from napari_metastructure.training.events import Saved, Warned


class CompareJob:
    """The comparison, as `Runner` wants it: call it in the thread.

    Attributes
    ----------
    planes : list of (Y, X) float32 arrays
        The images; there before the first event.
    truths : list of (Y, X) arrays, or None
        Their ground truth, bool or uint8 of 0, 1 and 255.
    names : list of str
    masks : dict of str to tuple of (Y, X) uint8 arrays
        Of the first repeat of each method that is done, 0 and 1.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        labels: Sequence[Labels] | None,
        planes: list[np.ndarray] | None,
        config: CompareConfig,
        control: Control,
    ) -> None:
        self.sources, self.labels, self.config, self.control = sources, labels, config, control
        self.planes = planes or []
        self.names = [name for source in sources for name in source.names()]
        self.masks: dict[str, tuple[np.ndarray, ...]] = {}
        self.truths: list[np.ndarray] | None = None

    def __call__(self) -> Iterator[CompareEvent | Agreement | ColourTaken | Saved | Warned]:
        """Read the layers, then compare."""
        torch_beside_a_window()
        from napari_metastructure.baselines.compare import compare

        try:
            yield from self._read()
        except Stopped:
            yield CompareFinished(True, "Stopped by the user before the first run began.", (), None)
            return
        groups = [frame_of(source.name) for source in self.sources for _ in range(source.count)]
        events = compare(
            self.planes, self.config, self.control, masks=self.truths, names=self.names, groups=groups
        )  # fmt: skip
        yield from self._with_agreement(now_and_then(events, _is_progress))

    def _read(self) -> Iterator[ColourTaken]:
        """Ground truth is copied: what is painted on it later changes nothing."""
        self.control.checkpoint()
        colour = colour_of(self.sources)
        if colour is not None:
            yield ColourTaken(colour)
        self.planes = self.planes or read_planes(self.sources, colour)
        for labels in self.labels or ():
            self.control.checkpoint()
            self.truths = [*(self.truths or []), *truth_planes(labels)]

    def _with_agreement(self, events: Iterable[Any]) -> Iterator[Any]:
        """How alike the masks so far are, after each method: without ground truth there is nothing else to see."""
        from napari_metastructure.baselines.scoring import agreement

        pairs: dict[tuple[str, str], float] = {}
        for event in events:
            yield event
            if not isinstance(event, MethodFinished) or event.result.repeat:
                continue
            method = event.result.method
            for other, masks in self.masks.items():
                found = agreement({other: masks, method: event.masks})
                assert found is not None
                pairs[other, method] = pairs[method, other] = found.dice[0, 1]
            self.masks[method] = event.masks
            if len(self.masks) > 1:
                methods = tuple(self.masks)
                dice = np.array([[pairs.get((a, b), 1.0) for b in methods] for a in methods])
                yield Agreement(methods, dice)


def truth_planes(labels: Labels) -> list[np.ndarray]:
    """A Labels layer as ground truth of each plane.

    Parameters
    ----------
    labels : napari.layers.Labels
        ``([T, Z, ...], Y, X)``, integers.

    Returns
    -------
    list of (Y, X) arrays
        In C order of the leading axes: uint8 of 0, 1 and 255 (unlabelled) if the layer holds 1 and 255 and nothing
        else above 0; else bool, True where it is not 0: masks of 0 and 255, and numbered objects.

    Raises
    ------
    InputError
        If a label is negative.
    """
    pixels = check_labels(np.asarray(full(labels)), f"Ground truth {labels.name!r}")
    partly = set(values_in(pixels)) - {0} == {1, UNLABELLED}
    truth = pixels.astype(np.uint8) if partly else pixels > 0
    return list(truth.reshape(-1, *truth.shape[-2:]))


def _is_progress(event: Any) -> bool:
    return isinstance(event, MethodProgress)
