"""The command ``metastructure``; nothing heavy is imported before a command runs."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup

from napari_metastructure import __version__
from napari_metastructure.cli._options import with_option
from napari_metastructure.cli._progress import FAILED, INTERRUPTED, ended_like_ctrl_c
from napari_metastructure.cli._streams import harden
from napari_metastructure.cli.batch import batch
from napari_metastructure.cli.compare import compare
from napari_metastructure.cli.doctor import doctor
from napari_metastructure.cli.igtt import film, igtt
from napari_metastructure.cli.labels import density, noise, transition
from napari_metastructure.cli.measure import measure, score
from napari_metastructure.cli.predict import export, predict
from napari_metastructure.cli.train import study, train
from napari_metastructure.errors import InputError, RunFailed, denied, explain
from napari_metastructure.images.read_options import set_read_options
from napari_metastructure.training.distributed import ending_at_once, join, launched, only_first_prints, speaks

BAD_INPUT = 2
"""Exit code where the user can mend it."""

MAY_BE_EMPTY = ("--planes", "--frames")
"""Options for which an empty text says something."""

SHARED = ("igtt", "train")
"""Commands that several processes can share."""

GARBAGE = 10_000
"""New objects after which Python looks for garbage. Its own 700 costs half a second while the libraries of a run are
imported, a million objects none of which is garbage."""


class _Command(TyperCommand):
    """A command that refuses an option given twice, of which the first would be dropped without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given: list[Any] = [p for p in self.make_parser(ctx).parse_args(list(args))[2] if p.param_type_name == "option"]
        for option in given:
            if given.count(option) > 1 and not (option.multiple or option.is_flag):
                raise InputError(f"{option.opts[0]} is given twice; give it once.")
        with _saying_what_it_was():
            return super().parse_args(ctx, args)


class _Group(TyperGroup):
    """The options before the name of a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _saying_what_it_was():
            return super().parse_args(ctx, args)


@contextmanager
def _saying_what_it_was() -> Iterator[None]:
    """Put what is no number into a sentence, which typer leaves out of its own."""
    try:
        yield
    except typer.BadParameter as error:
        if error.param is None or not isinstance(error.__cause__, ValidationError):
            raise
        option = error.param.opts[0]
        raise InputError(explain(error.__cause__, None, lambda _: option)) from error


app = typer.Typer(
    name="metastructure", cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode=None,
)  # fmt: skip
for command in (
    igtt, film, train, predict, export, study, compare, measure, score, noise, density, transition, batch, doctor,
):  # fmt: skip
    app.command(cls=_Command)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-metastructure {__version__}")
        raise typer.Exit


@app.callback()
def metastructure(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Axes of all files that are read, instead of what they say: letters of TCZYXS, S for colours.",
            metavar="ZYX",
        ),
    ] = None,
    series: Annotated[
        int | None,
        typer.Option(
            help="Which image of files that hold several, from 0. [default: those of the largest size]", metavar="N"
        ),
    ] = None,
) -> None:
    """Segment microscopy images without labels, score masks, and see what label noise leaves to learn."""
    if launched():
        if context.invoked_subcommand not in SHARED:
            raise InputError(
                f"metastructure {context.invoked_subcommand} is not shared out to several processes; start it without "
                "torchrun."
            )
        join()
    set_read_options(axes, series)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected error ends as one sentence and an exit code.

    Parameters
    ----------
    arguments : list of str, optional
        In place of ``sys.argv[1:]``.

    Raises
    ------
    SystemExit
        Always: 0 done, 1 the run broke down, 2 bad input, 130 stopped by Ctrl-C.
    """
    if arguments is None:
        harden()
    with ending_at_once(), _thriftily() if arguments is None else nullcontext():
        try:
            _check_empty(sys.argv[1:] if arguments is None else arguments)
            _check_folder()
            with only_first_prints(), ended_like_ctrl_c():
                app(arguments)
        except InputError as error:
            _fail(with_option(error), BAD_INPUT)
        except RunFailed as error:
            _fail(str(error), FAILED)
        except PermissionError as error:
            _fail(denied(error), BAD_INPUT)
        except KeyboardInterrupt:  # while typer makes the command, which ends those that come later like this
            sys.exit(INTERRUPTED)
        except MemoryError:
            _fail("There is not enough memory for these images; give fewer or smaller ones.", FAILED)


@contextmanager
def _thriftily() -> Iterator[None]:
    """Let threads that wait sleep, and look for garbage less often than Python does by itself, at the end not at all.

    OpenMP's threads spin by default, and where other programs want the cores too, take several times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.set_threshold(GARBAGE)
    try:
        yield
    finally:
        gc.freeze()


def _check_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument, perhaps a variable of the shell that is not set: as a path it is the working folder."""
    for before, text in pairwise(("", *arguments)):
        option, equals, value = text.partition("=") if text.startswith("--") else (before, "", text)
        if not value and (equals or not text) and option not in MAY_BE_EMPTY:
            raise InputError(f"An empty text was given{f' after {option}' * option.startswith('--')}; give a name.")


def _check_folder() -> None:
    """Refuse to work in a folder that was removed, in which libraries cannot be loaded."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("The working folder does not exist any more; change to another one (cd).") from None


def _fail(sentence: str, code: int) -> None:
    if speaks():
        for line in sentence.splitlines():
            typer.echo(f"Error: {line}", err=True)
    sys.exit(code)
