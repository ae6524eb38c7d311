"""Initial values of the widgets: this plugin's page of napari's preferences, and what each widget showed last."""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari.settings import PluginSettings
from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QCheckBox, QComboBox, QWidget

from napari_metastructure.errors import InputError
from napari_metastructure.images.writing import replacing
from napari_metastructure.plugin._inputs import PathEdit

log = logging.getLogger(__name__)

PLUGIN = "napari-metastructure"

# ---- napari's preferences ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preferences:
    """Values of the preferences page, see `configurations` in ``napari.yaml``."""

    device: str = "auto"
    folder: str = ""
    seed: int = 0
    preset: str = "default"

    def settings(self, model: Any) -> dict[str, Any]:
        """Return how settings that have presets differ from their defaults in a run with these preferences."""
        preferred = model.from_preset(self.preset, device=self.device, seed=self.seed)
        different: dict[str, Any] = changes(model().model_dump(mode="json"), preferred.model_dump(mode="json"))
        return different


def preferences() -> Preferences:
    """Return what napari's preferences say now; the defaults where they cannot be read."""
    return Preferences() if (page := _page()) is None else Preferences(**page.runs.model_dump())


def _page() -> PluginSettings | None:
    from napari.settings import get_plugin_settings

    try:
        return get_plugin_settings(PLUGIN)
    except Exception as error:  # napari itself stumbles over some damaged files
        log.warning("The preferences of %s cannot be read: %s", PLUGIN, error)
        return None


# ---- what a widget shows, as JSON can hold it --------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """Something a widget shows: how to read it, and how to show it. Showing may raise at what cannot be shown."""

    get: Callable[[], Any]
    put: Callable[[Any], object]


def of_box(box: QCheckBox) -> Value:
    """Keep a tick."""
    return Value(box.isChecked, box.setChecked)


def of_choice(box: QComboBox) -> Value:
    """Keep the data of the chosen entry."""

    def choose(value: Any) -> None:
        if (index := box.findData(value)) < 0:
            raise ValueError(f"There is no choice {value!r}.")
        box.setCurrentIndex(index)

    return Value(box.currentData, choose)


def of_path(line: PathEdit) -> Value:
    """Keep a path, or that there is none."""
    return Value(lambda: None if (path := line.get()) is None else str(path), line.set)


M = TypeVar("M", bound=BaseModel)


def of_settings(model: type[M], get: Callable[[], M], fill: Callable[[M], object]) -> Value:
    """Keep settings; of those that are read back, what the model does not take is left out."""
    return Value(lambda: get().model_dump(mode="json"), lambda values: fill(usable(model, values)))


def usable(model: type[M], values: Mapping[str, Any]) -> M:
    """Make settings of these values; its default for each that is unknown or cannot be used."""
    try:
        return model(**values)
    except ValidationError as error:
        good = deepcopy(dict(values))
        for problem in error.errors():
            _drop(good, problem["loc"])
        return usable(model, good) if good != values else model()


def _drop(values: dict[str, Any], place: tuple[int | str, ...]) -> None:
    """Take out what stands at a place in nested mappings, or the whole list that it stands in."""
    for key in place:
        inner = values.get(str(key))
        if key is place[-1] or not isinstance(inner, dict):
            values.pop(str(key), None)
            return
        values = inner


def changes(before: Any, after: Any) -> Any:
    """Return what is different in nested mappings; anything else is different as a whole."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    return {key: changes(before.get(key), after[key]) for key in after if after[key] != before.get(key)}


def merged(before: Any, changed: Any) -> Any:
    """Return the first with what is different in the second."""
    if not (isinstance(before, dict) and isinstance(changed, dict)):
        return changed
    return {**before, **{key: merged(before.get(key), value) for key, value in changed.items()}}


# ---- from one start of napari to the next ------------------------------------------------------------------------


class Memory(QObject):
    """Shows again what a widget showed last, and puts back what it would show without that.

    Kept is what differs from the preferences: a preference that is changed later holds for all else. It lies beside
    napari's own settings, and is written when the widget goes out of sight, and by `save`.

    Parameters
    ----------
    widget : QWidget
    name : str
    values : mapping of str to Value
        What is kept, in the order in which it is shown.
    preferred : callable
        Takes `Preferences` and returns what they say of these values, nested as they are.
    """

    def __init__(
        self,
        widget: QWidget,
        name: str,
        values: Mapping[str, Value],
        preferred: Callable[[Preferences], dict[str, Any]] = lambda _: {},
    ) -> None:
        super().__init__(widget)
        self.name, self._values, self._preferred = name, values, preferred
        self._made = {key: value.get() for key, value in values.items()}
        self._first = self._show_defaults()
        last = kept().get(name)
        if isinstance(last, dict):
            for key in last.keys() & values.keys():
                self._show(key, merged(self._first[key], last[key]))
        widget.installEventFilter(self)

    def reset(self) -> None:
        """Show the preferences, and the defaults of all else."""
        self._first = self._show_defaults()
        self.save()

    def save(self) -> None:
        """Keep what is shown, as far as it is whole: half a number is not."""
        shown = {}
        for key, value in self._values.items():
            with suppress(InputError):
                shown[key] = value.get()
        keep(self.name, changes(self._first, shown))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Save when the widget goes out of sight: its dock, another tab, napari itself."""
        if event.type() == QEvent.Type.Hide:
            with suppress(AttributeError, RuntimeError):  # Python has cleared a widget that was never closed
                self.save()
        return False

    def _show_defaults(self) -> dict[str, Any]:
        first = merged(self._made, self._preferred(preferences()))
        for key, value in first.items():
            self._show(key, value)
        return {key: value.get() for key, value in self._values.items()}

    def _show(self, key: str, value: Any) -> None:
        try:
            self._values[key].put(value)
        except Exception as error:  # of an older version, or damaged
            log.info("What %s showed last as %s cannot be shown: %s", self.name, key, error)


def _file() -> Path | None:
    """Return where it is kept; None where napari keeps no settings."""
    page = _page()
    where = None if page is None else page.config_path
    return where.with_name(f"{PLUGIN}-last.json") if isinstance(where, Path) else None


def kept() -> dict[str, Any]:
    """Return what is kept, by name; nothing where it cannot be read."""
    with suppress(OSError, ValueError):
        if (file := _file()) is not None and isinstance(found := json.loads(file.read_text("utf-8")), dict):
            return found
    return {}


def keep(name: str, changed: dict[str, Any]) -> None:
    """Keep something under a name, beside what is kept already; nothing happens where it cannot be written."""
    before = kept()
    if (file := _file()) is None or before.get(name, {}) == changed:
        return
    with suppress(OSError, InputError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside:
            beside.write_text(json.dumps({**before, name: changed}, indent=1), "utf-8")
