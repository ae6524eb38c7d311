"""What the background thread of a run does: torch beside a window, and iGTT from layers to events."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_metastructure.plugin.sources import ColourTaken, Source, colour_of
from napari_metastructure.plugin.two_llvms import keep_triton_out

if TYPE_CHECKING:
    import numpy as np

    from napari_metastructure.igtt.config import IGTTConfig
    from napari_metastructure.images.channels import Colour
    from napari_metastructure.training.control import Control
    from napari_metastructure.training.events import Event

OFTEN_ENOUGH_S = 0.05
"""Progress comes no more often than this."""


def torch_beside_a_window() -> None:
    """Import torch so that it gets on with napari's canvas, and leave a core to the window."""
    keep_triton_out()
    import torch

    # torch's threads wait for one another, and the slowest is the one Qt disturbs.
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1)))


def read_at_once(sources: Sequence[Source]) -> list[np.ndarray] | None:
    """`read_planes`, or None where that would take long: much to read, or a colour to choose."""
    quick = all(source.eager and not source.layer.rgb for source in sources)
    return read_planes(sources) if quick else None


def read_planes(sources: Sequence[Source], colour: Colour | None = None) -> list[np.ndarray]:
    """Every source's checked planes, one after the other; of RGB layers that colour, or their luminance."""
    return [plane for source in sources for plane in source.planes(colour)]


def now_and_then(events: Iterable[Any], minor: Callable[[Any], bool]) -> Iterator[Any]:
    """Leave out minor events that come faster than anyone can see; all others pass."""
    last = -OFTEN_ENOUGH_S
    for event in events:
        if minor(event):
            now = time.perf_counter()
            if now - last < OFTEN_ENOUGH_S:
                continue
            last = now
        yield event


def igtt_job(
    sources: Sequence[Source],
    planes: list[np.ndarray] | None,
    config: IGTTConfig,
    control: Control,
    given: dict[str, Any],
    ready: threading.Event,
) -> Callable[[], Iterator[Event | ColourTaken]]:
    """What the thread does, once ``ready`` is set; planes that were not read yet are read (and checked) there."""

    def job() -> Iterator[Event | ColourTaken]:
        while not (ready.wait(0.05) or control.stopped):  # who could set it may have been closed
            pass
        torch_beside_a_window()
        from napari_metastructure.igtt.iterate import iterate

        names = [name for source in sources for name in source.names()]
        colour = colour_of(sources)
        if colour is not None:
            yield ColourTaken(colour)
        images = read_planes(sources, colour) if planes is None else planes
        paths = [Path(path) for source in sources if (path := source.layer.source.path)]
        files = [path for path in paths if path.is_file()]
        yield from iterate(images, config, control, names=names, inputs=files, colour=colour, **given)

    return job
