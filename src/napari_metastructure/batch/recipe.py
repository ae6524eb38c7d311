"""Recipes of batches: task, files, folder of results and scheduler, as settings and as YAML."""

import os
import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from napari_metastructure.baselines.config import CompareConfig
from napari_metastructure.errors import InputError, explain
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.files import check_folder_name, list_images, results_among
from napari_metastructure.images.ranges import Chosen
from napari_metastructure.labels.density import Kernel
from napari_metastructure.labels.readings import Reading
from napari_metastructure.labels.recipes import Recipe
from napari_metastructure.training.yaml_file import read_yaml, write_yaml

FORMAT = "napari-metastructure-batch/1"

ADVICE = "name a recipe that Save recipe of a widget, or a batch, has written"


def _check_planes(text: str) -> str:
    return Chosen(text).planes


def _check_frames(text: str) -> str:
    return Chosen(frames=text).frames


Planes = Annotated[str, AfterValidator(_check_planes)]
"""Which planes are taken, see `images.ranges.Chosen`."""

Frames = Annotated[str, AfterValidator(_check_frames)]
"""Which frames are taken."""


class Task(BaseModel):
    """Work on each file of a batch; ``what`` is the name of the command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: ClassVar[bool] = False
    """Whether the files are labels."""


class PredictSettings(BaseModel):
    """Settings of the prediction by a saved model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, ... or mps.")
    channel: str | None = Field(
        None,
        description="The channel that a model of one channel gets. Of colour images: red, green, blue, alpha or "
        "luminance; left empty, the one it was trained on, else luminance. Of files with several channels: a number "
        "from 0.",
        coerce_numbers_to_str=True,
    )
    probability: bool = Field(
        True, description="Give the probability too: of the foreground, or of the class that each pixel got."
    )
    ome: bool = Field(False, title="OME-TIFF", description="Write OME-TIFF instead of ImageJ TIFF. Fiji reads both.")

    @classmethod
    def from_preset(cls, preset: str = "default", **overrides: object) -> Self:
        """There is one preset: the defaults."""
        return cls.model_validate(overrides)


class Predict(Task, PredictSettings):
    """Settings of ``metastructure predict``."""

    what: Literal["predict"] = "predict"
    model: Path = Field(description="A run folder, or its model.safetensors.")
    planes: Planes = ""
    frames: Frames = ""

    @property
    def chosen(self) -> Chosen:
        """What of each file is taken."""
        return Chosen(self.planes, self.frames)


class IGTT(Task):
    """Settings of ``metastructure igtt``."""

    what: Literal["igtt"] = "igtt"
    config: IGTTConfig = IGTTConfig()
    channel: str = Field("auto", description="As the option --channel.", coerce_numbers_to_str=True)
    planes: Planes = ""
    frames: Frames = ""
    each: bool = Field(
        False,
        description="A run of its own for each file, in a folder of its stem; else one run trains on all of them.",
    )
    keep_epochs: bool = Field(False, description="Also write the masks of all epochs.")
    ome: bool = Field(False, title="OME-TIFF", description="Write OME-TIFF instead of ImageJ TIFF. Fiji reads both.")

    @property
    def chosen(self) -> Chosen:
        """What of each file is taken."""
        return Chosen(self.planes, self.frames, "" if self.channel == "auto" else self.channel)


class Noise(Task):
    """Settings of ``metastructure noise``."""

    labels: ClassVar[bool] = True
    what: Literal["noise"] = "noise"
    recipe: Recipe
    seed: int = Field(0, ge=0, lt=2**32, description="Same seed and files, same noise.")
    reading: Reading = "foreground"


class Density(Task):
    """Settings of ``metastructure density``."""

    labels: ClassVar[bool] = True
    what: Literal["density"] = "density"
    kernel: Kernel = "box"
    bandwidth: str = Field("8", description="Pixels, or a length as '1.5 um'.", coerce_numbers_to_str=True)
    classes: tuple[int, ...] = ()
    edges: bool = False
    reference: Path | None = Field(None, description="Clean labels, a file or a folder paired by stem.")
    reading: Reading = "foreground"


class Compare(Task):
    """Settings of ``metastructure compare``."""

    what: Literal["compare"] = "compare"
    config: CompareConfig = CompareConfig()
    masks: Path | None = Field(None, description="Ground truth of the same stems.")
    channel: str = Field("auto", description="As the option --channel.", coerce_numbers_to_str=True)


_ADDRESS = re.compile(r"local:(\d{1,4})|(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[^:/\s]+):\d{1,5}")


def check_scheduler(text: str) -> str:
    """Check where work is to be done.

    Raises
    ------
    InputError
        If it is neither ``local:N`` nor the address of a scheduler.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or found[1] == "0" or (found[1] and int(found[1]) == 0):
        raise InputError(
            f"The scheduler {text!r} is neither local:N, N worker processes on this machine, nor the address of one "
            "that runs, as tcp://192.168.1.5:8786."
        )
    return text.strip()


class BatchRecipe(BaseModel):
    """Settings of a batch; the same settings give the same files, wherever it runs.

    Examples
    --------
    >>> recipe = BatchRecipe(inputs=("images/*.tif",), out="masks", task={"what": "predict", "model": "run"})
    >>> recipe.task.device, recipe.scheduler
    ('auto', None)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[str, ...] = Field(min_length=1, description="Files, folders, and patterns such as images/*.tif.")
    out: Path = Field(description="Folder of the results; made if it is not there.")
    task: Annotated[Predict | IGTT | Noise | Density | Compare, Field(discriminator="what")]
    scheduler: str | None = Field(None, description="local:N, or the address of a running scheduler; else none.")
    axes: str | None = Field(None, description="As the option --axes of all commands.")
    series: int | None = Field(None, ge=0, description="As the option --series of all commands.")

    @field_validator("scheduler")
    @classmethod
    def _scheduler(cls, value: str | None) -> str | None:
        return None if value is None else check_scheduler(value)

    @model_validator(mode="after")
    def _paths(self) -> Self:
        if any("\0" in str(path) for path in (*self.inputs, self.out, *(value for _, value in self.task))):
            raise ValueError("A path holds a character of code 0, which no file has in its name; write it again.")
        check_folder_name(self.out, "out")
        return self

    @classmethod
    def make(cls, **values: Any) -> Self:
        """Build a recipe from plain values.

        Raises
        ------
        InputError
            About the first value that does not fit.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise InputError(explain(error, cls)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe; its paths, where they are relative, start at the working folder.

        Raises
        ------
        InputError
            If it is missing or damaged, or a setting does not fit.
        """
        facts = read_yaml(path, ADVICE)
        if facts.pop("format", None) != FORMAT:
            raise InputError(f"{path} is no recipe of a batch (format: {FORMAT}); {ADVICE}.")
        facts.pop("version", None)
        try:
            return cls.model_validate(facts)
        except ValidationError as error:
            raise InputError(f"{path}: {explain(error, cls, lambda name: name)}") from None

    def write(self, path: Path) -> Path:
        """Write the recipe, whole or not at all.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        from napari_metastructure import __version__

        return write_yaml(path, {"format": FORMAT, "version": __version__, **self.model_dump(mode="json")})

    def absolute(self) -> Self:
        """Return the recipe with paths that mean the same from any folder, and in any process."""
        paths = {name: value for name, value in self.task if isinstance(value, Path)}
        task = self.task.model_copy(update={name: absolute([path])[0] for name, path in paths.items()})
        inputs = tuple(map(str, absolute([Path(text) for text in self.inputs])))
        return self.model_copy(update={"inputs": inputs, "out": absolute([self.out])[0], "task": task})

    def files(self) -> list[Path]:
        """List the files that the inputs name, sorted, each once; warn about others.

        One that cannot be used stays listed, so that the report says why.

        Raises
        ------
        InputError
            If there is none.
        """
        named = expanded(self.inputs)
        try:
            return list_images(named, labels=self.task.labels)
        except InputError:
            if len(named) < 2:
                raise
        usable, others = [], []
        for path in named:
            try:
                usable += list_images([path], labels=self.task.labels)
            except InputError:
                others.append(path)
        return sorted({*(list_images(usable) if usable else []), *others})


def expanded(texts: Sequence[str | Path]) -> list[Path]:
    """Put the files that a pattern matches in its place, without the results among them; other paths stay.

    Raises
    ------
    InputError
        If nothing matches.
    """
    named: list[Path] = []
    for text in map(str, texts):
        named += _matches(text) if has_magic(text) and not Path(text).exists() else [_from_home(Path(text))]
    return named


def _from_home(path: Path) -> Path:
    """Put the home folder in place of a leading ``~``, unless a file is called so."""
    return path if path.exists() else Path(os.path.expanduser(path))  # pathlib's own raises at a "~" it does not know


def _matches(pattern: str) -> list[Path]:
    found = [Path(name) for name in sorted(glob(str(_from_home(Path(pattern))), recursive=True))]
    found = [path for path in found if not path.is_dir()] or found
    ours = set(results_among(found))
    if not (found := [path for path in found if path not in ours]):
        raise InputError(f"No file matches {pattern!r}; check the pattern, and that the shell was not to resolve it.")
    return found


def absolute(paths: Sequence[Path]) -> list[Path]:
    """Give paths that mean the same in another process, symbolic links as they are."""
    return [Path.cwd() / _from_home(path) for path in paths]
