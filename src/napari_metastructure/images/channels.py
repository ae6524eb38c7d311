"""Colour channel to segment, chosen for a set of images by local contrast, and sets of image files read with it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.errors import InputError
from napari_metastructure.images.files import list_images, noting, read_image
from napari_metastructure.images.image import Image, plane_count, plane_names, planes
from napari_metastructure.images.intensity import check_planes
from napari_metastructure.images.lazy import Source, is_lazy
from napari_metastructure.images.ranges import ALL, Chosen, leading_of, taken
from napari_metastructure.images.surround import measured

Colour = Literal["red", "green", "blue"]
COLOURS: tuple[Colour, ...] = ("red", "green", "blue")

AUTO = "auto"
"""In place of a channel: the colour that `choose_channel` finds."""

SAMPLE = 16
"""Planes, evenly spread over the set, that the choice is made from."""

SIDE = 1024
"""Pixels along a side above which a plane is looked at in less detail."""

FINE, COARSE = 1.0, 16.0
"""Standard deviations in pixels of the two blurs between which contrast counts."""

LIT = 0.3
"""Share of the 95th percentile of the blurred luminance below which a place is dark."""

MARGINS = (24, 12, 6, 0)
"""Pixels inside of lit places that are not looked at, the first that leaves something: the edge of a field of view is
no contrast of objects."""

ENOUGH = 0.05
"""Share of a plane that is something."""

OUTLIER = 6.0
"""Medians of the absolute band beyond which values are cut off."""

ALONE = 0.1
"""Weight of contrast that no other channel confirms."""


def has_colours(image: Image) -> bool:
    """Test whether an image is RGB or RGBA, without any other channels."""
    sizes = dict(zip(image.axes, image.data.shape, strict=True))
    return sizes.get("S", 1) in (3, 4) and sizes.get("C", 1) == 1


def channel_for(image: Image, colour: Colour | None) -> Colour | None:
    """Give the colour chosen for a set as `image.planes` takes it for one image: None if that has no colours."""
    return colour if has_colours(image) else None


def colour_named(images: Sequence[Image], channel: int | str) -> Colour | None:
    """Find the colour a user named, or gave by its number; None for another channel, or if no image has colours."""
    named = str(channel).strip().lower()
    if named.isdecimal() and int(named) < len(COLOURS):
        named = COLOURS[int(named)]
    return next((c for c in COLOURS if c == named and any(map(has_colours, images))), None)


def choose_channel(images: Sequence[Image]) -> Colour | None:
    """Choose the colour channel in which all images of a set are best segmented.

    Objects show in several channels, and noise in one. So of each channel the contrast at the scale of objects, the
    median absolute value M of a band of `FINE` to `COARSE` pixels, counts as far as the bands of the other channels
    correlate with it::

        score_i = M_i (ALONE + sum over j != i of R2_ij)**2

    Only lit places are looked at. The scores are shares of one in each image, and summed over the set.

    Parameters
    ----------
    images : sequence of Image
        Of any axes; those without colours say nothing.

    Returns
    -------
    "red", "green" or "blue", or None
        None if no image has colours, or the channels are alike in all of them.
    """
    total = np.zeros(len(COLOURS))
    for plane in _some(images):
        total += _scores(plane)
    return COLOURS[int(np.argmax(total))] if total.any() else None


def _some(images: Sequence[Image]) -> Iterator[np.ndarray]:
    """Sample (3, Y, X) float32 arrays evenly from the planes of all images in colour, large ones reduced."""
    every = [(image, index) for image in images if has_colours(image) for index in range(plane_count(image))]
    for chosen in np.unique(np.linspace(0, len(every) - 1, SAMPLE).astype(int)) if every else ():
        image, index = every[chosen]
        if image.data.dtype.kind not in "buif" or not image.data.size:
            continue
        plane = np.stack([_reduced(planes(image, colour)[index]) for colour in COLOURS])
        yield plane if np.isfinite(plane).all() else measured(plane)[0]


def _reduced(plane: np.ndarray) -> np.ndarray:
    """Average blocks of pixels, so large that `SIDE` blocks hold the plane."""
    plane = np.asarray(plane)
    step = min(-(-max(plane.shape) // SIDE), *plane.shape)
    height, width = (side // step for side in plane.shape)
    blocks = plane[: height * step, : width * step].reshape(height, step, width, step)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def _scores(plane: np.ndarray) -> np.ndarray:
    """Score the channels of a (3, Y, X) plane: (3,), summing to one; zeros if they are alike."""
    if all(np.array_equal(plane[0], other) for other in plane[1:]):
        return np.zeros(len(plane))
    smooth = np.stack([ndi.gaussian_filter(channel, COARSE) for channel in plane])
    where = _lit(smooth.mean(axis=0))
    bands = np.stack([(ndi.gaussian_filter(c, FINE) - s)[where] for c, s in zip(plane, smooth, strict=True)])
    size = np.median(np.abs(bands), axis=1)
    if not size.any():  # little but flat background
        size = np.abs(bands).mean(axis=1)
    most = np.where(size > 0, OUTLIER * size, np.inf)[:, None]
    bands = np.clip(bands, -most, most)
    bands -= bands.mean(axis=1, keepdims=True)
    covariance = (bands @ bands.T).astype(np.float64)
    power = np.diag(covariance)
    confirmed = covariance**2 / np.maximum(np.outer(power, power), np.finfo(float).tiny)
    np.fill_diagonal(confirmed, ALONE)
    scores = size * confirmed.sum(axis=1) ** 2
    return scores / scores.sum() if scores.any() else scores


def _lit(luminance: np.ndarray) -> np.ndarray:
    """Find where a blurred plane is bright, without the edges of such places; everywhere if nothing is left."""
    above = luminance - luminance.min()
    lit = above > LIT * np.percentile(above, 95)
    for margin in MARGINS:
        middle = ndi.minimum_filter(lit, size=2 * margin + 1)
        if middle.mean() > ENOUGH:
            return middle
    return np.ones_like(lit)


class ImageSet(NamedTuple):
    """Image files read to be segmented, see `read_set`."""

    images: list[Image]
    planes: list[Any]
    """(Y, X) float32 arrays of all images, one after the other; of large files and sets `images.lazy.Plane`."""
    names: list[str]
    """Of the planes, for messages."""
    colour: Colour | None
    """The channel that was taken of images in colour; None if there are none, or it is no single colour."""
    chosen: bool
    """Whether that was chosen for the user."""
    kept: list[tuple[int, ...] | None]
    """Of each image the numbers of the planes that were taken; None for all."""


HELD_BYTES = 2**30
"""Pixels of a set of files up to which they stay in memory; files beyond are read again when they are needed."""


def _read_again(image: Image, path: Path) -> Image:
    """Return an image without its pixels, which are read from its file when they are asked for."""
    if is_lazy(image.data):
        return image

    def read(slices: tuple[slice, ...]) -> np.ndarray:
        with noting():  # what is odd was said before
            return read_image(path).data[slices]

    return replace(image, data=cast(np.ndarray, Source(path, image.data.shape, image.data.dtype, read)))


def read_set(paths: Sequence[Path], channel: str = AUTO, ranges: Chosen = ALL, lazily: bool = False) -> ImageSet:
    """Read all images of files and folders, and check their planes.

    Parameters
    ----------
    paths : sequence of Path
    channel : str
        As `image.planes` takes it, or ``auto``: one colour for all images that have any.
    ranges : Chosen
        Which planes and frames of each image; its channel does not count.
    lazily : bool
        Leave the planes of large files and sets where they are, see `images.lazy`.

    Raises
    ------
    InputError
        One line for each bad file.
    """
    files = list_images(paths)
    images: dict[Path, Image] = {}
    bad: dict[Path, str] = {}
    held = 0
    for path in files:
        try:
            image = replace(read_image(path, lazily=lazily), name=str(path))  # messages tell a/x.png from b/x.png
            held += 0 if is_lazy(image.data) else image.data.nbytes
            images[path] = image if held <= HELD_BYTES or not lazily else _read_again(image, path)
        except InputError as error:
            bad[path] = str(error)
    found = list(images.values())
    auto = channel.strip().lower() == AUTO
    colour = (None if bad else choose_channel(found)) if auto else colour_named(found, channel)
    cut: list[np.ndarray] = []
    kept: list[tuple[int, ...] | None] = []
    for path, image in images.items():
        try:
            kept.append(ranges.kept(leading_of(image, ranges), image.name))
            own = taken(planes(image, channel_for(image, colour) if auto else channel), kept[-1])
            cut += check_planes(own, taken(plane_names(image), kept[-1]))
        except InputError as error:
            bad[path] = str(error)
    if bad:
        raise InputError("\n".join(bad[path] for path in files if path in bad))
    found = [replace(image, name=path.name) for path, image in images.items()]
    names = [name for image, own in zip(found, kept, strict=True) for name in taken(plane_names(image), own)]
    return ImageSet(found, cut, names, colour, auto and colour is not None, kept)
