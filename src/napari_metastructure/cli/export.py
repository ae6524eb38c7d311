"""``metastructure export``: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_metastructure.errors import InputError

_ENDINGS = {"onnx": ".onnx", "bioimageio": ".zip"}


def export(
    model: Annotated[Path, typer.Argument(help="A run folder, or its model.safetensors.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            help="onnx (needs the extra [onnx]), or a bioimage.io package ([bioimageio]).",
            metavar="onnx|bioimageio",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file: .onnx, or .zip for bioimageio.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Write a model for other programs, run it there, and compare it with ours before it is kept.

    The file takes tiles of the size the network was trained at, any number at once, and gives probabilities.
    """
    ending: Any = _ENDINGS.get(to)
    if ending is None:
        raise InputError(f"--to {to}: choose onnx or bioimageio.")
    if out.suffix.lower() != ending:
        raise InputError(f"--out {out}: the name of a file for {to} ends in {ending}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} is there already; choose another --out, or replace it with --overwrite.")

    from napari_metastructure.igtt.apply import load_model
    from napari_metastructure.networks.export import export as write

    exported = write(load_model(model), "onnx" if to == "onnx" else "bioimageio", out)
    typer.echo(f"{exported.path} written. {exported.takes}")
    typer.echo(f"Largest difference in probability to our own output, on an example: {exported.difference:.2g}")
