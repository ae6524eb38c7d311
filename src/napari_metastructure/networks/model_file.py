"""Models on disk: weights without code (safetensors), with all that is needed to use them."""

import hashlib
import os
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from napari_metastructure.errors import InputError, explain
from napari_metastructure.images.channels import Colour
from napari_metastructure.images.intensity import Inputs, Polarity, channels_of
from napari_metastructure.images.writing import replacing
from napari_metastructure.labels import UNLABELLED
from napari_metastructure.networks.build import MOST_CHANNELS, NetworkSpec, build

LARGEST_TILE = 4096
"""Pixels a side: what the settings of runs allow."""

FORMAT = "napari-metastructure/1"


class Use(BaseModel):
    """Facts needed to apply a network to an image, stored beside its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: Inputs = Field(description="How intensities are normalised.")
    objects: Polarity = Field("bright", description="Images with dark objects are turned around first.")
    patch: tuple[int, int] = Field(description="Height and width the network was trained at.")
    channels: int = Field(1, ge=1, le=MOST_CHANNELS, description="Channels of an image.")
    classes: tuple[int, ...] = Field(
        (0, 1), min_length=2, max_length=255, description="Label values by channel of the output."
    )
    signed: bool = Field(
        True,
        description="False after eq. (6) alone, which knows no sign: what falls as the image rises is turned around.",
    )
    cut: Literal["half", "level", "edge", "correlation", "dmi", "iou", "bce"] = Field(
        "half", description="Labels are cut at one half (the likeliest class), or where iGTT's criterion says."
    )
    colour: Colour | None = Field(
        None, description="Channel of colour images it was trained on; of others there is nothing to choose."
    )
    surround: bool = Field(
        False,
        description="Hot pixels and dead lines are replaced first (images.defects), and what lies outside a field of "
        "view is filled and is background (images.surround).",
    )


def save_model(path: Path, network: nn.Module, spec: NetworkSpec, use: Use) -> Path:
    """Write weights, network and how to feed it into one ``.safetensors`` file, whole or not at all."""
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    facts = {"format": FORMAT, "network": spec.model_dump_json(), "use": use.model_dump_json()}
    facts["sha256"] = _checksum(facts, state)
    with replacing(path) as beside:
        beside.write_bytes(save(state, metadata=facts))  # its own file writer makes files only the owner may read
    return path


def check_description(spec: NetworkSpec, use: Use, path: Path) -> None:
    """Refuse a description that contradicts itself, as of a damaged or home-made file.

    Raises
    ------
    InputError
        It names the file.
    """
    binary = len(use.classes) == 2
    logits, inputs = 1 if binary else len(use.classes), channels_of(use.inputs, use.channels)
    why = ""
    if spec.classes != logits:
        why = f"{len(use.classes)} classes but {spec.classes} outputs"
    elif spec.in_channels != inputs:
        why = f"{inputs} inputs are made of an image but the network has {spec.in_channels}"
    elif list(use.classes) != sorted(set(use.classes)) or not 0 <= use.classes[0] <= use.classes[-1] < UNLABELLED:
        why = f"classes {use.classes} are no ascending values from 0 to {UNLABELLED - 1}"
    elif not all(0 < side <= LARGEST_TILE and side % 32 == 0 for side in use.patch):
        why = f"tiles of {use.patch[0]} x {use.patch[1]} pixels"
    elif use.cut != "half" and not binary:
        why = f"a cut by {use.cut} of more than two classes"
    elif use.colour is not None and use.channels > 1:
        why = f"a single colour of {use.channels} channels"
    elif use.surround and (use.channels > 1 or not binary):
        why = "a field of view of more than one channel or two classes"
    if why:
        raise InputError(f"{path} contradicts itself ({why}), so it cannot be used; save the model again.")


_OTHER = "{} is no model of this program; choose a model.safetensors of a run folder."


def load_model(path: Path) -> tuple[nn.Module, NetworkSpec, Use]:
    """Read what `save_model` wrote; runs no code from the file, and asks no other computer for anything.

    Returns
    -------
    network : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : NetworkSpec
    use : Use

    Raises
    ------
    InputError
        Missing, damaged, or written by another program.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != FORMAT:
                raise InputError(_OTHER.format(path))
            spec = NetworkSpec.model_validate_json(facts["network"])
            use = Use.model_validate_json(facts["use"])
            check_description(spec, use, path)
            names = list(file.keys())
            found = {k: tuple(file.get_slice(k).get_shape()) for k in names}
            if (expected := _shapes(spec)) is not None and found != expected:  # before memory is taken for either
                raise _Damaged("its weights are not those of the network it names")
            state = {k: file.get_tensor(k) for k in names}
        if facts.get("sha256", now := _checksum(facts, state)) != now:  # older files have none
            raise _Damaged("its checksum is not that of its weights")
        try:
            network = build(spec, seed=0)
        except InputError as error:
            raise InputError(f"{path} cannot be used: {error}") from error
        network.load_state_dict(state)
    except InputError:
        raise
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, _Damaged) as error:
        if os.path.exists(path) and not os.access(path, os.R_OK):  # for which safetensors has other words
            raise InputError(f"No permission to read {path}; change its permissions or copy it.") from error
        match error:
            case SafetensorError() if Path(path).suffix != ".safetensors":  # another file of a run, or an image
                raise InputError(_OTHER.format(path)) from error
            case ValidationError():
                why = explain(error, NetworkSpec if error.title == "NetworkSpec" else Use, lambda name: name)
            case OSError():
                why = error.strerror or type(error).__name__
            case RuntimeError():
                why = "its weights do not fit the network it names"
            case _:
                why = f"{error}".splitlines()[0][:120]
        raise InputError(
            f"{path} cannot be read as a model ({why.removesuffix('.')}); it is damaged or incomplete: save it again."
        ) from error
    return network.eval(), spec, use


class _Damaged(Exception):
    """Raised for a file that is not a whole model, with the reason."""


def _shapes(spec: NetworkSpec) -> dict[str, tuple[int, ...]] | None:
    """Give the shapes of a network's weights, for which no memory is taken; None where it has to be built to know."""
    try:
        with torch.device("meta"):
            return {k: tuple(v.shape) for k, v in build(spec, seed=0).state_dict().items()}
    except InputError:  # an encoder that is none, or one that computes with numbers while it is built
        return None


def _checksum(facts: dict[str, str], state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256((facts["network"] + facts["use"]).encode())
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype}".encode())
        digest.update(state[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
