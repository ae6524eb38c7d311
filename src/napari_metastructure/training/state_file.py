"""Files with the state of a run (``last.pt``): written whole, and read only if they are whole and without code."""

import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

import psutil

from napari_metastructure.errors import InputError
from napari_metastructure.images.writing import replacing

FORMAT = "napari-metastructure-state/2"

_NAMES = {
    *("collections OrderedDict", "torch._utils _rebuild_tensor_v2"),
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char")),
    *("torch ByteStorage", "torch BoolStorage"),
}
"""All that a state of ours is made of; torch itself would take more, bytearrays of any size among it."""


def write_state(path: Path, state: dict[str, Any]) -> Path:
    """Write a state of tensors, texts and numbers, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import torch

    with replacing(path) as beside, beside.open("wb") as file:
        out: Any = _Writer(file)
        try:
            torch.save({"format": FORMAT, **state}, out)
        except Exception:
            if out.error is not None:
                raise out.error from None
            raise
    return path


class _Writer:
    """A file that remembers why it could not be written to: torch hides a full disk in an error of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def read_state(path: Path) -> dict[str, Any]:
    """Read it back into main memory, whatever device it is of, if its checksums are right.

    Raises
    ------
    InputError
        Missing, damaged, or written by another program or version.
    """
    import torch

    if not path.is_file():
        raise InputError(f"There is nothing to resume in {path.parent}: it holds no {path.name}; start a new run.")
    try:
        _check(path)
        large = path.stat().st_size > psutil.virtual_memory().available / 2
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=large)
    except Exception as error:  # torch and zipfile raise many kinds for a broken file
        raise damaged(path) from error
    if not isinstance(state, dict) or not str(state.get("format")).startswith("napari-metastructure-"):
        raise damaged(path)
    if state["format"] != FORMAT:
        raise InputError(f"{path} is of another version of this program; start a new run in another folder.")
    return state


def damaged(path: Path) -> InputError:
    """Make the sentence for a file that cannot be gone on from."""
    return InputError(f"{path} is damaged or of another program; start a new run in another folder.")


def _check(path: Path) -> None:
    """Compare the checksums of all parts, which torch does not, and see that they ask for no more than they hold."""
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        stored = all(part.compress_type == zipfile.ZIP_STORED and not part.flag_bits & 1 for part in parts)
        if not stored or sum(part.file_size for part in parts) > path.stat().st_size or file.testzip() is not None:
            raise ValueError
        pickles = [part for part in parts if part.filename.endswith("/data.pkl")]
        for code, argument, _ in pickletools.genops(file.read(pickles[0])):
            if (code.name in ("GLOBAL", "INST") and argument not in _NAMES) or code.name == "STACK_GLOBAL":
                raise ValueError(argument)
