"""Errors whose messages are for the user, and validation errors in plain words."""

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo


class MetastructureError(Exception):
    """Base of every error this package raises on purpose.

    It is no `RuntimeError`: napari's generator workers swallow those silently.
    """


class InputError(MetastructureError, ValueError):
    """A file, layer or option cannot be used; the message names it and says what to do."""


class ReadingError(InputError):
    """The numbers of labels can be meant in more ways than one; the message says which readings decide."""


class RunFailed(MetastructureError):
    """A run broke down after it had started; what was saved before stays."""


def denied(error: PermissionError) -> str:
    """Say that a file or folder may not be used, as one in a folder that may not be entered."""
    return f"No permission to use {error.filename}; change its permissions, or choose another place."


MOST = 20
"""Items that a sentence lists at most."""


def listed(items: Sequence[Any], last: str = "and") -> str:
    """Join items in words: ``0, 1 and 2``; of many the first and how many more."""
    names = [str(item) for item in items]
    if len(names) > MOST:
        names = [*names[: MOST // 2], f"{len(names) - MOST // 2} more"]
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, noun: str) -> str:
    """Write a number of things: ``1 image``, ``2,000 images``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def sized(shape: Sequence[int]) -> str:
    """Write the size of an image, in the order of its axes: ``256 x 1 pixels (Y x X)``, ``5 x 64 x 64 pixels``."""
    text = f"{' x '.join(map(str, shape))} pixels"
    if len(shape) < 2 or shape[-2] == shape[-1]:
        return text
    return f"{text} ({'Y x X' if len(shape) == 2 else 'Y x X last'})"


def all_are(number: int, noun: str) -> str:
    """Begin a sentence about all there are: ``The run is``, ``All 2 runs are``."""
    return f"The {noun} is" if number == 1 else f"All {number} {noun}s are"


def span(first: int, last: int) -> str:
    """Write whole numbers that can be chosen: ``1 to 3``, or ``1`` where there is no other."""
    return str(first) if first == last else f"{first} to {last}"


def explain(
    error: ValidationError, model: type[BaseModel] | None = None, call: Callable[[str], str] | None = None
) -> str:
    """Say in one sentence which value does not fit and what it must be.

    Parameters
    ----------
    error : pydantic.ValidationError
        Its first complaint is explained.
    model : type of BaseModel, optional
        What was validated: types and ranges are taken from its fields. A field whose type says too little gives the
        words itself: ``Field(json_schema_extra={"takes": "rows of numbers"})``.
    call : callable, optional
        From the name of a field to what the user knows it as, for example ``"--epochs"``; by default the field's
        title, or its name as words. It is asked for "" where the value is in no field.

    Returns
    -------
    str
        ``Epochs must be a whole number from 1 to 100, not 0.``

    Examples
    --------
    >>> from pydantic import BaseModel, Field, ValidationError
    >>> class Settings(BaseModel):
    ...     batch_size: int = Field(4, ge=1, le=64)
    >>> try:
    ...     Settings(batch_size=0)
    ... except ValidationError as error:
    ...     explain(error, Settings)
    'Batch size must be a whole number from 1 to 64, not 0.'
    """
    first: Any = error.errors(include_url=False)[0]
    names, field, inner = _place(model, first["loc"])
    if not names or first["type"] == "extra_forbidden":
        names += [str(key)[:60] for key in first["loc"][-1:]]
    named = call("") if call is not None and not names else "Settings"
    if names:
        outermost = model.model_fields.get(names[0]) if model is not None else None
        outer = call(names[0]) if call is not None else title_of(names[0], outermost)
        named = ": ".join([outer, *(name.replace("_", " ") for name in names[1:])])
    return _sentence(first, named, inner, field)


def title_of(name: str, field: FieldInfo | None) -> str:
    """Give a setting's title, or its name as words."""
    return (field.title if field is not None else None) or name.replace("_", " ").capitalize()


_FORMS = {
    "path_type": "the path of a file or folder",
    "string_type": "text",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "settings by their names"),
}
"""What a value is that has another form, in files that people write by hand."""

_NUMBERS = {"float_parsing": "a number", "int_parsing": "a whole number"}
"""What a value is that is in no field, by the name of what it is not."""


def _sentence(problem: Any, named: str, model: type[BaseModel] | None, field: FieldInfo | None) -> str:
    """Put one complaint of pydantic's into words."""
    context: Mapping[str, Any] = problem.get("ctx", {})
    match problem["type"]:
        case "value_error":
            words = str(context["error"])  # ours: a whole sentence, or what comes after the name
            return words if words.endswith(".") else f"{named}: {words}."
        case "extra_forbidden":
            known = [n for n, f in model.model_fields.items() if not _is_tag(f)] if model else []
            none = f"{named}: there is no setting of that name"
            if near := get_close_matches(str(problem["loc"][-1]), known, 1, 0.75):
                return f"{none}; perhaps {near[0]} is meant."
            choice = f"; choose one of {', '.join(known)}" if known else "; there are none" if model else ""
            return f"{none}{choice}."
        case "missing":
            return f"{named} is missing."
        case "too_short":
            return f"{named}: at least {context['min_length']} must be given."
        case "union_tag_invalid":
            return f"{named} must be of the kind {context['expected_tags']}, not {_shown(context['tag'])}."
        case "union_tag_not_found":
            return f"{named} does not say {context['discriminator']} it is."
        case "literal_error":
            wish = str(context["expected"])
        case "dict_type" if field is not None and (takes := _takes(field)):
            wish = takes
        case _:
            wish = _FORMS.get(problem["type"]) or (
                _takes(field) if field is not None else _NUMBERS.get(problem["type"], "")
            )
    message = str(problem["msg"])
    if not wish and not message.startswith("Input should be "):
        return f"{named}: {message[:1].lower()}{message[1:]}."
    given = _shown(problem["input"])
    if problem["type"] == "multiple_of":
        step, rules = context["multiple_of"], field.metadata if field is not None else []
        nearest = max(step, round(float(problem["input"]) / step) * step)
        given += f"; take {min([nearest, *(rule.le for rule in rules if hasattr(rule, 'le'))])}"
    return f"{named} must be {wish or message.removeprefix('Input should be ')}, not {given}."


def _place(
    model: type[BaseModel] | None, keys: Sequence[int | str]
) -> tuple[list[str], FieldInfo | None, type[BaseModel] | None]:
    """Follow the way to a value: the names of its fields, the innermost field, and the model that was asked last."""
    names: list[str] = []
    field, models = None, [model] if model is not None else []
    for key in keys:  # numbers of entries and tags of unions are no fields
        if (owner := next((m for m in models if key in m.model_fields), None)) is not None:
            names.append(str(key))
            model, field = owner, owner.model_fields[str(key)]
            models = list(_models_in(field.annotation))
        elif len(models := [m for m in models if key in _tags(m)] or models) == 1:
            model = models[0]
    return names, field, model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Walk through the models that a type is made of."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


_KINDS = ((bool, "yes or no"), (int, "a whole number"), (float, "a number"))


def _takes(field: FieldInfo) -> str:
    """Say what a field takes: "a whole number from 1 to 100"; nothing where its type has no words here."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    kind = kinds[0] if type(None) in get_args(field.annotation) else field.annotation
    for rule in (field, *getattr(kind, "__metadata__", ())):
        extra = getattr(rule, "json_schema_extra", None)
        if isinstance(extra, dict) and "takes" in extra:
            return str(extra["takes"])
    if get_origin(kind) is tuple:
        return {int: "whole numbers", float: "numbers"}.get(get_args(kind)[0], "a list")
    words = next((words for known, words in _KINDS if kind is known), "")
    if step := next((rule.multiple_of for rule in field.metadata if hasattr(rule, "multiple_of")), None):
        words = f"a multiple of {step}"
    return f"{words}{_range(field)}" if words else ""


def _range(field: FieldInfo) -> str:
    """Put a field's bounds into words: " from 1 to 100", " above 0 and below 1"."""
    kinds = ("ge", "gt", "le", "lt")
    bounds = {kind: getattr(rule, kind) for rule in field.metadata for kind in kinds if hasattr(rule, kind)}
    low = [f"{word} {_plain(bounds[key])}" for key, word in (("ge", "from"), ("gt", "above")) if key in bounds]
    high = [f"{word} {_plain(bounds[key])}" for key, word in (("le", "up to"), ("lt", "below")) if key in bounds]
    if "ge" in bounds and "le" in bounds:
        return f" {low[0]} to {_plain(bounds['le'])}"
    return f" {' and '.join(low + high)}" if low or high else ""


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _tags(model: type[BaseModel]) -> list[Any]:
    """List the values by which a model of a union is known."""
    return [get_args(field.annotation)[0] for field in model.model_fields.values() if _is_tag(field)]


def _is_tag(field: FieldInfo) -> bool:
    """Test whether a field can hold one value only, by which models of a union are known."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _shown(value: Any) -> str:
    """Show a value in few letters, numbers typed as text without quotes."""
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxtuple, short.maxdict, short.maxstring = 2, 3, 3, 3, 60
    try:
        if isinstance(value, str) and len(value) < short.maxstring:
            float(value)
            return value
    except ValueError:
        pass
    try:
        return short.repr(value)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        return "a number of that length"
