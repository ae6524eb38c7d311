"""Segmentation methods to compare: thresholds, clustering, iGTT, and cross-fitted supervised networks."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import sato, threshold_local, threshold_otsu

from napari_metastructure.baselines.config import SUPERVISED, TITLES, CompareConfig, MethodName
from napari_metastructure.errors import InputError
from napari_metastructure.images.intensity import contrast_and_log
from napari_metastructure.training.control import Control, Stopped
from napari_metastructure.training.events import BatchFinished, Finished, RunStarted, TrainFinished, Warned
from napari_metastructure.training.pairs import Pair, pairs_of, split


@dataclass(frozen=True)
class Segmentation:
    """A method's segmentation of one plane.

    Attributes
    ----------
    mask : (Y, X) bool array
    score : (Y, X) float32 array
        Higher where foreground is likelier; the AUC is that of this map.
    clusters : (Y, X) integer array, optional
        As they were found, before each was called foreground or background.
    """

    mask: np.ndarray = field(repr=False)
    score: np.ndarray = field(repr=False)
    clusters: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Task:
    """Planes to segment, as every method is given them.

    Attributes
    ----------
    planes : tuple of (Y, X) float32 arrays
        Oriented: z-scored, objects bright (`images.intensity.orient`).
    masks : tuple of (Y, X) arrays, or None
        Ground truth, uint8 of 0, 1 and 255 (unlabelled). Only methods with ``needs_masks`` may look at it.
    groups : tuple of str
        Whole groups (frames, stacks) go to one side of a split.
    names : tuple of str
    seed : int
        Of this repeat.
    device : str
    control : Control
    config : CompareConfig
        Settings of the networks.
    missing : tuple of (Y, X) bool array or None
        Where nothing was measured (`images.surround.measured`), so that masks are background; empty if all was.
    """

    planes: tuple[np.ndarray, ...] = field(repr=False)
    masks: tuple[np.ndarray, ...] | None = field(repr=False)
    groups: tuple[str, ...]
    names: tuple[str, ...]
    seed: int
    device: str
    control: Control
    config: CompareConfig
    missing: tuple[np.ndarray | None, ...] = field(default=(), repr=False)


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


# Training-free baselines: a filter and a threshold each.

BLUR = 1.0
"""Standard deviation in pixels of the Gaussian before Otsu's threshold."""

WINDOW = 101
"""Side in pixels of the window of adaptive thresholding; smaller images take the largest odd one that fits."""

SURROUND = 4.0
"""Scale in pixels of local contrast."""

TUBES = (1.0, 2.0, 3.0)
"""Scales in pixels of the ridge filter."""


def otsu(plane: np.ndarray) -> Segmentation:
    """Cut the plane at Otsu's threshold after a slight Gaussian blur.

    Parameters
    ----------
    plane : (Y, X) float32 array
        Oriented: objects bright. So for all functions here.

    Returns
    -------
    Segmentation
        Its score is what was cut. So for all functions here.

    References
    ----------
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9, 62-66, 1979.
    """
    return _above_otsu(ndi.gaussian_filter(plane, BLUR))


def adaptive_gaussian(plane: np.ndarray) -> Segmentation:
    """Take what is brighter than the Gaussian-weighted mean of its surround.

    References
    ----------
    R. C. Gonzalez and R. E. Woods, *Digital Image Processing*, section "Variable thresholding".
    """
    side = min(WINDOW, *plane.shape)
    above = plane - threshold_local(plane, side - (side % 2 == 0), method="gaussian")
    return Segmentation(above > 0, above.astype(np.float32))


def local_contrast(plane: np.ndarray) -> Segmentation:
    """Cut the local contrast, with a share of the log intensity, at Otsu's threshold: iGTT's plain start."""
    return _above_otsu(contrast_and_log(plane, SURROUND))


def ridge(plane: np.ndarray) -> Segmentation:
    """Cut a ridge filter of several scales at Otsu's threshold.

    References
    ----------
    Y. Sato et al., "Three-dimensional multi-scale line filter for segmentation and visualization of curvilinear
    structures in medical images", Medical Image Analysis 2, 143-168, 1998.
    """
    return _above_otsu(sato(plane, sigmas=TUBES, black_ridges=False))


def _above_otsu(values: np.ndarray) -> Segmentation:
    """Cut a map at Otsu's threshold; nothing is above it where all values are alike."""
    values = values.astype(np.float32)
    flat = values.min() == values.max()
    mask = np.zeros(values.shape, bool) if flat else values > threshold_otsu(values)
    return Segmentation(mask, values)


def _threshold(segment: Callable[[np.ndarray], Segmentation], task: Task) -> Steps:
    found = []
    for plane in task.planes:
        task.control.checkpoint()
        found.append(segment(plane))
        yield len(found) / len(task.planes)
    return found


def _dfc(task: Task) -> Steps:
    from napari_metastructure.baselines.dfc import DFCConfig, dfc

    config, found = DFCConfig(iterations=task.config.dfc_iterations), list[Segmentation]()
    for plane in task.planes:
        steps = dfc(plane, config, task.seed, task.device, task.control)
        clusters = yield from _scaled(steps, len(found) / len(task.planes), 1 / len(task.planes))
        found.append(Segmentation(*foreground(clusters, plane), clusters))
    return found


def _ac(task: Task) -> Steps:
    from napari_metastructure.baselines.autoregressive import ACConfig, autoregressive

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

    more = changes if task.config.rounds is None else {**changes, "epochs": task.config.rounds, "rounds": "always"}
    if task.config.flaws == "keep":
        more = {**more, "flaws": "keep"}
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


def _scaled(steps: Generator[float, None, Any], begin: float, share: float) -> Generator[float, None, Any]:
    """Report progress of a part as progress of the whole; return what the part returns."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        yield begin + share * done


# Supervised networks, cross-fitted: each image is predicted by a network that has not seen its mask.

CLASSES = (0, 1)

_CROP = re.compile(r"_y\d+(_x\d+)?$")


def frame_of(name: str) -> str:
    """Name the frame that a crop is of: without its place, ``_y0048_x0944``; other names are their own."""
    return _CROP.sub("", name)


def check_groups(groups: Sequence[str]) -> None:
    """Refuse a single group: two are needed, one for each half."""
    if len(set(groups)) < 2:
        raise InputError(
            "Supervised methods need images of two files or frames at least, to train on some and predict others (the "
            "slices of a stack count as one); add images or leave these methods out."
        )


def cross_fitted(task: Task, network: str) -> Steps:
    """Train a network on each half of the images and let it predict the other half.

    Halves are of whole groups, by the seed (`training.pairs.split`). The network of the last epoch is taken: the best
    one could only be chosen by masks that are held back.

    Parameters
    ----------
    task : Task
        With masks.
    network : str
        As `TrainConfig.network`.

    Raises
    ------
    InputError
        Without masks, with a single group, or if a half has no pixel of a class.
    RunFailed
        If a training breaks down.
    """
    check_groups(task.groups)
    pairs = _pairs(task)
    first, second = split(pairs, 0.5, task.seed)
    found: dict[int, Segmentation] = {}  # by the pair's identity: names need not differ
    for number, (learned, held) in enumerate(((first, second), (second, first))):
        for event in _half(task, network, learned, held, found):
            yield (number + event) / 2 if isinstance(event, float) else event
    return [found[id(pair)] for pair in pairs]


def _half(
    task: Task, network: str, learned: Sequence[Pair], held: Sequence[Pair], found: dict[int, Segmentation]
) -> Iterator[float | Warned]:
    """Train on one half, and add to ``found`` how the network segments the other."""
    from napari_metastructure.training.train import train

    _check_classes(learned)
    settings = {"network": network, "seed": task.seed, "device": task.device, "classes": CLASSES}
    config = task.config.train.model_copy(update={**settings, "validation_fraction": 0.0, "patience": 0})
    model = None
    for event in train(learned, config, task.control):
        match event:
            case BatchFinished():
                yield (event.epoch - 1 + event.batch / event.batches) / config.epochs
            case Warned():
                yield event
            case TrainFinished():
                model = event.model
    if task.control.stopped or model is None:
        raise Stopped
    for pair in held:
        said, p = model.predict(pair.read_image(), task.device, task.control.checkpoint, name=pair.name)
        assert p is not None
        found[id(pair)] = Segmentation(said == CLASSES[1], p)
    model.release()


def _pairs(task: Task) -> list[Pair]:
    """Make pairs of planes and masks for the training."""
    if task.masks is None:
        raise InputError("Supervised methods need masks to train on; give them or leave these methods out.")
    pairs = pairs_of(task.planes, task.masks, task.names)
    return [replace(pair, group=group, values=CLASSES) for pair, group in zip(pairs, task.groups, strict=True)]


def _check_classes(pairs: Sequence[Pair]) -> None:
    """Refuse pairs that lack one of both classes, which then cannot be learned."""
    values = set(np.concatenate([np.unique(pair.read_labels()) for pair in pairs]).tolist())
    for value, kind in zip(CLASSES, ("background", "foreground"), strict=True):
        if value not in values:
            raise InputError(f"The masks of one half of the images hold no {kind} to learn; give more images.")


def _method(name: MethodName, run: Callable[[Task], Steps], **facts: bool) -> Method:
    return Method(name, TITLES[name], run, **facts)


_NO_EMS = {"extraction": "none", "rounds": "always"}

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _method("otsu", partial(_threshold, otsu), random=False, torch=False),
        _method("agt", partial(_threshold, adaptive_gaussian), random=False, torch=False),
        _method("lc", partial(_threshold, local_contrast), random=False, torch=False),
        _method("ridge", partial(_threshold, ridge), random=False, torch=False),
        _method("dfc", _dfc),
        _method("ac", _ac),
        _method("igtt", partial(_igtt, "default", {})),
        _method("igtt-no-ems", partial(_igtt, "default", _NO_EMS)),
        _method("igtt-paper", partial(_igtt, "paper", {})),
        _method("igtt-paper-no-ems", partial(_igtt, "paper", _NO_EMS)),
        *(_method(name, partial(cross_fitted, network=name), needs_masks=True) for name in SUPERVISED),
    )
}
"""By name, in the order of `config.TITLES`."""


# Foreground from clusters: by their brightness, and at best with the ground truth.


def foreground(clusters: np.ndarray, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Call clusters foreground or background by their brightness alone.

    Every pixel takes the mean intensity of its cluster, and Otsu's threshold of these values over all pixels divides
    the clusters: of two, the brighter one is foreground. Nothing is foreground where all clusters are equally bright,
    or where there is but one.

    Parameters
    ----------
    clusters : (Y, X) integer array
        A cluster's number at each of its pixels; any integers.
    plane : (Y, X) float array
        The image, its objects bright.

    Returns
    -------
    mask : (Y, X) bool array
    score : (Y, X) float32 array
        The mean intensity of each pixel's cluster.

    Raises
    ------
    InputError
        If the shapes differ.

    References
    ----------
    Otsu, "A threshold selection method from gray-level histograms", IEEE TSMC 1979; here on the clusters' means
    themselves, so no histogram blurs it.
    """
    sizes, means, places = _tally(clusters, plane)
    order = np.argsort(means, kind="stable")
    total = np.cumsum(sizes[order])
    below = np.cumsum((sizes * (means - np.average(means, weights=sizes)))[order])
    # Between-class variance of a split after each cluster, up to a constant; none after the last.
    between = below[:-1] ** 2 / (total[:-1] * (total[-1] - total[:-1]))
    score = means[places].reshape(clusters.shape).astype(np.float32)
    if means.max() <= means.min():
        return np.zeros(clusters.shape, bool), score
    bright = means > means[order[np.argmax(between)]]
    return bright[places].reshape(clusters.shape), score


def oracle(clusters: np.ndarray, mask: np.ndarray) -> float:
    """Find the best Dice that any choice of clusters as foreground reaches; only the ground truth can tell it.

    Dice is ``2 TP / (chosen pixels + foreground pixels)``, 1 where nothing is foreground and nothing chosen.

    Parameters
    ----------
    clusters : (Y, X) integer array
    mask : (Y, X) bool array
        The ground truth.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the shapes differ.
    """
    sizes, precisions, _ = _tally(clusters, np.asarray(mask, dtype=bool))
    true = int(np.count_nonzero(mask))
    if not true:
        return 1.0
    # If D is the best Dice, no choice has sum(2 tp - D n) > D * true, and the best reaches it: so it may as well hold
    # just the clusters with tp / n > D / 2, and those are the first ones in order of precision.
    order = np.argsort(-precisions, kind="stable")
    hits, chosen = np.cumsum((sizes * precisions)[order]), np.cumsum(sizes[order])
    return float(np.max(2 * hits / (chosen + true)))


def _tally(clusters: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the pixels of each cluster, average their values, and number the cluster of each pixel (flat)."""
    if clusters.shape != values.shape:
        raise InputError(f"Clusters of shape {clusters.shape} do not fit an image of {values.shape}; give equal sizes.")
    _, places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    places = places.ravel()  # numpy 2.0 alone keeps the shape
    return sizes, np.bincount(places, weights=values.ravel()) / sizes, places
