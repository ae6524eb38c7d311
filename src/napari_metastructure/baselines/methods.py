"""The methods that can be compared, by name; what each is given and what it says."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Warned

if TYPE_CHECKING:
    from napari_metastructure.baselines.config import CompareConfig


@dataclass(frozen=True)
class Segmentation:
    """What a method says of one plane.

    Attributes
    ----------
    mask : (Y, X) bool array
    score : (Y, X) float32 array
        Higher is more foreground; of it the AUC is taken.
    clusters : (Y, X) integer array, optional
        As they were found, before they were called foreground or background.
    """

    mask: np.ndarray = field(repr=False)
    score: np.ndarray = field(repr=False)
    clusters: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Task:
    """What every method is given.

    Attributes
    ----------
    planes : tuple of (Y, X) float32 arrays
        Oriented: z-scored, objects bright (`images.intensity.orient`).
    masks : tuple of (Y, X) arrays, or None
        Ground truth, bool, or uint8 of 0, 1 and 255 (unlabelled). Only methods with ``needs_masks`` may look at it.
    groups : tuple of str
        Whole groups (frames, stacks) go to one side of a split.
    names : tuple of str
    seed : int
        Of this repeat.
    device : str
    control : Control
    config : CompareConfig
        For the settings of networks.
    """

    planes: tuple[np.ndarray, ...] = field(repr=False)
    masks: tuple[np.ndarray, ...] | None = field(repr=False)
    groups: tuple[str, ...]
    names: tuple[str, ...]
    seed: int
    device: str
    control: Control
    config: CompareConfig


Steps = Generator[float | Warned, None, list[Segmentation]]
"""Yields the share done, 0 to 1, and warnings; returns one `Segmentation` per plane."""


@dataclass(frozen=True)
class Method:
    """A way to segment.

    Attributes
    ----------
    name : str
        As options and files call it.
    title : str
        As tables and widgets call it.
    run : callable
        Given a `Task`. It raises `Stopped` if the control says so.
    needs_masks : bool
        It is trained on ground truth.
    random : bool
        It depends on the seed; without, one repeat suffices.
    torch : bool
        It needs torch, and may use a GPU.
    """

    name: str
    title: str
    run: Callable[[Task], Steps]
    needs_masks: bool = False
    random: bool = True
    torch: bool = True


def _threshold(name: str, task: Task) -> Steps:
    from napari_metastructure.baselines.thresholds import FILTERS

    found = []
    for plane in task.planes:
        task.control.checkpoint()
        found.append(FILTERS[name](plane))
        yield len(found) / len(task.planes)
    return found


def _dfc(task: Task) -> Steps:
    from napari_metastructure.baselines.clusters import foreground
    from napari_metastructure.baselines.dfc import DFCConfig, dfc

    config, found = DFCConfig(iterations=task.config.dfc_iterations), list[Segmentation]()
    for plane in task.planes:
        steps = dfc(plane, config, task.seed, task.device, task.control)
        clusters = yield from _scaled(steps, len(found) / len(task.planes), 1 / len(task.planes))
        found.append(Segmentation(*foreground(clusters, plane), clusters))
    return found


def _ac(task: Task) -> Steps:
    from napari_metastructure.baselines.autoregressive import ACConfig, autoregressive
    from napari_metastructure.baselines.clusters import foreground

    config, found = ACConfig(steps=task.config.ac_steps), []
    probabilities = yield from autoregressive(task.planes, config, task.seed, task.device, task.control)
    for p, plane in zip(probabilities, task.planes, strict=True):
        clusters = p.argmax(axis=0)
        mask, _ = foreground(clusters, plane)
        # The score is soft, as the probabilities are: what brightness the clusters of a pixel let expect.
        means = (p * plane).sum((1, 2)) / np.maximum(p.sum((1, 2)), np.finfo(np.float32).tiny)
        found.append(Segmentation(mask, np.tensordot(means, p, axes=1).astype(np.float32), clusters))
    return found


def _igtt(preset: str, changes: dict[str, Any], task: Task) -> Steps:
    from napari_metastructure.igtt.config import IGTTConfig
    from napari_metastructure.igtt.iterate import iterate
    from napari_metastructure.training.control import Stopped
    from napari_metastructure.training.events import BatchFinished, Finished, RunStarted

    more = changes if task.config.rounds is None else {**changes, "epochs": task.config.rounds}
    config = IGTTConfig.from_preset(preset, seed=task.seed, device=task.device, objects="bright", **more)
    rounds, last = 1, None
    for event in iterate(task.planes, config, task.control, names=task.names):
        match event:
            case RunStarted():
                rounds = event.epochs
            case BatchFinished():
                yield (event.epoch - 1 + event.batch / event.batches) / rounds
            case Warned():
                yield event
            case Finished():
                last = event
    if last is None or last.stopped:
        raise Stopped
    return [Segmentation(m != 0, p) for m, p in zip(last.masks, last.probabilities, strict=True)]


def _supervised(network: str, task: Task) -> Steps:
    from napari_metastructure.baselines.supervised import cross_fitted

    return (yield from cross_fitted(task, network))


def _scaled(steps: Generator[float, None, Any], begin: float, share: float) -> Generator[float, None, Any]:
    """Progress of a part as progress of the whole; returns what the part returns."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        yield begin + share * done


_ALL = (
    Method("otsu", "Otsu", partial(_threshold, "otsu"), random=False, torch=False),
    Method("agt", "Adaptive Gaussian", partial(_threshold, "agt"), random=False, torch=False),
    Method("lc", "Local contrast", partial(_threshold, "lc"), random=False, torch=False),
    Method("ridge", "Ridge filter", partial(_threshold, "ridge"), random=False, torch=False),
    Method("dfc", "DFC", _dfc),
    Method("ac", "AC", _ac),
    Method("igtt", "iGTT", partial(_igtt, "default", {})),
    Method("igtt-no-ems", "iGTT without EMS", partial(_igtt, "default", {"extraction": "none"})),
    Method("igtt-paper", "iGTT, paper", partial(_igtt, "paper", {})),
    Method("igtt-paper-no-ems", "iGTT, paper, without EMS", partial(_igtt, "paper", {"extraction": "none"})),
    Method("unet", "U-Net (supervised)", partial(_supervised, "unet"), needs_masks=True),
    Method("hrnet", "HRNet (supervised)", partial(_supervised, "hrnet"), needs_masks=True),
    Method("deeplabv3plus", "DeepLabv3+ (supervised)", partial(_supervised, "deeplabv3plus"), needs_masks=True),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
"""By name, in the order tables and widgets list them."""
