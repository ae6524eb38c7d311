"""Starts of iGTT: the labels before the first round, without training or by the prior that ships."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from scipy import ndimage as ndi
from skimage.filters.thresholding import threshold_li, threshold_otsu
from torch import Tensor, nn

from napari_metastructure.igtt.candidates import Edges
from napari_metastructure.igtt.levels import NEAR, dilated
from napari_metastructure.igtt.storage import IN_MEMORY, ArrayStorage
from napari_metastructure.images.intensity import (
    contrast_and_log,
    local_contrast,
    log_intensity,
    percentile,
)
from napari_metastructure.networks.build import LightUNet, NetworkSpec
from napari_metastructure.networks.model_file import Use, load_model
from napari_metastructure.networks.predict import inputs_on, predicted
from napari_metastructure.training.distributed import ALONE, Ranks

SCALES = (4.0, 8.0, 16.0, 32.0)

TUBES = (1.0, 2.0, 3.0)

SHARPNESS = 0.1
"""Relative difference in edge score that weighs a candidate down by a factor e."""


def start_probability(plane: np.ndarray, method: Literal["fusion", "contrast", "otsu", "black"]) -> np.ndarray:
    """Estimate the foreground probability before any training.

    Parameters
    ----------
    plane : (Y, X) float32 array
        Oriented: objects bright (`images.intensity.orient`).
    method : {"fusion", "contrast", "otsu", "black"}
        ``fusion``: `fuse` of many thresholdings. ``contrast``: LC and Otsu. ``otsu``: Otsu's threshold after a
        blur of one pixel. ``black``: all zero, as printed in Algorithm 1.

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    if method == "black":
        return np.zeros(plane.shape, np.float32)
    if method == "otsu":
        return _above(ndi.gaussian_filter(plane, 1), threshold_otsu).astype(np.float32)
    if method == "contrast":
        return _above(contrast_and_log(plane, SCALES[0]), threshold_otsu).astype(np.float32)
    return fuse(plane, Edges(plane))


def candidates(plane: np.ndarray) -> np.ndarray:
    """Make fourteen training-free masks: seven filters, each cut by Otsu's and by Li's threshold.

    The filters are a one-pixel blur of the intensity and of its logarithm, LC at four scales, and a ridge
    filter. None is good on every kind of image, and which one is cannot be known beforehand.

    Returns
    -------
    (14, Y, X) bool array
    """
    from skimage.filters import sato  # loads scipy's statistics, which no other start needs

    maps = [
        ndi.gaussian_filter(plane, 1),
        ndi.gaussian_filter(log_intensity(plane), 1),
        *(contrast_and_log(plane, s) for s in SCALES),
        sato(plane, sigmas=TUBES, black_ridges=False),
    ]
    return np.stack([_above(m, cut) for m in maps for cut in (threshold_otsu, threshold_li)])


def fuse(plane: np.ndarray, edges: Edges) -> np.ndarray:
    """Let the `candidates` vote, weighted: the better its outline and the image's edges agree, the more one counts.

    Returns
    -------
    (Y, X) float32 array of 0 to 1
    """
    masks = candidates(plane)
    scores = np.array([edges.score(mask) for mask in masks])
    best = scores.max()
    weights = np.exp((scores / best - 1) / SHARPNESS) if best > 0 else np.ones(len(masks))
    return np.tensordot(weights / weights.sum(), masks.astype(np.float32), axes=1).astype(np.float32)


def _above(values: np.ndarray, threshold: Callable[[np.ndarray], float]) -> np.ndarray:
    """Cut values by a threshold; the mask is empty where the values leave nothing to split."""
    low = values.min()
    if values.max() <= low:
        return np.zeros(values.shape, bool)
    return values > threshold(values - low) + low  # Li's threshold is defined for values from 0 up


# ---- The prior: a network trained on random scenes, before any image was seen -----------------------------


PRIOR = Path(__file__).with_name("prior.safetensors")

USE = Use(inputs="multiscale", objects="bright", patch=(256, 256))

CUTS = (0.35, 0.5, 0.6, 0.7)
"""Probabilities, as trained, that may be one half in use. The scenes hold more foreground than most real images, and
their masks include the blurred rim of an object, so most sets take the last."""

PRIOR_SCALES = (1.0, 2**-0.5, 0.5, 2**-1.5, 0.25)
"""Sizes at which the prior looks at a plane."""

TOGETHER = 3
"""Sizes in a row that are averaged: noise and texture look like objects at one size, objects do at several."""

EVEN = 32.0
"""Pixels over which light is evened out where the prior looks at local contrast."""

SMALLEST = 64
"""Pixels along the shorter side below which a plane is not reduced."""

CERTAIN = 1e-3
"""Probability from 0 or 1 beyond which one size outweighs the others no more."""

SPEC = NetworkSpec(architecture="fast-unet", in_channels=4, encoder="none", base_channels=16)


class PriorStart(NamedTuple):
    """Prediction of the prior for a set of planes."""

    probabilities: list[np.ndarray]
    """(Y, X) float32 arrays of 0 to 1."""
    cut: float
    """That of `CUTS` which is one half in them."""


def load_prior() -> LightUNet:
    """Read the network of the prior, on the CPU: one logit from the four channels of ``multiscale``, as trained.

    It is in evaluation mode.
    """
    return cast(LightUNet, load_model(PRIOR)[0])


def cut_at(network: nn.Module, cut: float) -> None:
    """Lower the logit of the prior, in place, so that a probability of ``cut`` becomes one half."""
    with torch.no_grad():
        cast(Tensor, cast(LightUNet, network).head.bias).sub_(_logit(cut))


def prior_start(
    prior: nn.Module,
    planes: Sequence[np.ndarray],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    inputs: Sequence[Tensor] | None = None,
    ranks: Ranks = ALONE,
    storage: ArrayStorage = IN_MEMORY,
) -> PriorStart:
    """Predict a set of planes by the prior.

    It looks at each at all `PRIOR_SCALES`, and in three ways: as it is, at the square root of its intensity, in which
    faint objects count more, and at its local contrast, in which light is even (`WAYS`). Logits are averaged over the
    three and over `TOGETHER` sizes in a row, the largest ones or, where images hold more pixels than detail, smaller
    ones: those of which the prior is surest over the whole set, by the mean |2P - 1| on and around what it calls
    foreground. Then that of `CUTS` is taken whose outlines the edges of the images confirm best (`candidates.Edges`),
    on average over the set.

    Parameters
    ----------
    prior : torch.nn.Module
        `load_prior`, on ``device``.
    planes : sequence of (Y, X) float arrays
        Objects bright.
    device : torch.device
    checkpoint : callable, optional
        Called between tiles; may raise to leave.
    inputs : sequence of (4, Y, X) float32 tensors, optional
        The planes as the prior sees them at their own size, if they were normalised before.
    ranks : Ranks
        Processes that share the planes out; all get all probabilities.
    storage : ArrayStorage
        Where the results are kept.
    """
    looks: dict[int, list[np.ndarray]] = {}  # of the planes of this process

    def look(mine: Sequence[int]) -> list[int]:
        seen = inputs if inputs is None else [inputs[i] for i in mine]
        looks.update(
            zip(mine, _looks(prior, [planes[i] for i in mine], device, checkpoint, seen, storage), strict=True)
        )
        return [len(looks[i]) for i in mine]

    def averaged(index: int, first: int) -> np.ndarray:
        return _averaged(looks[index][first : first + TOGETHER], planes[index].shape)

    def confirmed(index: int) -> list[float]:
        logit, edges = averaged(index, best), Edges(planes[index])
        scores = [edges.score(logit > _logit(cut)) for cut in CUTS]
        if checkpoint is not None:
            checkpoint()
        return scores

    windows = range(min(ranks.shared_out(len(planes), look), default=1) - TOGETHER + 1)
    best = 0
    if len(windows) > 1:
        surer = ranks.shared_out(
            len(planes), lambda mine: [[_sureness(averaged(i, first)) for first in windows] for i in mine]
        )
        best = max(windows, key=lambda first: np.mean([s[first] for s in surer if s[first] is not None] or [0.0]))
    scores = np.sum(ranks.shared_out(len(planes), lambda mine: list(map(confirmed, mine))), axis=0)
    cut = CUTS[int(scores.argmax())] if scores.any() else CUTS[-1]

    def started(mine: Sequence[int]) -> Iterator[np.ndarray]:
        return (_sigmoid(averaged(i, best) - _logit(cut)) for i in mine)

    return PriorStart(storage.shared_out(ranks, len(planes), started), cut)


def _as_it_is(plane: np.ndarray) -> np.ndarray:
    return plane


def _root(plane: np.ndarray) -> np.ndarray:
    return np.sqrt(percentile(plane, 0.5, 99.9).clip(0))


def _evened(plane: np.ndarray) -> np.ndarray:
    return local_contrast(plane, EVEN, fine=0)


Way = Callable[[np.ndarray], np.ndarray]

WAYS: tuple[tuple[Way, float], ...] = ((_as_it_is, 0.5), (_root, 0.25), (_evened, 0.25))
"""Ways in which the prior looks at a plane, and how much each counts. All are within what the scenes hold; where the
prior errs in one of them, it mostly does not in the others.

References
----------
Dong et al., "Medical image segmentation with InTEnt: integrated entropy weighting for single image test-time
adaptation", CVPR Workshops 2024, for averages over how an image is normalised.
"""

NARROWED = 2.0
"""Logits by which the root and local contrast are lowered at most, until they find no more foreground than intensity
does: they tell better what is an object, and draw its outline too wide where light is scattered around it."""


def _looks(
    prior: nn.Module,
    planes: Sequence[np.ndarray],
    device: torch.device,
    checkpoint: Callable[[], None] | None,
    inputs: Sequence[Tensor] | None,
    storage: ArrayStorage,
) -> list[list[np.ndarray]]:
    """Predict each plane at each size that it is large enough for, in that size; those of one size together."""
    found: list[list[np.ndarray]] = [[] for _ in planes]
    for scale in PRIOR_SCALES:
        at = [i for i, p in enumerate(planes) if scale == 1 or scale * min(p.shape) >= SMALLEST]
        shapes = [_size(planes[i].shape, scale) for i in at]

        ways = []
        for way, _ in WAYS:

            def read(k: int, scale: float = scale, at: Sequence[int] = at, way: Way = way) -> Tensor:
                if scale == 1 and inputs is not None and way is _as_it_is:
                    return inputs[at[k]]
                return inputs_on(device, way(reduced(planes[at[k]], scale)), USE.inputs, "bright")

            ways.append(storage.keep_numbered(predicted(prior, shapes, read, USE.patch, device, checkpoint)))
        together = storage.keep(_sigmoid(_of_all_ways(several)) for several in zip(*ways, strict=True))
        for i, p in zip(at, together, strict=True):
            found[i].append(p)
    return found


def _of_all_ways(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Average the logits of `WAYS`; those that find more than intensity does are lowered first, up to `NARROWED`."""
    intensity, *others = map(_logits, probabilities)
    total, share = WAYS[0][1] * intensity, np.count_nonzero(intensity > 0) / intensity.size
    for logits, (_, weight) in zip(others, WAYS[1:], strict=True):
        wider = np.quantile(logits, 1 - share).clip(0, NARROWED) if 0 < share < 1 else 0
        total += weight * (logits - wider)
    return total


def _averaged(looks: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Average the logits of some sizes, at full size."""
    total = np.zeros(shape, np.float32)
    for look in looks:
        total += _logits(resized(look, shape)) / len(looks)
    return total


def _logits(probabilities: np.ndarray) -> np.ndarray:
    p = probabilities.clip(CERTAIN, 1 - CERTAIN)
    return np.asarray(np.log(p / (1 - p)))


def _sureness(logit: np.ndarray) -> float | None:
    """Average how far from one half probabilities are, 0 to 1, where there is foreground and nearby; None without any.

    Foreground is what is above the last of `CUTS`: what is found at a wrong size is mostly fainter.
    """
    p = _sigmoid(logit - _logit(CUTS[-1]))
    close = dilated(p > 0.5, NEAR)
    return float(np.abs(2 * p[close] - 1).mean()) if close.any() else None


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def reduced(plane: np.ndarray, scale: float) -> np.ndarray:
    """Return a (Y, X) array at a share of its size, without aliasing."""
    return resized(plane, _size(plane.shape, scale))


def _size(shape: Sequence[int], scale: float) -> tuple[int, int]:
    return round(scale * shape[0]), round(scale * shape[1])


def resized(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a (Y, X) array at another size, without aliasing."""
    if plane.shape == shape:
        return plane
    tensor = torch.from_numpy(np.asarray(plane, np.float32))[None, None]
    return nn.functional.interpolate(tensor, shape, mode="bilinear", antialias=True)[0, 0].numpy()
