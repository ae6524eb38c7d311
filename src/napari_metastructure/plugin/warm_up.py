"""Load in the background what a first run would otherwise load while the user waits and watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from superqt.utils import create_worker

from napari_metastructure.plugin.two_llvms import keep_triton_out

if TYPE_CHECKING:
    from napari_metastructure.networks.device import Device


def warm_up_in_background(returned: Callable[[list[Device]], None]) -> None:
    """Start `warm_up` in a thread; ``returned`` is called with the devices in the main thread, which calls this."""
    import pint

    # napari asks it with the first layer; asked by two threads at once for the first time, it fails in one of them.
    _ = pint.get_application_registry().pixel
    worker = create_worker(warm_up)
    worker.returned.connect(returned)
    worker.start()


def warm_up() -> list[Device]:
    """Import the engine and what napari and torch import late; for a background thread.

    Returns
    -------
    list of Device
        What this machine can run on.
    """
    import numpy as np
    from napari.layers import Labels

    Labels(np.zeros((1, 1, 1), np.uint8))  # pandas and a colormap: a quarter of a second at the first Run
    keep_triton_out()
    import torch

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # torch's compiler, looked for by the first optimiser
    import napari_metastructure.igtt.iterate  # noqa: F401
    from napari_metastructure.networks.device import list_devices

    return list_devices()
