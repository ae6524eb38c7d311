"""A simulated microscope and camera: from the brightness of a scene to the counts of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.shapes import ramp


@dataclass(frozen=True)
class Camera:
    """How a scene becomes an image.

    Attributes
    ----------
    photons : float
        Expected photons of an object of brightness 1.
    background : float
        Expected photons where there is nothing.
    haze : float
        Share of the objects' light that comes back as blur from out of focus.
    blur : float
        Standard deviation of the point spread function, in pixels.
    unevenness : float
        How far the illumination falls towards one side, 0 (flat) to 1.
    offset, read_noise : float
        Camera offset in counts and standard deviation of its read-out noise.
    gain : float
        Counts a photon.
    """

    photons: float = 120.0
    background: float = 6.0
    haze: float = 0.35
    blur: float = 1.1
    unevenness: float = 0.5
    offset: float = 100.0
    read_noise: float = 2.5
    gain: float = 2.0


def photograph(scene: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Image of a scene.

    Parameters
    ----------
    scene : (Y, X) float array
        Brightness of the objects, 0 where there is none.
    camera : Camera
        Optics, light and noise.
    rng : numpy.random.Generator
        Source of the noise and of the illumination's direction.

    Returns
    -------
    (Y, X) uint16 array
    """
    sharp = ndi.gaussian_filter(scene, camera.blur)
    hazy = ndi.gaussian_filter(scene, 12 * camera.blur, mode="nearest")
    light = 1 - camera.unevenness * ramp(scene.shape, rng)
    expected = camera.background + camera.photons * light * (sharp + camera.haze * hazy)
    counts = camera.gain * rng.poisson(expected) + rng.normal(camera.offset, camera.read_noise, scene.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
