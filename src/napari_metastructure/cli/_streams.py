"""Standard streams that no letter and no full disk breaks: what is printed must not end a run."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def harden() -> None:
    """Let the standard streams write letters that their encoding lacks as codes, and go on where they cannot write."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):  # none where the program was started without
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, _Stream(stream))


class _Stream:
    """A text stream whose text is dropped once it cannot be written, as on a full disk."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._kept():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._kept():
            self._stream.flush()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # nobody reads on, as after "| head": that ends the command
            raise
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())  # what is still buffered goes there too
            os.close(null)
            print(f"Warning: the output cannot be written ({error.strerror}) and is left out.", file=sys.stderr)
