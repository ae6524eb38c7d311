"""Random scenes with exact masks, which the prior of iGTT learns from: objects, background, a poor camera.

No scene imitates a particular specimen. Shapes, sizes, brightness, blur, haze and noise are drawn from ranges wide
enough to hold most of light microscopy (domain randomisation), so a network that has learned them knows what an object
on a background looks like and not which one it will meet. Lengths are in pixels.

References
----------
Tobin et al., "Domain randomization for transferring deep neural networks from simulation to the real world", IROS 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.draw import line

from napari_metastructure.images.simulate import smooth_noise

SMALLEST, LARGEST = 0.01, 0.6
"""Foreground fractions between which a scene's objects lie."""

VISIBLE = 0.25
"""Share of its height at which a blurred object ends: people who draw masks include the blurred rim."""


def scene(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image, and the mask of what can be seen in it.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    rng : numpy.random.Generator
        Source of everything random.

    Returns
    -------
    image : (Y, X) float32 array
        Bright objects, values from 0 up.
    mask : (Y, X) bool array
        Where the blurred objects reach `VISIBLE` of their height: a tube thinner than the blur is as wide as it looks.
    """
    family, distance = _objects(shape, rng)
    mask = distance < 1
    blur = wide(rng, 0.6, 2.2)
    light = _objects_light(distance, mask, rng)
    light = ndi.gaussian_filter(light, blur)
    light /= np.median(light[mask]) + 1e-6
    seen = _visible(mask, blur)
    light = _surround(light, mask, family, blur, rng)
    return _photograph(light, rng).astype(np.float32), seen


def _objects(shape: tuple[int, int], rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Draw objects; return their family's name, and a distance that is below 1 inside them."""
    for _ in range(20):  # a draw may leave the image empty or fill it
        family, distance = shape_of(shape, rng)
        if chance(rng, 0.15):
            distance = np.minimum(distance, shape_of(shape, rng)[1])
        if chance(rng, 0.3):  # a cell that does not fill the image
            inside = field(shape, wide(rng, 20, 60), rng) > rng.uniform(-1, 0.3)
            distance = np.where(inside, distance, 3)
        if SMALLEST < np.mean(distance < 1) < LARGEST:
            break
    return family, distance


def _objects_light(distance: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light the objects: flat, domed or hollow, unevenly bright and textured."""
    depth, shape = np.clip(distance, 0, 1), mask.shape
    profiles = (np.ones(shape), 0.35 + 0.65 * np.sqrt(1 - depth**2), 0.5 + 0.6 * np.exp(-(((depth - 0.75) / 0.3) ** 2)))
    profile = profiles[rng.choice(3, p=(0.4, 0.4, 0.2))]
    bright = np.exp(rng.uniform(0, 0.7) * field(shape, wide(rng, 6, 50), rng))
    texture = np.clip(1 + rng.uniform(0, 0.4) * field(shape, wide(rng, 0.8, 5), rng), 0.1, None)
    return mask * profile * bright * texture


def _visible(mask: np.ndarray, blur: float) -> np.ndarray:
    """Find where a blurred mask reaches `VISIBLE` of its height nearby."""
    soft = ndi.gaussian_filter(mask.astype(float), blur)
    peak = ndi.maximum_filter(soft, size=2 * int(np.ceil(2 * blur)) + 1)
    return (soft > VISIBLE * peak) & (soft > 0.08)


def _surround(light: np.ndarray, mask: np.ndarray, family: str, blur: float, rng: np.random.Generator) -> np.ndarray:
    """Add light from outside the mask: haze, cell bodies, fainter things, grain, uneven illumination."""
    shape = light.shape
    if chance(rng, 0.6):  # out of focus
        light = light + rng.uniform(0, 1) * ndi.gaussian_filter(light, wide(rng, 4, 25))
    if chance(rng, 0.35):  # bodies that outshine the objects
        bodies = np.clip(field(shape, wide(rng, 15, 50), rng) - rng.uniform(0.5, 1.5), 0, None)
        light = light + wide(rng, 0.3, 12) * bodies
    if chance(rng, 0.35):  # fainter things of any family
        other = shape_of(shape, rng)[1] < 1
        light = light + rng.uniform(0.1, 0.5) * ndi.gaussian_filter(other.astype(float), wide(rng, 0.8, 4))
    if chance(rng, 0.2):
        light = light + rng.uniform(0.1, 0.4) * np.clip(1 + field(shape, wide(rng, 1.2, 5), rng), 0, None)
    if family in ("contours", "tessellation") and chance(rng, 0.2):  # small things as bright as the network around them
        other = (blobs(shape, rng) < 1) & ~ndi.binary_dilation(mask, iterations=3)
        other &= ~ndi.binary_opening(other, iterations=8)
        light = light + rng.uniform(0.4, 1) * ndi.gaussian_filter(other.astype(float), blur)
    if chance(rng, 0.5):
        light = light + rng.uniform(0, 0.35) * np.clip(1 + field(shape, wide(rng, 2, 30), rng), 0, None)
    if chance(rng, 0.5):
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        angle = rng.uniform(0, 2 * np.pi)
        light = light * (1 + rng.uniform(0, 0.6) * (np.cos(angle) * x + np.sin(angle) * y) / 1.5)
    return np.clip(light, 0, None) + wide(rng, 0.01, 0.6)


def _photograph(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add photons and read-out noise, and what software does later: smoothing, gamma, saturation, 8 bits."""
    photons = wide(rng, 4, 400)
    image = rng.poisson(light * photons) / photons + rng.normal(0, wide(rng, 0.005, 0.15), light.shape)
    if chance(rng, 0.4):
        image = ndi.gaussian_filter(image, rng.uniform(0.3, 1))
    image -= image.min()
    if chance(rng, 0.4):
        image = (image / np.percentile(image, 99.9)) ** wide(rng, 0.5, 1.8)
    if chance(rng, 0.5):
        image = np.minimum(image, np.percentile(image, rng.uniform(95, 100)))
    return np.round(image / image.max() * 255) if chance(rng, 0.5) else image


# Families of shapes, each as a distance that is below 1 inside the objects.


def wide(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number from ``low`` to ``high``, every factor alike."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Draw True with this probability."""
    return bool(rng.random() < probability)


def field(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a random field of mean 0, deviation 1 and correlation length `sigma`, coarse ones interpolated."""
    step = max(1, int(sigma // 2)) if sigma > 4 else 1
    coarse = smooth_noise((-(-shape[0] // step) + 1, -(-shape[1] // step) + 1), sigma / step, rng)
    fine = ndi.zoom(coarse, step, order=1)[: shape[0], : shape[1]] if step > 1 else coarse[: shape[0], : shape[1]]
    return (fine - fine.mean()) / (fine.std() + 1e-9)


def contours(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw winding tubes: level lines of one or two random fields."""
    lines = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 3)):
        lines |= _between(field(shape, wide(rng, 5, 24), rng) > rng.uniform(-0.5, 0.5))
    return _tubes(lines, wide(rng, 1.2, 5), rng)


def tessellation(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a network or membranes: bent edges of a Voronoi tessellation, some of its cells filled."""
    spacing = wide(rng, 10, 50)
    count = max(4, int(shape[0] * shape[1] / spacing**2 * 1.3))
    seeds = rng.uniform((-20, -20), (shape[0] + 20, shape[1] + 20), (count, 2))
    bend = 0.2 * spacing * np.stack([field(shape, 0.4 * spacing, rng) for _ in range(2)])
    where = (np.indices(shape) + bend).reshape(2, -1).T
    cells = cKDTree(seeds).query(where)[1].reshape(shape)
    lines = _between(cells)
    if chance(rng, 0.5):
        lines &= field(shape, wide(rng, 4, 15), rng) > -1.2  # edges that are missing
    distance = _tubes(lines, wide(rng, 1.2, 4.5), rng)
    if chance(rng, 0.4):
        filled = rng.random(count) < rng.uniform(0.03, 0.3)
        distance = np.where(filled[cells], np.minimum(distance, 0.5), distance)
    return distance


def worms(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw rods, filaments and vessels: smooth random walks of any length."""
    lines = np.zeros(shape, bool)
    half, turn = wide(rng, 1.2, 6), wide(rng, 0.03, 0.4)
    for _ in range(int(wide(rng, 3, 60))):
        steps = int(wide(rng, 3, 200))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, turn, steps))
        moves = 2 * np.stack([np.sin(heading), np.cos(heading)], axis=1)
        path = np.rint(rng.uniform((0, 0), shape) + np.cumsum(moves, axis=0)).astype(int)
        path = path[((path >= 0) & (path < shape)).all(axis=1)]
        jumps = np.abs(np.diff(path, axis=0)).max(axis=1, initial=0) > 3 if len(path) > 1 else []
        for (y0, x0), (y1, x1), jump in zip(path[:-1], path[1:], jumps, strict=True):
            if not jump:  # it left the image and came back elsewhere
                lines[line(y0, x0, y1, x1)] = True
        lines[tuple(path[:1].T)] = True
    return _tubes(lines, half, rng)


def blobs(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw nuclei, vesicles and spots: deformed ellipses."""
    size, rough = wide(rng, 3, 45), rng.uniform(0, 0.12)
    count = int(wide(rng, 0.03, 0.45) * shape[0] * shape[1] / (np.pi * size**2))
    distance = np.full(shape, 3.0)
    for _ in range(np.clip(count, 1, 250)):
        radius, stretch, tilt = size * np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.2)), rng.uniform(0, np.pi)
        centre = rng.uniform((-0.3 * size, -0.3 * size), (shape[0] + 0.3 * size, shape[1] + 0.3 * size))
        reach = 2.2 * radius * max(stretch, 1 / stretch) + 2
        low, high = np.maximum(centre - reach, 0).astype(int), np.minimum(centre + reach, shape).astype(int)
        phases = rng.uniform(0, 2 * np.pi, 3)
        if (low >= high).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        y, x = np.mgrid[window] - centre[:, None, None]
        u = (np.cos(tilt) * x + np.sin(tilt) * y) / (radius * stretch)
        v = (np.cos(tilt) * y - np.sin(tilt) * x) / (radius / stretch)
        outline = 1 + sum(rough * np.cos((k + 2) * np.arctan2(v, u) + phases[k]) for k in range(3))
        distance[window] = np.minimum(distance[window], np.hypot(u, v) / outline)
    return distance


def patches(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw irregular patches: where a random field is high."""
    rough = field(shape, wide(rng, 3, 30), rng) + rng.uniform(0, 0.4) * field(shape, 2, rng)
    return 1 + rng.uniform(0.2, 1.5) - rough


Family = Callable[[tuple[int, int], np.random.Generator], np.ndarray]

FAMILIES: dict[str, tuple[Family, float]] = {
    "contours": (contours, 0.2),
    "tessellation": (tessellation, 0.25),
    "worms": (worms, 0.2),
    "blobs": (blobs, 0.25),
    "patches": (patches, 0.1),
}
"""Each family, and how often it is drawn."""


def shape_of(shape: tuple[int, int], rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Draw shapes of a random family; return its name, and a (Y, X) distance that is below 1 inside its objects."""
    name = str(rng.choice(list(FAMILIES), p=[share for _, share in FAMILIES.values()]))
    return name, FAMILIES[name][0](shape, rng)


def _between(regions: np.ndarray) -> np.ndarray:
    """Find pixels with another region below or to the right of them."""
    lines = np.zeros(regions.shape, bool)
    lines[:-1] |= regions[:-1] != regions[1:]
    lines[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    return lines


def _tubes(lines: np.ndarray, half: float, rng: np.random.Generator) -> np.ndarray:
    """Compute the distance from lines, over a half-width that varies along them."""
    if not lines.any():
        return np.full(lines.shape, 3.0)
    width = half * np.exp(0.25 * field(lines.shape, wide(rng, 4, 30), rng))
    return ndi.distance_transform_edt(~lines) / np.maximum(width, 0.6)
