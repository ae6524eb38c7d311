"""Models for other programs: ONNX and bioimage.io packages, each run and compared with ours before it is handed out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage as ndi
from torch import Tensor, nn

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.images.atomic import replacing
from napari_metastructure.networks.model import Model
from napari_metastructure.networks.predict import class_probabilities

Format = Literal["onnx", "bioimageio"]
CPU = torch.device("cpu")

TOLERANCE = 1e-3
"""Largest difference in probability to our own output that passes; what other libraries round is far below."""

OPSET = 18
INPUT, OUTPUT = "inputs", "probability"


@dataclass(frozen=True)
class Exported:
    """A file for other programs.

    Attributes
    ----------
    path : Path
    difference : float
        Largest absolute difference between its probabilities and ours, on the tiles it was run on.
    takes : str
        What it has to be given, in a sentence.
    """

    path: Path
    difference: float
    takes: str


def export(model: Model, to: Format, path: str | Path) -> Exported:
    """Write a model for other programs, and run it there.

    The file takes tiles of the size the network was trained at, any number at once. Other sizes would run but be wrong:
    group normalisation, and pooling over the whole image in some networks, see the crop they are given. It gives
    probabilities (after sigmoid or softmax); cutting large images and blending is left to who calls it.

    Parameters
    ----------
    model : Model
    to : {"onnx", "bioimageio"}
        ONNX takes normalised channels (`images.intensity.network_inputs`). A bioimage.io package holds the same ONNX
        weights; where its format knows the normalisation (zscore, percentile), it takes the image itself.
    path : str or Path
        The file: ``.onnx`` or ``.zip``. What was there stays until the new one is whole and compared.

    Raises
    ------
    InputError
        If the packages that this takes are not installed (it names the command), or the file cannot be written.
    RunFailed
        If the exported model does not give what ours gives.
    """
    from napari_metastructure.networks.bioimageio import write_package

    path, tile = Path(path), example(model)
    takes = f"normalised channels ({model.use.inputs})"
    with replacing(path) as beside:  # first: where nothing can be written, nobody should wait for it
        ours = class_probabilities(model.network.cpu(), model.inputs_of(tile), model.use.patch, CPU)
        content = to_onnx(model)
        difference = _compare(run_onnx(content, model.inputs_of(tile)), ours)
        if to == "onnx":
            beside.write_bytes(content)
        else:
            package, takes = write_package(model, content, tile, ours, beside)
            difference = max(difference, _compare(package, ours))
        if not difference <= TOLERANCE:
            raise RunFailed(
                f"The exported model differs from ours by up to {difference:.2g} in probability, so {path} was not "
                "written; please report this with the model."
            )
    size = " x ".join(map(str, model.use.patch))
    return Exported(path, difference, f"It takes tiles of {size} pixels, {takes}, and gives probabilities.")


def example(model: Model) -> np.ndarray:
    """An image of one tile, (Y, X) or (C, Y, X) float32: blobs on noise, the same each time."""
    use, rng = model.use, np.random.default_rng(0)
    shape = use.patch if use.channels == 1 else (use.channels, *use.patch)
    smooth = ndi.gaussian_filter(rng.standard_normal(shape), (0,) * (len(shape) - 2) + (4, 4))
    return (200 + 100 * (smooth > smooth.std()) + 10 * rng.standard_normal(shape)).astype(np.float32)


def to_onnx(model: Model) -> bytes:
    """The network with its sigmoid or softmax as an ONNX file; any number of tiles, each of the trained size."""
    for name in ("onnxscript", "onnxruntime"):
        needed(name, "ONNX", "onnx")
    onnx: Any = needed("onnx", "ONNX", "onnx")
    network = _WithProbabilities(model.network.cpu()).eval()
    tiles = torch.zeros(2, model.spec.in_channels, *model.use.patch)
    with torch.no_grad():
        program = torch.onnx.export(
            network,
            (tiles,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    graph.doc_string = f"{model}. Input: normalised channels; output: class probabilities."
    facts = {"use": model.use.model_dump_json(), "network": model.spec.model_dump_json()}
    onnx.helper.set_model_props(graph, facts)
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString())


def run_onnx(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """(K, Y, X) probabilities of (C, Y, X) inputs of one tile by onnxruntime."""
    runtime: Any = needed("onnxruntime", "ONNX", "onnx")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: inputs[None]})[0][0])


def needed(module: str, what: str, extra: str) -> Any:
    """A module of an extra.

    Raises
    ------
    InputError
        If it is not installed, with the command that does.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"Export to {what} needs {module.partition('.')[0]}, which is not installed; "
            f'run: pip install "napari-metastructure[{extra}]"'
        ) from error


class _WithProbabilities(nn.Module):
    """A network and what makes probabilities of its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.network(inputs)
        return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)


def _compare(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Largest absolute difference; infinite if they are not of one shape."""
    return float(np.abs(theirs - ours).max()) if theirs.shape == ours.shape else float("inf")
