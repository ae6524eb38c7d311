"""The planes of image files for commands that segment without labels, and the colour channel they are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from napari_metastructure.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from napari_metastructure.images.channels import Colour
    from napari_metastructure.images.image import Image

AUTO = "auto"
CHANNEL = typer.Option(
    help="Channel of a multi-channel image: a number from 0; of colour images also red, green, blue, alpha or "
    "luminance, or auto: the colour of most local contrast that the others confirm.",
    metavar="NAME|N",
)


class ReadPlanes(NamedTuple):
    """What `read_planes` has read."""

    images: list[Image]
    planes: list[list[np.ndarray]]
    """(Y, X) float32 arrays, by image."""
    names: list[str]
    """What messages call each plane."""
    colour: Colour | None
    """The channel that was taken of images in colour; None if there are none, or it is no single colour."""
    chosen: bool
    """Whether that was chosen for the user."""

    def tell_colour(self) -> None:
        """Say which channel was chosen, if there was something to choose."""
        if self.chosen:
            used = f"Colour images: the {self.colour} channel is used"
            typer.echo(f"{used}; --channel luminance or another changes that.")


def read_planes(paths: Sequence[Path], channel: str) -> ReadPlanes:
    """All images of files and folders, and their checked planes.

    Parameters
    ----------
    paths : sequence of Path
    channel : str
        As `images.axes.planes` takes it, or ``auto``: one colour for all images that have any.

    Raises
    ------
    InputError
        One line for each bad file.
    """
    from napari_metastructure.cli.errors import warnings_as_lines
    from napari_metastructure.images.axes import plane_names, planes
    from napari_metastructure.images.channels import channel_for, choose_channel, colour_named
    from napari_metastructure.images.checks import check_plane
    from napari_metastructure.images.files import list_images, read_image

    images: list[Image] = []
    bad: dict[int, str] = {}
    with warnings_as_lines():
        files = list_images(paths)
        for number, path in enumerate(files):
            try:
                images.append(replace(read_image(path), name=str(path)))  # so that messages tell a/x.png from b/x.png
            except InputError as error:
                bad[number] = str(error)
    auto = channel.strip().lower() == AUTO
    colour = (None if bad else choose_channel(images)) if auto else colour_named(images, channel)
    readable = [number for number in range(len(files)) if number not in bad]
    cut = []
    for number, image in zip(readable, images, strict=True):
        wanted = channel_for(image, colour) if auto else channel
        try:
            named = zip(planes(image, wanted), plane_names(image), strict=True)
            cut.append([check_plane(plane, name) for plane, name in named])
        except InputError as error:
            bad[number] = str(error)
    if bad:
        raise InputError("\n".join(bad[number] for number in sorted(bad)))
    images = [replace(image, name=path.name) for path, image in zip(files, images, strict=True)]
    names = [name for image in images for name in plane_names(image)]
    return ReadPlanes(images, cut, names, colour, auto and colour is not None)
