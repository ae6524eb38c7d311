"""Live preview of cleaned labels: the slice on screen, and how many objects stay on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from napari.layers import Labels

from napari_metastructure.labels.classes import LabelStack
from napari_metastructure.labels.regions import Blocks, CleanUp, clean_up, number_objects
from napari_metastructure.plugin._layers import VisiblePlane
from napari_metastructure.plugin._live import Superseded


@dataclass(frozen=True)
class CleanPreview:
    """One plane cleaned up.

    Attributes
    ----------
    source : napari.layers.Labels
    index : int
        Number of the plane.
    labels : (Y, X) array
        As the source writes them.
    before, after : (Y, X) or (Z, Y, X) array
        Numbers of the plane, or of the volume that it is part of.
    """

    source: Labels
    index: int
    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray


class CleanDrawer:
    """Draws previews in a thread, one at a time; the last volume is kept while the slider moves through it."""

    def __init__(self) -> None:
        self._known: tuple[object, np.ndarray, np.ndarray] | None = None

    def draw(
        self, stack: LabelStack, plane: VisiblePlane, dials: CleanUp, volumes: bool, wanted: Callable[[], bool]
    ) -> CleanPreview:
        """Clean the plane on screen, as cleaning the whole stack does.

        Raises
        ------
        InputError
            If the labels cannot be read.
        Superseded
            If ``wanted()`` turns False while the planes are read for their values.
        """
        for _ in stack.survey():
            if not wanted():
                raise Superseded
        meaning = stack.meaning()
        place = plane.at[:-1] if volumes else plane.at
        key = stack, stack.changes, stack.reading, place, dials, volumes
        if self._known is None or self._known[0] != key:
            before = Blocks.of(stack, meaning, stack.shape, volumes)[place]
            self._known = key, before, clean_up(before, dials)
        _, before, after = self._known
        shown = after[plane.at[-1]] if volumes else after
        return CleanPreview(plane.layer, plane.index, stack.written(shown, meaning), before, after)

    def forget(self) -> None:
        """Let go of the last labels."""
        self._known = None


def describe(preview: CleanPreview) -> str:
    """Say what was removed and filled."""
    before, after = (int(number_objects(numbers).max()) for numbers in (preview.before, preview.after))
    filled = int(np.count_nonzero((preview.before == 0) & (preview.after > 0)))
    where, what = ("On this slice", "pixels") if preview.before.ndim == 2 else ("In this volume", "voxels")
    return f"{where} {after} of {before} objects stay, and {filled} {what} of holes are filled."
