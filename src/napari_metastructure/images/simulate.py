"""Simulated fluorescence images with exact masks: endoplasmic reticulum, mitochondria, nuclei.

Each image is a camera's view of an expected photon count: objects blurred by the microscope, light from out of
focus, uneven illumination and background, then Poisson (photons) and Gaussian (read-out) noise. Shapes are
drawn from a `numpy.random.Generator`, so the same seed gives the same image. Lengths are in pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.camera import Camera, photograph
from napari_metastructure.images.shapes import (
    cell,
    distance_to_path,
    free_place,
    nucleus,
    smooth_noise,
    tessellation,
    worm,
)


def endoplasmic_reticulum(
    shape: tuple[int, int], rng: np.random.Generator, camera: Camera | None = None, spacing: float = 15.0
) -> tuple[np.ndarray, np.ndarray]:
    """A tubule network with sheets, in a cell whose edge crosses the image.

    Tubules are the edges of a jittered Voronoi tessellation, bent by a smooth random displacement, finer
    where the cell is thick; some cells of the tessellation are filled as sheets. A bright haze stands for
    the cell body.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    rng : numpy.random.Generator
        Source of everything random.
    camera : Camera, optional
        Optics, light and noise.
    spacing : float
        Mean distance between the junctions' cells at the thin rim.

    Returns
    -------
    image : (Y, X) uint16 array
    mask : (Y, X) uint8 array
        1 = endoplasmic reticulum, 0 = background.
    """
    camera = camera or Camera(photons=45, haze=0.5, blur=1.2)
    inside, depth = cell(shape, rng)
    edges, fills = tessellation(shape, depth, spacing, rng)
    bend = 0.22 * spacing * np.stack([smooth_noise(shape, 0.45 * spacing, rng) for _ in range(2)])
    where = np.indices(shape) + bend
    network, sheet = (ndi.map_coordinates(m, where, order=1, mode="nearest") for m in (edges, fills))
    tubules = (network > 0.35) & inside
    sheets = (sheet > 0.5) & inside
    # Tubes hold less fluorophore than sheets and vary along their length; the cell is thicker inwards.
    texture = 1 + 0.22 * smooth_noise(shape, 3, rng)
    thickness = 0.55 + 1.1 * depth**1.5
    scene = texture * thickness * (1.0 * tubules + 0.45 * (sheets & ~tubules))
    body = 1.6 * ndi.gaussian_filter(np.clip(depth - 0.72, 0, None), 6, mode="nearest")
    cytosol = 0.10 * ndi.gaussian_filter(inside * (0.4 + depth), 3)
    return photograph(np.clip(scene, 0, None) + body + cytosol, camera, rng), (tubules | sheets).astype(np.uint8)


def mitochondria(
    shape: tuple[int, int],
    rng: np.random.Generator,
    camera: Camera | None = None,
    count: int = 26,
    width: float = 3.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Worm-like tubes of varying length and width, a few of them round, with a brighter membrane.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    rng : numpy.random.Generator
        Source of everything random.
    camera : Camera, optional
        Optics, light and noise.
    count : int
        How many mitochondria are begun.
    width : float
        Mean half-width of a tube.

    Returns
    -------
    image : (Y, X) uint16 array
    mask : (Y, X) uint8 array
        1 = mitochondrion, 0 = background.
    """
    camera = camera or Camera(photons=90, haze=0.25, blur=1.2, background=4)
    scene = np.zeros(shape)
    mask = np.zeros(shape, bool)
    for _ in range(count):
        half = width * rng.uniform(0.7, 1.35)
        path = worm(shape, length=rng.gamma(2.0, 16.0), rng=rng)
        distance = distance_to_path(shape, path)
        # Half-width swells and narrows along the tube.
        half_here = half * (1 + 0.16 * smooth_noise(shape, 6, rng))
        body = distance <= half_here
        membrane = np.exp(-(((distance - 0.72 * half_here) / (0.35 * half)) ** 2))
        brightness = rng.lognormal(0.0, 0.45)
        scene = np.maximum(scene, brightness * body * (0.5 + 0.6 * membrane))
        mask |= body
    scene *= np.clip(1 + 0.3 * smooth_noise(shape, 1.5, rng), 0.1, None)
    scene += 0.05 * np.clip(1 + smooth_noise(shape, 20, rng), 0, None)  # unbound dye
    return photograph(scene, camera, rng), mask.astype(np.uint8)


def nuclei(
    shape: tuple[int, int],
    rng: np.random.Generator,
    camera: Camera | None = None,
    count: int = 24,
    radius: float = 11.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Deformed ellipses with chromatin texture, some in touching pairs, some bright and condensed.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    rng : numpy.random.Generator
        Source of everything random.
    camera : Camera, optional
        Optics, light and noise.
    count : int
        How many nuclei are drawn; about one in four touches the one before it.
    radius : float
        Mean radius.

    Returns
    -------
    image : (Y, X) uint16 array
    mask : (Y, X) uint8 array
        1 = nucleus, 0 = background.
    """
    camera = camera or Camera(photons=110, haze=0.18, blur=1.4, background=5, unevenness=0.35)
    scene = np.zeros(shape)
    mask = np.zeros(shape, bool)
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(count):
        condensed = rng.random() < 0.12
        size = radius * (rng.uniform(0.5, 0.65) if condensed else rng.normal(1.0, 0.14))
        centre = free_place(shape, placed, size, rng)
        if centre is None:  # the image is full
            break
        placed.append((centre, size))
        level = nucleus(shape, centre, size, rng)
        body = level < 1
        dome = np.sqrt(np.clip(1 - level**2, 0, 1))  # thicker in the middle, so brighter
        chromatin = np.clip(1 + 0.25 * smooth_noise(shape, 2.2, rng), 0.2, None)
        brightness = rng.lognormal(0.0, 0.3) * (2.2 if condensed else 1)
        scene += brightness * body * (0.45 + 0.55 * dome) * chromatin
        mask |= body
    return photograph(scene, camera, rng), mask.astype(np.uint8)


def organelles(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Endoplasmic reticulum, mitochondria and nuclei in one grey image, for several classes.

    The three are photographed one after the other and added, with nothing of the first two inside the nuclei; where
    they overlap, the label is that of the last.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    rng : numpy.random.Generator
        Source of everything random.

    Returns
    -------
    image : (Y, X) uint16 array
    labels : (Y, X) uint8 array
        0 = background, 1 = endoplasmic reticulum, 2 = mitochondrion, 3 = nucleus.
    """
    large, many = max(shape) / 10, max(1, round(shape[0] * shape[1] / 5000))
    nucleus_image, nucleus_mask = nuclei(shape, rng, count=max(1, many // 4), radius=large)
    mito_image, mito_mask = mitochondria(shape, rng, count=many, width=2.6)
    er_image, er_mask = endoplasmic_reticulum(shape, rng)
    total = nucleus_image.astype(np.uint32)
    for image, dark in ((er_image, 1), (mito_image, 5)):  # neither is inside a nucleus: there its background shows
        total += np.where(nucleus_mask == 1, np.minimum(image, np.percentile(image, dark)), image).astype(np.uint32)
    labels = er_mask.copy()
    labels[mito_mask == 1] = 2
    labels[nucleus_mask == 1] = 3
    return np.minimum(total, 65535).astype(np.uint16), labels
