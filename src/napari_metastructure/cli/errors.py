"""What the user did not mean, told in one line each: warnings about files, settings that do not validate."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import BaseModel, ValidationError

from napari_metastructure.errors import InputError


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Within the block warnings about files are kept, and printed to stderr as a line each when it ends."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for note in notes:
                if note.category is UserWarning:  # others are for programmers
                    typer.echo(f"Warning: {note.message}", err=True)


def validated(model: type[BaseModel], build: Any, options: dict[str, Any], typed: Iterable[str]) -> Any:
    """``build(**options)``, or an `InputError` that names the option and its range.

    Parameters
    ----------
    model : type of BaseModel
        Where the ranges are defined.
    build : callable
        Makes the model: the class itself or a class method.
    options : dict
        Field names and values.
    typed : iterable of str
        Fields that are options of their own (``--epochs``); the others were given by ``--set``.

    Raises
    ------
    InputError
        About the first field that does not fit.
    """
    try:
        return build(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        value = options.get(name, first.get("input"))
        shown = f"--{name.replace('_', '-')} {value}" if name in set(typed) else f"--set {name}={value}"
        raise InputError(f"{shown}: {_wish(model, name, first)}.") from error


def _wish(model: type[BaseModel], name: str, error: Any) -> str:
    """What the value should have been."""
    if error["type"] == "extra_forbidden":
        return f"there is no setting of that name; choose one of {', '.join(model.model_fields)}"
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        return f"choose {context['expected']}"
    if error["type"] == "value_error":
        return str(context["error"])
    bounds = _bounds(model, name)
    if error["type"].startswith(("int_", "float_")) or bounds:
        kind = "a whole number" if model.model_fields[name].annotation is int else "a number"
        return f"give {kind}{bounds}"
    return str(error["msg"]).lower()


def _bounds(model: type[BaseModel], name: str) -> str:
    """The range of a field in words: " from 1 to 10000"."""
    if name not in model.model_fields:
        return ""
    words = {"ge": "from", "gt": "above", "le": "up to", "lt": "below"}
    rules = model.model_fields[name].metadata
    parts = [f"{words[k]} {getattr(r, k)}" for k in words for r in rules if getattr(r, k, None) is not None]
    text = " " + " and ".join(parts) if parts else ""
    return text.replace(" and up to ", " to ") if "from" in text else text
