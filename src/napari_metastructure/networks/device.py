"""Which devices there are, and which one a run takes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from napari_metastructure.errors import InputError


@dataclass(frozen=True, slots=True)
class Device:
    """One place to run on: its torch ``id``, its ``name``, and its free memory in bytes (None if unknown)."""

    id: str
    name: str
    free_bytes: int | None


def list_devices() -> list[Device]:
    """All devices torch can use, the fastest first; the CPU is always the last."""
    found = [
        Device(f"cuda:{i}", torch.cuda.get_device_name(i), torch.cuda.mem_get_info(i)[0])
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU (Metal)", None))
    return [*found, Device("cpu", "CPU", _free_memory())]


def resolve(device: str) -> torch.device:
    """The torch device a choice stands for.

    Parameters
    ----------
    device : str
        ``auto`` (the first of `list_devices`), ``cpu``, ``cuda``, ``cuda:i`` or ``mps``.

    Raises
    ------
    InputError
        If this machine or this build of torch does not have it.
    """
    available = [d.id for d in list_devices()]
    if device == "auto":
        return torch.device(available[0])
    wanted = "cuda:0" if device == "cuda" else device
    if wanted not in available:
        raise InputError(
            f"Device {device!r} is not available here; choose auto or one of {', '.join(available)} "
            "(`metastructure doctor` says why a GPU is missing)."
        )
    return torch.device(wanted)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context a forward pass runs in: half precision on CUDA, where it pays; nothing elsewhere."""
    return torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext()


def release(device: torch.device) -> None:
    """Give unused memory of an accelerator back to other programs."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch means that memory ran out; the CPU and Metal raise no type of their own."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


def _free_memory() -> int | None:
    """Free main memory in bytes, where the system tells it."""
    try:
        import psutil  # napari brings it
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)
