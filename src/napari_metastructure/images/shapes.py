"""Random shapes for simulated images: smooth fields, a cell's edge, networks, worms, blobs. Lengths in pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import Voronoi, cKDTree


def smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field of mean 0, standard deviation 1 and correlation length `sigma`."""
    field = ndi.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return (field - field.mean()) / field.std()


def ramp(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A tilted, curved surface from 0 to 1."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    surface = (np.cos(angle) * x + np.sin(angle) * y) + 0.3 * (x**2 + y**2)
    return (surface - surface.min()) / np.ptp(surface)


def cell(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A cell that leaves one side of the image free: what is inside, and how deep (0 at its edge, 1 deepest)."""
    ragged = ramp(shape, rng) + 0.035 * smooth_noise(shape, 0.05 * max(shape), rng)
    inside = ragged > np.quantile(ragged, rng.uniform(0.18, 0.32))
    depth = ndi.distance_transform_edt(inside)
    return inside, depth / depth.max()


def tessellation(
    shape: tuple[int, int], depth: np.ndarray, spacing: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Edges (1 on tubules, falling off within their half-width) and some cells filled, of a Voronoi diagram."""
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
    distance = distance_to_path(canvas.shape, np.stack([start, end]), window)
    canvas[window] = np.maximum(canvas[window], np.clip(1 - 0.5 * distance / half, 0, 1))


def distance_to_path(shape: tuple[int, ...], path: np.ndarray, window: tuple[slice, ...] | None = None) -> np.ndarray:
    """Distance of every pixel (of a window) from a polyline given by its (N, 2) corners."""
    window = window or tuple(slice(0, n) for n in shape)
    y, x = np.mgrid[window].astype(float)
    nearest = np.full(y.shape, np.inf)
    for (y0, x0), (y1, x1) in pairwise(path):
        dy, dx = y1 - y0, x1 - x0
        along = np.clip(((y - y0) * dy + (x - x0) * dx) / max(dy**2 + dx**2, 1e-9), 0, 1)
        nearest = np.minimum(nearest, (y - y0 - along * dy) ** 2 + (x - x0 - along * dx) ** 2)
    return np.sqrt(nearest)


def _nearest_seed(shape: tuple[int, int], seeds: np.ndarray) -> np.ndarray:
    """Index of the seed nearest to each pixel."""
    pixels = np.indices(shape).reshape(2, -1).T
    return cKDTree(seeds).query(pixels)[1].reshape(shape)


def worm(shape: tuple[int, int], length: float, rng: np.random.Generator, step: float = 4.0) -> np.ndarray:
    """A smooth random walk of about `length` pixels as (N, 2) corners, N >= 2."""
    turns = np.cumsum(rng.normal(0, 0.25, max(int(length / step), 1)))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(0.25 * turns)
    moves = step * np.stack([np.sin(heading), np.cos(heading)], -1)
    start = rng.uniform((0, 0), shape)
    return np.vstack([start, start + np.cumsum(moves, axis=0)])


def nucleus(shape: tuple[int, int], centre: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Relative distance from the centre of a deformed ellipse: 1 on its outline."""
    y, x = np.indices(shape) - centre[:, None, None]
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.45)
    u = (np.cos(tilt) * x + np.sin(tilt) * y) / (size * np.sqrt(stretch))
    v = (np.cos(tilt) * y - np.sin(tilt) * x) * np.sqrt(stretch) / size
    angle = np.arctan2(v, u)
    outline = 1 + sum(rng.normal(0, 0.06 / n) * np.cos(n * angle + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 4))
    return np.hypot(u, v) / outline


def free_place(
    shape: tuple[int, int], placed: list[tuple[np.ndarray, float]], size: float, rng: np.random.Generator
) -> np.ndarray | None:
    """A centre that keeps its distance from the others, or (one time in four) touches the last one."""
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
