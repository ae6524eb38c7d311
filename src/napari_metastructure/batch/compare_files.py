"""Files of a comparison: images and ground truth, paired by stem, and results."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_metastructure.baselines.config import TITLES
from napari_metastructure.baselines.figure import FIGURE
from napari_metastructure.baselines.methods import frame_of
from napari_metastructure.baselines.results import AGREEMENT, MARKDOWN, RESULTS, TABLE
from napari_metastructure.batch.label_set import partners_of
from napari_metastructure.errors import InputError
from napari_metastructure.images.channels import read_set
from napari_metastructure.images.files import check_free, output_stems, result_path, stem
from napari_metastructure.images.image import plane_count, planes, stacks
from napari_metastructure.images.label_files import read_labels
from napari_metastructure.images.writing import make_folder, remove, write_mask


class CompareFiles:
    """Images, ground truth and results of a comparison, paired by stem.

    Parameters
    ----------
    images : sequence of Path
        Folders and files.
    masks : Path or None
        The same.
    channel : str
        As `napari_metastructure.images.channels.read_set` takes it.
    out : Path
        The folder of the results.

    Attributes
    ----------
    read : ImageSet
        The images, their planes and the channel that was taken.
    paths : list of Path
        The image files.
    groups : list of str
        The frame or stack that each plane is of.
    masks : list of (Y, X) arrays, or None
        Ground truth of each plane.

    Raises
    ------
    InputError
        For a file that cannot be used, two images of one stem, an image without a mask, or a mask that does not fit.
    """

    def __init__(self, images: Sequence[Path], masks: Path | None, channel: str, out: Path) -> None:
        self.out, self.read = out, read_set(images, channel)
        self.paths = [image.source or Path(image.name) for image in self.read.images]
        self._check_stems()
        self._names = output_stems(self.paths)
        self.groups = [
            frame_of(stem(path))
            for path, image in zip(self.paths, self.read.images, strict=True)
            for _ in range(plane_count(image))
        ]
        self.masks: list[np.ndarray] | None = None
        self._inputs = self.paths
        if masks is not None:
            partners = partners_of(self.paths, masks)
            self._inputs = [*self.paths, *partners]
            self.masks = [
                plane
                for image, path, partner in zip(self.read.images, self.paths, partners, strict=True)
                for plane in _truth(path, partner, plane_count(image))
            ]

    def check_free(self, methods: Sequence[str], overwrite: bool, ways: Sequence[str]) -> None:
        """Refuse to write over an input in any case, and over an earlier comparison unless asked to.

        The ``ways`` out are those of `images.files.check_free`.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        check_free(self._files(list(TITLES)), self._inputs, overwrite=True, ways=ways)
        check_free(self._files(methods), overwrite=overwrite, ways=ways)

    def clear(self) -> None:
        """Remove what an earlier comparison has written, also masks of methods that are not run now.

        Raises
        ------
        InputError
            If a file cannot be removed.
        """
        remove(self._files(list(TITLES)))

    def write(self, method: str, masks: Sequence[np.ndarray]) -> None:
        """Write ``masks/METHOD/<stem>_mask.tif`` with axes and voxel size of the images.

        Raises
        ------
        InputError
            If one cannot be written.
        """
        make_folder(self.out / "masks" / method)
        for path, image in zip(self._masks_of(method), stacks(masks, like=self.read.images), strict=True):
            write_mask(path, image.data, image)

    def _files(self, methods: Sequence[str]) -> list[Path]:
        tables = ("run.yaml", RESULTS, TABLE, AGREEMENT, MARKDOWN, FIGURE)
        return [self.out / name for name in tables] + [path for name in methods for path in self._masks_of(name)]

    def _masks_of(self, method: str) -> list[Path]:
        return [result_path(self.out / "masks" / method, name, "mask") for name in self._names]

    def _check_stems(self) -> None:
        """Refuse two images of one stem, by which tables and masks name them."""
        seen: dict[str, Path] = {}
        for path in self.paths:
            key = stem(path).casefold()
            if key in seen:
                raise InputError(f"{seen[key]} and {path} share the stem {stem(path)!r}; keep one of them.")
            seen[key] = path


def _truth(path: Path, partner: Path, count: int) -> list[np.ndarray]:
    """Read the planes of a mask, one for each of its image."""
    found = planes(read_labels(partner))
    if len(found) != count:
        raise InputError(f"{path} has {count} planes, its mask {partner} {len(found)}; give a mask of every plane.")
    return found
