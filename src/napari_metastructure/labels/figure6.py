"""The paper's Figure 6: a circle in a rectangle, its RCL and an RL, with transition matrices and densities."""

from dataclasses import dataclass

import numpy as np

from napari_metastructure.labels import noise
from napari_metastructure.labels.density import Kernel, density
from napari_metastructure.labels.transition import TransitionMatrix, estimate_transition_matrix

SIDE = 256
RADIUS = 92


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of the figure.

    Attributes
    ----------
    name : str
        "CL", "RCL" or "RL".
    labels : (256, 256) uint8 array
        1 = circle, 0 = the rectangle around it.
    matrix : TransitionMatrix
        Estimated from the clean labels and these; its rank is 2, 2 and 1.
    density : (256, 256) float32 array
        Of class 1, edges corrected.
    """

    name: str
    labels: np.ndarray
    matrix: TransitionMatrix
    density: np.ndarray


@dataclass(frozen=True, eq=False)
class Figure6:
    """The three columns of the figure, and the bandwidth of their densities in pixels."""

    cl: Panel
    rcl: Panel
    rl: Panel
    bandwidth: float

    @property
    def panels(self) -> tuple[Panel, Panel, Panel]:
        """The columns from left to right."""
        return self.cl, self.rcl, self.rl


def circle() -> np.ndarray:
    """Draw the clean label, (256, 256) uint8: 1 within 92 pixels of the middle, two fifths of the image, else 0."""
    place = np.arange(SIDE) - (SIDE - 1) / 2
    return (np.hypot(place[:, None], place) < RADIUS).astype(np.uint8)


def figure_6(
    seed: int = 0, flip: float = 0.45, random: float = 0.5, kernel: Kernel = "box", bandwidth: float = 16.0
) -> Figure6:
    """Make Figure 6.

    The densities are corrected at the edges, so that all of the rectangle is alike; each is then a histogram of two
    humps (one of the circle, one of the rectangle) where the rank is 2, and of one where it is 1.

    Parameters
    ----------
    seed : int
        Of all that is drawn.
    flip : float
        Fraction of labels flipped in RCL, 0 to 1; 0.5 fuses the classes.
    random : float
        Probability of class 1 in RL, above 0, to 1.
    kernel, bandwidth
        As in `napari_metastructure.labels.density.density`. The default disc holds about 800 pixels, which
        sets the humps of the default RCL five standard deviations of their sampling error apart.

    Raises
    ------
    InputError
        For a fraction or probability outside 0 to 1, a label without class 1, or a bandwidth that is not above 0 or
        is larger than the image.

    Examples
    --------
    >>> [panel.matrix.rank for panel in figure_6().panels]
    [2, 2, 1]
    """
    rng = np.random.default_rng(seed)
    clean = circle()

    def panel(name: str, labels: np.ndarray) -> Panel:
        matrix = estimate_transition_matrix(clean, labels)
        return Panel(name, labels, matrix, density(labels, 1, kernel, bandwidth, edges=True))

    return Figure6(
        cl=panel("CL", clean),
        rcl=panel("RCL", noise.flip(clean, flip, rng)),
        rl=panel("RL", noise.random_labels(clean.shape, random, rng)),
        bandwidth=bandwidth,
    )
