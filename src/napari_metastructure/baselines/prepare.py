"""What is compared, checked before anything is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.baselines.methods import METHODS, Task
from napari_metastructure.baselines.supervised import check_groups, frame_of
from napari_metastructure.errors import InputError
from napari_metastructure.images.checks import check_plane
from napari_metastructure.images.intensity import Polarity, orient
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.training.control import Control
from napari_metastructure.training.pairs import check_same_size


def prepare(
    images: Sequence[np.ndarray],
    config: CompareConfig,
    control: Control,
    masks: Sequence[np.ndarray] | None,
    names: Sequence[str] | None,
    groups: Sequence[str] | None,
) -> tuple[Task, Polarity]:
    """The task of the first repeat, and the polarity in force; parameters and errors as `compare.compare`."""
    from napari_metastructure.igtt.polarity import settle

    if not len(images):
        raise InputError("There is no image to compare methods on; give at least one.")
    names = tuple(names) if names is not None else tuple(f"image {i + 1}" for i in range(len(images)))
    planes = [check_plane(image, name) for image, name in zip(images, names, strict=True)]
    groups = tuple(groups) if groups is not None else tuple(map(frame_of, names))
    truths = None if masks is None else _truths(masks, planes, names)
    if supervised := [METHODS[name].title for name in config.methods if METHODS[name].needs_masks]:
        if truths is None:
            raise InputError(f"{supervised[0]} is trained on masks; give masks of the images, or leave it out.")
        check_groups(groups)
    device = _device(config)
    objects = settle(planes) if config.objects == "auto" else config.objects
    oriented = tuple(orient(plane, objects) for plane in planes)
    return Task(oriented, truths, groups, names, config.seed, device, control, config), objects


def warm_up(task: Task) -> None:
    """Load the libraries the methods need, so that neither time nor memory of the first one counts them.

    Raises
    ------
    InputError
        If a library does not load, or the supervised networks cannot be built.
    """
    from napari_metastructure.baselines import thresholds  # noqa: F401 - skimage and scipy

    if not _needs_torch(task.config):
        return
    import torch

    from napari_metastructure.igtt import iterate  # noqa: F401
    from napari_metastructure.networks.build import ENCODERS, NetworkSpec, build

    for name in task.config.methods:
        if METHODS[name].needs_masks:
            encoder = task.config.train.encoder or ENCODERS[name]
            build(NetworkSpec.model_validate({"architecture": name, "encoder": encoder}), 0)
    pixels = torch.zeros(1, 1, 32, 32, device=task.device)
    torch.nn.Conv2d(1, 1, 3, device=task.device)(pixels).sum().backward()


def _truths(masks: Sequence[np.ndarray], planes: Sequence[np.ndarray], names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Ground truth as bool, or as uint8 of 0, 1 and 255 where some pixels are unlabelled."""
    if len(masks) != len(planes):
        raise InputError(f"There are {len(planes)} images and {len(masks)} masks; give one for each.")
    masks = [np.asarray(mask) for mask in masks]
    for mask, plane, name in zip(masks, planes, names, strict=True):
        check_same_size(name, plane.shape, mask.shape)
        if mask.dtype.kind not in "bui":
            raise InputError(f"The mask of {name} holds numbers of type {mask.dtype}; give integers or booleans.")
    values = set().union(*(np.unique(mask).tolist() for mask in masks if mask.dtype != bool))
    if {1, UNLABELLED} <= values <= {0, 1, UNLABELLED}:
        return tuple(mask if mask.dtype == bool else mask.astype(np.uint8) for mask in masks)
    return tuple(mask > 0 for mask in masks)


def _needs_torch(config: CompareConfig) -> bool:
    return any(METHODS[name].torch for name in config.methods)


def _device(config: CompareConfig) -> str:
    """The device in force; torch is not asked where no method needs it."""
    if not _needs_torch(config):
        return "cpu"
    from napari_metastructure.networks.device import resolve

    return str(resolve(config.device))
