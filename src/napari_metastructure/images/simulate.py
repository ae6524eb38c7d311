"""Simulated fluorescence images with exact masks: endoplasmic reticulum, mitochondria, nuclei.

Each image is a camera's view of an expected photon count: objects blurred by the microscope, light from out of
focus, uneven illumination and background, then Poisson (photons) and Gaussian (read-out) noise. Shapes are
drawn from a `numpy.random.Generator`, so the same seed gives the same image. Lengths are in pixels.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import Voronoi, cKDTree


@dataclass(frozen=True)
class Camera:
    """Optics, light and noise of a camera.

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
    """Make the camera's image of a scene.

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
    light = 1 - camera.unevenness * _ramp(scene.shape, rng)
    expected = camera.background + camera.photons * light * (sharp + camera.haze * hazy)
    counts = camera.gain * rng.poisson(expected) + rng.normal(camera.offset, camera.read_noise, scene.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def endoplasmic_reticulum(
    shape: tuple[int, int], rng: np.random.Generator, camera: Camera | None = None, spacing: float = 15.0
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a tubule network with sheets, in a cell whose edge crosses the image.

    Tubules are the edges of a jittered Voronoi tessellation, bent by a smooth random displacement, finer
    where the cell is thick; some cells of the tessellation are filled as sheets. A bright haze stands for
    the cell body.

    Shape, generator, camera and results are as in `nuclei`.

    Parameters
    ----------
    spacing : float
        Mean distance between the junctions' cells at the thin rim.
    """
    camera = camera or Camera(photons=45, haze=0.5, blur=1.2)
    inside, depth = _cell(shape, rng)
    edges, fills = _tessellation(shape, depth, spacing, rng)
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
    """Simulate worm-like tubes of varying length and width, a few of them round, with a brighter membrane.

    Shape, generator, camera and results are as in `nuclei`.

    Parameters
    ----------
    count : int
        How many mitochondria are begun.
    width : float
        Mean half-width of a tube.
    """
    camera = camera or Camera(photons=90, haze=0.25, blur=1.2, background=4)
    scene = np.zeros(shape)
    mask = np.zeros(shape, bool)
    for _ in range(count):
        half = width * rng.uniform(0.7, 1.35)
        path = _worm(shape, length=rng.gamma(2.0, 16.0), rng=rng)
        distance = _distance_to_path(shape, path)
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
    """Simulate deformed ellipses with chromatin texture, some in touching pairs, some bright and condensed.

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

    Examples
    --------
    >>> image, mask = nuclei((64, 96), np.random.default_rng(0))
    >>> image.shape, image.dtype, mask.dtype, set(mask.ravel().tolist())
    ((64, 96), dtype('uint16'), dtype('uint8'), {0, 1})
    """
    camera = camera or Camera(photons=110, haze=0.18, blur=1.4, background=5, unevenness=0.35)
    scene = np.zeros(shape)
    mask = np.zeros(shape, bool)
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(count):
        condensed = rng.random() < 0.12
        size = radius * (rng.uniform(0.5, 0.65) if condensed else rng.normal(1.0, 0.14))
        centre = _free_place(shape, placed, size, rng)
        if centre is None:  # the image is full
            break
        placed.append((centre, size))
        level = _nucleus(shape, centre, size, rng)
        body = level < 1
        dome = np.sqrt(np.clip(1 - level**2, 0, 1))  # thicker in the middle, so brighter
        chromatin = np.clip(1 + 0.25 * smooth_noise(shape, 2.2, rng), 0.2, None)
        brightness = rng.lognormal(0.0, 0.3) * (2.2 if condensed else 1)
        scene += brightness * body * (0.45 + 0.55 * dome) * chromatin
        mask |= body
    return photograph(scene, camera, rng), mask.astype(np.uint8)


def organelles(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Simulate endoplasmic reticulum, mitochondria and nuclei in one grey image, for several classes.

    The three are photographed one after the other and added, with nothing of the first two inside the nuclei; where
    they overlap, the label is that of the last.

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


# Shapes.


def smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a Gaussian random field of mean 0, standard deviation 1 and correlation length `sigma`."""
    field = ndi.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return (field - field.mean()) / field.std()


def _ramp(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a tilted, curved surface from 0 to 1."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    surface = (np.cos(angle) * x + np.sin(angle) * y) + 0.3 * (x**2 + y**2)
    return (surface - surface.min()) / np.ptp(surface)


def _cell(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a cell that leaves one side of the image free: what is inside, and how deep (0 at its edge, 1 deepest)."""
    ragged = _ramp(shape, rng) + 0.035 * smooth_noise(shape, 0.05 * max(shape), rng)
    inside = ragged > np.quantile(ragged, rng.uniform(0.18, 0.32))
    depth = ndi.distance_transform_edt(inside)
    return inside, depth / depth.max()


def _tessellation(
    shape: tuple[int, int], depth: np.ndarray, spacing: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a Voronoi diagram: edges (1 on tubules, falling off within their half-width), and some cells filled."""
    margin = 3 * spacing
    height, width = (int(n + 2 * margin) for n in shape)
    grid = np.stack(np.meshgrid(np.arange(0, height, spacing), np.arange(0, width, spacing), indexing="ij"), -1)
    seeds = grid.reshape(-1, 2) + rng.uniform(-0.45, 0.45, (grid.size // 2, 2)) * spacing - margin
    # More junctions where the cell is thick: extra seeds, kept with a probability that grows with depth.
    extra = rng.uniform((-margin, -margin), (height - margin, width - margin), (2 * len(seeds), 2))
    at = np.clip(extra.astype(int), 0, np.array(shape) - 1)
    seeds = np.vstack([seeds, extra[rng.random(len(extra)) < 0.6 * depth[at[:, 0], at[:, 1]]]])
    diagram = Voronoi(seeds)
    edges = np.zeros(shape)
    for a, b in diagram.ridge_vertices:
        if a < 0 or rng.random() < 0.06:  # a network is not perfect: some tubules are missing
            continue
        start, end = diagram.vertices[a], diagram.vertices[b]
        _stamp(edges, start, end, half=rng.uniform(0.9, 1.6))
    nearest = _nearest_seed(shape, seeds)
    deep = depth[tuple(np.clip(seeds.astype(int), 0, np.array(shape) - 1).T)]
    filled = rng.random(len(seeds)) < 0.05 + 0.22 * deep
    return edges, ndi.gaussian_filter(filled[nearest].astype(float), 1.5)


def _stamp(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, half: float) -> None:
    """Draw a straight tube into `canvas`, keeping the larger value; 1 on the axis, 0.5 at `half` pixels."""
    reach = 3 * half
    low = np.maximum(np.floor(np.minimum(start, end) - reach).astype(int), 0)
    high = np.minimum(np.ceil(np.maximum(start, end) + reach).astype(int) + 1, canvas.shape)
    if (low >= high).any():
        return
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    distance = _distance_to_path(canvas.shape, np.stack([start, end]), window)
    canvas[window] = np.maximum(canvas[window], np.clip(1 - 0.5 * distance / half, 0, 1))


def _distance_to_path(shape: tuple[int, ...], path: np.ndarray, window: tuple[slice, ...] | None = None) -> np.ndarray:
    """Compute the distance of every pixel (of a window) from a polyline given by its (N, 2) corners."""
    window = window or tuple(slice(0, n) for n in shape)
    y, x = np.mgrid[window].astype(float)
    nearest = np.full(y.shape, np.inf)
    for (y0, x0), (y1, x1) in pairwise(path):
        dy, dx = y1 - y0, x1 - x0
        along = np.clip(((y - y0) * dy + (x - x0) * dx) / max(dy**2 + dx**2, 1e-9), 0, 1)
        nearest = np.minimum(nearest, (y - y0 - along * dy) ** 2 + (x - x0 - along * dx) ** 2)
    return np.sqrt(nearest)


def _nearest_seed(shape: tuple[int, int], seeds: np.ndarray) -> np.ndarray:
    """Find the seed nearest to each pixel."""
    pixels = np.indices(shape).reshape(2, -1).T
    return cKDTree(seeds).query(pixels)[1].reshape(shape)


def _worm(shape: tuple[int, int], length: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth random walk of about `length` pixels as (N, 2) corners, N >= 2."""
    step = 4.0
    turns = np.cumsum(rng.normal(0, 0.25, max(int(length / step), 1)))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(0.25 * turns)
    moves = step * np.stack([np.sin(heading), np.cos(heading)], -1)
    start = rng.uniform((0, 0), shape)
    return np.vstack([start, start + np.cumsum(moves, axis=0)])


def _nucleus(shape: tuple[int, int], centre: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Compute the relative distance from the centre of a deformed ellipse: 1 on its outline."""
    y, x = np.indices(shape) - centre[:, None, None]
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.45)
    u = (np.cos(tilt) * x + np.sin(tilt) * y) / (size * np.sqrt(stretch))
    v = (np.cos(tilt) * y - np.sin(tilt) * x) * np.sqrt(stretch) / size
    angle = np.arctan2(v, u)
    outline = 1 + sum(rng.normal(0, 0.06 / n) * np.cos(n * angle + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 4))
    return np.hypot(u, v) / outline


def _free_place(
    shape: tuple[int, int], placed: list[tuple[np.ndarray, float]], size: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Choose a centre that keeps its distance from the others, or (one time in four) touches the last one."""
    for _ in range(50):
        if placed and rng.random() < 0.25:
            (last, other), angle = placed[-1], rng.uniform(0, 2 * np.pi)
            centre = last + 0.92 * (size + other) * np.array([np.sin(angle), np.cos(angle)])
            near = placed[:-1]
        else:
            centre, near = rng.uniform((0, 0), shape), placed
        if all(np.hypot(*(centre - c)) > 1.25 * (size + s) for c, s in near):
            return centre
    return None
