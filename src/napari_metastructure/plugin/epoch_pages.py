"""An array with a page for every epoch, that grows without copying."""

from __future__ import annotations

import numpy as np

from napari_metastructure.errors import InputError


class EpochPages:
    """One page per epoch, by its number, so that the slider says what curves and progress say.

    A resumed run leaves the pages before it empty. Pages of a zeroed array cost memory only once written, so the
    whole run's worth is asked for at once: growing is then a longer view of it, and no epoch is ever copied.

    Parameters
    ----------
    shape : tuple of int
        Of one page.
    epochs : int
        How many there will be after epoch 0.
    what, layer : str
        What messages call it: "masks" of a layer of this name.

    Raises
    ------
    InputError
        If there is not enough memory.
    """

    def __init__(self, shape: tuple[int, ...], epochs: int, what: str, layer: str) -> None:
        self.shape = shape
        try:
            self.array = np.zeros((epochs + 1, *shape), np.uint8)
        except MemoryError:
            size = (epochs + 1) * np.prod(shape, dtype=float) / 2**30
            raise InputError(
                f"The {what} of {epochs} epochs of layer {layer!r} need {size:.1f} GiB of memory; choose fewer epochs."
            ) from None

    def put(self, epoch: int, page: np.ndarray) -> np.ndarray:
        """Write a page; the pages up to it, as a view."""
        missing = epoch + 1 - len(self.array)
        if missing > 0:  # a resumed run may be further than its settings say
            self.array = np.concatenate([self.array, np.zeros((missing, *self.shape), np.uint8)])
        self.array[epoch] = page
        return self.array[: epoch + 1]
