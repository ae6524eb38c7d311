"""Random scenes that may be crowded and may be dark: what bright and dark objects are told apart from.

In a third of them discs, blobs or giants touch and fill most of the image, so that the gaps are what is rare. Half are
made dark before the camera, so that blur, noise and clipping do not say which half a scene is of.
"""

import numpy as np
from scipy import ndimage as ndi

from napari_metastructure.images.intensity import Polarity
from napari_metastructure.images.scenes import (
    FAMILIES,
    FAR,
    Families,
    Scenes,
    Shapes,
    View,
    bernoulli,
    borders,
    distance_from,
    draw_shapes,
    ellipse,
    field,
    log_uniform,
    voronoi_cells,
)


def ellipses(
    shape: tuple[int, int],
    centres: np.ndarray,
    radii: np.ndarray,
    differ: float,
    rough: float,
    hiding: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw deformed ellipses that touch: distance from their outlines, and the number of the nearest.

    They melt into each other, or, where they are ``hiding``, each covers those before it and leaves an edge between.
    """
    distance, regions = np.full(shape, FAR, np.float32), np.zeros(shape, np.int32)
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), 1):
        stretch, tilt = np.exp(rng.normal(0, differ)), rng.uniform(0, np.pi)
        window, own = ellipse(shape, centre, radius, stretch, tilt, rough, rng.uniform(0, 2 * np.pi, 3), 1.4)
        before = distance[window]
        if hiding:
            beside = np.where(before < 0, np.maximum(before, -own), np.minimum(before, own))
            nearer = own < 0
            distance[window] = np.where(nearer, own, beside)
            nearer |= (own < distance[window] + 1e-6) & (distance[window] > 0)
        else:
            nearer = own < before
            distance[window][nearer] = own[nearer]
        regions[window][nearer] = number
    return np.minimum(distance, FAR), regions


def discs(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw discs and ellipses that touch, on a lattice that is more or less even."""
    spacing = log_uniform(rng, 14, 0.55 * min(shape))
    row = spacing * 0.866
    y, x = np.mgrid[: int(shape[0] / row) + 4, : int(shape[1] / spacing) + 4].astype(float)
    uneven = rng.uniform(0, 0.3)
    centres = np.stack([(y - 1.5) * row, (x - 1.5 + 0.5 * (y % 2)) * spacing], axis=-1).reshape(-1, 2)
    centres += rng.normal(0, uneven * spacing, centres.shape) * 0.6 + rng.uniform(-0.5, 0.5, 2) * spacing
    angle, middle = rng.uniform(0, 2 * np.pi), np.array(shape) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centres = (centres - middle) @ turn.T + middle
    centres = centres[rng.random(len(centres)) > rng.choice([0, rng.uniform(0, 0.35)])]
    rng.shuffle(centres)
    radii = spacing * rng.uniform(0.42, 0.56) * np.exp(rng.normal(0, rng.uniform(0, 0.2), len(centres)))
    differ, rough = rng.choice([0, rng.uniform(0, 0.2)]), rng.uniform(0, 0.06)
    distance, regions = ellipses(shape, centres, radii, differ, rough, bernoulli(rng, 0.4), rng)
    if bernoulli(rng, 0.4):
        gap = log_uniform(rng, 0.6, max(0.7, 0.04 * spacing))
        distance = np.maximum(distance, gap - distance_from(borders(regions)))
    if bernoulli(rng, 0.4):
        bump = rng.uniform(0, 0.04) * spacing
        distance = distance + bump * field(shape, max(1.0, rng.uniform(0.02, 0.12) * spacing), rng)
    return Shapes(distance.astype(np.float32), regions, 0.45 * spacing, "discs", False)


def crammed(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw irregular blobs that crowd, with gaps of uneven width."""
    spacing = log_uniform(rng, 18, 0.5 * min(shape))
    cells = voronoi_cells(shape, spacing, rng, bend=rng.uniform(0, 0.3))
    count = cells.max() + 1
    gaps = log_uniform(rng, 0.6, 0.08 * spacing + 0.7) * np.exp(rng.normal(0, 0.5, count))
    distance = ndi.gaussian_filter(gaps[cells] - distance_from(borders(cells)), rng.uniform(0.05, 0.16) * spacing)
    bump = rng.uniform(0.02, 0.08) * spacing
    distance = distance + bump * field(shape, rng.uniform(0.15, 0.6) * spacing, rng) * 0.5
    there = rng.random(count) > rng.choice([0, rng.uniform(0, 0.4)])
    distance = np.where(there[cells], distance, np.maximum(np.abs(distance), 0.5))
    return Shapes(distance.astype(np.float32), cells, 0.4 * spacing, "crammed", False)


def giants(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw one to five things that fill most of the view."""
    count = int(rng.integers(1, 6))
    centres = rng.uniform(0.05, 0.95, (count, 2)) * shape
    radii = min(shape) * rng.uniform(0.2, 0.55) * np.exp(rng.normal(0, 0.25, count))
    differ, rough = rng.uniform(0, 0.3), rng.uniform(0, 0.08)
    distance, regions = ellipses(shape, centres, radii, differ, rough, bernoulli(rng, 0.5), rng)
    if bernoulli(rng, 0.4):
        distance = np.maximum(distance, log_uniform(rng, 0.6, 3) - distance_from(borders(regions)))
    if bernoulli(rng, 0.4):
        distance = distance + rng.uniform(0, 4) * field(shape, log_uniform(rng, 1, 15), rng)
    return Shapes(distance.astype(np.float32), regions, float(radii.mean()), "giants", False)


CROWDS: Families = {"discs": (discs, 0.45), "crammed": (crammed, 0.35), "giants": (giants, 0.2)}
"""Families that crowd, and how often each is drawn."""

SHARES = {"contours": 0.16, "tessellation": 0.24, "worms": 0.16, "trees": 0.18, "blobs": 0.22, "patches": 0.04}

OTHERS: Families = {name: (FAMILIES[name][0], share) for name, share in SHARES.items()}
"""Families that do not."""

KINDS = (*OTHERS, *CROWDS)

CROWDED = 0.35
"""Share of scenes that are."""

FULLEST, FULLEST_PATCHES = 0.6, 0.4
"""Foreground fractions of the other scenes, above which one could say that the background is the object."""

CROWD = (0.3, 0.96)
"""Foreground fractions of crowded ones."""


class PolarityScenes(Scenes):
    """An endless source of scenes of bright and of dark objects, reproducible by its generator.

    Parameters
    ----------
    side : int
        Height and width of a scene.
    rng : numpy.random.Generator
        Source of everything random.
    stock : int
        Shapes held at a time, and half as many that crowd.
    renewed : float
        Probability that a scene replaces one of them.
    """

    families = OTHERS

    def __init__(self, side: int, rng: np.random.Generator, stock: int = 300, renewed: float = 0.05) -> None:
        super().__init__(side, rng, stock, renewed)
        self._crowds: list[Shapes] = []

    def example(self) -> tuple[np.ndarray, Polarity, str]:
        """Draw an image, the polarity of its objects, and which of `KINDS` they are.

        Returns
        -------
        image : (side, side) float32 array
            Values from 0 up.
        objects : {"bright", "dark"}
        kind : str
        """
        while (lit := self._visible()) is None:
            pass
        light, kind, blur = lit
        objects: Polarity = "dark" if bernoulli(self.rng, 0.5) else "bright"
        if objects == "dark":
            light = self._darkened(light)
        return self._photographed(np.asarray(light, np.float32), blur), objects, kind

    def _visible(self) -> tuple[np.ndarray, str, float] | None:
        """Draw bright objects, their kind and the blur of the camera; None where what is around them is as bright."""
        rng = self.rng
        view = self._objects()
        blur = self._blur()
        ring, distance, radius = self._hollowed(view, 0.2)
        light = self._background(view) * (rng.uniform(0, 1) if view.family in CROWDS else 1)
        objects, lumen = self._lit(view, distance, ring)
        if lumen > 0.4:  # a filled tube with a brighter wall
            distance, radius = view.distance, view.radius
        light = self._joined(light, objects, distance, False)
        light = self._distracted(light, view, distance, radius, blur)
        inside, near = distance < -0.5, (distance > 1) & (distance < 15)
        if not near.any() or not inside.any() or light[inside].mean() < light[near].mean() + 0.05 * light.std():
            return None
        return light, view.family, blur

    def _darkened(self, light: np.ndarray) -> np.ndarray:
        """Turn bright objects into dark ones: they absorb, or the light is inverted."""
        rng = self.rng
        light = light - light.min()
        if bernoulli(rng, 0.4):
            light = np.exp(-log_uniform(rng, 0.3, 3) * light / np.percentile(light, 99))
        else:
            top = np.percentile(light, 99.8)
            light = np.clip(top - light, 0, None) / top
        return np.asarray(light + log_uniform(rng, 0.005, 0.5))

    def _crowd(self) -> Shapes:
        """Take shapes that crowd out of their stock, new ones now and then."""
        filling = len(self._crowds) < self.stock // 2
        if not filling and not bernoulli(self.rng, self.renewed):
            return self._crowds[self.rng.integers(len(self._crowds))]
        shapes = draw_shapes((self._large,) * 2, self.rng, CROWDS)
        if filling:
            self._crowds.append(shapes)
        else:
            self._crowds[self.rng.integers(len(self._crowds))] = shapes
        return shapes

    def _objects(self) -> View:
        rng = self.rng
        if not bernoulli(rng, CROWDED):
            for _ in range(10):
                view = super()._objects()
                if np.mean(view.distance < 0) < (FULLEST_PATCHES if view.family == "patches" else FULLEST):
                    break
            return view
        for _ in range(20):
            view = self._view(self._crowd())
            if bernoulli(rng, 0.1):  # a crowd that does not fill the image
                outside = (self._field(20, 50) < rng.uniform(-1, 0)) * np.float32(60)
                view = View(np.maximum(view.distance, outside - 30), view.regions, view.radius, view.family)
            if CROWD[0] < np.mean(view.distance < 0) < CROWD[1]:
                break
        return view

    def _lit(self, view: View, distance: np.ndarray, ring: float) -> tuple[np.ndarray, float]:
        """Light the objects, thick ones also from one side, with a rim, or unevenly."""
        rng = self.rng
        light, lumen = super()._lit(view, distance, ring)
        if view.radius <= 5:
            return light, lumen
        inside = np.clip(0.5 - view.distance, 0, 1)
        depth = np.clip(-view.distance / max(view.radius, 1), 0, 1)
        if bernoulli(rng, 0.3):
            down, right = np.gradient(ndi.gaussian_filter(view.distance, 1.5))
            angle = rng.uniform(0, 2 * np.pi)
            slope = (np.cos(angle) * right + np.sin(angle) * down) * np.sqrt(1 - depth)
            light = light * np.clip(1 + rng.uniform(0.2, 0.9) * slope, 0.1, None)
        if bernoulli(rng, 0.3):
            width = log_uniform(rng, 0.02, 0.2)
            light = light + inside * rng.uniform(0.2, 1.5) * np.exp(-((depth / width) ** 2))
        elif bernoulli(rng, 0.15):
            width = log_uniform(rng, 0.02, 0.15)
            light = light * (1 - rng.uniform(0.2, 0.6) * np.exp(-((depth / width) ** 2)))
        if bernoulli(rng, 0.3):
            light = light * (1 + rng.uniform(0.1, 0.6) * self._field(1, 20)).clip(0.15)
        return np.asarray(light, np.float32), lumen
