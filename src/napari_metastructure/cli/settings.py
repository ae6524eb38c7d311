"""Settings from options: over those of a preset, or over those of an earlier run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel

from napari_metastructure.errors import InputError

Settings = TypeVar("Settings", bound=BaseModel)


def option(model: type[BaseModel], presets: Mapping[str, Mapping[str, Any]], field: str, **more: Any) -> Any:
    """An option whose help and default are those of a setting."""
    info = model.model_fields[field]
    paper = f"; paper: {presets['paper'][field]}" if field in presets["paper"] else ""
    return typer.Option(help=f"{info.description} [default: {info.default}{paper}]", show_default=False, **more)


def settings(
    model: type[Settings], given: Mapping[str, Any], texts: Sequence[str], earlier: Mapping[str, Any] | None = None
) -> Settings:
    """The settings the user asked for, over those of a preset, or of an earlier run.

    Parameters
    ----------
    model : type of BaseModel
        With a ``from_preset``.
    given : mapping
        Values of options by the name of their field; None where they were left out.
    texts : sequence of str
        What ``--set`` was given, ``NAME=VALUE`` each.
    earlier : mapping, optional
        The settings of an earlier run, see `earlier_run`.

    Raises
    ------
    InputError
        About the first value that does not fit.
    """
    from napari_metastructure.cli.errors import validated

    options = {name: value for name, value in given.items() if value is not None} | parse(texts, given)
    build = (lambda **o: model(**{**earlier, **o})) if earlier is not None else getattr(model, "from_preset")  # noqa: B009
    return validated(model, build, options, given)


def parse(texts: Sequence[str], typed: Collection[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as a mapping; ``none`` is None.

    Raises
    ------
    InputError
        For a text of another form, or a setting that has an option of its own.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: write it as NAME=VALUE, for example --set batch_size=4.")
        if name in typed:
            raise InputError(f"--set {text}: use the option --{name.replace('_', '-')} for this.")
        found[name] = None if value.lower() in ("none", "null") else value
    return found


def earlier_run(path: Path) -> dict[str, Any]:
    """What the ``run.yaml`` of an earlier run (or its folder) says: ``config`` and more.

    Raises
    ------
    InputError
        If it cannot be read or is none.
    """
    import yaml

    file = path / "run.yaml" if path.is_dir() else path
    try:
        facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config {path} cannot be read ({type(error).__name__}); name a run.yaml.") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("config"), dict):
        raise InputError(f"--config {path} holds no settings of a run; name the run.yaml of a run folder.")
    return facts
