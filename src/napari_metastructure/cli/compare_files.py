"""The files of a comparison: images and their masks, and where the masks of each method go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_metastructure.baselines.figure import FIGURE
from napari_metastructure.baselines.methods import METHODS
from napari_metastructure.baselines.supervised import frame_of
from napari_metastructure.baselines.table import AGREEMENT, MARKDOWN, RESULTS, TABLE
from napari_metastructure.cli.image_planes import read_planes
from napari_metastructure.cli.label_files import pair_with, read_grey
from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import cannot_write
from napari_metastructure.images.axes import planes, stack
from napari_metastructure.images.files import stem, write_mask

WRITTEN = ("run.yaml", RESULTS, TABLE, AGREEMENT, MARKDOWN, FIGURE)


class CompareFiles:
    """Images, ground truth and results, paired by stem.

    Parameters
    ----------
    images : Path
        A folder, or one file.
    masks : Path or None
        The same.
    channel : str
        As `cli.image_planes.read_planes` takes it.
    out : Path
        The folder of the results.

    Attributes
    ----------
    planes, names, groups
        Of all images, plane by plane: pixels, what messages call them, and the frame or stack they are of.
    masks : list of (Y, X) arrays, or None
        Ground truth of each plane.
    paths : list of Path
        The image files.
    read : ReadPlanes
        What was read, and the channel that was taken.

    Raises
    ------
    InputError
        For a file that cannot be used, two images of one stem, an image without a mask, or a mask that does not fit.
    """

    def __init__(self, images: Path, masks: Path | None, channel: str, out: Path) -> None:
        self.out = out
        self.read = read_planes([images], channel)
        self._images, self.names = self.read.images, self.read.names
        self._counts = [len(own) for own in self.read.planes]
        self.planes = [plane for own in self.read.planes for plane in own]
        self.paths = [image.source or Path(image.name) for image in self._images]
        self._check_stems()
        self.groups = [
            frame_of(stem(path)) for path, count in zip(self.paths, self._counts, strict=True) for _ in range(count)
        ]
        self.masks: list[np.ndarray] | None = None
        self._inputs = self.paths
        if masks is not None:
            partners = pair_with(self.paths, masks)
            self._inputs = [*self.paths, *partners]
            self.masks = [
                plane
                for path, partner, count in zip(self.paths, partners, self._counts, strict=True)
                for plane in _truth(path, partner, count)
            ]

    def check_free(self, methods: Sequence[str], overwrite: bool) -> None:
        """Refuse to write over an input in any case, and over an earlier comparison unless asked to.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        inputs = {path.resolve() for path in self._inputs}
        for path in self._own_files(list(METHODS)):
            if path.resolve() in inputs:
                raise InputError(f"{path} is an input and would be written over; choose another --out.")
        there = [path for path in self._own_files(methods) if path.exists()]
        if there and not overwrite:
            raise InputError(f"{there[0]} is there already; choose another --out, or replace it with --overwrite.")

    def clear(self) -> None:
        """Remove what an earlier comparison has written, also masks of methods that are not run now.

        Raises
        ------
        InputError
            If a file cannot be removed.
        """
        for path in self._own_files(list(METHODS)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error

    def write(self, method: str, masks: Sequence[np.ndarray]) -> None:
        """Write ``masks/METHOD/<stem>_mask.tif`` with axes and voxel size of the images.

        Raises
        ------
        InputError
            If one cannot be written.
        """
        folder = self.out / "masks" / method
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        begin = 0
        for image, path, count in zip(self._images, self._masks_of(method), self._counts, strict=True):
            whole = stack(masks[begin : begin + count], like=image)
            write_mask(path, whole.data, whole)
            begin += count

    def _own_files(self, methods: Sequence[str]) -> list[Path]:
        return [self.out / name for name in WRITTEN] + [path for name in methods for path in self._masks_of(name)]

    def _masks_of(self, method: str) -> list[Path]:
        return [self.out / "masks" / method / f"{stem(path)}_mask.tif" for path in self.paths]

    def _check_stems(self) -> None:
        """Tables and masks are told apart by stem."""
        seen: dict[str, Path] = {}
        for path in self.paths:
            key = stem(path).casefold()
            if key in seen:
                raise InputError(f"{seen[key]} and {path} share the stem {stem(path)!r}; keep one of them.")
            seen[key] = path


def _truth(path: Path, partner: Path, count: int) -> list[np.ndarray]:
    """The planes of a mask, one for each of its image."""
    found = planes(read_grey(partner))
    if len(found) != count:
        raise InputError(f"{path} has {count} planes, its mask {partner} {len(found)}; give a mask of every plane.")
    return found
