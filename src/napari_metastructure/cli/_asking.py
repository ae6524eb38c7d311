"""Answers that ``metastructure igtt`` takes from a CSV file, and the next questions it writes to one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import typer

from napari_metastructure.errors import InputError, counted
from napari_metastructure.igtt.answers import Answer, Page, Sheet, check_replaceable, corrections
from napari_metastructure.igtt.asking import Gain, How, Questions
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.images.channels import ImageSet
from napari_metastructure.images.image import plane_count
from napari_metastructure.training.events import EpochFinished, Finished

MOST = 10_000


@dataclass
class Asking:
    """What the options on answers and questions ask for.

    Attributes
    ----------
    answers, places : Path or None
        The file that is read, and that which is written.
    number : int
        How many places are written.
    how : str
    """

    answers: Path | None
    number: int | None
    places: Path | None
    how: str
    given: list[Answer] = field(default_factory=list, init=False)
    _before: Sequence[np.ndarray] | None = field(default=None, init=False)
    _sheet: Sheet = field(init=False)

    def __post_init__(self) -> None:
        if (self.number is None) != (self.places is None):
            raise InputError("--ask says how many places are asked about and --places where they go; give both.")
        if self.number is not None and not 1 <= self.number <= MOST:
            raise InputError(f"--ask must be a whole number from 1 to {MOST}, not {self.number}.")
        if self.how not in get_args(How):
            raise InputError(f"--ask-how must be 'unsure' or 'random', not {self.how!r}.")
        if self.number is None and self.how != "unsure":
            raise InputError("--ask-how says how places are chosen; say by --ask how many.")
        if self.places is not None:
            check_replaceable(self.places)
            if not self.places.absolute().parent.is_dir():
                raise InputError(f"{self.places} cannot be written: its folder does not exist.")

    @property
    def wanted(self) -> bool:
        """Whether there is anything to read or to write."""
        return self.answers is not None or self.places is not None

    def read(self, images: ImageSet) -> dict[int, np.ndarray]:
        """Read the answers: corrections of the run, by plane; what is odd about them is a line on stderr."""
        pages, planes = [], iter(images.planes)
        for image, kept in zip(images.images, images.kept, strict=True):
            for number in range(plane_count(image)) if kept is None else kept:
                pages.append(Page(image.source or Path(image.name), number + 1, next(planes).shape))
        self._sheet = Sheet(pages)
        if self.answers is None:
            return {}
        self.given, notes = self._sheet.read(self.answers)
        if not self.given:
            notes.append(f"{self.answers} holds no answers yet; fill in its column class.")
        for note in notes:
            typer.echo(f"Warning: {note}", err=True)
        return corrections(self.given, [page.shape for page in pages])

    def see(self, event: EpochFinished) -> None:
        """Note what the run said before it took the answers up."""
        if self._before is None:
            self._before = event.probabilities

    def write(self, result: Finished, images: ImageSet, config: IGTTConfig) -> list[str]:
        """Write the next places, and say in a sentence each what the answers changed and where the places are."""
        said = []
        answered = [answer for answer in self.given if answer.value is not None]
        if answered and self._before is not None:
            gain = Gain()
            said_before = [bool(self._before[plane][y, x] > 0.5) for (plane, y, x), _ in answered]
            gain.contradicted = [was != bool(answer.value) for was, answer in zip(said_before, answered, strict=True)]
            planes = sorted({answer.place.plane for answer in answered})
            gain.see([self._before[i] > 0.5 for i in planes], 0)
            gain.see([result.probabilities[i] > 0.5 for i in planes], len(answered))
            said.append(f"{counted(len(answered), 'answer')}: {gain}")
        if self.places is not None and self.number is not None:
            how: How = "random" if self.how == "random" else "unsure"
            asked = [answer.place for answer in self.given]
            questions = Questions(images.planes.__getitem__, config.seed, config.flaws == "mend")
            places = questions.next(result.probabilities, self.number, how, asked)
            self._sheet.write(self.places, places)
            said.append(f"{counted(len(places), 'place')} to ask about written to {self.places}")
        return said
