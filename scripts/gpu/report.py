"""The table of a GPU check: one row a measurement, written to ``gpu.md`` and ``gpu.json`` as soon as it is there."""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["", "ok", "missed", "failed", "skipped"]
"""Empty: a number that nothing was asked of. Missed: it was measured and is not what was asked. Failed: it could not be
measured. Skipped: there was no time, or this machine cannot do it."""

BAD: tuple[Status, ...] = ("missed", "failed")
DIGITS = 3


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes
    ----------
    step, what : str
        The step it belongs to and what was measured.
    value : float, str or None
        None where there is nothing to tell.
    unit : str
    target : str
        What was asked of it, in words.
    status : Status
    note : str
        A sentence, or why it failed.
    more : mapping of str to float or str
        Numbers that belong to it.
    trace : str
        Where it failed, for ``gpu.json``.
    """

    step: str
    what: str
    value: float | str | None = None
    unit: str = ""
    target: str = ""
    status: Status = ""
    note: str = ""
    more: Mapping[str, float | str] = field(default_factory=dict)
    trace: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What, value, target, status and note, as they are printed."""
        more = [f"{name} {_shown(value)}" for name, value in self.more.items()]
        value = "" if self.value is None else f"{_shown(self.value)} {self.unit}".rstrip()
        return self.what, value, self.target, self.status, "; ".join([*more, *([self.note] if self.note else [])])


class Report:
    """The rows of one check, and its two files.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    COLUMNS = ("what", "value", "target", "", "note")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device, self.began = "no device yet", time.strftime("%Y-%m-%d %H:%M:%S")
        self.on_gpu = False
        self.rows: list[Row] = []
        self._clock = time.monotonic()

    def add(self, row: Row) -> None:
        """Take a row, print it and write both files: a check that is killed keeps what it has."""
        if not self.rows or self.rows[-1].step != row.step:
            print(f"\n{row.step} ({self.seconds:.0f} s)")
        what, value, target, status, note = row.cells
        print(f"  {status:8}{what:64} {value:18} {target:24} {note}".rstrip(), flush=True)
        self.rows.append(row)
        self.write()

    def write(self) -> None:
        """Write ``gpu.json`` and ``gpu.md``."""
        facts = {
            "device": self.device,
            "on_gpu": self.on_gpu,
            "began": self.began,
            "seconds": self.seconds,
            "rows": [_strict(asdict(row)) for row in self.rows],
        }
        _replace(self.folder / "gpu.json", json.dumps(facts, indent=1))
        _replace(self.folder / "gpu.md", self.markdown())

    @property
    def seconds(self) -> float:
        """How long the check has run."""
        return round(time.monotonic() - self._clock, 1)

    @property
    def bad(self) -> list[Row]:
        """What failed or missed what was asked."""
        return [row for row in self.rows if row.status in BAD]

    @property
    def headline(self) -> str:
        """One sentence: where it ran, and how it went."""
        where = f"GPU check of {self.began} on {self.device}, {self.seconds:.0f} s"
        if not self.on_gpu:
            where += ". **CPU**: the same steps at the smallest sizes; targets are not judged"
        counts = {name: sum(row.status == name for row in self.rows) for name in ("ok", "missed", "failed", "skipped")}
        return f"{where}. " + ", ".join(f"{count} {name}" for name, count in counts.items()) + "."

    def markdown(self) -> str:
        """Return the whole table, one part a step."""
        lines = [self.headline]
        for step, rows in self._by_step():
            lines += ["", f"### {step}", "", _line(self.COLUMNS), _line(["---"] * len(self.COLUMNS))]
            lines += [_line(row.cells) for row in rows]
        return "\n".join(lines) + "\n"

    def _by_step(self) -> Iterable[tuple[str, list[Row]]]:
        steps = dict.fromkeys(row.step for row in self.rows)
        return [(step, [row for row in self.rows if row.step == step]) for step in steps]


def _shown(value: float | str) -> str:
    """Write a number with as many digits as mean something."""
    if isinstance(value, str):
        return value
    if value == 0 or (isinstance(value, int) and abs(value) < 10**6):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{DIGITS}g}"


def _strict(thing: Any) -> Any:
    """Return the same without what JSON has no word for."""
    if isinstance(thing, Mapping):
        return {key: _strict(value) for key, value in thing.items()}
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
