"""Random patches of images and their labels: drawn by index where the images are, flipped, turned and augmented."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_metastructure.errors import InputError
from napari_metastructure.images.intensity import Inputs
from napari_metastructure.images.lazy import Plane
from napari_metastructure.images.surround import measured, missing_notes, missing_share
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.device import data_device, seeded, upload
from napari_metastructure.networks.predict import LazyInputs, inputs_on, pad
from napari_metastructure.training.distributed import ALONE, Ranks
from napari_metastructure.training.pairs import Pair, label_codes, read_image

HELD_BYTES = 4 * 2**30
"""Main memory for inputs and labels; what is beyond is read again when it is drawn again."""

WINDOWS, SIDE = 4, 512
"""Of a large image so many windows along each side, of so many pixels, are validated on."""

Augment = Callable[[Tensor, Tensor, Sequence[int]], tuple[Tensor, Tensor]]


class LargePair:
    """A pair that memory may not hold: its windows are read, normalised and coded when they are drawn.

    Statistics are those of the whole image, gathered once.

    Parameters
    ----------
    image : Plane
        (Y, X) or (C, Y, X), finite.
    missing : Plane or None
        Where nothing was measured.
    codes : Plane or (Y, X) array
        Class codes and 255.
    inputs : str
    device : torch.device
    """

    def __init__(self, image: Any, missing: Any, codes: Any, inputs: Inputs, device: torch.device) -> None:
        self.shape: tuple[int, int] = image.shape[-2:]
        self.device, self._missing, self._codes = device, missing, codes
        self._inputs = LazyInputs(image, inputs, "bright")

    def window(self, top: int, left: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return (C, Y, X) float32 inputs and (Y, X) uint8 codes of a window, mirrored where the image ends."""
        height, width = (min(n, whole) for n, whole in zip(shape, self.shape, strict=True))
        at = slice(top, top + height), slice(left, left + width)
        codes = np.array(self._codes[at])
        if self._missing is not None:
            codes[self._missing[at]] = UNLABELLED
        x = pad(self._inputs.window(top, left, (height, width)), shape)
        return upload(x, self.device), upload(padded_labels(codes, shape), self.device)

    def windows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield windows spread evenly over the image."""
        size = (min(SIDE, self.shape[0]), min(SIDE, self.shape[1]))
        tops, lefts = (
            np.unique(np.linspace(0, whole - own, WINDOWS).astype(int))
            for whole, own in zip(self.shape, size, strict=True)
        )
        for top in tops:
            for left in lefts:
                yield self.window(int(top), int(left), size)


Fetch = Callable[[int], tuple[Tensor, Tensor] | LargePair]


class _Place(NamedTuple):
    """Place and orientation of a patch: first pixel, quarter turns, mirrored or not."""

    top: int
    left: int
    turns: int
    mirrored: bool


class PatchSampler:
    """Draws batches of patches, flipped and turned by quarters at random.

    The pixels of a patch are looked up where its image is: on the accelerator if the images are there, else in main
    memory, from which a batch travels while the device is busy with the one before.

    Parameters
    ----------
    fetch : callable
        ``fetch(i)`` gives image i: (C, Y, X) float32 inputs and (Y, X) uint8 labels, at least a patch large, best laid
        out by `pixel_major`; or a `LargePair`.
    shapes : sequence of (int, int)
        Height and width of every image: each is drawn from as often as it has pixels.
    patch : (int, int)
        Height and width of a patch.
    device : torch.device
        Where the batches are wanted.
    augment : callable, optional
        Changes a batch further, on the device; given a seed for each patch.
    flips : bool
        Off: patches are taken as they are.
    ranks : Ranks
        Processes that draw the same batches, of which each makes its share only.
    """

    def __init__(
        self,
        fetch: Fetch,
        shapes: Sequence[tuple[int, int]],
        patch: tuple[int, int],
        device: torch.device,
        augment: Augment | None = None,
        flips: bool = True,
        ranks: Ranks = ALONE,
    ) -> None:
        self.fetch = fetch
        self.patch = patch
        self.device = device
        self.augment = augment
        self.flips = flips
        self.ranks = ranks
        self._shapes = [(max(y, patch[0]), max(x, patch[1])) for y, x in shapes]
        areas = np.array([y * x for y, x in shapes], float)
        self._chance = areas / areas.sum()

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """Draw a batch: (N, C, Y, X) float32 inputs and (N, Y, X) uint8 labels, on the device.

        Of several processes each gets its share of the N patches; one that has none, a patch without labels.
        """
        chosen = rng.choice(len(self._chance), batch, p=self._chance)
        places = [self._place(rng, self._shapes[index]) for index in chosen]
        seeds = rng.integers(2**31, size=batch).tolist() if self.augment is not None else []
        first, last = self.ranks.share(batch)
        mine = slice(first, max(last, first + 1))
        images: list[tuple[Tensor, Tensor]] = []
        flat: list[tuple[int, int, int]] = []
        for index, place in zip(chosen[mine], places[mine], strict=True):
            found = self.fetch(int(index))
            if isinstance(found, LargePair):
                images.append(self._read(found, place))
                flat.append((0, self.patch[1], 1))
            else:
                images.append(found)
                flat.append(self._steps(place, found[1].shape[1]))
        batch = len(images)
        (height, width), here = self.patch, images[0][0].device
        start, down, across = upload(torch.tensor(flat), here).T[:, :, None, None]
        rows, columns = torch.arange(height, device=here)[:, None], torch.arange(width, device=here)
        at = (start + down * rows + across * columns).flatten(1)
        pinned = self.device.type == "cuda" != here.type
        x = torch.empty(batch, height * width, len(images[0][0]), device=here, pin_memory=pinned)
        y = torch.empty(batch, height * width, dtype=torch.uint8, device=here, pin_memory=pinned)
        for number, (pixels, labels) in enumerate(images):
            torch.index_select(pixels.permute(1, 2, 0).flatten(0, 1), 0, at[number], out=x[number])
            torch.index_select(labels.flatten(), 0, at[number], out=y[number])
        x = x.to(self.device, non_blocking=pinned).view(batch, height, width, -1).permute(0, 3, 1, 2)
        y = y.to(self.device, non_blocking=pinned).view(batch, height, width)
        if self.augment is not None:
            x, y = self.augment(x, y, seeds[mine])
        return x, y if first < last else torch.full_like(y, UNLABELLED)

    def batches(self, rng: np.random.Generator, batch: int, count: int) -> list[Tensor]:
        """Draw the inputs of several batches, for recomputing a network's statistics."""
        return [self.draw(rng, batch)[0] for _ in range(count)]

    def _place(self, rng: np.random.Generator, shape: Sequence[int]) -> _Place:
        """Draw a patch: where it begins, and how it is turned."""
        height, width = self.patch
        top = int(rng.integers(shape[0] - height + 1))
        left = int(rng.integers(shape[1] - width + 1))
        if not self.flips:
            return _Place(top, left, 0, False)
        turns = int(rng.integers(4)) if height == width else 2 * int(rng.integers(2))
        return _Place(top, left, turns, bool(rng.integers(2)))

    def _steps(self, place: _Place, row: int) -> tuple[int, int, int]:
        """Return a patch as indices into the flat image of so wide rows: the first pixel, a step down, one right."""
        height, width = self.patch
        start, down, across = place.top * row + place.left, row, 1
        for _ in range(place.turns):  # as numpy's rot90
            start, down, across = start + (width - 1) * across, -across, down
            height, width = width, height
        return (start + (width - 1) * across, down, -across) if place.mirrored else (start, down, across)

    def _read(self, image: LargePair, place: _Place) -> tuple[Tensor, Tensor]:
        """Read a patch of a large image."""
        x, y = (torch.rot90(t, place.turns, (-2, -1)) for t in image.window(place.top, place.left, self.patch))
        return (x.flip(-1), y.flip(-1)) if place.mirrored else (x, y)


class InputsInMemory:
    """Inputs that stay in memory, and labels that are exchanged; a `Fetch`.

    Parameters
    ----------
    inputs : iterable of (C, Y, X) float32 arrays or tensors
        Planes of any sizes; those smaller than a patch are mirrored, and the mirrored part stays unlabelled.
    patch : (int, int)
    device : torch.device
        Where they stay, see `networks.device.data_device`.
    keep : callable, optional
        Puts arrays elsewhere than in memory: given them, a list of views, see `igtt.storage.ArrayStorage.keep`.
    """

    def __init__(
        self,
        inputs: Iterable[np.ndarray | Tensor],
        patch: tuple[int, int],
        device: torch.device,
        keep: Callable[[Iterable[np.ndarray]], list[np.ndarray]] | None = None,
    ) -> None:
        self._patch, self._data_device = patch, device
        self._shapes: list[tuple[int, ...]] = []
        self._inputs: list[Tensor] = []
        if keep is None:
            self._inputs = list(self._laid_out(inputs))
        else:
            views = keep(tensor.permute(1, 2, 0).numpy() for tensor in self._laid_out(inputs))
            self._inputs = [torch.from_numpy(view).permute(2, 0, 1) for view in views]
        self._labels: list[Tensor] = []

    def _laid_out(self, inputs: Iterable[np.ndarray | Tensor]) -> Iterator[Tensor]:
        for plane in inputs:
            self._shapes.append(plane.shape[1:])
            yield pixel_major(pad(upload(torch.as_tensor(plane), self._data_device), self._patch))

    def set_labels(self, labels: Sequence[np.ndarray]) -> None:
        """Take new labels, one (Y, X) uint8 array per plane."""
        self._labels = [upload(padded_labels(y, self._patch), self._data_device) for y in labels]

    def inputs(self, index: int) -> Tensor:
        """Return the (C, Y, X) inputs of one plane, without what was mirrored."""
        height, width = self._shapes[index]
        return self._inputs[index][:, :height, :width]

    def __call__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of one plane."""
        return self._inputs[index], self._labels[index]


class PairReader:
    """Reads pairs when they are drawn, normalises their images and codes their labels; a `Fetch`.

    They stay on the device if all of them fit (`networks.device.data_device`), else in main memory: the newest stay
    there, and the others are read again when they are drawn again.

    Parameters
    ----------
    pairs : sequence of Pair
        As `pairs.read_pairs` returns them.
    inputs : str
        Normalisation, see `images.intensity.network_inputs`.
    channels : int
        Channels that it makes of an image.
    classes : sequence of int
        Label values in the order of their codes.
    patch : (int, int)
        Images smaller than a patch are mirrored up to it; the mirrored part stays unlabelled.
    device : torch.device
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        inputs: Inputs,
        channels: int,
        classes: Sequence[int],
        patch: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.pairs, self.inputs, self.classes = list(pairs), inputs, list(classes)
        self.patch = patch
        pixels = sum(max(y, patch[0]) * max(x, patch[1]) for y, x in (pair.shape for pair in self.pairs))
        self._data_device = data_device(device, pixels * (4 * channels + 1))
        self._held: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()
        self._large: dict[int, LargePair] = {}
        self._bytes = 0
        self._missing: dict[str, float] = {}
        self._told = 0

    def __call__(self, index: int) -> tuple[Tensor, Tensor] | LargePair:
        """Return (C, Y, X) float32 inputs and (Y, X) uint8 class codes of a pair, at least as large as a patch.

        Of a pair too large to hold, return a `LargePair`.

        Raises
        ------
        InputError
            If it can no longer be read, or what was read does not fit; it names the pair.
        """
        if index in self._held:
            self._held.move_to_end(index)
            return self._held[index]
        if index in self._large:
            return self._large[index]
        pair = self.pairs[index]
        pixels = read_image(pair)
        image, missing = measured(pixels)
        codes = label_codes(pair, self.classes)
        if isinstance(image, Plane):
            if missing is not None:
                self._missing.setdefault(pair.name, missing_share(pixels))
            self._large[index] = LargePair(image, missing, codes, self.inputs, self._data_device)
            return self._large[index]
        codes = np.asarray(codes)
        if missing is not None:
            codes[missing] = UNLABELLED
            self._missing.setdefault(pair.name, float(missing.mean()))
        inputs = inputs_on(self._data_device, image, self.inputs, "bright")
        x = pixel_major(pad(inputs, self.patch))
        y = upload(padded_labels(codes, self.patch), self._data_device)
        self._held[index] = x, y
        self._bytes += x.nbytes + y.nbytes
        while self._data_device.type == "cpu" and self._bytes > HELD_BYTES and len(self._held) > 1:
            _, (x_old, y_old) = self._held.popitem(last=False)
            self._bytes -= x_old.nbytes + y_old.nbytes
        return x, y

    def notes(self) -> list[str]:
        """Say which of the images read since the last call are blank or have pixels of no value, each once."""
        new = list(self._missing.items())[self._told :]
        self._told += len(new)
        return missing_notes(new)

    def whole(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and codes of a pair at their own size, without the mirrored part; of a large one windows."""
        found = self(index)
        if isinstance(found, LargePair):
            yield from found.windows()
            return
        x, y = found
        height, width = self.pairs[index].shape
        yield x[:, :height, :width], y[:height, :width]


def patch_shape(shapes: Sequence[tuple[int, ...]], size: int) -> tuple[int, int]:
    """Return the size asked for, or a smaller one where every plane is; multiples of 32 fit every stride."""
    height, width = (min(size, -(-max(s[axis] for s in shapes) // 32) * 32) for axis in (0, 1))
    return height, width


def pixel_major(inputs: Tensor) -> Tensor:
    """Lay (C, Y, X) inputs out with the channels of a pixel side by side, as patches are looked up and convolved."""
    return inputs.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def padded_labels(labels: np.ndarray, patch: tuple[int, int]) -> Tensor:
    """Return (Y, X) uint8 labels, made as large as a patch at least by unlabelled pixels."""
    missing = [(0, max(0, want - have)) for want, have in zip(patch, labels.shape, strict=True)]
    if not any(end for _, end in missing):
        return torch.from_numpy(labels)
    return torch.from_numpy(np.pad(labels, missing, constant_values=UNLABELLED))


# ---- Augmentation of whole batches: any turn and scale, brightness, blur, noise ---------------------------


DEGREES, SCALES = 180.0, (0.8, 1.25)

GAIN, OFFSET, NOISE = 0.2, 0.1, 0.1
"""Greatest change of contrast (a factor) and brightness, and standard deviation of noise, in units of the patch's
standard deviation."""


class FullAugmentation:
    """Changes batches on their device: torchvision turns, scales, blurs and adds noise.

    Raises
    ------
    InputError
        Where torchvision does not load.
    """

    def __init__(self) -> None:
        try:
            from torchvision import tv_tensors
            from torchvision.transforms import v2
        except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
            raise InputError(
                f"Augmentation 'full' needs torchvision, which does not load here ({error}); install torch and "
                "torchvision of one build, or choose augment flips."
            ) from error
        self._image, self._mask = tv_tensors.Image, tv_tensors.Mask
        fill: dict[Any, Any] = {tv_tensors.Image: 0.0, tv_tensors.Mask: UNLABELLED}
        self._place = v2.RandomAffine(DEGREES, scale=SCALES, interpolation=v2.InterpolationMode.BILINEAR, fill=fill)
        self._blur = v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], p=0.3)

    def __call__(self, x: Tensor, y: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Change (N, C, Y, X) float inputs and (N, Y, X) labels; what lies outside the patch becomes unlabelled.

        What becomes of a patch depends on its seed alone, not on the others.
        """
        for index, seed in enumerate(seeds):
            with seeded(seed, x.device):  # torchvision draws from torch's global generator
                image, mask = self._place(self._image(x[index]), self._mask(y[index][None]))
                image = self._blur(image).as_subclass(Tensor)
                # torchvision's colour functions take one or three channels and cut at 0 and 1; ours are any, and
                # normalised.
                gain, offset, noise = torch.rand(3).tolist()
                changed = image * (1 + GAIN * (2 * gain - 1))
                changes = OFFSET * (2 * offset - 1) + NOISE * noise * torch.randn_like(image)
            x[index], y[index] = changed + image.std() * changes, mask[0]
        return x, y
