"""Models on disk: weights without code (safetensors), with all that is needed to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from napari_metastructure.errors import InputError
from napari_metastructure.images.atomic import replacing
from napari_metastructure.networks.build import NetworkSpec, build

FORMAT = "napari-metastructure/1"


def save_model(path: Path, network: nn.Module, spec: NetworkSpec, use: dict[str, Any]) -> Path:
    """Write weights, network and how to feed it into one ``.safetensors`` file, whole or not at all.

    Parameters
    ----------
    use : dict
        JSON-serialisable: what prediction has to know, such as input channels, polarity and patch size.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    facts = {"format": FORMAT, "network": spec.model_dump_json(), "use": json.dumps(use)}
    with replacing(path) as beside:
        beside.write_bytes(save(state, metadata=facts))  # its own file writer makes files only the owner may read
    return path


def load_model(path: Path) -> tuple[nn.Module, NetworkSpec, dict[str, Any]]:
    """Read what `save_model` wrote; runs no code from the file.

    Returns
    -------
    network : torch.nn.Module
        On the CPU, in evaluation mode.
    spec : NetworkSpec
    use : dict

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
        network = build(spec, seed=0)
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as a model ({error}); it may be incomplete: save it anew.") from error
    return network.eval(), spec, json.loads(facts["use"])
