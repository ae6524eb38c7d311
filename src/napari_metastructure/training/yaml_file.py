"""YAML files, written whole and read from anybody: ``run.yaml``, ``noise.yaml``."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from napari_metastructure.errors import InputError
from napari_metastructure.images.writing import replacing

MOST_BYTES = 8 * 2**20
"""A run of 20,000 images takes 4 MB."""

MOST_EVENTS = 300_000
"""Beginnings, ends and values: an image of a run takes 14."""

DEEPEST, LONGEST = 40, 20_000
"""Levels of nesting, and characters of one value."""

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Values(yaml.SafeLoader):
    """PyYAML's rules of what plain text means, except for dates: nothing here has one."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's name, shared by its classes
        first: [rule for rule in rules if not rule[0].endswith((":timestamp", ":merge", ":value"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_OLD = re.compile(r".*:.*|[-+]?0[0-9_]+|yes|no|on|off", re.IGNORECASE)
"""What YAML 1.1 takes for numbers to the base 60 or 8, or for true and false, and 1.2 for text."""


class _Dumper(_BaseDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        """Write twice what is there twice: aliases are not read."""
        return True


class _Refused(Exception):
    """Raised for a file that is refused, with the reason."""


def write_yaml(path: Path, facts: dict[str, Any], **style: Any) -> Path:
    """Write a mapping, whole or not at all; ``style`` as PyYAML's ``dump`` takes it.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        yaml.dump(facts, file, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **style)
    return path


def read_yaml(path: Path, advice: str) -> dict[str, Any]:
    """Read a mapping, in about a second and 100 MB at most, whatever the file holds; all its names are texts.

    Parameters
    ----------
    path : Path
    advice : str
        What the user can do where it cannot be read: the end of the sentence.

    Raises
    ------
    InputError
        If it is missing, too large, no YAML, or holds what `write_yaml` never writes: aliases, tags, deep nesting.
    """
    try:
        if not path.is_file():
            raise _Refused("it is no file" if path.exists() else "there is no such file")
        if path.stat().st_size > MOST_BYTES:
            raise _Refused(f"it is larger than {MOST_BYTES // 2**20} MB")
        found = _build(yaml.parse(path.read_text(encoding="utf-8-sig"), Loader=_Parser))
        if isinstance(found, dict):
            return found
        why = "it is damaged or of another program (it holds no settings)"
    except OSError as error:
        why = error.strerror or type(error).__name__
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        why = f"it is damaged or of another program (no YAML{'' if line is None else f' from line {line + 1}'})"
    except _Refused as error:
        why = str(error)
    raise InputError(f"{path} cannot be read: {why}; {advice}.")


def _build(events: Iterable[Any]) -> Any:
    """Build what the events of a file describe, without recursion and no further than the limits."""
    values = _Values("")
    documents: list[Any] = []
    open_: list[Any] = [documents]  # what has begun and not ended
    names: list[str | None] = [None]  # of each, if it is a mapping, the name that waits for its value
    for count, event in enumerate(events):
        if count > MOST_EVENTS:
            raise _Refused("it holds too many values")
        if isinstance(event, yaml.CollectionEndEvent):
            open_.pop()
            names.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _Refused("it holds aliases (& and *), which are not taken")
        if event.tag not in (None, "!"):  # type: ignore[attr-defined]
            raise _Refused("it holds tags (!), which are not taken")
        container, text = open_[-1], getattr(event, "value", None)
        if text is not None and len(text) > LONGEST:
            raise _Refused(f"it holds a value of {len(text)} characters")
        if isinstance(container, dict) and names[-1] is None:
            if text is None or text in container:
                raise _Refused("it has a name that is no text" if text is None else f"it gives {text[:40]!r} twice")
            names[-1] = text
            continue
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        if isinstance(event, yaml.ScalarEvent):
            value = _value(values, event)
        if isinstance(container, dict):
            container[names[-1]] = value
            names[-1] = None
        else:
            container.append(value)
        if text is None:
            if len(open_) > DEEPEST:
                raise _Refused("it is nested too deeply")
            open_.append(value)
            names.append(None)
    if len(documents) > 1:
        raise _Refused("it holds several documents")
    return documents[0] if documents else None


def _value(values: _Values, event: yaml.ScalarEvent) -> Any:
    """Make of a text what it means: a number, yes or no, nothing, or the text itself."""
    if _OLD.fullmatch(event.value):
        return event.value
    tag = values.resolve(yaml.ScalarNode, event.value, event.implicit)
    try:
        return values.construct_object(yaml.ScalarNode(tag, event.value))
    except ValueError:
        raise _Refused(f"it holds a number of {len(event.value)} digits") from None
