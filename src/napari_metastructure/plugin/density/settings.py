"""What can be set about densities; one definition for the form, its tooltips and the layers' metadata."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_metastructure.errors import InputError
from napari_metastructure.labels.classes import Reading
from napari_metastructure.labels.kernels import Kernel
from napari_metastructure.plugin.form import title

Unit = Literal["pixel", "layer"]


class DensitySettings(BaseModel):
    """How densities are estimated and shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: Reading = Field(
        "foreground",
        title="Labels are",
        description="How the numbers are meant. Foreground: 0 and one other label. Objects: instance numbers, every "
        "one but 0 is foreground. Classes: each number is a class. 255 is unlabelled.",
    )
    label_class: int | None = Field(
        1,
        title="Density of",
        ge=0,
        description="The class whose pixels are taken as points; or a map for each class above 0.",
    )
    kernel: Kernel = Field(
        "box",
        description="How neighbours count. Box (the paper's): all pixels within the bandwidth alike. Epanechnikov: "
        "near ones more. Gaussian: near ones more, and some beyond the bandwidth.",
    )
    bandwidth: float = Field(
        8.0,
        gt=0,
        allow_inf_nan=False,
        description="How far around each place pixels count: radius of box and Epanechnikov, sigma of Gaussian.",
    )
    unit: Unit = Field(
        "pixel", description="Whether the bandwidth is in pixels, or in the unit of the layer, by its scale."
    )
    edges: bool = Field(
        False,
        title="Correct edges",
        description="Divide by the share of the kernel that lies on labelled pixels of the image; without, the "
        "density sinks towards the edges.",
    )
    one_scale: bool = Field(
        True,
        title="One contrast",
        description="All maps on one contrast scale, from 0 to the highest density in any. Off: each map from its own "
        "lowest to its own highest, which shows the pattern in maps that are nearly even.",
    )
    side_by_side: bool = Field(
        False,
        title="Side by side",
        description="Lay the maps beside their labels (below them, if the labels lie apart) instead of over them.",
    )

    @property
    def several(self) -> bool:
        """Whether a layer may have several maps."""
        return self.label_class is None and self.reading == "classes"

    def described(self) -> dict[str, Any]:
        """What a map's metadata says of how it was made; not how it is shown."""
        return self.model_dump(mode="json", exclude={"label_class", "one_scale", "side_by_side"})

    def changed(self, **values: Any) -> DensitySettings:
        """The settings with some of them replaced.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the setting.
        """
        try:
            return DensitySettings(**{**self.model_dump(), **values})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            field = DensitySettings.model_fields.get(name)
            where = title(name, field) if field else name
            raise InputError(f"{where}: {first['msg']}.") from None
