"""Keep the process alive where Mesa draws napari's canvas and torch would load triton."""

from __future__ import annotations

import sys
from pathlib import Path


def keep_triton_out() -> bool:
    """Tell Python that triton is not installed, if importing it would end the process.

    On Linux, OpenGL drivers of Mesa (llvmpipe: remote desktops, containers, virtual machines; some AMD ones) load
    LLVM; triton brings an LLVM of its own, and importing it after the first is a segmentation fault. torch imports it
    with the first optimiser, only to look whether it is there. It is needed for `torch.compile` alone, which this
    package does not use. So where Mesa's LLVM is loaded already and triton is not, it stays out.

    Returns
    -------
    bool
        Whether triton is kept out.
    """
    if "triton" not in sys.modules and _mesa_llvm_is_loaded():
        sys.modules["triton"] = None  # type: ignore[assignment] # Python's own sign for "cannot be imported"
    return sys.modules.get("triton", ...) is None


def _mesa_llvm_is_loaded(maps: Path = Path("/proc/self/maps")) -> bool:
    """Whether a shared libLLVM, or a driver that holds one, is mapped into this process (Linux only)."""
    try:
        loaded = maps.read_text()
    except OSError:
        return False
    return any(library in loaded for library in ("libLLVM", "swrast_dri", "libgallium"))
