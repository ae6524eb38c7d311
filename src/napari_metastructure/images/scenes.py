"""Random scenes with exact masks, which the prior of iGTT learns from: objects, background, a poor camera.

No scene imitates a particular specimen. Shapes, sizes, brightness, background, blur and noise
are drawn from ranges wide enough to hold most of microscopy (domain randomisation), so a network that has learned them
knows what an object on a background looks like and not which one it will meet. Lengths are in pixels.

Shapes and random fields are costly to draw and cheap to look at in another way. So `Scenes` holds a stock of both, and
a scene is a random window of some of them, turned, scaled, bent and lit at random; the stock is renewed all the time.

References
----------
Tobin et al., "Domain randomization for transferring deep neural networks from simulation to the real world", IROS 2017.
Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution", Med. Image Anal. 2023.
Dey et al., "AnyStar: Domain randomized universal star-convex 3D instance segmentation", WACV 2024.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage as ndi
from scipy.spatial import cKDTree
from skimage.draw import line

from napari_metastructure.images.simulate import smooth_noise

# ---- Shapes: tubes, networks, rods, trees, blobs and patches, each as a distance and regions -----------------

FAR = 60.0
"""Distance in pixels beyond which none is told apart."""


@dataclass(frozen=True)
class Shapes:
    """Objects of one family.

    Attributes
    ----------
    distance : (Y, X) float32 array
        Pixels from the objects' outline, negative inside.
    regions : (Y, X) int32 array
        Number of the object or part that a pixel is nearest to: what is lit alike.
    radius : float
        Typical half-width.
    family : str
    thin : bool
        Whether they are lines of some width.
    """

    distance: np.ndarray
    regions: np.ndarray
    radius: float
    family: str
    thin: bool


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number from ``low`` to ``high``, every factor alike."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def bernoulli(rng: np.random.Generator, probability: float) -> bool:
    """Draw True with this probability."""
    return bool(rng.random() < probability)


def field(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a random field of mean 0, deviation 1 and correlation length `sigma` that goes on beyond its borders."""
    step = max(1, int(sigma // 3))
    coarse = smooth_noise((-(-shape[0] // step), -(-shape[1] // step)), sigma / step, rng)
    if step > 1:
        coarse = ndi.zoom(coarse, step, order=1, mode="grid-wrap", grid_mode=True)[: shape[0], : shape[1]]
    return np.asarray((coarse - coarse.mean()) / (coarse.std() + 1e-9), np.float32)


def voronoi_cells(shape: tuple[int, int], spacing: float, rng: np.random.Generator, bend: float = 0.2) -> np.ndarray:
    """Part a plane into bent Voronoi cells, numbered from 0."""
    count = max(4, int(shape[0] * shape[1] / spacing**2 * 1.3))
    seeds = rng.uniform((-20, -20), (shape[0] + 20, shape[1] + 20), (count, 2)).astype(np.float32)
    moved = bend * spacing * np.stack([field(shape, 0.4 * spacing, rng) for _ in range(2)])
    where = (np.indices(shape, np.float32) + moved).reshape(2, -1).T
    return cKDTree(seeds).query(where, workers=1)[1].reshape(shape).astype(np.int32)


def borders(regions: np.ndarray) -> np.ndarray:
    """Find the pixels whose right or lower neighbour is of another region."""
    lines = np.zeros(regions.shape, bool)
    lines[:-1] |= regions[:-1] != regions[1:]
    lines[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    return lines


def distance_from(lines: np.ndarray) -> np.ndarray:
    """Distance to the nearest of some pixels, at most `FAR`."""
    return np.minimum(ndi.distance_transform_edt(~lines), FAR).astype(np.float32)


def contours(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw winding tubes: level lines of one or two random fields."""
    lines = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 3)):
        lines |= borders(field(shape, log_uniform(rng, 5, 30), rng) > rng.uniform(-0.5, 0.5))
    half = log_uniform(rng, 0.8, 5)
    return Shapes(
        distance_from(lines) - half, voronoi_cells(shape, log_uniform(rng, 30, 90), rng), half, "contours", True
    )


def tessellation(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw a network or membranes: bent edges of a Voronoi tessellation, some of its cells filled."""
    spacing = log_uniform(rng, 9, 70)
    cells = voronoi_cells(shape, spacing, rng)
    lines = borders(cells)
    if bernoulli(rng, 0.5):
        lines &= field(shape, log_uniform(rng, 4, 15), rng) > -1.2  # edges that are missing
    half = log_uniform(rng, 0.8, min(5, 0.14 * spacing + 1))
    distance = distance_from(lines) - half
    if bernoulli(rng, 0.35):
        filled = rng.random(cells.max() + 1) < rng.uniform(0.03, 0.3)
        distance = np.where(filled[cells], np.minimum(distance, -0.5 * half), distance)
    return Shapes(distance, cells, half, "tessellation", True)


def cobbles(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw things that crowd, such as cells or fibres: Voronoi cells that leave gaps, or some of them."""
    spacing = log_uniform(rng, 14, 130)
    cells = voronoi_cells(shape, spacing, rng, bend=rng.uniform(0.05, 0.25))
    away = distance_from(borders(cells))
    gap = log_uniform(rng, 1.2, 0.15 * spacing + 1)
    there = rng.random(cells.max() + 1) < rng.uniform(0.2, 1)
    distance = np.where(there[cells], gap - away, np.maximum(away, gap) - gap + 1)
    if bernoulli(rng, 0.5):  # round corners
        distance = ndi.gaussian_filter(distance, 0.08 * spacing)
    return Shapes(distance.astype(np.float32), cells, 0.4 * spacing - gap, "cobbles", False)


def _walk(start: np.ndarray, heading: float, turn: float, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Walk smoothly by two pixels a step: (steps + 1, 2) corners."""
    headings = heading + np.cumsum(rng.normal(0, turn, steps))
    moves = 2 * np.stack([np.sin(headings), np.cos(headings)], axis=1)
    return np.vstack([start, start + np.cumsum(moves, axis=0)])


def _drawn(canvas: np.ndarray, path: np.ndarray, value: float) -> None:
    """Draw a path into ``canvas``, keeping the larger value."""
    path = np.rint(path).astype(int)
    for (y0, x0), (y1, x1) in pairwise(path):
        y, x = line(y0, x0, y1, x1)
        inside = (y >= 0) & (x >= 0) & (y < canvas.shape[0]) & (x < canvas.shape[1])
        y, x = y[inside], x[inside]
        canvas[y, x] = np.maximum(canvas[y, x], value)


def _around(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find how far lines are, and row and column of the nearest pixel of one."""
    if not canvas.any():
        canvas[tuple(n // 2 for n in canvas.shape)] = 1
    away, (y, x) = ndi.distance_transform_edt(canvas == 0, return_indices=True)
    return np.minimum(away, FAR).astype(np.float32), y, x


def worms(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw rods and filaments: smooth random walks of any length."""
    canvas = np.zeros(shape, np.float32)
    half, turn, longest = log_uniform(rng, 0.8, 9), log_uniform(rng, 0.03, 0.4), log_uniform(rng, 4, 200)
    for number in range(1, int(log_uniform(rng, 4, 90)) + 1):
        steps = int(log_uniform(rng, 3, longest + 1))
        _drawn(canvas, _walk(rng.uniform((0, 0), shape), rng.uniform(0, 2 * np.pi), turn, steps, rng), number)
    away, y, x = _around(canvas)
    return Shapes(away - half, canvas[y, x].astype(np.int32), half, "worms", True)


def trees(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw vessels and neurites: branching walks whose half-widths taper, r^3 = r1^3 + r2^3."""
    canvas = np.zeros(shape, np.float32)
    widest, turn = log_uniform(rng, 1.5, 7), log_uniform(rng, 0.03, 0.15)
    length = log_uniform(rng, 0.1, 0.4) * max(shape) / 2
    for _ in range(rng.integers(1, 5)):
        side, at = rng.integers(4), rng.uniform(0, 1)
        rim = np.array([(0, at), (1, at), (at, 0), (at, 1)][side]) * shape
        inward = np.array(shape) * rng.uniform(0.3, 0.7, 2) - rim
        grown = [(rim, float(np.arctan2(inward[0], inward[1])), widest * rng.uniform(0.6, 1))]
        for _ in range(60):
            if not grown:
                break
            start, heading, half = grown.pop(0)
            path = _walk(start, heading, turn, max(3, int(length * rng.uniform(0.5, 1.5))), rng)
            _drawn(canvas, path, half)
            if half < 0.5:
                continue
            share = rng.uniform(0.15, 0.5)
            last = path[-1] - path[-2]
            heading = float(np.arctan2(last[0], last[1]))
            spread = rng.uniform(0.3, 0.9)
            for part, sign in ((share, 1), (1 - share, -1)):
                grown.append((path[-1], heading + sign * spread * (1 - part), half * part ** (1 / 3)))
    away, y, x = _around(canvas)
    half = ndi.gaussian_filter(canvas[y, x], 1.5)
    return Shapes((away - half).astype(np.float32), voronoi_cells(shape, 60, rng), 0.5 * widest, "trees", True)


def ellipse(
    shape: tuple[int, int],
    centre: np.ndarray,
    radius: float,
    stretch: float,
    tilt: float,
    rough: float,
    phases: np.ndarray,
    reach: float,
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Find how far pixels are from the outline of a deformed ellipse, negative inside, in a window of so many radii."""
    far = reach * radius * max(stretch, 1 / stretch) + 12
    low, high = (np.clip(centre + step, 0, shape).astype(int) for step in (-far, far))
    window = slice(low[0], high[0]), slice(low[1], high[1])
    y, x = np.mgrid[window].astype(np.float32) - centre[:, None, None].astype(np.float32)
    u = (np.cos(tilt) * x + np.sin(tilt) * y) / (radius * stretch)
    v = (np.cos(tilt) * y - np.sin(tilt) * x) / (radius / stretch)
    outline = 1 + sum(rough * np.cos((k + 2) * np.arctan2(v, u) + phases[k]) for k in range(3))
    return window, np.asarray((np.hypot(u, v) / outline - 1) * radius)


def blobs(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw nuclei, vesicles, particles and spots: deformed ellipses, from a few pixels to half of the image."""
    size, rough, differ = log_uniform(rng, 2.5, 0.36 * min(shape)), rng.uniform(0, 0.12), rng.uniform(0.05, 0.45)
    stretched = rng.uniform(0, 0.35)
    count = int(np.clip(log_uniform(rng, 0.02, 0.6) * shape[0] * shape[1] / (np.pi * size**2), 1, 300))
    distance, regions = np.full(shape, FAR, np.float32), np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        radius, stretch = size * np.exp(rng.normal(0, differ)), np.exp(rng.normal(0, stretched))
        tilt, phases = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 3)
        centre = rng.uniform((-0.3 * size, -0.3 * size), (shape[0] + 0.3 * size, shape[1] + 0.3 * size))
        window, own = ellipse(shape, centre, radius, stretch, tilt, rough, phases, 1.3)
        nearer = own < distance[window]
        distance[window][nearer] = own[nearer]
        regions[window][nearer] = number
    return Shapes(np.minimum(distance, FAR), regions, 0.8 * size, "blobs", False)


def patches(shape: tuple[int, int], rng: np.random.Generator) -> Shapes:
    """Draw irregular patches: where a random field is high."""
    sigma = log_uniform(rng, 3, 50)
    rough = field(shape, sigma, rng) + rng.uniform(0, 0.4) * field(shape, max(2.0, 0.2 * sigma), rng)
    away = np.clip((rng.uniform(0, 1.5) - rough) * sigma, -FAR, FAR)
    return Shapes(away.astype(np.float32), voronoi_cells(shape, log_uniform(rng, 30, 90), rng), sigma, "patches", False)


Family = Callable[[tuple[int, int], np.random.Generator], Shapes]
Families = dict[str, tuple[Family, float]]

FAMILIES: Families = {
    "contours": (contours, 0.14),
    "tessellation": (tessellation, 0.18),
    "cobbles": (cobbles, 0.12),
    "worms": (worms, 0.15),
    "trees": (trees, 0.13),
    "blobs": (blobs, 0.21),
    "patches": (patches, 0.07),
}
"""Each family, and how often it is drawn."""


def draw_shapes(shape: tuple[int, int], rng: np.random.Generator, families: Families = FAMILIES) -> Shapes:
    """Draw shapes of a random family."""
    name = str(rng.choice(list(families), p=[share for _, share in families.values()]))
    return families[name][0](shape, rng)


# ---- Scenes -------------------------------------------------------------------------------------------------

SMALLEST, LARGEST = 0.005, 0.65
"""Foreground fractions between which a scene's objects lie."""

VISIBLE_EDGE, VISIBLE_LINE = 0.67, 1.67
"""Deviations of the blur at which a straight edge, and the profile of a thin line, fall to a quarter of their height:
people who draw masks include the blurred rim."""

NOTHING = 0.06
"""Share of scenes in which all objects are darker than the background, and the mask is empty."""

SIGMAS = (0.8, 1.2, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 32.0, 50.0)
"""Correlation lengths of the fields in stock."""


@dataclass(frozen=True)
class View:
    """Shapes as one scene shows them: a window, turned, scaled and bent."""

    distance: np.ndarray
    regions: np.ndarray
    radius: float
    family: str


class Scenes:
    """An endless source of scenes, reproducible by its generator.

    Parameters
    ----------
    side : int
        Height and width of a scene.
    rng : numpy.random.Generator
        Source of everything random.
    stock : int
        Shapes held at a time. They are drawn one by one with the first scenes.
    renewed : float
        Probability that a scene replaces one of them.

    Examples
    --------
    >>> image, mask = Scenes(64, np.random.default_rng(0), stock=4).draw()
    >>> image.shape, mask.dtype
    ((64, 64), dtype('bool'))
    """

    families = FAMILIES  # that shapes are drawn from

    def __init__(self, side: int, rng: np.random.Generator, stock: int = 300, renewed: float = 0.03) -> None:
        self.side, self.rng, self.stock, self.renewed = side, rng, stock, renewed
        self._large = side * 3 // 2
        self._shapes: list[Shapes] = []
        self._fields = [np.stack([field((2 * side,) * 2, s, rng) for _ in range(3)]).astype(np.float32) for s in SIGMAS]
        self._noise = rng.standard_normal((2 * side, 2 * side), dtype=np.float32)

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw an image, and the mask of what can be seen in it.

        Returns
        -------
        image : (side, side) float32 array
            Objects brighter than what is around them, values from 0 up.
        mask : (side, side) bool array
            Where the blurred objects reach a quarter of their height: a tube thinner than the blur is as wide as it
            looks.
        """
        rng = self.rng
        view = self._objects()
        blur = self._blur()
        ring, distance, radius = self._hollowed(view, 0.25)
        light = self._background(view)
        objects, lumen = self._lit(view, distance, ring)
        if lumen > 0.4:  # a filled tube with a brighter wall
            distance, radius = view.distance, view.radius
        seen = distance < max(VISIBLE_EDGE * blur, VISIBLE_LINE * blur - radius)
        empty = bernoulli(rng, NOTHING) and bool(np.mean(distance < 0) < 0.35)
        light = self._joined(light, objects, distance, empty)
        light = self._distracted(light, view, distance, radius, blur)
        image = self._photographed(light, blur)
        return image, np.zeros_like(seen) if empty else seen

    def _blur(self) -> float:
        rng = self.rng
        return log_uniform(rng, 0.5, 2.6) if bernoulli(rng, 0.85) else log_uniform(rng, 2, 5)

    def _hollowed(self, view: View, share: float) -> tuple[float, np.ndarray, float]:
        """Make walls round a lumen of a share of thick objects: the wall's width or 0, distance and radius."""
        rng = self.rng
        if view.radius <= 5 or not bernoulli(rng, share):
            return 0.0, view.distance, view.radius
        ring = log_uniform(rng, 1.5, max(2.5, view.radius * 0.6))
        return ring, np.abs(view.distance + ring / 2) - ring / 2, ring / 2

    # ---- shapes ----------------------------------------------------------------------------------------------

    def _stocked(self) -> Shapes:
        """Take shapes out of the stock, new ones now and then."""
        if len(self._shapes) < self.stock:
            self._shapes.append(draw_shapes((self._large,) * 2, self.rng, self.families))
            return self._shapes[-1]
        if bernoulli(self.rng, self.renewed):
            self._shapes[self.rng.integers(self.stock)] = draw_shapes((self._large,) * 2, self.rng, self.families)
        return self._shapes[self.rng.integers(self.stock)]

    def _view(self, shapes: Shapes) -> View:
        """Look at shapes through a window, turned, scaled and bent."""
        rng, side, large = self.rng, self.side, self._large
        zoom = log_uniform(rng, 0.75, 2.2)  # window pixels for one of the shapes
        angle, stretch = rng.uniform(0, 2 * np.pi), log_uniform(rng, 0.85, 1.18)
        axis = np.arange(side, dtype=np.float32) - side / 2
        y, x = axis[:, None] / (zoom * stretch), axis[None] * (stretch / zoom)
        c, s = np.cos(angle), np.sin(angle)
        v, u = c * y + s * x, c * x - s * y
        if bernoulli(rng, 0.5):
            bend = log_uniform(rng, 0.5, 6)
            v, u = v + bend * self._field(12, 50), u + bend * self._field(12, 50)
        reach = max(0.0, large / 2 - side / zoom * 0.6)
        v += large / 2 + rng.uniform(-reach, reach)
        u += large / 2 + rng.uniform(-reach, reach)
        v, u = _mirrored(v, large), _mirrored(u, large)
        distance = _interpolated(shapes.distance, v, u) * zoom
        regions = shapes.regions[np.rint(v).astype(np.intp), np.rint(u).astype(np.intp)]
        radius = shapes.radius * zoom
        wider = log_uniform(rng, 0.75, 1.35) if shapes.family != "patches" else 1.0  # of the same centre lines
        distance -= radius * (wider - 1)
        if shapes.thin and bernoulli(rng, 0.3):  # tapering
            distance += radius * rng.uniform(0, 0.5) * self._field(20, 50)
        return View(distance, regions, radius * wider, shapes.family)

    def _objects(self) -> View:
        """Look for a view that is neither empty nor full."""
        rng = self.rng
        for _ in range(20):
            view = self._view(self._stocked())
            if bernoulli(rng, 0.12):
                other = self._view(self._stocked())
                distance = np.minimum(view.distance, other.distance)
                view = View(distance, view.regions, min(view.radius, other.radius), view.family)
            if bernoulli(rng, 0.25):  # a cell that does not fill the image
                outside = (self._field(20, 50) < rng.uniform(-1, 0.3)) * np.float32(60)
                view = View(np.maximum(view.distance, outside - 30), view.regions, view.radius, view.family)
            if SMALLEST < np.mean(view.distance < 0) < LARGEST:
                break
        return view

    # ---- light -----------------------------------------------------------------------------------------------

    def _field(self, low: float, high: float) -> np.ndarray:
        """Take a random window of a field of mean 0, deviation 1 and a correlation length from ``low`` to ``high``."""
        rng = self.rng
        nearest = int(np.argmin([abs(np.log(s / log_uniform(rng, low, high))) for s in SIGMAS]))
        fields = self._fields[nearest]
        top, left = rng.integers(0, 2 * self.side, 2)
        rows, columns = (np.arange(a, a + self.side) % (2 * self.side) for a in (top, left))  # they have no border
        window = fields[rng.integers(len(fields))][rows[:, None], columns[None]]
        window = window.T if bernoulli(rng, 0.5) else window
        return -window if bernoulli(rng, 0.5) else window

    def _white(self) -> np.ndarray:
        """Take white noise, out of a stock that is four times as large, shuffled by row."""
        top, left = self.rng.integers(0, self.side, 2)
        rows = self.rng.permutation(2 * self.side)[: self.side]
        return self._noise[rows, :][:, left : left + self.side] * (1 if top % 2 else -1)

    def _background(self, view: View) -> np.ndarray:
        """Light a background: flat, uneven, or up to twenty regions with textures of their own."""
        rng, shape = self.rng, (self.side, self.side)
        kind = rng.random()
        light: np.ndarray = np.zeros(shape, np.float32)
        if 0.4 < kind < 0.6:
            light = rng.uniform(0, 0.5) * np.clip(1 + self._field(8, 50), 0, None)
        elif kind > 0.6:
            regions = self._view(self._stocked()).regions if bernoulli(rng, 0.7) else view.regions
            many = int(log_uniform(rng, 2, 21))
            levels = rng.uniform(0, log_uniform(rng, 0.1, 1.2), many).astype(np.float32)
            rough = rng.uniform(0, 0.25, many).astype(np.float32)
            which = regions % many
            light = levels[which] + rough[which] * self._field(0.8, 8)
        if bernoulli(rng, 0.4):  # grain
            light = light + rng.uniform(0, 0.25) * self._field(0.8, 12)
        return np.asarray(light, np.float32)

    def _lit(self, view: View, distance: np.ndarray, ring: float) -> tuple[np.ndarray, float]:
        """Light the objects (above their surround, about 1), and say how bright a lumen is beside its wall."""
        rng = self.rng
        inside = np.clip(0.5 - distance, 0, 1)
        depth = np.clip(-view.distance / max(view.radius, 1), 0, 1)
        profile = rng.random()
        if ring or profile < 0.45:
            light = inside
        elif profile < 0.8:
            light = inside * (0.35 + 0.65 * np.sqrt(1 - (1 - depth) ** 2))
        else:
            light = inside * (0.5 + 0.6 * np.exp(-(((depth - 0.25) / 0.3) ** 2)))
        lumen = 0.0
        if ring:
            lumen = rng.uniform(0, 0.25) if bernoulli(rng, 0.7) else rng.uniform(0.45, 0.9)
            within = np.clip(0.5 - view.distance, 0, 1)
            light = np.maximum(light, lumen * within)
        if bernoulli(rng, 0.7):  # objects differ
            levels = np.exp(rng.normal(0, rng.uniform(0.05, 0.55), 512)).clip(0.3).astype(np.float32)
            light = light * levels[view.regions % 512]
        light = light * np.exp(rng.uniform(0, 0.5) * self._field(6, 50)).clip(0.3, 4)
        if bernoulli(rng, 0.7):
            light = light * (1 + rng.uniform(0, 0.4) * self._field(0.8, 5)).clip(0.15)
        return np.asarray(light, np.float32), lumen

    def _joined(self, light: np.ndarray, objects: np.ndarray, distance: np.ndarray, dark: bool) -> np.ndarray:
        """Paint objects over the background, or add them to it; dark ones are taken from it."""
        rng = self.rng
        if dark:
            return light + 0.5 + objects.max() - objects
        if bernoulli(rng, 0.5):
            return light + objects
        surround = ndi.uniform_filter(light, 2 * int(log_uniform(rng, 4, 16)) + 1)
        cover = np.clip(0.5 - distance, 0, 1) * rng.uniform(0.5, 1)
        return light * (1 - cover) + np.maximum(surround, light * cover) * cover + objects

    def _distracted(
        self, light: np.ndarray, view: View, distance: np.ndarray, radius: float, blur: float
    ) -> np.ndarray:
        """Add what is no object: haze, bodies, fainter, unsharp and dark things, dots between lines, shading."""
        rng = self.rng
        if bernoulli(rng, 0.5):  # out of focus
            light = light + rng.uniform(0, 0.9) * _hazed(light, log_uniform(rng, 4, 25))
        if bernoulli(rng, 0.3):  # bodies that outshine the objects
            bodies = np.clip(self._field(15, 50) - rng.uniform(0.5, 1.5), 0, None)
            light = light + log_uniform(rng, 0.3, 12) * bodies
        if bernoulli(rng, 0.3):  # fainter things of any kind
            other = np.clip(0.5 - self._view(self._stocked()).distance, 0, 1)
            light = light + rng.uniform(0.08, 0.4) * ndi.gaussian_filter(other, log_uniform(rng, 0.8, 4))
        if bernoulli(rng, 0.25):  # things of the same kind, out of focus
            copy = np.clip(0.5 - np.roll(view.distance, rng.integers(self.side, size=2), (0, 1))[::-1], 0, 1)
            light = light + rng.uniform(0.2, 0.8) * _hazed(copy, blur + log_uniform(rng, 3, 10))
        if bernoulli(rng, 0.3):  # dark things
            other = np.clip(0.5 - self._view(self._stocked()).distance, 0, 1) * (distance > 2)
            light = light - rng.uniform(0.1, 0.8) * ndi.gaussian_filter(other, blur)
        if view.family in ("tessellation", "contours", "trees") and radius < 6 and bernoulli(rng, 0.3):
            dots = (self._view(self._stocked()).distance < 0) & (distance > 2.5)  # in the meshes
            dots &= ~ndi.binary_opening(dots, iterations=6)
            light = light + rng.uniform(0.4, 1) * ndi.gaussian_filter(dots.astype(np.float32), blur)
        if bernoulli(rng, 0.5):  # shading
            axis = np.linspace(-1, 1, self.side, dtype=np.float32)
            angle = rng.uniform(0, 2 * np.pi)
            ramp = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]
            light = light * np.exp(rng.uniform(0, 0.6) * (ramp + 0.5 * self._field(32, 50)))
        return np.asarray(light - min(0.0, float(light.min())) + log_uniform(rng, 0.01, 0.8), np.float32)

    # ---- camera ----------------------------------------------------------------------------------------------

    def _photographed(self, light: np.ndarray, blur: float) -> np.ndarray:
        """Blur, sample, and add noise; then what software does later: smoothing, sharpening, gamma, 8 bits, JPEG."""
        rng = self.rng
        sigmas = (
            (blur, blur) if bernoulli(rng, 0.8) else (blur * log_uniform(rng, 0.6, 1), blur * log_uniform(rng, 1, 1.6))
        )
        image = ndi.gaussian_filter(light, sigmas)
        step = log_uniform(rng, 1, max(1.0, min(4.0, 1.2 * blur))) if bernoulli(rng, 0.3) else 1.0
        if step > 1.05:  # fewer pixels, each with its own noise, interpolated later
            image = _resized(image, round(self.side / step))
        image = self._noisy(image)
        if step > 1.05:
            image = _resized(image, self.side)
        if bernoulli(rng, 0.3):
            image = ndi.gaussian_filter(image, rng.uniform(0.3, 1.1))
        if bernoulli(rng, 0.15):  # sharpening, halos, ringing
            image = image + rng.uniform(0.3, 2) * (image - ndi.gaussian_filter(image, log_uniform(rng, 1, 6)))
        if bernoulli(rng, 0.06):
            stripes = rng.standard_normal(self.side).astype(np.float32) * rng.uniform(0.02, 0.15) * image.std()
            image = image + (stripes[:, None] if bernoulli(rng, 0.5) else stripes[None])
        image = image - image.min()
        some = image[::3, ::3]
        if bernoulli(rng, 0.4):
            image = (image / (np.percentile(some, 99.9) + 1e-6)) ** np.float32(log_uniform(rng, 0.5, 1.8))
        if bernoulli(rng, 0.4):
            image = np.minimum(image, np.percentile(image[::3, ::3], rng.uniform(94, 100)))
        if bernoulli(rng, 0.5):
            image = np.round(image * (255 / max(float(image.max()), 1e-6)))
            if bernoulli(rng, 0.2):
                image = _jpeg(image, int(rng.integers(25, 95)))
        return image.astype(np.float32)

    def _noisy(self, image: np.ndarray) -> np.ndarray:
        """Add the noise of photons and of reading out, and now and then noise that spans pixels."""
        rng = self.rng
        photons = log_uniform(rng, 4, 1000)
        if photons < 15:
            image = (rng.poisson(image * photons) / photons).astype(np.float32)
            spread: np.ndarray | float = log_uniform(rng, 0.005, 0.15)
        else:  # of many photons the noise is normal
            spread = np.sqrt(image / np.float32(photons) + np.float32(log_uniform(rng, 0.005, 0.15) ** 2))
        side = len(image)
        white = self._white()[:side, :side]
        if bernoulli(rng, 0.15):
            white = ndi.gaussian_filter(white, rng.uniform(0.5, 1.2))
            white /= white.std()
        return np.asarray(image + spread * white, np.float32)


def _mirrored(at: np.ndarray, size: int) -> np.ndarray:
    """Reflect coordinates that leave an image at its borders."""
    last = np.float32(size - 1)
    return (last - np.abs(last - np.abs(at))).clip(0, last)


def _interpolated(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Interpolate between four pixels."""
    top, left = (np.minimum(a.astype(np.intp), n - 2) for a, n in zip((y, x), values.shape, strict=True))
    dy, dx = (y - top).astype(np.float32), (x - left).astype(np.float32)
    flat, at = values.ravel(), top * values.shape[1] + left
    upper = flat[at] * (1 - dx) + flat[at + 1] * dx
    at += values.shape[1]
    return np.asarray(upper * (1 - dy) + (flat[at] * (1 - dx) + flat[at + 1] * dx) * dy)


def _hazed(light: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by much, at a quarter of the size."""
    side = len(light)
    small = light[: side // 4 * 4, : side // 4 * 4].reshape(side // 4, 4, side // 4, 4).mean(axis=(1, 3))
    return _resized(ndi.gaussian_filter(small, sigma / 4), side)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    """Interpolate a square image at another size, smaller ones from the mean of the pixels they cover."""
    return np.asarray(
        PillowImage.fromarray(np.ascontiguousarray(image, np.float32)).resize(
            (side, side), PillowImage.Resampling.BILINEAR
        )
    )


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Save as JPEG and read again."""
    with io.BytesIO() as file:
        PillowImage.fromarray(image.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=quality)
        return np.asarray(PillowImage.open(file), np.float32)
