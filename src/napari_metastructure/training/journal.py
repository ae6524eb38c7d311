"""How a run went, and all that is needed to go on with it, in and out of its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from pydantic import BaseModel

from napari_metastructure.errors import InputError
from napari_metastructure.training.events import Saved
from napari_metastructure.training.runs import RunFolder

SAVING_SHARE = 0.02
"""Part of the run's time that saving the state to resume from may take."""


class Journal:
    """The rows of ``metrics.csv``, and the state of a run in its folder.

    Parameters
    ----------
    config : BaseModel
        The settings; a resumed run needs the same ones but for ``may_change``.
    may_change : sequence of str
    identity : list of str
        What the run was made of; it has to be the same when it is resumed.
    folder : RunFolder, optional
        Without one nothing is written.
    """

    def __init__(
        self, config: BaseModel, may_change: Sequence[str], identity: list[str], folder: RunFolder | None
    ) -> None:
        self.config = config
        self.may_change = may_change
        self.identity = identity
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self._saved_epoch = -1
        self._saving_seconds = 0.0

    @property
    def epoch(self) -> int:
        """The newest epoch; 0 before the first."""
        return self.rows[-1]["epoch"] if self.rows else 0

    def save(self, state: Callable[[], dict[str, Any]], *, last: bool) -> Iterator[Saved]:
        """Write ``metrics.csv`` and, where that costs little of the run's time or it is the last call, ``last.pt``.

        A state that an epoch has written stays when the run is stopped inside the next one, so that going on
        gives what an undisturbed run gives.

        Parameters
        ----------
        state : callable
            Returns what only the run knows; called where it is written.
        """
        if self.folder is None or not self.rows:
            return
        yield from self.save_rows()
        spent = sum(row["seconds"] for row in self.rows)
        if self._saved_epoch == self.epoch or not (last or self._saving_seconds <= SAVING_SHARE * spent):
            return
        began = time.perf_counter()
        facts = {"config": self.config.model_dump_json(), "identity": self.identity, "rows": self.rows}
        yield Saved(self.folder.write_last({**facts, **state()}))
        self._saving_seconds += time.perf_counter() - began
        self._saved_epoch = self.epoch

    def save_rows(self) -> Iterator[Saved]:
        """Write ``metrics.csv`` alone."""
        if self.folder is not None:
            yield Saved(self.folder.write_metrics(self.rows))

    def read(self, device: torch.device) -> dict[str, Any]:
        """What ``last.pt`` holds, for `restore`.

        Raises
        ------
        InputError
            If there is none, or it is that of another run.
        """
        if self.folder is None:
            raise InputError("A run can only be resumed in its folder; name the folder.")
        state = self.folder.read_last(device)
        then, now = json.loads(state["config"]), self.config.model_dump(mode="json")
        changed = [k for k in now if k not in self.may_change and now[k] != then.get(k)]
        if changed:
            name = changed[0]
            raise InputError(
                f"The run in {self.folder.path} was made with {name} = {then.get(name)}, not {now[name]}; "
                "resume it with the same settings or choose another folder."
            )
        if state.get("identity") != self.identity:
            raise InputError(f"The run in {self.folder.path} was made of other images; give the same ones again.")
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the rows that `read` found."""
        self.rows = state["rows"]
        self._saved_epoch = self.epoch
