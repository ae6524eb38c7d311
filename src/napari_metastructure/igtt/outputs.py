"""Files that a run of iGTT leaves of each image: masks, probabilities, and the masks of every epoch."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from napari_metastructure.errors import InputError
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.files import OTHER_FOLDER, check_free, output_stems, read_image, result_path
from napari_metastructure.images.image import Image, plane_count, stacks
from napari_metastructure.images.lazy import is_lazy
from napari_metastructure.images.ranges import ALL, Chosen, leading_of, put_back
from napari_metastructure.images.writing import remove, write_mask, write_probability, writing_tiff
from napari_metastructure.training.events import Finished
from napari_metastructure.training.run_folder import FILES, FoundRun, read_description


class IGTTRun(FoundRun[IGTTConfig]):
    """A run of iGTT with its curves."""

    model = IGTTConfig
    columns = ("loss", "agreement")

    def images(self) -> list[Path]:
        """Read which files it was made of; none where it was made of layers.

        Raises
        ------
        InputError
            As `run_folder.read_description`.
        """
        inputs: Any = read_description(self.folder).get("inputs")
        found = inputs if isinstance(inputs, list) else []
        return [Path(str(i["path"])) for i in found if isinstance(i, dict) and "path" in i]


KINDS = ("mask", "probability", "epochs")
"""Of the results of an image."""


def results_in(folder: Path, stems: Iterable[str], kinds: Sequence[str] = KINDS) -> list[Path]:
    """Name all results that runs of images may leave in a folder, as ImageJ TIFF or OME-TIFF."""
    return [result_path(folder, stem, kind, ome) for stem in stems for kind in kinds for ome in (False, True)]


class Outputs:
    """Results of each image of a run: masks, probabilities and, if asked for, the masks of every epoch.

    Parameters
    ----------
    folder : Path
        The run folder.
    images : sequence of Image
        The inputs, each from a file.
    epochs : bool
        Whether ``<stem>_epochs.tif`` is written too.
    ome : bool
        OME-TIFF, named ``.ome.tif``, in place of ImageJ TIFF.
    kept : sequence of (tuple of int, or None)
        Of each image the planes that were segmented, by default all; the others are empty.
    chosen : Chosen
        How they were chosen.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[Image],
        epochs: bool,
        ome: bool,
        kept: Sequence[tuple[int, ...] | None] = (),
        chosen: Chosen = ALL,
    ) -> None:
        self.folder, self.images, self.ome, self.chosen = folder, list(images), ome, chosen
        self.kept = kept or [None] * len(self.images)
        self.stems = output_stems([i.source or Path(i.name) for i in images])
        self.kinds = KINDS if epochs else KINDS[:2]

    def path(self, index: int, kind: str) -> Path:
        """Give the file of one image: ``kind`` is mask, probability or epochs."""
        return result_path(self.folder, self.stems[index], kind, self.ome)

    @property
    def files(self) -> list[Path]:
        """All that a run of these images may have left, as ImageJ TIFF or OME-TIFF."""
        return [*(self.folder / name for name in FILES), *results_in(self.folder, self.stems)]

    def of_others(self) -> list[Path]:
        """Find results of images that the earlier run in the folder was made of, and this one is not."""
        with catch_warnings(), suppress(InputError):
            simplefilter("ignore")  # which stem is whose was told then
            others = [name for name in output_stems(IGTTRun(self.folder).images()) if name not in self.stems]
            return [path for path in results_in(self.folder, others) if path.exists()]
        return []

    def check_free(self, resume: bool, overwrite: bool, ways: Sequence[str] = OTHER_FOLDER) -> None:
        """Refuse to write over an earlier run, unless asked to, and over an input in any case.

        The ``ways`` out are those of `images.files.check_free`. A resumed run keeps on writing the masks of its epochs.

        Raises
        ------
        InputError
            Naming the file in the way.
        """
        inputs = [i.source for i in self.images if i.source]
        check_free(self.files, inputs, overwrite=resume or overwrite, ways=ways)
        if resume and any(path.exists() for path in results_in(self.folder, self.stems, KINDS[2:])):
            self.kinds = KINDS

    def clear(self) -> None:
        """Remove the files of an earlier run, so that no file of the folder is of another run than the rest.

        Raises
        ------
        InputError
            If one cannot be removed.
        """
        remove(self.files)

    def write_all(
        self, result: Finished, history: Sequence[Sequence[np.ndarray]], resumed: int, folder: Path
    ) -> list[Path]:
        """Write all results of a run into a folder, its own or another; arguments as `write_epochs`.

        Those that it has left there in the other form of TIFF are removed.
        """
        self.folder = folder
        written = self.write(result.masks, result.probabilities)
        written += self.write_epochs(history, before=resumed) if history else []
        remove(path for path in results_in(self.folder, self.stems) if path not in written)
        return written

    def write(self, masks: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> list[Path]:
        """Write ``<stem>_mask.tif`` (uint8, 0 and 255) and ``<stem>_probability.tif`` (float32)."""
        if any(is_lazy(image.data) for image in self.images):
            return self._write_planes(masks, probabilities)
        written = []
        for index, found in enumerate(zip(*(self._stacks(p) for p in (masks, probabilities)), strict=True)):
            for kind, write, image in zip(self.kinds[:2], (write_mask, write_probability), found, strict=True):
                write(self.path(index, kind), image.data, image, self.ome, self._note(index))
                written.append(self.path(index, kind))
        return written

    def _write_planes(self, masks: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> list[Path]:
        """Write the planes of images that memory may not hold, one after the other."""
        written, first = [], 0
        for index, image in enumerate(self.images):
            numbers = self.kept[index] or range(plane_count(image))
            leading = [image.data.shape[image.axes.index(a)] for a in "TZ" if a in image.axes]
            for kind, planes, dtype in (("mask", masks, np.uint8), ("probability", probabilities, np.float32)):
                path = self.path(index, kind)
                with writing_tiff(path, image, dtype, self.ome, self._note(index)) as file:
                    for number, plane in zip(numbers, planes[first : first + len(numbers)], strict=True):
                        at = tuple(map(int, np.unravel_index(number, leading))) if leading else ()
                        file.put(at, 0, (plane != 0) * np.uint8(255) if kind == "mask" else plane)
                written.append(path)
            first += len(numbers)
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
        for index, frames in enumerate(zip(*map(self._stacks, epochs), strict=True)):
            target, first = self.path(index, "epochs"), frames[0]
            axes, data = with_epochs(first.axes), np.stack([f.data != 0 for f in frames])
            there = [
                path for path in results_in(self.folder, self.stems[index : index + 1], KINDS[2:]) if path.exists()
            ]
            if before and there:
                earlier = read_epochs(there[0], axes)
                if earlier.shape[1:] == data.shape[1:] and len(earlier) >= before:
                    data = np.concatenate([earlier[:before] != 0, data])
            like = replace(first, data=data, axes=axes, scale=(1.0, *first.scale), units=("pixel", *first.units))
            write_mask(target, data, like, self.ome, self._note(index))
            written.append(target)
        return written

    def _stacks(self, planes: Sequence[np.ndarray]) -> list[Image]:
        """Put the planes of all images back together."""
        every: list[np.ndarray] = []
        for image, kept in zip(self.images, self.kept, strict=True):
            count = plane_count(image)
            own, planes = planes[: (n := count if kept is None else len(kept))], planes[n:]
            every += put_back(own, kept, count)
        return stacks(every, like=self.images)

    def _note(self, index: int) -> str:
        return self.chosen.note(leading_of(self.images[index], self.chosen))


def with_epochs(axes: str) -> str:
    """Put the epochs in front of the axes as T; an image's own T moves to Z, or to C where Z is taken."""
    return "T" + axes.replace("T", "C" if "Z" in axes else "Z")


def read_epochs(path: Path, axes: str) -> np.ndarray:
    """Read the masks of an earlier run, axes in the order asked for; a single epoch has lost its axis."""
    image = read_image(path)
    data, found = image.data, image.axes
    for axis in axes:
        if axis not in found:
            data, found = data[None], axis + found
    return data.transpose([found.index(a) for a in axes])
