"""Random scenes: something drawn on a background, photographed badly, with an exact mask: what the prior learns from.

No scene imitates a particular specimen. Shapes, sizes, brightness, blur, haze and noise are drawn from ranges wide
enough to hold most of light microscopy (domain randomisation), so a network that has learned them knows what an object
on a background looks like and not which one it will meet. Lengths are in pixels.

References
----------
Tobin et al., "Domain randomization for transferring deep neural networks from simulation to the real world", IROS 2017.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.scene_shapes import blobs, chance, field, shape_of, wide

SMALLEST, LARGEST = 0.01, 0.6
"""Foreground fractions between which a scene's objects lie."""

VISIBLE = 0.25
"""Share of its height at which a blurred object ends: people who draw masks include the blurred rim."""


def scene(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image and the mask of what can be seen in it.

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
    """A family's name, and a distance that is below 1 inside the objects."""
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
    """Flat, domed or hollow objects, unevenly bright and textured."""
    depth, shape = np.clip(distance, 0, 1), mask.shape
    profiles = (np.ones(shape), 0.35 + 0.65 * np.sqrt(1 - depth**2), 0.5 + 0.6 * np.exp(-(((depth - 0.75) / 0.3) ** 2)))
    profile = profiles[rng.choice(3, p=(0.4, 0.4, 0.2))]
    bright = np.exp(rng.uniform(0, 0.7) * field(shape, wide(rng, 6, 50), rng))
    texture = np.clip(1 + rng.uniform(0, 0.4) * field(shape, wide(rng, 0.8, 5), rng), 0.1, None)
    return mask * profile * bright * texture


def _visible(mask: np.ndarray, blur: float) -> np.ndarray:
    """Where a blurred mask reaches `VISIBLE` of its height nearby."""
    soft = ndi.gaussian_filter(mask.astype(float), blur)
    peak = ndi.maximum_filter(soft, size=2 * int(np.ceil(2 * blur)) + 1)
    return (soft > VISIBLE * peak) & (soft > 0.08)


def _surround(light: np.ndarray, mask: np.ndarray, family: str, blur: float, rng: np.random.Generator) -> np.ndarray:
    """What else sends light, none of it in the mask: haze, cell bodies, fainter things, grain, uneven illumination."""
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
    """Photons, read-out noise, and what software does later: smoothing, gamma, saturation, 8 bits."""
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
