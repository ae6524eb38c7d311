"""Epochs of an iGTT run as a film (GIF, MP4) and as a figure with its curves (PNG, PDF, SVG)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, sized
from napari_metastructure.images.writing import replacing, save_figure

FILMS, FIGURES = (".gif", ".mp4"), (".png", ".pdf", ".svg")

COLOUR = (0, 208, 255)
"""Of the masks, as in the window."""

OPACITY = 0.45

SECONDS, LAST_SECONDS = 0.6, 2.0
"""That an epoch is seen, and the last one."""

RATE = 10
"""Pictures a second of an MP4: few players show less."""

SMALLEST, LARGEST = 480, 1080
"""Pixels of the longer side of a film: smaller images are enlarged, larger ones reduced."""

PANELS = 12
"""Epochs in a figure at most: the first, the last and some between."""


@dataclass(frozen=True)
class Epochs:
    """The masks of one plane, epoch by epoch, and how the run went.

    Attributes
    ----------
    image : (Y, X) array
        Any real dtype.
    masks : mapping of int to (Y, X) array
        By the number of the epoch, ascending; nonzero = foreground.
    rounds : sequence of (epoch, loss, agreement)
        For the curves of a figure.
    """

    image: np.ndarray
    masks: Mapping[int, np.ndarray]
    rounds: Sequence[tuple[Any, ...]] = field(default=())

    def __post_init__(self) -> None:
        if not self.masks:
            raise InputError("There are no epochs to draw yet; run first.")
        for epoch, mask in self.masks.items():
            if mask.shape != self.image.shape:
                sizes = f"{sized(mask.shape)} and the image {sized(self.image.shape)}"
                raise InputError(f"The mask of epoch {epoch} has {sizes}.")


def write(path: Path, epochs: Epochs, outlines: bool = False) -> Path:
    """Draw the epochs into a file, whole or not at all, as its ending says.

    Parameters
    ----------
    path : Path
        A film (``.gif``, ``.mp4``) or a figure (``.png``, ``.pdf``, ``.svg``).
    epochs : Epochs
    outlines : bool
        Draw outlines in place of filled masks.

    Raises
    ------
    InputError
        For another ending, for MP4 without the extra ``film``, or where the file cannot be written.
    """
    path, ending = Path(path), Path(path).suffix.lower()
    if ending not in (*FILMS, *FIGURES):
        raise InputError(f"{path.name}: choose a name that ends in {', '.join((*FILMS, *FIGURES)[:-1])} or .svg.")
    if ending in FIGURES:
        return save_figure(path, figure(epochs, outlines))
    with replacing(path) as beside:
        if ending == ".gif":
            _write_gif(beside, epochs, outlines)
        else:
            _write_mp4(beside, epochs, outlines)
    return path


# ---- a film ---------------------------------------------------------------------------------------------------------


def frames(epochs: Epochs, outlines: bool = False) -> Iterator[np.ndarray]:
    """Yield a (Y, X, 3) uint8 picture of each epoch, with its number above; sides are even, as MP4 wants them."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = epochs.image.shape
    longer = max(height, width)
    factor = min(max(1.0, SMALLEST / longer), LARGEST / longer)
    size = tuple(max(2, round(side * factor / 2) * 2) for side in (width, height))
    strip = max(24, size[1] // 16) // 2 * 2
    font = ImageFont.load_default(strip * 0.6)
    for epoch, picture in _pictures(epochs, outlines, factor):
        how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
        frame = Image.new("RGB", (max(size[0], 160), size[1] + strip), "black")
        frame.paste(Image.fromarray(picture).resize((size[0], size[1]), how), (0, strip))
        ImageDraw.Draw(frame).text((strip // 4, strip // 2), f"epoch {epoch}", fill="white", font=font, anchor="lm")
        yield np.asarray(frame)


def _write_gif(path: Path, epochs: Epochs, outlines: bool) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame).quantize(256) for frame in frames(epochs, outlines)]
    milliseconds = [round(1000 * s) for s in _seconds(epochs)]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)


def _write_mp4(path: Path, epochs: Epochs, outlines: bool) -> None:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise InputError(
            "MP4 needs imageio-ffmpeg: pip install 'napari-metastructure[film]', or choose a name that ends in .gif."
        ) from error
    film: Any = None
    for picture, seconds in zip(frames(epochs, outlines), _seconds(epochs), strict=True):
        if film is None:
            size, more = picture.shape[1::-1], ["-f", "mp4"]
            film = imageio_ffmpeg.write_frames(str(path), size, fps=RATE, macro_block_size=2, output_params=more)
            try:
                film.send(None)
            except RuntimeError as error:
                raise InputError(f"MP4 cannot be written ({error}); choose a name that ends in .gif.") from error
        for _ in range(round(RATE * seconds)):
            film.send(np.ascontiguousarray(picture))
    film.close()


def _seconds(epochs: Epochs) -> list[float]:
    return [SECONDS] * (len(epochs.masks) - 1) + [LAST_SECONDS]


# ---- a figure -------------------------------------------------------------------------------------------------------


def figure(epochs: Epochs, outlines: bool = False) -> Any:
    """Draw up to `PANELS` epochs in a grid, and loss and agreement below, as a matplotlib figure."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    numbers = list(epochs.masks)
    chosen = {numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, PANELS).round().astype(int))}
    longer = max(epochs.image.shape)
    pictures = [pair for pair in _pictures(epochs, outlines, min(1.0, LARGEST / longer)) if pair[0] in chosen]
    rows = -(-len(pictures) // 4)
    columns = -(-len(pictures) // rows)
    curves = [row for row in epochs.rounds if row[0] > 0]
    high = 3 * epochs.image.shape[0] / epochs.image.shape[1]
    whole: Any = Figure(
        figsize=(3 * columns, min(rows * (high + 0.3), 30) + (2.4 if curves else 0)), layout="constrained"
    )
    above, below = whole.subfigures(2, 1, height_ratios=(rows * high, 2.4)) if curves else (whole, None)
    every = max(1, -(-longer // LARGEST))
    for axes in (grid := above.subplots(rows, columns, squeeze=False).ravel()):
        axes.set_axis_off()
    for axes, (epoch, picture) in zip(grid, pictures, strict=False):
        axes.imshow(picture[::every, ::every], interpolation="nearest")
        axes.set_title(f"epoch {epoch}", fontsize=10)
    if below is not None:
        parts = below.subplots(1, 2)
        for axes, name, at, color in zip(parts, ("loss", "agreement"), (1, 2), ("#ff8c42", "#2fb6d6"), strict=True):
            axes.plot([row[0] for row in curves], [row[at] for row in curves], color=color, marker="o", markersize=3)
            axes.set(xlabel="epoch", title=name, xlim=(0, max(row[0] for row in curves) + 0.5))
            axes.xaxis.get_major_locator().set_params(integer=True)
        parts[1].set_ylim(None, 1.01)
    return whole


def _pictures(epochs: Epochs, outlines: bool, factor: float) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (Y, X, 3) uint8 pictures: the image in grey, the mask over it in colour."""
    from napari_metastructure.images.intensity import percentile

    shown = percentile(np.nan_to_num(np.asarray(epochs.image, np.float32))).clip(0, 1) * 255
    grey = np.repeat(shown.astype(np.uint8)[..., None], 3, axis=2)
    for epoch, mask in epochs.masks.items():
        picture = grey.copy()
        where = _outline(mask != 0, max(1, round(1 / factor))) if outlines else mask != 0
        opacity = 1 if outlines else OPACITY
        picture[where] = (picture[where] * (1 - opacity) + opacity * np.array(COLOUR)).astype(np.uint8)
        yield epoch, picture


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the rim of a mask, so wide that it is still seen when the picture is reduced."""
    from scipy import ndimage as ndi

    inner: np.ndarray = ndi.binary_erosion(mask, iterations=width, border_value=1)
    return mask & ~inner
