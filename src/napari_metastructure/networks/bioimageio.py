"""A model as a bioimage.io package: ONNX weights, how to normalise, and an example with its result."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_metastructure.errors import InputError, RunFailed
from napari_metastructure.networks.export import INPUT, OPSET, OUTPUT, needed
from napari_metastructure.networks.model import Model

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
    needed("loguru", "bioimage.io", "bioimageio").logger.disable("bioimageio")  # it tells of every step
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
    """Our normalisation in the words of bioimage.io; None where it has none for it (local contrasts)."""
    v = needed("bioimageio.spec.model.v0_5", "bioimage.io", "bioimageio")
    plane, dark = [v.AxisId("y"), v.AxisId("x")], model.use.objects == "dark"

    def turned(offset: float) -> list[Any]:
        """Dark objects become bright ones."""
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
    """The package's parts, as files in a folder and as their description."""
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
    """With an axis for channels."""
    return tile[None] if tile.ndim == 2 else tile


def _readme(model: Model, takes_image: bool) -> str:
    """What the package's documentation says."""
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
    if use.cut == "dmi":
        cut += ", once a probability that falls where objects should be was turned around: DMI knows no sign"
    if use.surround:
        given += ", what lies outside a field of view filled beforehand (`napari_metastructure.images.surround`)"
        cut += "; outside a field of view there are none"
    return f"""# {model.spec.architecture}

{model}.

Input: {given}. Output: {meaning}. Labels: {cut}.

The size of a tile is fixed at {use.patch[0]} x {use.patch[1]} pixels, that of training: the network's normalisation
sees the crop it is given, so at another size it would give other, worse probabilities. Cut larger images into tiles
that overlap, and blend them.

## Validation

The probabilities of the example, computed from these weights by ONNX Runtime, were compared with those of the network
in PyTorch when this package was written. How well it segments depends on your images: compare with labels of your own.

Add authors, licence and a cover before you share it.
"""
