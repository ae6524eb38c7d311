"""The files of a run that carry an image's name: masks, probabilities, epochs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import cannot_write
from napari_metastructure.images.axes import stack
from napari_metastructure.images.files import read_image, stem, write_mask, write_probability
from napari_metastructure.images.image import Image

_RUN_FILES = ("run.yaml", "last.pt", "metrics.csv", "model.safetensors")


def output_stems(paths: Sequence[Path]) -> list[str]:
    """What the outputs of each input are called: its stem, and more of its path where stems clash.

    Inputs whose stems clash (letter case aside) get their ending (``x_png``, ``x_tif``), or else their folder
    (``a_x``, ``b_x``), or else both, whichever tells them apart first, or else a number (``x_2``).
    """
    spellings = (
        stem,
        lambda p: f"{stem(p)}_{p.suffix[1:]}",
        lambda p: f"{p.parent.name}_{stem(p)}",
        lambda p: f"{p.parent.name}_{stem(p)}_{p.suffix[1:]}",
    )
    names = [stem(p) for p in paths]
    for spelling in spellings[1:]:
        count = Counter(n.casefold() for n in names)
        trial = [spelling(p) if count[n.casefold()] > 1 else n for p, n in zip(paths, names, strict=True)]
        clashes = Counter(n.casefold() for n in trial)
        groups = {n.casefold() for n in names if count[n.casefold()] > 1}
        for group in groups:
            members = [i for i, n in enumerate(names) if n.casefold() == group]
            if all(clashes[trial[i].casefold()] == 1 for i in members):
                for i in members:
                    names[i] = trial[i]
    taken: set[str] = set()
    for i, name in enumerate(names):
        number = 1
        while names[i].casefold() in taken:
            number += 1
            names[i] = f"{name}_{number}"
        taken.add(names[i].casefold())
    return names


class Outputs:
    """Where the result of each image goes.

    Parameters
    ----------
    folder : Path
        The run folder.
    images : sequence of Image
        The inputs, each from a file.
    counts : sequence of int
        Number of planes of each.
    epochs : bool
        Whether ``<stem>_epochs.tif`` is written too.
    ome : bool
        OME-TIFF, named ``.ome.tif``, in place of ImageJ TIFF.
    """

    def __init__(self, folder: Path, images: Sequence[Image], counts: Sequence[int], epochs: bool, ome: bool) -> None:
        self.folder, self.images, self.counts, self.ome = folder, list(images), list(counts), ome
        self.stems = output_stems([i.source or Path(i.name) for i in images])
        self.kinds = ("mask", "probability", "epochs") if epochs else ("mask", "probability")

    def path(self, index: int, kind: str) -> Path:
        """The file of one image: ``kind`` is mask, probability or epochs."""
        return self.folder / f"{self.stems[index]}_{kind}{'.ome.tif' if self.ome else '.tif'}"

    def check_free(self, overwrite: bool) -> None:
        """Refuse to write over an earlier run, unless asked to, and over an input in any case.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        targets = [self.path(i, kind) for i in range(len(self.images)) for kind in self.kinds]
        inputs = {i.source.resolve() for i in self.images if i.source}
        for target in targets:
            if target.resolve() in inputs:
                raise InputError(f"{target} is an input and would be written over; choose another --out.")
        there = [p for p in (*(self.folder / n for n in _RUN_FILES), *targets) if p.exists()]
        if there and not overwrite:
            raise InputError(
                f"{there[0]} is there already; choose another --out, go on with --resume, "
                "or replace it with --overwrite."
            )

    def clear(self) -> None:
        """Remove the files of an earlier run, so that no file of the folder is of another run than the rest.

        Raises
        ------
        InputError
            If one cannot be removed.
        """
        own = [self.path(i, kind) for i in range(len(self.images)) for kind in self.kinds]
        for path in [*(self.folder / name for name in _RUN_FILES), *own]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error

    def write(self, masks: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> list[Path]:
        """Write ``<stem>_mask.tif`` (uint8, 0 and 255) and ``<stem>_probability.tif`` (float32)."""
        written = []
        for index, image in enumerate(self.images):
            mask, probability = (stack(self._own(index, p), like=image) for p in (masks, probabilities))
            write_mask(self.path(index, "mask"), mask.data, mask, self.ome)
            write_probability(self.path(index, "probability"), probability.data, probability, self.ome)
            written += [self.path(index, "mask"), self.path(index, "probability")]
        return written

    def write_epochs(self, epochs: Sequence[Sequence[np.ndarray]], before: int = 0) -> list[Path]:
        """Write ``<stem>_epochs.tif``: the masks of every epoch along T.

        Parameters
        ----------
        epochs : sequence, one per epoch, of the masks of all planes
        before : int
            How many epochs a resumed run had already; they are taken from the file of that run where it is.
        """
        written = []
        for index, image in enumerate(self.images):
            frames = [stack(self._own(index, masks), like=image) for masks in epochs]
            target, first = self.path(index, "epochs"), frames[0]
            axes, data = _with_epochs(first.axes), np.stack([f.data != 0 for f in frames])
            if before and target.exists():
                earlier = _read_epochs(target, axes)
                if earlier.shape[1:] == data.shape[1:] and len(earlier) >= before:
                    data = np.concatenate([earlier[:before] != 0, data])
            like = replace(first, data=data, axes=axes, scale=(1.0, *first.scale), units=("pixel", *first.units))
            write_mask(target, data, like, self.ome)
            written.append(target)
        return written

    def _own(self, index: int, planes: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The planes of one image out of those of all."""
        begin = sum(self.counts[:index])
        return planes[begin : begin + self.counts[index]]


def _with_epochs(axes: str) -> str:
    """Axes with the epochs in front as T; an image's own T moves to Z, or to C where Z is taken."""
    return "T" + axes.replace("T", "C" if "Z" in axes else "Z")


def _read_epochs(path: Path, axes: str) -> np.ndarray:
    """The masks of an earlier run, axes in the order asked for; a single epoch has lost its axis."""
    image = read_image(path)
    data, found = image.data, image.axes
    for axis in axes:
        if axis not in found:
            data, found = data[None], axis + found
    return data.transpose([found.index(a) for a in axes])
