"""Export to ONNX and bioimage.io packages, each run and compared with our own output before it is kept."""

import tempfile
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage as ndi
from torch import Tensor, nn

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.images.writing import replacing
from napari_metastructure.networks.model import Model

Format = Literal["onnx", "bioimageio"]


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
    probabilities (after sigmoid or softmax); cutting large images and blending is left to the caller.

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
    path, tile = Path(path), example(model)
    takes = f"normalised channels ({model.use.inputs})"
    with replacing(path) as beside:  # first: where nothing can be written, there is no need to wait for it
        with torch.no_grad():
            ours = _WithProbabilities(model.network.cpu())(torch.from_numpy(model.inputs_of(tile))[None])[0].numpy()
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
    """Return an image of one tile, (Y, X) or (C, Y, X) float32: blobs on noise, the same each time."""
    use, rng = model.use, np.random.default_rng(0)
    shape = use.patch if use.channels == 1 else (use.channels, *use.patch)
    smooth = ndi.gaussian_filter(rng.standard_normal(shape), (0,) * (len(shape) - 2) + (4, 4))
    return (200 + 100 * (smooth > smooth.std()) + 10 * rng.standard_normal(shape)).astype(np.float32)


def to_onnx(model: Model) -> bytes:
    """Return the network with its sigmoid or softmax as an ONNX file; any number of tiles, each of the trained size."""
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
    """Predict the (K, Y, X) probabilities of (C, Y, X) inputs of one tile by onnxruntime."""
    runtime: Any = needed("onnxruntime", "ONNX", "onnx")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: inputs[None]})[0][0])


def needed(module: str, what: str, extra: str) -> Any:
    """Import a module of an extra.

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
    """Return the largest absolute difference; infinite if they are not of one shape."""
    return float(np.abs(theirs - ours).max()) if theirs.shape == ours.shape else float("inf")


# ---- bioimage.io package: ONNX weights, normalisation, and an example with its result -------------------------


_EPS = 1e-12  # bioimage.io adds it to each denominator; ours add nothing


def write_package(
    model: Model, onnx: bytes, tile: np.ndarray, probabilities: np.ndarray, path: Path
) -> tuple[np.ndarray, str]:
    """Write the package, let bioimageio.core test it, and run it there.

    Parameters
    ----------
    model : Model
    onnx : bytes
        Its network as an ONNX file.
    tile : (Y, X) or (C, Y, X) float32 array
        The example image.
    probabilities : (K, Y, X) float32 array
        What our own network says of it.
    path : Path
        The ``.zip`` file to write.

    Returns
    -------
    probabilities : (K, Y, X) float32 array
        What the package says of the example.
    takes : str
        What it has to be given.

    Raises
    ------
    InputError
        If bioimageio.core is not installed, or does not work with the packages that are.
    RunFailed
        If it fails bioimageio.core's own test.
    """
    core = needed("bioimageio.core", "bioimage.io", "bioimageio")
    spec = needed("bioimageio.spec", "bioimage.io", "bioimageio")
    needed("loguru", "bioimage.io", "bioimageio").logger.disable("bioimageio")  # it reports every step
    steps = _normalisation(model)
    given = _stacked(tile) if steps is not None else model.inputs_of(tile)
    # bioimageio.spec leaves files open, which some systems then do not let go
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        description = _description(model, Path(folder), onnx, given, probabilities, steps)
        whole = Path(folder) / "package.zip"
        spec.save_bioimageio_package(description, output_path=whole)
        summary = core.test_model(whole)
        if summary.status != "passed":
            errors = "; ".join(str(error.msg) for error in summary.errors) or "no reason given"
            raise RunFailed(f"bioimageio.core's test of the package failed: {errors}.")
        result = core.predict(model=whole, inputs={INPUT: given[None]})
        path.write_bytes(whole.read_bytes())
    what = "the image itself" if steps is not None else f"normalised channels ({model.use.inputs})"
    return np.asarray(result.members[OUTPUT].data)[0], what


def _normalisation(model: Model) -> list[Any] | None:
    """Put our normalisation in the words of bioimage.io; None where it has none for it (local contrasts)."""
    v = needed("bioimageio.spec.model.v0_5", "bioimage.io", "bioimageio")
    plane, dark = [v.AxisId("y"), v.AxisId("x")], model.use.objects == "dark"

    def turned(offset: float) -> list[Any]:
        """Make bright objects of dark ones."""
        return [v.ScaleLinearDescr(kwargs=v.ScaleLinearKwargs(gain=-1.0, offset=offset))] if dark else []

    if model.use.inputs == "zscore":
        kwargs = v.ZeroMeanUnitVarianceKwargs(axes=plane, eps=_EPS)
        return [v.ZeroMeanUnitVarianceDescr(kwargs=kwargs), *turned(0.0)]
    if model.use.inputs == "percentile":
        low, high = (0.2, 99.0) if dark else (1.0, 99.8)
        kwargs = v.ScaleRangeKwargs(axes=plane, min_percentile=low, max_percentile=high, eps=_EPS)
        return [v.ScaleRangeDescr(kwargs=kwargs), *turned(1.0)]
    return None


def _description(
    model: Model, folder: Path, onnx: bytes, given: np.ndarray, probabilities: np.ndarray, steps: list[Any] | None
) -> Any:
    """Return the package's parts, as files in a folder and as their description."""
    v = needed("bioimageio.spec.model.v0_5", "bioimage.io", "bioimageio")
    (folder / "weights.onnx").write_bytes(onnx)
    (folder / "README.md").write_text(_readme(model, steps is not None), encoding="utf-8")
    for name, array in ((INPUT, given), (OUTPUT, probabilities)):
        np.save(folder / f"{name}.npy", array[None])
    binary = len(model.use.classes) == 2
    classes = ["foreground"] if binary else [f"class_{value}" for value in model.use.classes]

    def file(name: str) -> Any:
        return v.FileDescr(source=folder / name)

    def axes(channels: list[str], space: Any) -> list[Any]:
        sides = zip("yx", model.use.patch, strict=True)
        named = v.ChannelAxis(channel_names=[v.Identifier(name) for name in channels])
        return [v.BatchAxis(), named, *(space(id=v.AxisId(axis), size=size) for axis, size in sides)]

    floats = v.IntervalOrRatioDataDescr(type="float32")
    try:
        return v.ModelDescr(
            name=f"{model.spec.architecture} by napari-metastructure",
            description=str(model)[:1024],
            documentation=file("README.md"),
            inputs=[
                v.InputTensorDescr(
                    id=v.TensorId(INPUT),
                    axes=axes([f"channel_{i}" for i in range(len(given))], v.SpaceInputAxis),
                    test_tensor=file(f"{INPUT}.npy"),
                    data=floats,
                    preprocessing=steps or [],
                )
            ],
            outputs=[
                v.OutputTensorDescr(
                    id=v.TensorId(OUTPUT),
                    axes=axes(classes, v.SpaceOutputAxis),
                    test_tensor=file(f"{OUTPUT}.npy"),
                    data=floats,
                )
            ],
            weights=v.WeightsDescr(onnx=v.OnnxWeightsDescr(source=folder / "weights.onnx", opset_version=OPSET)),
        )
    except ValueError as error:
        versions = ", ".join(f"{name} {version(name)}" for name in ("bioimageio.spec", "pydantic"))
        raise InputError(
            f"The installed {versions} cannot describe a model ({str(error).splitlines()[0]}); "
            'run: pip install "napari-metastructure[bioimageio]"'
        ) from error


def _stacked(tile: np.ndarray) -> np.ndarray:
    """Add an axis for channels."""
    return tile[None] if tile.ndim == 2 else tile


def _readme(model: Model, takes_image: bool) -> str:
    """Write the package's documentation."""
    use = model.use
    given = (
        "the image itself; the package normalises it" if takes_image else
        f"the {model.spec.in_channels} channels that `napari_metastructure.images.intensity.network_inputs(image, "
        f'"{use.inputs}", "{use.objects}")` makes of the whole image'
    )  # fmt: skip
    meaning = (
        f"the probability of label {use.classes[1]}" if len(use.classes) == 2 else
        f"the probabilities of labels {', '.join(map(str, use.classes))}"
    )  # fmt: skip
    cut = "above one half" if len(use.classes) == 2 else "the likeliest class"
    if use.cut != "half":
        cut = f"above a threshold that is searched for each image (iGTT's {use.cut} criterion)"
    if not use.signed:
        cut += ", once a probability that falls where objects should be was turned around: eq. (6) knows no sign"
    if use.surround:
        given += (
            ", hot pixels and dead lines replaced (`napari_metastructure.images.defects`) and what lies outside a "
            "field of view filled beforehand (`napari_metastructure.images.surround`)"
        )
        cut += "; outside a field of view there are none"
    by_tile = (
        " Each tile is then normalised by itself; `metastructure predict` normalises the whole image,\n"
        "so a tile that is nearly all background or all objects can come out otherwise." if takes_image else ""
    )  # fmt: skip
    return f"""# {model.spec.architecture}

{model}.

Input: {given}. Output: {meaning}. Labels: {cut}.

The size of a tile is fixed at {use.patch[0]} x {use.patch[1]} pixels, that of training: the network's normalisation
sees the crop it is given, so at another size it would give other, worse probabilities. Cut larger images into tiles
that overlap, and blend them.{by_tile}

## Validation

The probabilities of the example, computed from these weights by ONNX Runtime, were compared with those of the network
in PyTorch when this package was written. How well it segments depends on your images: compare with labels of your own.

Add authors, licence and a cover before you share it.
"""
