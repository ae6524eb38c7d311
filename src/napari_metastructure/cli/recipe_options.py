"""Recipes of label noise from the command line: one option for each dial that any of them has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from napari_metastructure.errors import InputError
from napari_metastructure.labels.recipes import RECIPES, Recipe, make_recipe

KINDS = "|".join(RECIPES)


def dial(name: str, **more: Any) -> Any:
    """An option whose help and defaults are those of the dial of this name, in all recipes that have it."""
    kinds: dict[str, list[str]] = {}
    for kind, model in RECIPES.items():
        if name in model.model_fields:
            field = model.model_fields[name]
            default = "" if field.default is None or isinstance(field.default, (bool, tuple)) else field.default
            kinds.setdefault(f"{field.description}{f' [default: {default}]' if default != '' else ''}", []).append(kind)
    help_text = " ".join(f"{', '.join(names)}: {text}" for text, names in kinds.items())
    return typer.Option(f"--{name.replace('_', '-')}", help=help_text, show_default=False, **more)


def recipe_of(kind: str, dials: Mapping[str, Any]) -> Recipe:
    """The recipe that was asked for.

    Parameters
    ----------
    kind : str
    dials : mapping of str to value
        Fields of recipes; None for an option that was not given.

    Raises
    ------
    InputError
        For a kind that does not exist, an option that it does not have, or a value that does not fit.
    """
    if kind not in RECIPES:
        raise InputError(f"--kind {kind}: choose one of {', '.join(RECIPES)}.")
    given = {name: value for name, value in dials.items() if value is not None}
    known = [name for name in RECIPES[kind].model_fields if name != "kind"]
    if strangers := [name for name in given if name not in known]:
        *most, last = map(_option, known) if known else ["none"]
        has = f"it has {', '.join(most)}{' and ' if most else ''}{last}"
        raise InputError(f"{_option(strangers[0])}: --kind {kind} has no such option; {has}.")
    if "matrix" in given:
        given["matrix"] = _matrix(given["matrix"])
    elif kind == "matrix":
        raise InputError("--kind matrix needs --matrix, a CSV file or rows like '0.9 0.1; 0.2 0.8'.")
    return make_recipe(kind, **given)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _matrix(text: str) -> Any:
    """A matrix typed in, or the rows of a CSV file."""
    if re.fullmatch(r"[\d\s.,;eE+()\[\]-]+", text) and not Path(text).is_file():
        return text
    try:
        lines = Path(text).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(
            f"--matrix {text}: there is no such file, nor are these rows like '0.9 0.1; 0.2 0.8'."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"--matrix {text} cannot be read ({reason}); name a CSV file of numbers.") from error
    return [_row(line, f"{text}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _row(line: str, where: str) -> list[float]:
    """The numbers of a line; where semicolons part them, commas are decimal points, as some spreadsheets write."""
    parts = line.replace(",", ".").split(";") if ";" in line else re.split(r"[,\s]+", line.strip())
    try:
        return [float(part) for part in parts if part.strip()]
    except ValueError:
        raise InputError(f"{where}: {line.strip()[:60]!r} is no row of numbers; leave names of classes out.") from None
