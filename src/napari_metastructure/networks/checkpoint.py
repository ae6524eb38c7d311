"""Models on disk: weights without code (safetensors), with all that is needed to use them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from napari_metastructure.errors import InputError
from napari_metastructure.images.channels import Colour
from napari_metastructure.images.intensity import Inputs, Polarity
from napari_metastructure.images.writing import replacing
from napari_metastructure.networks.build import NetworkSpec, build

FORMAT = "napari-metastructure/1"


class Use(BaseModel):
    """What applying a network to an image takes, stored beside its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: Inputs = Field(description="How intensities are normalised.")
    objects: Polarity = Field("bright", description="Images with dark objects are turned around first.")
    patch: tuple[int, int] = Field(description="Height and width the network was trained at.")
    channels: int = Field(1, ge=1, description="Channels of an image.")
    classes: tuple[int, ...] = Field((0, 1), min_length=2, description="Label values by channel of the output.")
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
        False, description="What lies outside a field of view is filled first, and is background (images.surround)."
    )


def save_model(path: Path, network: nn.Module, spec: NetworkSpec, use: Use) -> Path:
    """Write weights, network and how to feed it into one ``.safetensors`` file, whole or not at all."""
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    facts = {"format": FORMAT, "network": spec.model_dump_json(), "use": use.model_dump_json()}
    with replacing(path) as beside:
        beside.write_bytes(save(state, metadata=facts))  # its own file writer makes files only the owner may read
    return path


def load_model(path: Path) -> tuple[nn.Module, NetworkSpec, Use]:
    """Read what `save_model` wrote; runs no code from the file.

    Returns
    -------
    network : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : NetworkSpec
    use : Use

    Raises
    ------
    InputError
        Missing, truncated, or written by another program.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != FORMAT:
                raise InputError(f"{path} is no model of this program; choose a model.safetensors of a run folder.")
            state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
        spec = NetworkSpec.model_validate_json(facts["network"])
        use = Use.model_validate_json(facts["use"])
        network = build(spec, seed=0)
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as a model ({error}); it may be incomplete: save it again.") from error
    return network.eval(), spec, use
