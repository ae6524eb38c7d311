"""Compute devices: list, choice, memory layout, mixed precision, copies to and from them."""

import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import psutil
import torch
from torch import Tensor, nn

from napari_metastructure.errors import InputError, RunFailed

SHARE = 4
"""Data stay on an accelerator if they take no more than one part in so many of its free memory."""

UNKNOWN_BYTES = 2 * 2**30
"""What may stay on an accelerator that does not say how much memory is free."""

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Device:
    """One place to run on: its torch ``id``, its ``name``, and its free memory in bytes (None if unknown)."""

    id: str
    name: str
    free_bytes: int | None


def list_devices() -> list[Device]:
    """List all devices torch can use, the fastest first; the CPU is always the last."""
    found = [
        Device(f"cuda:{i}", torch.cuda.get_device_name(i), torch.cuda.mem_get_info(i)[0])
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU (Metal)", None))
    return [*found, Device("cpu", "CPU", int(psutil.virtual_memory().available))]


def resolve(device: str) -> torch.device:
    """Return the torch device a choice stands for.

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


# ---- How networks run -----------------------------------------------------------------------------------


def place(network: _Network, device: torch.device) -> _Network:
    """Move a network to a device, in the memory layout that its layers take there without copies."""
    return network.to(memory_format=layout(network, device)).to(device)  # type: ignore[call-overload, no-any-return]


def layout(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the memory layout of a network's weights: channels last, except for group normalisation on CUDA.

    CUDA's group normalisation copies channels-last images to the other layout, and the next convolution would copy
    them back.
    """
    grouped = any(isinstance(module, nn.GroupNorm) for module in network.modules())
    return torch.contiguous_format if grouped and device.type == "cuda" else torch.channels_last


def mixed_precision(device: torch.device, training: bool = False) -> AbstractContextManager[object]:
    """Return the context of a forward pass: half precision on CUDA, where it pays; nothing elsewhere.

    Training takes bfloat16 where the card has it, whose range needs no `scaler`. Prediction takes float16: it rounds
    eight times less, and there is no gradient that could leave its range. On CPUs results stay those of single
    precision, the same on all of them.
    """
    if device.type != "cuda":
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16 if training and _has_bfloat16(device) else torch.float16)


def scaler(device: torch.device) -> torch.amp.GradScaler:
    """Return a scaler of gradients; it does nothing but where `mixed_precision` trains in float16."""
    return torch.amp.GradScaler(device.type, enabled=device.type == "cuda" and not _has_bfloat16(device))


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a CUDA card computes in bfloat16 itself (Ampere and later); older ones only emulate it."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global random numbers, of the CPU and of a CUDA device, and put them back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


# ---- What travels ---------------------------------------------------------------------------------------


def data_device(device: torch.device, size: int) -> torch.device:
    """Return where so many bytes of data stay during a run: the device, or the CPU if they are too many for it."""
    room = torch.cuda.mem_get_info(device)[0] // SHARE if device.type == "cuda" else UNKNOWN_BYTES
    return device if device.type == "cpu" or size <= room else torch.device("cpu")


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; from main memory to CUDA through pinned memory, without waiting for it."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Download:
    """A copy of a tensor on its way to main memory, while its device goes on working.

    Parameters
    ----------
    tensor : Tensor
        On any device; on the CPU it is not copied.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if tensor.device.type != "cuda":
            self._copy = tensor.cpu()
            return
        self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._copy.copy_(tensor, non_blocking=True)
        self._arrived = torch.cuda.current_stream(tensor.device).record_event()

    def get(self) -> Tensor:
        """Wait until it has arrived, and return it; what the device was given since is not waited for."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copy


# ---- Memory ---------------------------------------------------------------------------------------------


def release(device: torch.device) -> None:
    """Give unused memory of an accelerator back to other programs."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def release_all(holder: object) -> None:
    """Forget all that an object holds, tensors among it, and `release` the memory of its ``device``."""
    device = holder.__dict__.get("device")
    holder.__dict__.clear()
    if device is not None:
        release(device)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch means that memory ran out; the CPU and Metal raise no type of their own."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


@contextmanager
def short_of_memory_fails() -> Iterator[None]:
    """Turn an out-of-memory error of torch that no smaller batch has mended into a `RunFailed`."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise RunFailed(
            "Out of memory; close other programs, or choose a smaller batch size, patch size or network, or device cpu."
        ) from None


def clear_frames(error: BaseException) -> None:
    """Clear the local variables of the calls that an error has come through: they hold tensors as long as it lives."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (cause := waiting.pop()) is None or cause in seen:
            continue
        traceback.clear_frames(cause.__traceback__)
        seen.append(cause)
        waiting += [cause.__cause__, cause.__context__]
