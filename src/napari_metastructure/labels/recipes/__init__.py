"""The recipes of label noise: the dials of each, the noise it makes, and its noise transition matrix.

One definition gives the widget's form, the options of the command line, the YAML beside a run and the metadata of a
layer.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes.applied import apply, apply_to_plane
from napari_metastructure.labels.recipes.base import Family, RecipeBase
from napari_metastructure.labels.recipes.perturbed import (
    Close,
    Dilate,
    DisplaceBoundary,
    Erode,
    Open,
    PerturbObjects,
    Skeleton,
)
from napari_metastructure.labels.recipes.randomized import Flip, FlipByMatrix, Random, Sample

__all__ = [
    "Recipe",
    "RECIPES",
    "make_recipe",
    "apply",
    "apply_to_plane",
    "RecipeBase",
    "Family",
    "Sample",
    "Flip",
    "FlipByMatrix",
    "Dilate",
    "Erode",
    "Skeleton",
    "Open",
    "Close",
    "PerturbObjects",
    "DisplaceBoundary",
    "Random",
]

Recipe = Annotated[
    Sample
    | Flip
    | FlipByMatrix
    | Dilate
    | Erode
    | Skeleton
    | Open
    | Close
    | PerturbObjects
    | DisplaceBoundary
    | Random,
    Field(discriminator="kind"),
]
"""Any of them, told apart by ``kind``."""

_MODELS = (Sample, Flip, FlipByMatrix, Dilate, Erode, Skeleton, Open, Close, PerturbObjects, DisplaceBoundary, Random)

RECIPES: dict[str, type[Recipe]] = {model.model_fields["kind"].default: model for model in _MODELS}
"""By kind, in the order of menus."""

_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def make_recipe(kind: str, **dials: Any) -> Recipe:
    """Build a recipe from plain values: those of a command line, a form, YAML or metadata.

    Parameters
    ----------
    kind : str
        One of `RECIPES`.
    **dials
        Its fields; defaults for those left out.

    Raises
    ------
    InputError
        About the first value that does not fit.
    """
    if kind not in RECIPES:
        raise InputError(f"There is no recipe {kind!r}; choose one of {', '.join(RECIPES)}.")
    try:
        return _ADAPTER.validate_python({"kind": kind, **dials})
    except ValidationError as error:
        raise InputError(_sentence(RECIPES[kind], error.errors()[0])) from None


def _sentence(model: type[RecipeBase], error: Any) -> str:
    """What pydantic complains of, in a sentence of ours."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    name = str(error["loc"][1]) if len(error["loc"]) > 1 else ""  # the first is the kind
    dials = [field for field in model.model_fields if field != "kind"]
    if error["type"] == "extra_forbidden":
        return f"{model.title} has no dial {name!r}; {'choose ' + ' or '.join(dials) if dials else 'it has none'}."
    return f"{model.title}: {name} must be {_wish(name, model.model_fields[name])}, not {error['input']!r}."


def _wish(name: str, field: FieldInfo) -> str:
    """What a dial takes, in words."""
    words = {float: "a number", int: "a whole number", bool: "yes or no"}
    if field.annotation not in words:
        return "a number for each class" if name == "per_class" else "rows of numbers"
    bounds = {key: getattr(rule, key) for rule in field.metadata for key in ("ge", "gt", "le") if hasattr(rule, key)}
    low = f" from {bounds['ge']:g}" if "ge" in bounds else f" above {bounds['gt']:g}" if "gt" in bounds else ""
    return words[field.annotation] + low + (f" to {bounds['le']:g}" if "le" in bounds else "")
