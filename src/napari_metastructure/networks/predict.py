"""Prediction of planes of any size, tile by tile at the size a network was trained on, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_metastructure.errors import RunFailed
from napari_metastructure.images import blur
from napari_metastructure.images.intensity import CONTRAST_SCALES, Inputs, Polarity, channels_of, network_inputs
from napari_metastructure.images.lazy import Plane, percentiles, value_range
from napari_metastructure.networks.device import Download, data_device, mixed_precision, out_of_memory, release, upload

Checkpoint = Callable[[], None]

_T = TypeVar("_T")

# ---- Tiles: cut, predicted, blended -----------------------------------------------------------------------


def pad(plane: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mirror the last two axes at their ends until they have at least ``shape``."""
    for axis, want in zip((-2, -1), shape, strict=True):
        have = plane.shape[axis]
        if have < want:
            mirrored = torch.from_numpy(np.pad(np.arange(have), (0, want - have), mode="symmetric"))
            plane = plane.index_select(axis, upload(mirrored, plane.device))
    return plane


def starts(side: int, patch: int, overlap: float = 0.25) -> list[int]:
    """Return the first pixels of the tiles along one side: evenly spread, overlapping by at least the given share."""
    if side <= patch:
        return [0]
    count = int(np.ceil((side - patch) / (patch * (1 - overlap)))) + 1
    return [int(s) for s in np.rint(np.linspace(0, side - patch, count))]


STRIDE = 32
"""Sides of tiles are multiples of it, except for networks that name a smaller ``stride`` of their own."""


def tile_shape(network: nn.Module, shape: tuple[int, ...], patch: tuple[int, int]) -> tuple[int, int]:
    """Return a patch, or what a smaller plane takes: its sides, rounded up to the network's stride."""
    stride = int(getattr(network, "stride", STRIDE))
    height, width = (min(p, -(-side // stride) * stride) for p, side in zip(patch, shape[-2:], strict=True))
    return height, width


Band = tuple[int, np.ndarray]


def bands(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    batch: int = 4,
    rows: range | None = None,
) -> Iterator[Band]:
    """Predict the class probabilities of one plane from top to bottom, a band of finished rows at a time.

    Group normalisation sees the whole crop, so a network is only right at the size it was trained on: larger planes
    are cut into tiles that overlap by a quarter at least and are blended, smaller ones are one tile.
    The tiles stand in rows and columns, so a blending weight is one of the row times one of the column, and either
    sum to one at each pixel: what a row of tiles adds to a pixel is final once the next row starts below it.

    Tiles are cut and blended on the device. Its memory holds one row of tiles, and main memory gets each band once;
    on CUDA a band is on its way while the next row is computed.

    Parameters
    ----------
    network : torch.nn.Module
        On ``device``, in evaluation mode. One logit per pixel stands for the second of two classes (sigmoid), K > 1 for
        a class each (softmax).
    inputs : (C, Y, X) float32 array or tensor
        Or anything of that ``shape`` that gives ``inputs[:, first:last]``, such as `LazyInputs`; on any device.
    patch : (int, int)
        Height and width of a tile; smaller where the plane is, see `tile_shape`.
    device : torch.device
    checkpoint : callable, optional
        Called before each batch of tiles; may raise to leave.
    batch : int
        Tiles at once; halved if memory runs out.
    rows : range, optional
        Only these rows of tiles: what they add to the plane, for `joined`. The last band is that of a whole tile.

    Yields
    ------
    first : int
        The band's first row.
    probabilities : (K, rows, X) float32 array

    Raises
    ------
    RunFailed
        If memory does not suffice for a single tile.
    """
    made = _bands(network, inputs, patch, device, checkpoint, batch, rows)
    found = ((first, Download(band)) for first, band in made)
    for first, band in one_behind(found) if device.type == "cuda" else found:
        yield first, band.get().numpy()


def one_behind(items: Iterable[_T]) -> Iterator[_T]:
    """Yield each item once the next one is there, or there is none: what it stands for may arrive in between."""
    waiting: list[_T] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting


def _bands(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Checkpoint | None,
    batch: int,
    rows: range | None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield the finished rows as (K, rows, X) tensors on the device."""
    height, width = inputs.shape[-2:]
    patch = tile_shape(network, inputs.shape, patch)
    tops, down = _shares(height, patch[0], device)
    lefts, across = _shares(width, patch[1], device)
    rows_of_tiles = _RowsOfTiles(network, lefts, across, checkpoint, batch)
    rows = rows or range(len(tops))
    above: Tensor | None = None  # what earlier rows of tiles add to rows of this one
    for row, strip in zip(rows, _strips(inputs, tops, patch[0], rows), strict=True):
        top = tops[row]
        band = rows_of_tiles(pad(upload(strip, device), patch)).mul_(down[row][:, None])
        if above is not None:
            band[:, : above.shape[1]] += above
        done = tops[row + 1] - top if row + 1 < rows.stop else min(height - top, patch[0])
        above = band[:, done:]
        yield top, band[:, :done, :width]


def _strips(inputs: Any, tops: list[int], height: int, rows: range) -> Iterator[Tensor]:
    """Yield the inputs of each row of tiles. Rows are made once, and those of `LazyInputs` while the network runs.

    The latter are always made between the same borders, wherever one begins: how a blur is cut shows in its last bits.
    """

    def made(first: int, last: int) -> Tensor:
        return torch.as_tensor(inputs[:, first:last], dtype=torch.float32)

    if not isinstance(inputs, LazyInputs):
        yield from (made(tops[row], tops[row] + height) for row in rows)
        return
    borders = [0, *(top + height for top in tops)]
    with ThreadPoolExecutor(1) as beside:
        reach = next(row for row in range(len(tops)) if borders[row + 1] > tops[rows.start])
        pieces = [made(*borders[row : row + 2]) for row in range(reach, rows.start + 1)]
        strip = torch.cat(pieces, dim=1)[:, tops[rows.start] - borders[reach] :]
        del pieces
        following = torch.empty_like(strip)  # both are used again: a row of tiles of a large plane is large itself
        for row in rows[:-1]:
            new = tops[row + 1] - tops[row]
            arriving = beside.submit(inputs.fill, following[:, :new], borders[row + 1])
            yield strip
            strip[:, :-new] = strip[:, new:].clone()
            arriving.result()
            strip[:, -new:] = following[:, :new]
        yield strip


def rows_of_tiles(network: nn.Module, shape: tuple[int, ...], patch: tuple[int, int]) -> tuple[int, int]:
    """Count the rows of tiles that a plane is predicted in, and the tiles of each."""
    height, width = (len(starts(*sides)) for sides in zip(shape[-2:], tile_shape(network, shape, patch), strict=True))
    return height, width


FEWEST_ROWS = 4
"""Rows of tiles a plane must have to be predicted in parts: then no pixel is in more than two rows of tiles."""


def joined(
    network: nn.Module, shape: tuple[int, ...], patch: tuple[int, int], parts: Iterable[tuple[range, np.ndarray]]
) -> Iterator[Band]:
    """Join what all rows of tiles of a plane add to it: the very `bands` of the whole.

    Sums are the same in either order, so parts may have been made anywhere and in any order.

    Parameters
    ----------
    network, shape, patch
        As for `bands`; the shape is that of the inputs.
    parts : iterable of (range, (K, rows, X) array)
        Rows of tiles, and the bands they gave; one after the other from the top, each of all rows of tiles once.
    """
    height = tile_shape(network, shape, patch)[0]
    tops = [*starts(shape[-2], height), shape[-2]]
    above: np.ndarray | None = None
    for rows, part in parts:
        if above is not None:
            part[:, : above.shape[1]] += above
        done = tops[rows.stop] - tops[rows.start]
        above = part[:, done:]
        yield tops[rows.start], part[:, :done]


def class_probabilities(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    batch: int = 4,
) -> np.ndarray:
    """Predict all `bands` of a plane: a (K, Y, X) float32 array, K = 1 for a network of one logit."""
    found: np.ndarray | None = None
    for first, band in bands(network, inputs, patch, device, checkpoint, batch):
        if found is None:
            found = np.empty((len(band), *inputs.shape[-2:]), np.float32)
        found[:, first : first + band.shape[1]] = band
    assert found is not None
    return found


def probability(
    network: nn.Module,
    inputs: Any,
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    batch: int = 4,
) -> np.ndarray:
    """Predict the foreground probability of one plane by a network of one logit: (Y, X) float32; see `bands`."""
    return class_probabilities(network, inputs, patch, device, checkpoint, batch)[0]


def predicted(
    network: nn.Module,
    shapes: Sequence[tuple[int, ...]],
    read: Callable[[int], Any],
    patch: tuple[int, int],
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number and the `probability` of each plane, small ones of one size together.

    Parameters
    ----------
    shapes : sequence of (int, int)
    read : callable
        Returns the inputs of a plane when its turn comes.
    checkpoint : callable, optional
        Called before each plane is read, which takes long where it is large, and between tiles; may raise to leave.
    """

    def inputs(index: int) -> Any:
        if checkpoint is not None:
            checkpoint()
        return read(index)

    alike: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        alike.setdefault(tuple(shape), []).append(index)
    for (height, width), indices in alike.items():
        tile = tile_shape(network, (height, width), patch)
        if height > tile[0] or width > tile[1]:
            for index in indices:
                yield index, probability(network, inputs(index), patch, device, checkpoint)
            continue
        batch, alone = _at_once(tile), torch.ones(tile[1], device=device)
        for first in range(0, len(indices), batch):
            some = indices[first : first + batch]
            strip = [pad(upload(torch.as_tensor(inputs(i), dtype=torch.float32), device), tile) for i in some]
            lefts = [number * tile[1] for number in range(len(some))]
            row = _RowsOfTiles(network, lefts, [alone] * len(some), checkpoint, batch)(torch.cat(strip, dim=2))
            for index, p in zip(some, row[0].cpu().numpy().reshape(tile[0], len(some), -1).swapaxes(0, 1), strict=True):
                yield index, p[:height, :width].copy()


def _at_once(tile: tuple[int, int]) -> int:
    """Return how many tiles are predicted together: 4, or as many small ones as hold the pixels of 4 of 256 x 256."""
    return max(4, 2**18 // (tile[0] * tile[1]))


def _shares(side: int, patch: int, device: torch.device) -> tuple[list[int], list[Tensor]]:
    """Compute where tiles start along one side, and the (patch,) weights of each: a raised cosine, summing to one."""
    firsts = starts(side, patch)
    rise = 0.01 + np.hanning(patch + 2)[1:-1]  # above zero at the rim, where a tile may stand alone
    total = np.zeros(firsts[-1] + patch)
    for first in firsts:
        total[first : first + patch] += rise
    weights = np.stack([rise / total[first : first + patch] for first in firsts]).astype(np.float32)
    return firsts, list(upload(torch.from_numpy(weights), device))


class _RowsOfTiles:
    """Runs a network over rows of tiles; remembers how many fit into memory."""

    def __init__(
        self, network: nn.Module, lefts: list[int], across: list[Tensor], checkpoint: Checkpoint | None, batch: int
    ) -> None:
        self.network, self.lefts, self.across, self.checkpoint, self.batch = network, lefts, across, checkpoint, batch

    def __call__(self, strip: Tensor) -> Tensor:
        """(K, patch height, X) probabilities of a (C, patch height, X) strip on the device, blended along X."""
        while True:
            try:
                return self._blended(strip)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            release(strip.device)  # outside the handler: there the traceback still holds what did not fit
            at_once = min(self.batch, len(self.lefts))
            if at_once == 1:
                raise RunFailed(
                    f"Out of memory on {strip.device} with a single tile of {strip.shape[-2]} x {len(self.across[0])} "
                    "pixels; close other programs or choose device cpu."
                )
            self.batch = at_once // 2

    @torch.no_grad()
    def _blended(self, strip: Tensor) -> Tensor:
        size, total = len(self.across[0]), None
        for done in range(0, len(self.lefts), self.batch):
            if self.checkpoint is not None:
                self.checkpoint()
            some = self.lefts[done : done + self.batch]
            with mixed_precision(strip.device):
                logits = self.network(torch.stack([strip[..., left : left + size] for left in some]))
            logits = logits.float()
            tiles = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
            if total is None:
                total = tiles.new_zeros((tiles.shape[1], *strip.shape[1:]))
            for left, weights, tile in zip(some, self.across[done:], tiles, strict=False):
                total[..., left : left + size] += tile * weights
        assert total is not None
        return total


# ---- Inputs: what a network sees of an image, on the device, also of one too large to be normalised at once --


WHOLE = 2**23
"""Pixels of all channels up to which an image is normalised at once: some 300 MB of intermediate results."""

ROWS = 256
"""Rows at a time where statistics are gathered."""

COLUMNS = 4096
"""Columns at a time."""

_CPU = torch.device("cpu")

_FINE = 1.5  # `images.intensity.local_contrast`'s own


def prepared(
    image: np.ndarray | Plane,
    kind: Inputs,
    objects: Polarity,
    checkpoint: Checkpoint | None = None,
    device: torch.device = _CPU,
) -> Any:
    """Normalise an image for `bands`: `network_inputs`, or what gives its rows when they are asked for.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) array or Plane
        Real numbers, finite.
    kind : {"zscore", "multiscale", "percentile", "local"}
    objects : {"bright", "dark"}
    checkpoint : callable, optional
        Called now and then while a large image is looked through; may raise to leave.
    device : torch.device
        Where they are wanted.

    Returns
    -------
    array or `LazyInputs`
        Either has ``shape`` and gives ``inputs[:, first:last]``, (C', rows, X) of float32. Rows at a time for images
        of more than `WHOLE` pixels, and for all on CUDA, which filters far faster than the CPU.
    """
    if isinstance(image, np.ndarray) and device.type != "cuda" and image.size <= WHOLE:
        return network_inputs(image, kind, objects)
    return LazyInputs(image, kind, objects, checkpoint, device)


def inputs_on(device: torch.device, image: np.ndarray, kind: Inputs, objects: Polarity) -> Tensor:
    """Normalise a whole image: `network_inputs` as a tensor on a device, computed there if it is CUDA."""
    if device.type == "cuda":
        return all_rows(LazyInputs(image, kind, objects, device=device))
    return upload(torch.from_numpy(network_inputs(image, kind, objects)), device)


def all_rows(inputs: "LazyInputs") -> Tensor:
    """Join all rows of inputs, some at a time: what comes between takes ten times as much memory."""
    channels, height, width = inputs.shape
    rows = max(ROWS, WHOLE // (channels * width))
    return torch.cat([inputs[:, first : first + rows] for first in range(0, height, rows)], dim=1)


class LazyInputs:
    """`network_inputs`, computed when rows are asked for, from statistics gathered once.

    Beyond the image itself ``zscore`` costs nothing that grows with it, ``percentile`` and ``multiscale`` one copy for
    a moment (to sort), ``local`` nothing but time; the local contrasts are filtered twice, once for their statistics.

    Parameters
    ----------
    image : (Y, X) or (C, Y, X) array or Plane
    kind : {"zscore", "multiscale", "percentile", "local"}
    objects : {"bright", "dark"}
    checkpoint : callable, optional
        Called now and then while the statistics are gathered.
    device : torch.device
        CUDA computes by itself, and keeps a copy of the image there if it has the room (`networks.device.data_device`).

    Attributes
    ----------
    shape : (int, int, int)
        That of ``network_inputs(image, kind, objects)``, from which it differs by rounding only.
    """

    def __init__(
        self,
        image: np.ndarray | Plane,
        kind: Inputs,
        objects: Polarity,
        checkpoint: Checkpoint | None = None,
        device: torch.device = _CPU,
    ) -> None:
        planes: list[Any] = [image]
        if image.ndim == 3:
            planes = list(image) if isinstance(image, np.ndarray) else list(map(image.channel, range(image.shape[0])))
        self.shape = (channels_of(kind, len(planes)), *image.shape[-2:])
        sign = -1.0 if objects == "dark" else 1.0
        self._where = where = device if device.type == "cuda" else _CPU
        resident = where != _CPU and data_device(where, 4 * image.size) == where
        self._maps = [m for plane in planes for m in _Plane(plane, sign, where, resident, checkpoint).maps(kind)]

    def __getitem__(self, index: tuple[slice, slice]) -> Tensor:
        """Return ``inputs[:, first:last]``: (C', rows, X) float32."""
        channels, rows = index
        first, last, _ = rows.indices(self.shape[1])
        found = torch.empty((self.shape[0], last - first, self.shape[2]), device=self._where)
        self.fill(found, first)
        return found[channels]

    def fill(self, rows: Tensor, first: int) -> None:
        """Write the rows from one on into a (C', rows, X) float32 tensor, on the device of this or the CPU."""
        for own, window in zip(rows, self._maps, strict=True):
            _fill(own, window, first)

    def window(self, top: int, left: int, shape: tuple[int, int]) -> Tensor:
        """Return a (C', Y, X) float32 window, which lies inside."""
        return torch.stack([m(top, top + shape[0], left, left + shape[1]) for m in self._maps])


Window = Callable[[int, int, int, int], Tensor]
"""Gives rows ``a`` to ``b`` and columns ``c`` to ``d`` of a map of the plane."""


def _fill(rows: Tensor, window: Window, first: int) -> None:
    """Fill (rows, X) from one row on, some columns at a time: what comes between takes ten times as much memory."""
    height, width = rows.shape
    for left, right in pairwise([*range(0, width, COLUMNS), width]):
        rows[:, left:right] = window(first, first + height, left, right)


class _Plane:
    """The maps of one plane; each is what `images.intensity` calls by the same name, row by row."""

    def __init__(
        self, plane: Any, sign: float, device: torch.device, resident: bool, checkpoint: Checkpoint | None
    ) -> None:
        self.plane, self.sign, self.device = plane, sign, device
        self.height, self.width = plane.shape
        self.checkpoint = checkpoint or (lambda: None)
        self._resident: Tensor | None = None
        if resident:
            self._resident = self.upright(0, self.height, 0, self.width)

    def maps(self, kind: Inputs) -> list[Window]:
        """Return the channels a network sees of the plane."""
        if kind == "percentile":
            return [self.percentile()]
        z = self.zscore(self.upright)
        if kind == "zscore":
            return [z]
        if kind == "local":
            return [self.zscore(self.local_contrast(z, CONTRAST_SCALES[-1]))]
        contrasts = [self.zscore(self.local_contrast(z, scale)) for scale in CONTRAST_SCALES]
        return [z, self.zscore(self.log_intensity()), *contrasts]

    def upright(self, a: int, b: int, c: int, d: int) -> Tensor:
        """Return a window of the plane with bright objects."""
        if self._resident is not None:
            return self._resident[a:b, c:d]
        window = np.multiply(self.plane[a:b, c:d], np.float32(self.sign), dtype=np.float32)
        return upload(torch.from_numpy(window), self.device)

    def zscore(self, window: Window) -> Window:
        mean, deviation = self._moments(window)
        return lambda a, b, c, d: (window(a, b, c, d) - mean).div_(deviation)

    def percentile(self) -> Window:
        bottom, top = self._percentiles(1.0, 99.8)
        if top <= bottom:
            bottom, top = self._range()
        span = float(np.float32(top - bottom)) or 1.0
        return lambda a, b, c, d: (self.upright(a, b, c, d) - bottom).div_(span)

    def log_intensity(self) -> Window:
        deviation = float(np.float32(self._moments(self.upright)[1]))
        least, greatest = self._range()
        bright = self._percentiles(0, 99.0)[1] - least or greatest - least
        floor = float(np.float32(0.1) * (np.float32(bright) / np.float32(deviation) or np.float32(1)))
        return lambda a, b, c, d: (self.upright(a, b, c, d) - least).div_(deviation).add_(floor).log_()

    def local_contrast(self, z: Window, scale: float) -> Window:
        """Return windows of the local contrast; what lies around them is looked at, and cut off again."""
        halo = blur.radius(max(scale, _FINE))

        def window(a: int, b: int, c: int, d: int) -> Tensor:
            top, left = max(0, a - halo), max(0, c - halo)
            block = z(top, min(self.height, b + halo), left, min(self.width, d + halo))
            surround = gaussian(block, scale)
            variance = gaussian(block * block, scale).sub_(surround**2)
            spread = variance.clamp_(min=0).sqrt_().add_(1)  # 1: the z-scored plane's own standard deviation
            return gaussian(block, _FINE).sub_(surround).div_(spread)[a - top : b - top, c - left : d - left]

        return window

    def _moments(self, window: Window) -> tuple[float, float]:
        """Mean and standard deviation of a map (1 if it is constant), in one pass about the first pixel."""
        shift: Tensor | None = None
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        rows = torch.empty((min(ROWS, self.height), self.width), device=self.device)
        for a, b in pairwise([*range(0, self.height, ROWS), self.height]):
            self.checkpoint()
            _fill(rows[: b - a], window, a)
            shift = rows[0, 0].clone() if shift is None else shift
            block = rows[: b - a].sub_(shift).double()
            sums += torch.stack([block.sum(), block.square_().sum()])
        assert shift is not None
        mean, square = (sums / self.plane.size).tolist()
        return float(shift) + mean, float(np.sqrt(max(square - mean**2, 0))) or 1.0

    def _range(self) -> tuple[float, float]:
        """Least and greatest value of the upright plane."""
        low, high = value_range(self.plane)
        return (low, high) if self.sign > 0 else (-high, -low)

    def _percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Percentiles of the upright plane."""
        wanted = (low, high) if self.sign > 0 else (100 - low, 100 - high)
        first, second = percentiles(self.plane, wanted)
        return self.sign * first, self.sign * second


def gaussian(block: Tensor, scale: float) -> Tensor:
    """Blur a (Y, X) float32 tensor as `images.blur.gaussian` does, where it is."""
    if block.device.type == "cuda":
        return _blurred(_blurred(block, 0, scale), 1, scale)
    return torch.from_numpy(blur.gaussian(block.numpy(), scale))


def _blurred(block: Tensor, axis: int, scale: float) -> Tensor:
    """Blur along one axis, edges mirrored. Sums are of float64, as scipy's, and not left to a convolution in TF32."""
    length, radius = block.shape[axis], blur.radius(scale)
    mirrored = torch.from_numpy(np.pad(np.arange(length), radius, mode="symmetric"))
    wide = block.index_select(axis, upload(mirrored, block.device)).double()
    total = torch.zeros_like(block, dtype=torch.float64)
    for first, weight in enumerate(blur.weights(scale)):
        total.add_(wide.narrow(axis, first, length), alpha=float(weight))
    return total.float()
