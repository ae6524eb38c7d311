"""DFC, differentiable feature clustering: a small network per image clusters that image's pixels."""

from collections.abc import Generator

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from napari_metastructure.errors import RunFailed
from napari_metastructure.images.intensity import percentile
from napari_metastructure.networks.device import out_of_memory, resolve
from napari_metastructure.training.control import Control


class DFCConfig(BaseModel):
    """Settings of `dfc`; where nothing else is said, those of the paper."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(100, ge=2, le=1000, description="q, channels of the network and most clusters there can be.")
    components: int = Field(
        2,
        ge=1,
        le=10,
        description="3x3 convolutions before the 1x1 one; with it they are the paper's M = 3 layers.",
    )
    continuity: float = Field(5.0, ge=0, description="mu, weight of spatial continuity against similarity.")
    learning_rate: float = Field(0.1, gt=0, le=10, description="Step size of SGD with momentum 0.9.")
    iterations: int = Field(1000, ge=1, le=100_000, description="T, steps at most.")
    min_clusters: int = Field(
        3, ge=1, description="Stop once no more clusters than these are left; 3 is that of the authors' program."
    )
    max_pixels: int = Field(
        512 * 512,
        ge=64,
        description="A larger plane is averaged down to about this many pixels, for memory and time; not in the paper.",
    )


def dfc(
    plane: np.ndarray, config: DFCConfig, seed: int, device: str, control: Control
) -> Generator[float, None, np.ndarray]:
    """Cluster one plane by differentiable feature clustering.

    A network of a few 3x3 convolutions (ReLU, batch normalisation) and a 1x1 convolution whose responses are
    normalised gives each pixel the cluster of its strongest response. Each step makes the responses more like the
    clusters they chose (cross-entropy) and more alike between neighbours (mean absolute difference down and across),
    so clusters die out, until few enough are left::

        loss = cross_entropy(r, argmax r) + mu * (mean |r[y+1, x] - r[y, x]| + mean |r[y, x+1] - r[y, x]|)

    The paper's input is RGB divided by 255. Here it is one channel, scaled so that its percentiles 1 and 99.8 are
    0 and 1.

    Memory is about 12 float32 maps of ``channels`` channels: 1.2 GiB at the default ``max_pixels``, 7 GiB if a frame
    of 1040 x 1392 were taken whole. Larger planes are therefore averaged down; the final responses are enlarged
    linearly, and the strongest one is taken at full size.

    Parameters
    ----------
    plane : (Y, X) float array
    config : DFCConfig
    seed : int
        Of the initial weights; torch's global generator is left as it was.
    device : str
        As `networks.device.resolve` takes it.
    control : Control
        Asked before each step.

    Yields
    ------
    float
        Share of the steps done, 1 at the end.

    Returns
    -------
    (Y, X) int32 array
        A number below ``channels`` for each pixel's cluster; some numbers are not in use.

    Raises
    ------
    InputError
        If the device is not there.
    RunFailed
        If memory does not suffice, or the loss is not finite.
    Stopped
        If the control says stop.

    References
    ----------
    Kim, Kanezaki, Tanaka, "Unsupervised Learning of Image Segmentation Based on Differentiable Feature Clustering",
    IEEE Transactions on Image Processing, 2020.
    """
    where = resolve(device)
    image = _image(plane, config.max_pixels).to(where)
    network = _network(config, seed).to(memory_format=torch.channels_last).to(where)
    optimizer = torch.optim.SGD(network.parameters(), config.learning_rate, momentum=0.9)
    responses: Tensor | None = None
    for iteration in range(1, config.iterations + 1):
        control.checkpoint()
        responses = None  # the memory of the last ones is wanted for the next
        responses = _step(network, image, optimizer, config)
        if iteration == config.iterations or len(responses.argmax(1).unique()) <= config.min_clusters:
            break
        yield iteration / config.iterations
    yield 1.0
    assert responses is not None
    return _clusters(responses, plane.shape)


def _image(plane: np.ndarray, max_pixels: int) -> Tensor:
    """Make the network's input (1, 1, Y, X), at reduced size if the plane is too large."""
    image = torch.from_numpy(percentile(plane))[None, None]
    if plane.size > max_pixels:
        factor = (max_pixels / plane.size) ** 0.5
        size = [max(2, round(side * factor)) for side in plane.shape]
        image = interpolate(image, size=size, mode="area")
    return image


def _network(config: DFCConfig, seed: int) -> nn.Module:

    q = config.channels
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs in [1] + [q] * (config.components - 1):
            layers += [nn.Conv2d(inputs, q, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(q)]
        return nn.Sequential(*layers, nn.Conv2d(q, q, 1), nn.BatchNorm2d(q))


def _step(network: nn.Module, image: Tensor, optimizer: torch.optim.Optimizer, config: DFCConfig) -> Tensor:
    """Train one step; return the responses (1, q, Y, X) before it."""
    optimizer.zero_grad(set_to_none=True)
    try:
        responses = network(image)
        similarity = cross_entropy(responses, responses.argmax(1))
        roughness = responses.diff(dim=2).abs().mean() + responses.diff(dim=3).abs().mean()
        loss = similarity + config.continuity * roughness
        loss.backward()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise RunFailed(
            f"DFC: out of memory on {image.device}; choose fewer channels or a smaller max_pixels, or device cpu."
        ) from None
    if not torch.isfinite(loss):
        raise RunFailed("DFC: the loss is no longer a number; choose a smaller learning rate.")
    optimizer.step()
    return responses.detach()


def _clusters(responses: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Take the strongest of the responses (1, q, y, x) at each pixel of the full size."""
    found = responses.argmax(1)
    if responses.shape[2:] == shape:
        return found[0].cpu().numpy().astype(np.int32)
    highest = torch.full(shape, -torch.inf)
    clusters = torch.zeros(shape, dtype=torch.int32)
    for number in found.unique().tolist():  # one at a time: all at full size would not fit
        response = interpolate(responses[:, number : number + 1].cpu(), size=shape, mode="bilinear")[0, 0]
        clusters[response > highest] = number
        highest = torch.maximum(highest, response)
    return clusters.numpy()
