"""Whole files or none: write beside the target, then rename."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_metastructure.errors import InputError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would be larger than this system allows; choose another folder",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def cannot_write(path: Path, error: OSError) -> InputError:
    """One sentence for an `OSError` met while writing ``path``."""
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
    return InputError(f"Cannot write {path}: {advice}.")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a new file's path beside ``path``; rename it to ``path`` if the block ends well, else delete it.

    Parameters
    ----------
    path : str or Path
        The file to make. What was there before stays whole until the new one is.

    Yields
    ------
    Path
        An empty file in the same folder.

    Raises
    ------
    InputError
        Where the folder is missing or not writable, or the disk is full.
    """
    target = Path(path)
    # A short hidden name: it must fit wherever the target's does, and a folder listing leaves it out.
    beside = target.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # Made here, and not by tempfile, so that it gets the permissions any new file of the user gets.
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield beside
        os.replace(beside, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
