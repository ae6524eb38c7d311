"""Temporary files for arrays that do not fit into memory."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.images.writing import cannot_write


@contextmanager
def _disk_error(folder: Path | None) -> Iterator[None]:
    """Say in a sentence that the disk is full, and the like."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder or Path(tempfile.gettempdir()), error) from error


class TemporaryPlane:
    """The rows of a plane in an unnamed file, which the system removes with this object, however the process ends.

    Parameters
    ----------
    shape : (int, int)
    dtype : numpy.dtype
    folder : Path, optional
        Where the disk has room; the system's folder for temporary files by default.

    Raises
    ------
    InputError
        If the folder cannot be written to; `write` raises it where the disk is full.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, folder: Path | None = None) -> None:
        self.shape, self.dtype, self._folder = shape, np.dtype(dtype), folder
        with _disk_error(folder):
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".", buffering=0)  # noqa: SIM115
        self._row = shape[1] * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __del__(self) -> None:
        if (file := self.__dict__.get("_file")) is not None:
            file.close()

    def write(self, first: int, rows: np.ndarray) -> None:
        """Write rows from ``first`` on."""
        with _disk_error(self._folder):
            self._file.seek(first * self._row)
            left = np.ascontiguousarray(rows, self.dtype).data.cast("B")
            while left:
                left = left[self._file.write(left) :]

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self.shape[0])
        self._file.seek(first * self._row)
        count = max(0, last - first)
        return np.fromfile(self._file, self.dtype, count * self.shape[1]).reshape(count, self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows."""
        return np.asarray(self[:], dtype)


def memory_mapped(arrays: Iterable[np.ndarray], folder: Path) -> list[np.ndarray]:
    """Write arrays to one unnamed file in a folder, and return them as views of it, which the system reads as needed.

    The file is gone when the last of the views is. Only one of the arrays has to be in memory at a time.

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.
    """
    places: list[tuple[int, tuple[int, ...], np.dtype]] = []
    with _disk_error(folder), tempfile.TemporaryFile(dir=folder, prefix=".") as file:
        for array in arrays:
            places.append((file.tell(), array.shape, array.dtype))
            np.ascontiguousarray(array).tofile(file)
            file.write(bytes(-file.tell() % 64))
        file.flush()
        if not file.tell():
            return [np.empty(shape, dtype) for _, shape, dtype in places]
        whole = np.memmap(file, np.uint8, mode="c")  # copied where it is written to: the file stays as it is
    views = []
    for start, shape, dtype in places:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        views.append(np.asarray(whole[start : start + size]).view(dtype).reshape(shape))
    return views
