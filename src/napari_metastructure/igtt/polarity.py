"""Bright or dark objects: a small network that has learned to tell, weighed with how sure the prior is either way."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from napari_metastructure.igtt.start import USE, resized
from napari_metastructure.images.intensity import Polarity, orient
from napari_metastructure.images.surround import fill, surround
from napari_metastructure.networks.predict import inputs_on, predicted
from napari_metastructure.training.distributed import ALONE, Ranks

KINDS: tuple[Polarity, Polarity] = ("bright", "dark")

WEIGHTS = Path(__file__).with_name("polarity.safetensors")

SIDES = (96, 128, 192)
"""Pixels along the shorter side at which the network looks at a plane; its answers are averaged."""

SURENESS_SIDE = 256
"""Pixels along the shorter side that are enough for the prior to tell bright from dark objects."""

LONGEST = 8
"""Longer side of a plane, in shorter ones, beyond which the network looks at it in pieces."""

DOUBT = 0.5
"""Score, that of the set added, below which bright or dark is uncertain: a held-out scene with less is taken the wrong
way round nearly as often as not."""

EVENED = 4
"""Pixels along a side of the blocks from which local contrast is measured."""

SIGMA = 1.6
"""Standard deviation, in such blocks, of the blur that local contrast is measured with."""


class Polarities(NamedTuple):
    """Bright or dark objects, plane by plane."""

    objects: list[Polarity]
    uncertain: list[bool]
    """Where neither is clearly the right one (`DOUBT`)."""


class Evidence(NamedTuple):
    """What speaks for bright objects in one plane; negative where it speaks for dark ones."""

    network: float
    """Answer of `PolarityNetwork`."""
    sureness: float
    """How much surer the prior is of bright objects, -1 to 1."""


class View(NamedTuple):
    """A plane as it is looked at."""

    plane: np.ndarray
    outside: dict[Polarity, np.ndarray | None]
    """What lies outside a field of view, if objects are bright and if they are dark."""


class PolarityNetwork(nn.Module):
    """A network that tells bright from dark objects, f(x) = g(x) - g(-x): an inverted plane gets the inverted answer.

    `scripts/train_polarity.py` trains it on `images.crowded_scenes`.
    """

    shares: Tensor
    """How much its answer and the sureness of the prior count: the weights of a logistic regression."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(2, 16, 5, 2), *_block(16, 32, 3, 2), *_block(32, 48, 3, 2), *_block(48, 64, 3, 2), *_block(64, 64)
        )
        self.head = nn.Sequential(nn.Linear(128, 32), nn.ReLU(inplace=True), nn.Linear(32, 1))
        self.register_buffer("shares", torch.tensor([1.0, 0.0]))

    def forward(self, planes: Tensor) -> Tensor:
        """Answer for (N, 1, Y, X) planes, each side of 32 pixels or more: (N,), positive where objects are bright."""
        x = network_inputs(planes)
        features = self.body(torch.cat([x, -x]))
        pooled = torch.cat([features.mean((2, 3)), features.std((2, 3))], dim=1)
        upright, inverted = self.head(pooled)[:, 0].chunk(2)
        return upright - inverted

    def score(self, evidence: Evidence) -> float:
        """Weigh what speaks for bright objects: the logarithm of the odds."""
        return float(sum(s * e for s, e in zip(self.shares.tolist(), evidence, strict=True)))


def load_polarity_network() -> PolarityNetwork:
    """Read the network that ships, on the CPU and in evaluation mode."""
    network = PolarityNetwork()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def polarities(
    prior: nn.Module,
    planes: Sequence[np.ndarray],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    ranks: Ranks = ALONE,
    surrounds: bool = True,
) -> Polarities:
    """Find for each plane whether its objects are bright or dark.

    `Evidence` of both kinds is weighed, as a logistic regression on scenes has found best. What the set says is added,
    for most sets are of one kind (`with_set`).

    Parameters
    ----------
    prior : torch.nn.Module
        `start.load_prior`, on ``device``.
    planes : sequence of (Y, X) float arrays
        As the user knows them; finite.
    device : torch.device
    checkpoint : callable, optional
        Called between tiles; may raise to leave.
    ranks : Ranks
        Processes that share the planes out; all get all answers.
    surrounds : bool
        Leave out what lies outside a field of view.
    """
    network = load_polarity_network()

    def score(mine: Sequence[int]) -> list[float]:
        own = [planes[i] for i in mine]
        return list(map(network.score, evidence(prior, network, own, device, checkpoint, surrounds)))

    scores = ranks.shared_out(len(planes), score)
    sums = with_set(np.array(scores))
    return Polarities(["bright" if s >= 0 else "dark" for s in sums], [bool(abs(s) < DOUBT) for s in sums])


def with_set(scores: np.ndarray) -> np.ndarray:
    """Add to each score of a set the mean of all, each bounded to -2 to 2.

    So a plane that is doubtful by itself is taken as the others are, and one that is not keeps its own answer however
    sure the others are. A plane alone gets about twice its score.
    """
    return scores + 2 * np.tanh(scores / 2).mean() if scores.size else scores


def evidence(
    prior: nn.Module,
    network: PolarityNetwork,
    planes: Sequence[np.ndarray],
    device: torch.device,
    checkpoint: Callable[[], None] | None = None,
    surrounds: bool = True,
) -> list[Evidence]:
    """Ask the network and the prior about planes: the prior how sure it is of both kinds, small planes together.

    It is as sure as the mean |2P - 1| over what it calls foreground.
    """
    answers, sure = np.zeros(len(planes)), np.zeros((len(planes), 2))
    views: dict[int, View] = {}  # of the planes that the prior has not answered for

    def read(number: int) -> Tensor:
        index, kind = divmod(number, 2)
        if kind == 0:
            views[index] = seen(planes[index], surrounds)
            answers[index] = answer(network, views[index])
        plane, outside = views[index].plane, views[index].outside[KINDS[kind]]
        upright = orient(plane if outside is None else fill(plane, outside), KINDS[kind])
        return inputs_on(device, upright, USE.inputs, "bright")

    shapes = [_size(plane.shape) for plane in planes for _ in KINDS]
    for number, p in predicted(prior, shapes, read, USE.patch, device, checkpoint):
        index, kind = divmod(number, 2)
        outside = views[index].outside[KINDS[kind]]
        inside = p > 0.5 if outside is None else (p > 0.5) & ~outside
        sure[index, kind] = (2 * p[inside] - 1).mean() if inside.any() else 0.0
        if kind == 1:
            del views[index]
    return [Evidence(float(a), float(bright - dark)) for a, (bright, dark) in zip(answers, sure, strict=True)]


def seen(plane: np.ndarray, surrounds: bool = True) -> View:
    """Reduce a plane as far as bright and dark can still be told apart, and find its fields of view if asked to."""
    small = resized(plane, _size(plane.shape))
    return View(small, {kind: surround(small, kind) if surrounds else None for kind in KINDS})


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, max(SURENESS_SIDE / min(shape), 0.5))
    return round(scale * shape[0]), round(scale * shape[1])


@torch.no_grad()
def answer(network: PolarityNetwork, view: View) -> float:
    """Average the answers of the network over sizes, and over pieces of a long plane; 0 where it sees nothing."""
    plane, outside = view.plane, np.zeros(view.plane.shape, bool)
    for own in view.outside.values():
        outside |= False if own is None else own
    if outside.any() and not outside.all():
        plane = fill(plane, outside)
    plane = plane - plane.mean(dtype=np.float64)  # single precision has no room for small contrast on much light
    plane = (plane / (plane.std() or 1)).astype(np.float32)
    count = -(-max(plane.shape) // (LONGEST * min(plane.shape)))
    answers = []
    for piece in np.array_split(plane, count, axis=int(np.argmax(plane.shape))):
        least = min(piece.shape)
        for side in {max(min(side, least), SIDES[0]) for side in SIDES}:  # small ones are enlarged to the first
            sized = resized(piece, tuple(max(side, round(side / least * n)) for n in piece.shape))
            answers.append(float(network(torch.from_numpy(np.ascontiguousarray(sized))[None, None])[0]))
    return float(np.mean(answers))


def network_inputs(planes: Tensor) -> Tensor:
    """Turn (N, 1, Y, X) planes into two channels: intensity of mean 0 and deviation 1, and local contrast."""
    planes = planes - planes.mean((1, 2, 3), keepdim=True)
    planes = planes / (planes.std((1, 2, 3), keepdim=True) + 1e-6)
    mean = _blurred(planes)
    deviation = (_blurred(planes * planes) - mean * mean).clamp(0).sqrt()
    contrast = (planes - mean) / (deviation + 0.1 * planes.std((1, 2, 3), keepdim=True) + 1e-6)
    return torch.cat([planes.clamp(-5, 5), contrast.clamp(-4, 4)], dim=1)


def _blurred(planes: Tensor) -> Tensor:
    """Blur widely, at a fraction of the size."""
    reach = 5
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()
    small = functional.avg_pool2d(planes, EVENED, ceil_mode=True, count_include_pad=False)
    small = functional.pad(small, (reach,) * 4, "reflect")
    small = functional.conv2d(functional.conv2d(small, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return functional.interpolate(small, planes.shape[-2:], mode="bilinear")


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.GroupNorm(8, outputs), nn.ReLU(inplace=True)]
