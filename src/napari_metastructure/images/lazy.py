"""Large images: pixels read where they are asked for, in windows; statistics gathered row by row."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError

LARGE_BYTES = 2**26
"""Pixels in a file that take more are read where they are needed; the results are written as they come."""

ROWS = 256
"""Rows at a time where a plane is looked through."""


def is_lazy(array: Any) -> bool:
    """Test whether pixels are not in memory: those of `Source`, `Plane`, dask, zarr and the like."""
    return not isinstance(array, np.ndarray)


class _Pixels:
    """Size and data type of pixels that are not in memory, named as NumPy does."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels, of all channels."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return self.size * self.dtype.itemsize


class Source(_Pixels):
    """The pixels of a file, read where they are asked for.

    Parameters
    ----------
    path : Path
        What messages call it.
    shape : sequence of int
    dtype : numpy.dtype
    read : callable
        Given a slice for each axis it returns these pixels.
    """

    def __init__(
        self, path: Path, shape: Sequence[int], dtype: Any, read: Callable[[tuple[slice, ...]], np.ndarray]
    ) -> None:
        self.path, self.shape, self.dtype, self._read = path, tuple(map(int, shape)), np.dtype(dtype), read
        self.dtype = self.dtype.newbyteorder("=")

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read pixels, by slices of step one, numbers and ``...``.

        Raises
        ------
        InputError
            Where the file is damaged, or no longer there.
        """
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = (*key[:at], *[slice(None)] * (self.ndim - len(key) + 1), *key[at + 1 :])
        key = (*key, *[slice(None)] * (self.ndim - len(key)))
        slices = [
            slice(*k.indices(n)) if isinstance(k, slice) else slice(int(k) % n, int(k) % n + 1)
            for k, n in zip(key, self.shape, strict=True)
        ]
        try:
            found = np.asarray(self._read(tuple(slices)))
        except (InputError, MemoryError):
            raise
        except FileNotFoundError as error:
            raise gone(self.path) from error
        except Exception as error:  # decoders raise whatever they meet
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise InputError(f"{self.path} is damaged or cut short ({reason}); copy or export it again.") from error
        numbered = tuple(0 if not isinstance(k, slice) else slice(None) for k in key)
        return found.astype(self.dtype, copy=False)[numbered]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all pixels."""
        return np.asarray(self[...], dtype)

    def reshape(self, shape: Sequence[int]) -> "Source":
        """Leave out axes of length one, as many as the new shape lacks."""
        shape = tuple(shape)
        kept = [i for i, n in enumerate(self.shape) if n > 1]
        ones = [i for i, n in enumerate(self.shape) if n == 1]
        kept = sorted(kept + ones[: len(shape) - len(kept)])
        if tuple(self.shape[i] for i in kept) != shape:
            raise ValueError(f"{self.shape} cannot be read as {shape}")

        def read(slices: tuple[slice, ...]) -> np.ndarray:
            every = [slice(0, 1)] * self.ndim
            for i, own in zip(kept, slices, strict=True):
                every[i] = own
            return self[tuple(every)].reshape([own.stop - own.start for own in slices])

        return Source(self.path, shape, self.dtype, read)


def gone(path: Path) -> InputError:
    """Make the sentence for a file that vanished while it was read."""
    return InputError(f"{path} is no longer there, or parts of it are not; a run needs its images until it ends.")


class Plane(_Pixels):
    """A (Y, X) or (C, Y, X) plane given by what reads a window of it.

    ``plane[first:last]`` and ``plane[first:last, left:right]`` are arrays of these rows and columns, of all channels.

    Parameters
    ----------
    shape : sequence of int
    dtype : numpy.dtype
    read : callable
        ``read(rows, columns)``, both slices of step one inside the plane.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, read: Callable[[slice, slice], np.ndarray]) -> None:
        self.shape, self.dtype, self._read = tuple(map(int, shape)), np.dtype(dtype), read

    def __len__(self) -> int:
        return self.shape[-2]

    def __getitem__(self, key: slice | tuple[slice, slice]) -> np.ndarray:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        first, last, _ = rows.indices(self.shape[-2])
        left, right, _ = columns.indices(self.shape[-1])
        return np.asarray(self._read(slice(first, max(first, last)), slice(left, max(left, right))))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read the whole plane."""
        return np.asarray(self[:], dtype)

    def channel(self, index: int) -> "Plane":
        """Return one channel of a (C, Y, X) plane."""
        return Plane(self.shape[1:], self.dtype, lambda rows, columns: self._read(rows, columns)[index])

    def map(self, change: Callable[[np.ndarray], np.ndarray], dtype: Any) -> "Plane":
        """Return a plane that is changed, pixel by pixel, where it is read."""
        return Plane(self.shape, dtype, lambda rows, columns: change(self._read(rows, columns)))


def as_plane(pixels: Any) -> Plane:
    """Return a (Y, X) or (C, Y, X) array of any kind as a `Plane`."""
    if isinstance(pixels, Plane):
        return pixels
    return Plane(pixels.shape, pixels.dtype, lambda rows, columns: computed(pixels[..., rows, columns]))


def opened(pixels: Any) -> np.ndarray | Plane:
    """Return pixels as an array if they are in memory or small, else as a `Plane` that is read in windows."""
    return as_plane(pixels) if is_large(pixels) else computed(pixels)


def is_large(pixels: Any) -> bool:
    """Test whether pixels are lazy and take more than `LARGE_BYTES`."""
    size = float(np.prod(pixels.shape, dtype=float)) * np.dtype(pixels.dtype).itemsize
    return is_lazy(pixels) and size > LARGE_BYTES


def computed(array: Any) -> np.ndarray:
    """Return a lazy array's pixels; dask computes them here, whatever cluster may be connected."""
    return np.asarray(array.compute(scheduler="threads") if hasattr(array, "compute") else array)


def row_blocks(plane: Any, rows: int = ROWS) -> Iterator[np.ndarray]:
    """Yield a plane from top to bottom, some rows at a time."""
    for first in range(0, plane.shape[-2], rows):
        yield np.asarray(
            plane[..., first : first + rows, :] if isinstance(plane, np.ndarray) else plane[first : first + rows]
        )


def thinned(plane: Any, step: int) -> np.ndarray:
    """Take every ``step``-th pixel of a (Y, X) plane along both axes."""
    if isinstance(plane, np.ndarray):
        return plane[::step, ::step]
    rows = step * max(1, ROWS // step)
    return np.concatenate([block[::step, ::step] for block in row_blocks(plane, rows)])


# ---- Statistics, of whole planes and exact, in memory that does not grow with them ---------------------------------


def value_range(plane: Any) -> tuple[float, float]:
    """Find the least and the greatest value of a plane without NaN."""
    if isinstance(plane, np.ndarray):
        return float(plane.min()), float(plane.max())
    ends = [(block.min(), block.max()) for block in row_blocks(plane)]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def percentiles(plane: Any, wanted: Sequence[float]) -> list[float]:
    """Find percentiles of a finite plane, as `numpy.percentile` does.

    Of a lazy plane they are found in two passes that count the upper and then the lower 16 bits of its values, which
    are put in the order of whole numbers: no copy is sorted.
    """
    if isinstance(plane, np.ndarray):
        return [float(p) for p in np.percentile(plane, wanted)]
    exact = [(plane.size - 1) * q / 100 for q in wanted]
    ranks = sorted({rank for at in exact for rank in (int(at), min(int(at) + 1, plane.size - 1))})
    values = dict(zip(ranks, _ranked(plane, ranks), strict=True))
    found = []
    for at in exact:
        low, high = values[int(at)], values[min(int(at) + 1, plane.size - 1)]
        found.append(float(np.percentile(np.array([low, high]), 100 * (at - int(at)))))
    return found


def _ranked(plane: Any, ranks: Sequence[int]) -> list[Any]:
    """Find the values at these places of the sorted pixels."""
    upper = np.zeros(2**16, np.int64)
    for block in row_blocks(plane):
        upper += np.bincount((_ordered(block) >> 16).ravel(), minlength=2**16)
    ends = upper.cumsum()
    tops = [int(np.searchsorted(ends, rank, side="right")) for rank in ranks]
    lower = {top: np.zeros(2**16, np.int64) for top in tops}
    for block in row_blocks(plane):
        ordered = _ordered(block).ravel()
        heads = ordered >> 16
        for top, counts in lower.items():
            counts += np.bincount((ordered[heads == top] & 0xFFFF).astype(np.intp), minlength=2**16)
    found = []
    for rank, top in zip(ranks, tops, strict=True):
        left = rank - (ends[top] - upper[top])
        low = int(np.searchsorted(lower[top].cumsum(), left, side="right"))
        found.append(_value_of((top << 16) + low, plane.dtype))
    return found


_SIGN = np.uint32(1 << 31)


def _ordered(block: np.ndarray) -> np.ndarray:
    """Map values of 32 bits at most to uint32 in their order."""
    if block.dtype.kind in "bu":
        return block.astype(np.uint32)
    if block.dtype.kind == "i":
        return block.astype(np.int32).view(np.uint32) ^ _SIGN
    bits = np.ascontiguousarray(block, np.float32).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value_of(ordered: int, dtype: np.dtype) -> Any:
    """Return the value that `_ordered` maps to a number."""
    bits = np.array(ordered, np.uint32)
    if dtype.kind in "bu":
        return float(bits)
    if dtype.kind == "i":
        return float((bits ^ _SIGN).view(np.int32))
    return (bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float32)[()]
