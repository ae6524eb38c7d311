"""Options of commands: help, settings and label noise; their files: listed, paired, and where results go."""

import errno
import json
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError

from napari_metastructure.batch.label_set import NOISE_FILE, UnusableFiles, list_folder
from napari_metastructure.errors import InputError, ReadingError, explain, listed
from napari_metastructure.images.files import (
    check_folder_name,
    check_free,
    list_images,
    noting,
    output_stems,
    stem,
)
from napari_metastructure.images.label_files import pair_by_stem
from napari_metastructure.images.ranges import PARTS
from napari_metastructure.images.writing import cannot_write, replacing
from napari_metastructure.labels.readings import READING
from napari_metastructure.labels.recipes import RECIPES, Recipe, make_recipe
from napari_metastructure.networks import ENCODERS

if TYPE_CHECKING:
    from napari_metastructure.images.channels import ImageSet

Settings = TypeVar("Settings", bound=BaseModel)


CHANNEL = typer.Option(
    help="Channel of a multi-channel image: a number from 0; of colour images also red, green, blue, alpha or "
    "luminance, or auto: the colour with the most local contrast.",
    metavar="NAME|N",
)


SCHEDULER = typer.Option(
    help="Share the work out: local:N, N worker processes on this machine, or the address of a running scheduler of "
    "dask.distributed. [default: this process, one file after the other]",
    metavar="local:N|tcp://HOST:PORT",
)

SET = typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of run.yaml; may be repeated.")

RESUME = typer.Option(
    "--resume", help="Go on with the batch in --out: what is done from the same files and settings is not done again."
)


def file(*endings: str, help: str, name: str = "", metavar: str | None = None) -> Any:
    """Make an option for the name of a file that is written: it ends as what is in it, so that programs open it."""

    def check(param: typer.CallbackParam, value: Path | None) -> Path | None:
        if value is not None and value.suffix.lower() not in endings:
            wish = listed(endings, "or")
            raise InputError(f"{param.opts[0]} {value}: choose the name of a file that ends in {wish}.")
        if value is not None and value.is_dir():
            raise InputError(f"{param.opts[0]} {value} is a folder; name a file.")
        if value is not None and value.parent.is_dir() and not os.access(value.parent, os.W_OK):
            raise cannot_write(value, PermissionError(errno.EACCES, ""))  # said before any work is done
        return value

    return typer.Option(*([name] if name else []), help=help, metavar=metavar, callback=check)


def folder(help: str, metavar: str | None = None) -> Any:
    """Make an option for the name of a folder that results are written to, which is not that of a file."""

    def check(param: typer.CallbackParam, value: Path | None) -> Path | None:
        if value is not None:
            check_folder_name(value, param.opts[0])
        return value

    return typer.Option(help=help, metavar=metavar, callback=check)


JSON = file(".json", name="--json", metavar="FILE.json", help="Write the numbers to a file as well.")

PLANES = typer.Option(
    help=f"Slices of stacks to take, or of other images the steps of the axis before Y and X. {PARTS} [default: all]",
    metavar="RANGES",
    show_default=False,
)

FRAMES = typer.Option(help=f"Frames of films to take. {PARTS} [default: all]", metavar="RANGES", show_default=False)


def option(model: type[BaseModel], presets: Mapping[str, Mapping[str, Any]], field: str, **more: Any) -> Any:
    """Make an option whose help, choices and default are those of a setting."""
    info = model.model_fields[field]
    if get_origin(info.annotation) is Literal:
        more.setdefault("metavar", "|".join(get_args(info.annotation)))
    paper = f"; paper: {presets['paper'][field]}" if field in presets["paper"] else ""
    default = "none" if info.default is None else info.default
    return typer.Option(help=f"{info.description} [default: {default}{paper}]", **more)


def chosen_settings(
    model: type[Settings], given: Mapping[str, Any], texts: Sequence[str], earlier: Mapping[str, Any] | None = None
) -> Settings:
    """Build the settings the user asked for, over those of a preset, or of an earlier run.

    Parameters
    ----------
    model : type of BaseModel
        With a ``from_preset``.
    given : mapping
        Values of options by the name of their field; None where they were left out.
    texts : sequence of str
        What ``--set`` was given, ``NAME=VALUE`` each.
    earlier : mapping, optional
        The settings of an earlier run, the ``config`` of its ``run.yaml``.

    Raises
    ------
    InputError
        About the first value that does not fit.
    """
    options = {name: value for name, value in given.items() if value is not None} | parse(texts, given, model)
    build = (lambda **o: model(**{**earlier, **o})) if earlier is not None else getattr(model, "from_preset")  # noqa: B009
    found: Settings = validated(model, build, options, tuple(given))
    network = getattr(found, "network", "")
    if ENCODERS.get(network) == "none" and (idle := [n for n in ("encoder", "encoder_weights") if options.get(n)]):
        name = option_name(idle[0]) if idle[0] in given else f"--set {idle[0]}"
        raise InputError(f"{name}: {network} has no encoder; choose another --network, or leave it out.")
    return found


def parse(texts: Sequence[str], typed: Collection[str], model: type[BaseModel]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` texts as a mapping; ``none`` is None, or the choice of that name where a setting has one.

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
            raise InputError(f"--set {text}: use the option {option_name(name)} for this.")
        if name in found:
            raise InputError(f"--set {text}: {name} is set twice; set it once.")
        field = model.model_fields.get(name)
        choices = get_args(field.annotation) if field is not None else ()
        found[name] = None if value.lower() in ("none", "null") and value not in choices else value
        if found[name] is not None and any(get_origin(choice) is tuple for choice in choices):
            found[name] = value.split(",")
    return found


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Keep warnings about files within the block, and print them to stderr as a line each when it ends."""
    notes: list[str] = []
    try:
        with noting() as notes:
            yield
    finally:
        for note in dict.fromkeys(notes):
            typer.echo(f"Warning: {note}", err=True)


def with_option(error: InputError) -> str:
    """Return what an error says; where a reading decides, with the option that sets it."""
    if isinstance(error, UnusableFiles):
        return "\n".join(map(with_option, error.bad.values()))
    return f"{str(error).removesuffix('.')} (option --reading)." if isinstance(error, ReadingError) else str(error)


def validated(
    model: type[BaseModel], build: Any, options: dict[str, Any], typed: Iterable[str] | Mapping[str, str]
) -> Any:
    """Return ``build(**options)``, or raise an `InputError` that names the option and its range.

    Parameters
    ----------
    model : type of BaseModel
        Where the ranges are defined.
    build : callable
        Makes the model: the class itself or a class method.
    options : dict
        Field names and values.
    typed : iterable of str, or mapping of str to str
        Fields that are options of their own (``--epochs``), or the options by their fields; the others were given by
        ``--set``.

    Raises
    ------
    InputError
        About the first field that does not fit.
    """
    try:
        return build(**options)
    except ValidationError as error:
        own = typed if isinstance(typed, Mapping) else {name: option_name(name) for name in typed}
        called = explain(error, model, lambda name: own.get(name, f"--set {name}"))
        raise InputError(called) from error


def option_name(field: str) -> str:
    """Spell a field as an option: ``--batch-size``."""
    return f"--{field.replace('_', '-')}"


# Recipes of label noise: one option for each dial that any of them has.

KINDS = "|".join(RECIPES)


def dial(name: str, **more: Any) -> Any:
    """Make an option whose help and defaults are those of the dial of this name, in all recipes that have it."""
    kinds: dict[str, list[str]] = {}
    for kind, model in RECIPES.items():
        if name in model.model_fields:
            field = model.model_fields[name]
            default = "" if field.default is None or isinstance(field.default, (bool, tuple)) else field.default
            kinds.setdefault(f"{field.description}{f' [default: {default}]' if default != '' else ''}", []).append(kind)
    help_text = " ".join(f"{', '.join(names)}: {text}" for text, names in kinds.items())
    return typer.Option(option_name(name), help=help_text, **more)


def recipe_of(kind: str, dials: Mapping[str, Any]) -> Recipe:
    """Build the recipe that was asked for.

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
        *most, last = map(option_name, known) if known else ["none"]
        has = f"it has {', '.join(most)}{' and ' if most else ''}{last}"
        raise InputError(f"{option_name(strangers[0])}: --kind {kind} has no such option; {has}.")
    if kind == "random" and {"probability", "per_class"} <= given.keys():
        raise InputError("--per-class stands in place of --probability; give one of them.")
    if "matrix" in given:
        given["matrix"] = _matrix(given["matrix"])
    elif kind == "matrix":
        raise InputError("--kind matrix needs --matrix, a CSV file or rows like '0.9 0.1; 0.2 0.8'.")
    return make_recipe(kind, **{name: read_dial(name, value) for name, value in given.items()})


def read_dial(name: str, value: Any) -> Any:
    """Read the text of a dial: ``0=0.1, 1=0.5`` as shares by class, ``0.9 0.1; 0.2 0.8`` as the rows of a matrix.

    Raises
    ------
    InputError
        For text of another form.
    """
    if not isinstance(value, str):
        return value
    try:
        if name == "per_class":
            pairs = [re.split(r"[=:]", part) for part in value.strip(" {}").split(",") if part.strip()]
            labels = [int(label) for label, _ in pairs]
            if twice := [label for label in labels if labels.count(label) > 1]:
                raise InputError(f"{value!r} names class {twice[0]} twice; give one share for each class.")
            return {label: float(share) for label, (_, share) in zip(labels, pairs, strict=True)}
        if name == "matrix":
            rows = [re.split(r"[,\s]+", row.strip(" ,[(")) for row in re.split(r"[;\n\])]", value) if row.strip(" ,[(")]
            return [[float(entry) for entry in row] for row in rows]
    except InputError:
        raise
    except ValueError:
        form = "gives no shares by class; write them like 0=0.1, 1=0.5"
        if name == "matrix":
            form = "is no matrix; write its rows like 0.9 0.1; 0.2 0.8"
        raise InputError(f"{value!r} {form}.") from None
    return value


def _matrix(text: str) -> Any:
    """Read a matrix typed in, or the rows of a CSV file."""
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
    """Read the numbers of a line; where semicolons part them, commas are decimal points, as some spreadsheets write."""
    parts = line.replace(",", ".").split(";") if ";" in line else re.split(r"[,\s]+", line.strip())
    try:
        return [float(part.strip(' "')) for part in parts if part.strip()]
    except ValueError:
        raise InputError(f"{where}: {line.strip()[:60]!r} is no row of numbers; leave names of classes out.") from None


# Image and label files of commands: listed, paired, read together; places of results.

WAYS = ("choose another --out", "replace it with --overwrite")
"""Ways out where a result is in the way; see `napari_metastructure.images.files.check_free`."""

RUN_WAYS = (WAYS[0], "go on with --resume", WAYS[1])
"""The same for a run."""

ReadingOption = Annotated[str, typer.Option(help=READING, metavar="auto|foreground|objects|classes")]


def check_json(path: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse to write numbers over an input."""
    if path is not None:
        check_free([path], inputs, overwrite=True, ways=("choose another --json",))


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write numbers as JSON, whole or not at all."""
    with replacing(path) as beside:
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def check_modes(resume: bool, overwrite: bool) -> None:
    """Refuse to go on with a run and to replace it at once."""
    if resume and overwrite:
        raise InputError("--resume goes on with the run in --out and --overwrite replaces it; give one of them.")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep runs and other commands out of a folder while results are written; make it, and remove it if left empty.

    Raises
    ------
    InputError
        If one is writing there.
    """
    from napari_metastructure.training.run_folder import RunFolder

    is_new = not folder.exists()
    place = RunFolder(folder)
    try:
        place.lock()
        yield
    finally:
        place.unlock()
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def tell_colour(read: "ImageSet") -> None:
    """Print which channel was chosen, if there was something to choose."""
    if read.chosen:
        typer.echo(f"Colour images: the {read.colour} channel is used; --channel luminance or another changes that.")


def result_paths(folder: Path, inputs: Sequence[Path], ending: str) -> list[Path]:
    """Name the result of each input: its stem and an ending, in the folder; more of its path where stems clash."""
    with warnings_as_lines():
        return [folder / f"{name}{ending}" for name in output_stems(inputs)]


def list_labels(paths: Iterable[Path]) -> list[Path]:
    """List the label files that files and folders name; warnings about others are lines on stderr."""
    with warnings_as_lines():
        warnings.filterwarnings("ignore", message=f".*{NOISE_FILE} is no image")  # ours, and no stray file
        return list_images(paths, labels=True)


def pair_folders(
    first: Sequence[Path], second: Sequence[Path], folders: tuple[Path, Path]
) -> dict[str, tuple[Path, Path]]:
    """Pair the files of two folders by their names; each file without a partner is a warning line.

    Raises
    ------
    InputError
        If there is no pair, or two files of a folder share a stem.
    """
    with warnings_as_lines():
        found = pair_by_stem(first, second)
    for path in [*found.first_alone, *found.second_alone]:
        typer.echo(f"Warning: {path} has no partner and is not counted.", err=True)
    if not found.pairs:
        raise InputError(f"No file of {folders[0]} has a partner in {folders[1]}; their stems must be the same.")
    return found.pairs


def pair_paths(first: Path, second: Path) -> dict[str, tuple[Path, Path]]:
    """Pair two files, whatever they are called, or the masks of two folders by stem; the keys are their names.

    Raises
    ------
    InputError
        As `list_folder` and `pair_folders`; for a file and a folder, or a path that does not exist.
    """
    for path in (first, second):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name.")
    if first.is_dir() != second.is_dir():
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise InputError(f"{folder} is a folder but {file} is a file; name two files or two folders.")
    if not first.is_dir():
        return {stem(second): (first, second)}
    with warnings_as_lines():
        folders = list_folder(first), list_folder(second)
    return pair_folders(*folders, (first, second))
