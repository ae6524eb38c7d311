"""What ordinary flaws of cameras, microscopes and files cost the default of iGTT, and what it says of them.

    python benchmarks/flaws.py ../shared/data er nuclei mito em scenes --limit 6
    python benchmarks/flaws.py ../shared/data er nuclei mito em scenes --alarms

Each flaw is put into all images of a folder, and Dice compared with that of the same images without it. What a flaw
covers holds no object, so there masks of both should be empty. ``scenes`` are held-out simulated ones. ``told``: the
run warns of something that it does not warn of without the flaw. ``--alarms``: without any flaw, what is told of images
and of their quarters (`images.limits`), as sets and each by itself.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from igtt_quality import load, parser_of
from PIL import Image, ImageDraw
from scipy import ndimage as ndi

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.images.limits import limit_notes, limits
from napari_metastructure.images.scenes import Scenes
from napari_metastructure.training.events import Finished, Warned
from napari_metastructure.training.metrics import dice

Flaw = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray | None]]


def scaled(image: np.ndarray) -> np.ndarray:
    return (image - image.min()) / np.ptp(image)


def lifted(image: np.ndarray) -> np.ndarray:
    """The image on the offset of a camera, so that zero is below all of it."""
    return image + 0.3 * np.ptp(image)


def pixels(count: int, factor: float) -> Flaw:
    """Some pixels so many times as bright as the image is at most."""

    def flaw(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        image = image.copy()
        image.ravel()[rng.choice(image.size, count, replace=False)] = image.min() + factor * np.ptp(image)
        return image, None

    return flaw


def lines(image: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, None]:
    image = lifted(image)
    image[len(image) // 2], image[:, image.shape[1] // 3] = 0, 0
    return image, None


def covered(where: Callable[[tuple[int, ...]], np.ndarray], level: float | None = None) -> Flaw:
    """One value over a part: a share of the range of the image, or zero below the offset of a camera."""

    def flaw(image: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        part = where(image.shape)
        value = 0 if level is None else image.min() + level * np.ptp(image)
        return np.where(part, value, lifted(image) if level is None else image), part

    return flaw


def strip(shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.arange(shape[1]) < shape[1] // 10, shape)


def tiles(shape: tuple[int, ...]) -> np.ndarray:
    part = np.zeros(shape, bool)
    part[: shape[0] // 8, : shape[1] // 3] = part[-shape[0] // 10 :, shape[1] // 2 :] = True
    return part


def frame(shape: tuple[int, ...]) -> np.ndarray:
    part = np.ones(shape, bool)
    part[8:-8, 8:-8] = False
    return part


def dust(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.indices(shape)
    return np.hypot(y - 0.3 * shape[0], x - 0.7 * shape[1]) < np.sqrt(0.005 * shape[0] * shape[1] / np.pi)


def corners(shape: tuple[int, ...]) -> np.ndarray:
    return ndi.rotate(np.ones(shape), 8, reshape=False, order=0) == 0


def overlay(shape: tuple[int, ...]) -> np.ndarray:
    drawn = Image.new("L", shape[::-1])
    draw, (height, width) = ImageDraw.Draw(drawn), shape
    draw.rectangle((width * 4 // 5 - 20, height - 20, width - 20, height - 16), 255)
    draw.text((width * 5 // 6 - 20, height - 36), "10 um", 255)
    return np.asarray(drawn) > 127


def data_bar(image: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape
    drawn = Image.new("L", (width, height // 10))
    ImageDraw.Draw(drawn).text((8, 4), "15 kV  x 20000  10 um", 255)
    image = lifted(image)
    image[-(height // 10) :] = np.asarray(drawn) / 255 * image.max()
    return image, np.indices(image.shape)[0] >= height - height // 10


def vignette(image: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, None]:
    y, x = (np.linspace(-1, 1, n) for n in image.shape)
    return (image - min(0, image.min())) * (1 - 0.35 * (y[:, None] ** 2 + x**2)), None


def photons(most: float) -> Flaw:
    """As many photons a pixel as this at the brightest, on a background of one."""

    def flaw(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        light = (image - image.min()) / (np.percentile(image, 99.5) - image.min())
        return rng.poisson(most * light + 1).astype(float), None

    return flaw


def shifted_lines(image: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, None]:
    image = image.copy()
    image[1::2] = np.roll(image[1::2], 2, axis=1)
    return image, None


def jpeg(image: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, None]:
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * scaled(image))).save(file, "jpeg", quality=30)
    return np.asarray(Image.open(file), float), None


FLAWS: dict[str, Flaw] = {
    "5 hot pixels, x 100": pixels(5, 100),
    "50 hot pixels, x 100": pixels(50, 100),
    "50 hot pixels, x 3": pixels(50, 3),
    "a dead row and column": lines,
    "black strip, a tenth": covered(strip),
    "missing tiles of a mosaic": covered(tiles),
    "black frame, 8 pixels": covered(frame),
    "white frame, 8 pixels": covered(frame, 1),
    "black corners, turned": covered(corners),
    "bar with text below": data_bar,
    "scale bar and text": covered(overlay, 1),
    "dust of .5 %, x 1": covered(dust, 1),
    "dust of .5 %, x 10": covered(dust, 10),
    "vignette to 30 %": vignette,
    "10 photons a pixel": photons(10),
    "3 photons a pixel": photons(3),
    "stripes, a tenth": lambda image, _: (image + 0.1 * np.ptp(image) * (np.indices(image.shape)[0] % 2), None),
    "every other line 2 pixels off": shifted_lines,
    "16 grey levels": lambda image, _: (np.floor(15.999 * scaled(image)), None),
    "offset of 2^15": lambda image, _: (2000 * scaled(image) + 2**15, None),
    "inverted": lambda image, _: (-image, None),
    "squared": lambda image, _: (scaled(image) ** 2, None),
    "JPEG, quality 30": jpeg,
}


def found(images: list[np.ndarray]) -> tuple[list[np.ndarray], set[str]]:
    """Masks of the default, and what it says."""
    *events, last = iterate([image.astype(np.float32) for image in images], IGTTConfig())
    assert isinstance(last, Finished)
    return [mask > 0 for mask in last.masks], {event.message for event in events if isinstance(event, Warned)}


def pairs(data: Path, folder: str, limit: int | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images and masks of a folder, or held-out scenes."""
    if folder != "scenes":
        images, masks = load(data / folder, limit)
        return [image.astype(float) for image in images], masks
    scenes = Scenes(256, np.random.default_rng(10**6 + 5), stock=60)
    drawn = [pair for pair in (scenes.draw() for _ in range(40)) if pair[1].any()][:limit]
    return [image.astype(float) for image, _ in drawn], [mask for _, mask in drawn]


def changes(images: list[np.ndarray], masks: list[np.ndarray]) -> Iterator[tuple[str, float, float, bool]]:
    """Flaw, Dice without and with it, and whether it is told."""
    clean, said = found(images)
    for name, flaw in FLAWS.items():
        flawed = [flaw(image, np.random.default_rng(i)) for i, image in enumerate(images)]
        kept = [True if part is None else ~part for _, part in flawed]
        seen, told = found([image for image, _ in flawed])
        without = [dice(p & own, mask & own) for p, own, mask in zip(clean, kept, masks, strict=True)]
        with_it = [dice(p, mask & own) for p, own, mask in zip(seen, kept, masks, strict=True)]
        yield name, float(np.mean(without)), float(np.mean(with_it)), bool(told - said)


def quarters(image: np.ndarray) -> Iterator[np.ndarray]:
    for rows in np.array_split(image, 2):
        yield from np.array_split(rows, 2, axis=1)


def alarms(images: list[np.ndarray]) -> Iterator[str]:
    """How many sentences are said of a set, and of how many of its images one is said if each is by itself."""
    for name, planes in (("images", images), ("quarters", [q for image in images for q in quarters(image)])):
        shown = [limits(plane) for plane in planes]
        alone = sum(bool(limit_notes("a", [own])) for own in shown)
        yield f"{len(planes):4} {name:9} {len(limit_notes([''] * len(planes), shown))} as a set, {alone:3} alone"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--alarms", action="store_true", help="what is told of images without flaws")
    args = parser.parse_args()
    for folder in args.folders:
        if args.alarms:
            for row in alarms(pairs(args.data, folder, args.limit)[0]):
                print(f"{folder:14}{row}", flush=True)
            continue
        for name, without, with_it, told in changes(*pairs(args.data, folder, args.limit)):
            row = f"{folder:10}{name:32}{without:.3f}  {with_it:.3f}  {with_it - without:+.3f}"
            print(row, " told" if told else "", flush=True)


if __name__ == "__main__":
    main()
