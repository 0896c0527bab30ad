"""Validation that reports all mistakes at once, each with its path and the remedy.

Pydantic's own messages quote the wrong value, which may be a secret, and its model validators run
only if every field is valid. Here, messages are made from the type of error alone, and checks
across fields run on all fields that are valid.
"""

from __future__ import annotations

import copy
import re
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    TypeVar,
    get_args,
    get_origin,
)

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from exporter.config.types import WrongValueError
from exporter.config.words import hint, nearest


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


#: The path of a value: keys of mappings and indexes of lists.
KeyPath = tuple[str | int, ...]

S = TypeVar("S", bound="Section")

_TEXTS = {
    "string_type": "must be text; put it in quotes",
    "list_type": "must be a list; write it in brackets",
    "tuple_type": "must be a list; write it in brackets",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "path_type": "must be a path; put it in quotes",
    "invalid_key": "the key must be text; put it in quotes",
    "missing": "is missing",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "too_short": "must list at least {min_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must not be longer than {max_length} characters",
}


class Mistake(msgspec.Struct, frozen=True):
    """One mistake.

    Attributes:
        path: The path of the value, relative to the model that reports the mistake.
        text: The fault and the remedy; never a value that could be a secret.
        about: The fields that the check compares. If one of them is wrong by itself, this mistake
            is only a consequence and is not reported.
    """

    path: KeyPath
    text: str
    about: tuple[str, ...] = ()


class Section(BaseModel):
    """A part of the configuration. Every field has a default, and an unknown key is a mistake.

    The reference of the configuration is generated from `Attributes` in the models' docstrings,
    so fields are described there only.

    Required fields have a default too, and `mistakes` demands them. A field without a default
    would prevent all other checks.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in the combination of fields that are each valid.

        Nested sections yield their own. A mistake with an empty path is about the whole section.
        """
        yield from ()


class Checked(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """The outcome of a check.

    Attributes:
        settings: The settings from the valid values; defaults for the rest.
        raw: The raw data without wrong values.
        mistakes: All mistakes.
    """

    settings: S
    raw: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def checked(model: type[S], raw: object, *, wrong: Collection[KeyPath] = ()) -> Checked[S]:
    """Return settings from the valid part of raw data, with all mistakes in the rest.

    Args:
        model: The section's model.
        raw: Plain data from the layers.
        wrong: Paths reported elsewhere; mistakes that follow from them are left out.
    """
    if not isinstance(raw, dict):
        mistake = Mistake((), "must be a mapping of keys to values")
        return Checked(settings=model(), raw={}, mistakes=(mistake,))
    found: dict[KeyPath, Mistake] = {}
    data: dict[str, Any] = raw
    settings = None
    while settings is None:
        try:
            settings = model.model_validate(data)
        except ValidationError as error:
            fresh = {mistake.path: mistake for mistake in _translate(model, error)}
            # If this loop removed all elements of a list, the list is not itself too short.
            emptied = {place for path in found for place in beginnings(path)}
            found |= {path: fresh[path] for path in fresh if path not in emptied}
            rest = _without(data, fresh)
            # If nothing could be removed, start from defaults; otherwise this loop would not end.
            data = rest if rest != data else {}
    found |= {mistake.path: mistake for mistake in _joint_mistakes(settings, {*wrong, *found})}
    return Checked(settings=settings, raw=_without(data, found), mistakes=tuple(found.values()))


def dotted(path: KeyPath) -> str:
    """Return a path as text, such as `sources[0].tasks.agents`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def plain(annotation: Any) -> Any:
    """Return an annotation without its metadata and without `None`."""
    parts = get_args(annotation)
    optional = len(parts) == 2 and parts[1] is type(None)
    return plain(parts[0]) if optional or get_origin(annotation) is Annotated else annotation


def is_list(kind: Any) -> bool:
    """Return whether a plain annotation is written as a list."""
    return get_origin(kind) in {list, tuple, set, frozenset}


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model within an annotation such as `Annotated[Model | None, …]`, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, type) or annotation is Any:
        return None
    return next((model for part in get_args(annotation) if (model := model_of(part))), None)


def _joint_mistakes(
    section: Section, failed: Collection[KeyPath], place: KeyPath = ()
) -> Iterator[Mistake]:
    """Yield the mistakes in a section and its nested sections that do not follow from `failed`."""
    depth = len(place)
    wrong = {path[depth] for path in failed if len(path) > depth and path[:depth] == place}
    for mistake in section.mistakes():
        path = (*place, *mistake.path)
        echoed = wrong.intersection(mistake.about) if mistake.path else wrong
        if not echoed and not any(start in failed for start in beginnings(path)):
            yield Mistake(path, mistake.text)
    for name, value in section:
        if isinstance(value, Section):
            yield from _joint_mistakes(value, failed, (*place, name))
        # Not for lists with failed elements: these were removed, so the indexes have shifted.
        elif isinstance(value, tuple) and name not in wrong:
            for index, each in enumerate(value):
                if isinstance(each, Section):
                    yield from _joint_mistakes(each, failed, (*place, name, index))


def _translate(model: type[BaseModel], error: ValidationError) -> Iterator[Mistake]:
    for item in error.errors(include_url=False):
        path = tuple(part for part in item["loc"] if part != "[key]")
        context: Mapping[str, Any] = item.get("ctx", {})
        if item["type"] == "extra_forbidden":
            yield Mistake(path, f"unknown key; {nearest(path[-1], known_keys(model, path[:-1]))}")
        elif isinstance(context.get("error"), WrongValueError):
            yield Mistake(path, str(context["error"]))
        elif item["type"] == "literal_error":
            # The message does not quote the value, it only suggests a similar choice.
            expected = context["expected"]
            near = hint(item["input"], re.findall("'([^']*)'", expected))
            yield Mistake(path, f"{_TEXTS[item['type']].format_map(context)}{near}")
        else:
            yield Mistake(path, _TEXTS.get(item["type"], "is not valid").format_map(context))


def known_keys(model: type[BaseModel], path: KeyPath) -> Collection[str]:
    """Return the keys of the model at a path below `model`."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = model_of(model.model_fields[part].annotation) or model
    return model.model_fields.keys()


def beginnings(path: KeyPath) -> list[KeyPath]:
    """Return a path and all its prefixes, the longest first."""
    return [path[:end] for end in range(len(path), 0, -1)]


def _without(data: dict[str, Any], paths: Collection[KeyPath]) -> dict[str, Any]:
    """Return a copy without the value at each path, or without the deepest existing parent."""
    rest = copy.deepcopy(data)
    # From the back, so that the indexes of elements still to be removed do not shift.
    for path in sorted(paths, key=lambda path: [(isinstance(p, str), p) for p in path])[::-1]:
        steps: list[tuple[Any, str | int]] = []
        inner: Any = rest
        for key in path:
            held = isinstance(inner, dict) and key in inner
            if not held and not (isinstance(inner, list) and key in range(len(inner))):
                break
            steps.append((inner, key))
            inner = inner[key]
        if steps:
            container, key = steps[-1]
            del container[key]
    return rest
