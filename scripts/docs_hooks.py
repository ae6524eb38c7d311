"""Parts of the documentation that are made from the code when the site is built: commands, and tables of settings."""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.cli.main import app
from napari_metastructure.errors import title_of
from napari_metastructure.igtt import config as igtt
from napari_metastructure.labels.recipes import RECIPES
from napari_metastructure.training import config as training
from napari_metastructure.training.study_results import StudyConfig

SETTINGS: dict[str, tuple[type[BaseModel], Mapping[str, Mapping[str, Any]]]] = {
    "igtt": (igtt.IGTTConfig, igtt.PRESETS),
    "train": (training.TrainConfig, training.PRESETS),
    "study": (StudyConfig, {}),
    "compare": (CompareConfig, {}),
}

COMMANDS = """# Commands

Everything the widgets do, without a window: `metastructure COMMAND --help` says the same as this page. Ctrl-C (or
SIGTERM, SIGHUP) stops a run, saves what there is and exits with 130; `--resume` goes on. The exit code is 2 where you
can mend something, such as a file or an option, and 1 where a run failed.
"""


# ---- what mkdocs calls ------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the page of the commands."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put a table where a page says ``<!-- settings NAME -->``."""
    return re.sub(r"<!-- settings (\w+) -->", lambda found: settings(found[1]), markdown)


# ---- the parts ----------------------------------------------------------------------------------------------------


def commands() -> str:
    """Return the page that lists each command with its arguments and options, as ``--help`` prints them."""
    group: Any = get_command(app)
    with group.make_context("metastructure", [], resilient_parsing=True) as context:
        parts = [COMMANDS, "## For all commands\n", _options(group, context)]
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            with command.make_context(name, [], parent=context, resilient_parsing=True) as own:
                usage = " ".join(("metastructure", name, *command.collect_usage_pieces(own)))
                about = html.escape(command.help or "", quote=False).replace("\b", "")
                parts += [f"## {name}\n", f"{about}\n", f"```\n{usage}\n```\n", _options(command, own)]
    return "\n".join(parts)


def _options(command: Any, context: Any) -> str:
    found = (parameter.get_help_record(context) for parameter in command.get_params(context))
    return table(("option", "what"), ((f"`{names}`", " ".join(what.split())) for names, what in filter(None, found)))


def settings(name: str) -> str:
    """Return the tables of a page's settings: of a model's fields, or of the kinds of label noise."""
    if name == "noise":
        return "\n".join(f"**{kind.title}** (`{kind_name}`)\n\n{_dials(kind)}" for kind_name, kind in RECIPES.items())
    model, presets = SETTINGS[name]
    changed = presets.get("paper", {})
    rows = (
        (
            title_of(key, field),
            _value(field.get_default()),
            _value(changed[key]) if changed.get(key, field.get_default()) != field.get_default() else "",
            _what(field),
        )
        for key, field in model.model_fields.items()
        if not isinstance(field.get_default(), (BaseModel, tuple))
    )
    if presets:
        return table(("setting", "default", "paper", "what"), rows)
    return table(("setting", "default", "what"), ((title, default, what) for title, default, _, what in rows))


def _dials(kind: Any) -> str:
    rows = [(title_of(k, f), _value(f.get_default()), _what(f)) for k, f in kind.model_fields.items() if k != "kind"]
    return table(("dial", "default", "what"), rows) if rows else "No dials.\n"


def _what(field: Any) -> str:
    return field.description or ""


def _value(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; what Markdown or HTML would read is escaped, but in cells of code."""
    first = list(head)
    cells = [first, ["---"] * len(first), *(list(map(_escaped, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells) + "\n"


def _escaped(cell: str) -> str:
    return cell if cell.startswith("`") else html.escape(cell, quote=False).replace("|", r"\|")
