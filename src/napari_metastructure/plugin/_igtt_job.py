"""The job of an iGTT run on image layers, for a thread."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.plugin._job_widget import Job
from napari_metastructure.plugin._source import ColourTaken, Source, colour_of, read_planes
from napari_metastructure.plugin._worker import torch_beside_a_window, wait_for
from napari_metastructure.training.control import Control
from napari_metastructure.training.events import Event


def igtt_job(
    sources: Sequence[Source],
    chosen: Chosen,
    planes: list[np.ndarray] | None,
    config: IGTTConfig,
    ready: threading.Event,
    given: Mapping[str, Any],
) -> Job:
    """Make the job of a run, which begins once ``ready`` is set.

    Parameters
    ----------
    sources : sequence of Source
    chosen : Chosen
        Of RGB layers the channel; of which planes the sources are, for ``run.yaml``.
    planes : list of (Y, X) arrays, or None
        Their checked pixels; None: they are read and checked in the thread.
    config : IGTTConfig
    ready : threading.Event
    given : mapping
        Further arguments of `iterate`.
    """

    def job(control: Control) -> Iterator[Event | ColourTaken]:
        wait_for(ready, control)
        torch_beside_a_window()
        from napari_metastructure.igtt.iterate import iterate
        from napari_metastructure.images.channels import COLOURS

        names = [name for source in sources for name in source.names()]
        colour = next((c for c in COLOURS if c == chosen.channel), None) if chosen.channel else colour_of(sources)
        if colour is not None and not chosen.channel:
            yield ColourTaken(colour)
        images = read_planes(sources, chosen.channel or colour, lazily=True) if planes is None else planes
        paths = [Path(path) for source in sources if (path := source.layer.source.path)]
        files = [path for path in paths if path.is_file()]
        more = {"colour": colour, "chosen": chosen, **given}
        yield from iterate(images, config, control, names=names, inputs=files, **more)

    return job
