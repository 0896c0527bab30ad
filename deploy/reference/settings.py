"""Tables of the settings, from their models: values, default and meaning of each."""

from __future__ import annotations

import inspect
import re
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, SecretStr

from deploy.reference.markdown import code, table
from exporter.config.types import Duration, Interval, Regex, Size, Url, format_duration
from exporter.config.validation import Section, model_of
from exporter.settings.preflights import PREFLIGHTS, PreflightSettings
from exporter.settings.sections import SECTIONS
from exporter.sources.registry import PROVIDERS
from exporter.sources.settings import SourceDefaults, SourceSettings
from exporter.web.access.config import CIPHER_SUITES
from exporter.web.access.config import SECTIONS as WEB_SECTIONS


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo


#: Models by their names in pages. Nested settings are addressed with dots.
MODELS: Mapping[str, type[Section]] = {
    **SECTIONS,
    "source": SourceSettings,
    PREFLIGHTS: PreflightSettings,
    **{name: provider.settings for name, provider in PROVIDERS.items()},
    **WEB_SECTIONS,
}

_WORDS: Mapping[Any, str] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "file",
    time: "time of day, in quotes",
    SecretStr: "text, secret",
}

#: Types that are recognised by their reader, since their plain types are the same.
_READ: Mapping[Any, str] = {
    Duration: "duration",
    Interval: "duration or `off`",
    Size: "size",
    Regex: "regular expression",
    Url: "URL",
}

_ATTRIBUTES = re.compile(r"^Attributes:\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", re.MULTILINE | re.DOTALL)


def table_of_settings(place: str) -> str:
    """Return a table of a model's settings, without those described with an inherited model.

    Args:
        place: A key of `MODELS`, or a setting below one, such as `alerting.thresholds`.
    """
    model = model_at(place)
    return table(("Key", "Value", "Default", "Meaning"), rows(model))


def table_of_tasks(provider: str) -> str:
    """Return a table of a provider's tasks with their intervals."""
    tasks = PROVIDERS[provider].settings.TASKS
    return table(
        ("Task", "Interval"),
        ((code(task), code(_interval(seconds))) for task, seconds in tasks.items()),
    )


def list_of_ciphers() -> str:
    """Return a list of the cipher suites by their names in the web configuration file."""
    return "".join(f"- {code(name)}\n" for name in CIPHER_SUITES)


def model_at(place: str) -> type[Section]:
    """Return the model with this name, or of this nested setting.

    Raises:
        LookupError: The setting has no model.
    """
    first, *keys = place.split(".")
    model: Any = MODELS[first]
    for key in keys:
        model = model_of(model.model_fields[key].annotation)
        if model is None:
            raise LookupError(f"{place} has no settings")
    found: type[Section] = model
    return found


def rows(model: type[Section]) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, value, default and meaning of the settings to list for a model.

    Raises:
        LookupError: A setting has no description.
    """
    elsewhere = inherited_from(model).model_fields.keys() - described(model).keys()
    # The descriptions of inherited settings are in the docstring of the inherited model.
    meanings = {
        name: text for each in model.__mro__[::-1] for name, text in described(each).items()
    }
    defaults = model().model_dump(mode="json")
    for key, field in model.model_fields.items():
        if key not in elsewhere:
            default = _default(defaults[key])
            yield code(key), words(field.annotation, field), default, meanings[key]


def inherited_from(model: type[Section]) -> type[Section]:
    """Return the inherited model whose settings have a table of their own."""
    if model is not SourceSettings and issubclass(model, SourceSettings):
        return SourceSettings
    return SourceDefaults if model is SourceSettings else Section


def described(model: type[object]) -> dict[str, str]:
    """Return the descriptions of settings in a model's own docstring."""
    part = _ATTRIBUTES.search(inspect.cleandoc(model.__doc__ or ""))
    found = _ATTRIBUTE.findall(part[1]) if part is not None else []
    return {name: " ".join(text.split()) for name, text in found}


def words(annotation: Any, field: FieldInfo | None = None) -> str:
    """Return a description of the values of a setting.

    Args:
        annotation: The setting's type.
        field: The pydantic field, which has the metadata of an outer `Annotated`.
    """
    metadata = field.metadata if field is not None else getattr(annotation, "__metadata__", ())
    reader = _reader(metadata)
    known = (word for kind, word in _READ.items() if reader == _reader(kind.__metadata__))
    word = next(known, None) if reader is not None else None
    return word or _words_of_type(annotation)


def _words_of_type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return f"list: {'URLs or mappings' if model_of(parts[0]) else words(parts[0])}"
    if model_of(annotation) is not None:
        return "mapping"
    if origin is dict:
        return f"mapping to: {words(parts[1])}"
    if origin is Literal:
        return ", ".join(map(code, parts))
    if origin is not None:  # annotated, or with a `None`
        return words(parts[0])
    return _WORDS[annotation]


def _reader(metadata: Any) -> Any:
    """Return the function that identifies an annotated type: its reader, or else its check."""
    found = [each.func for each in metadata if hasattr(each, "func")]
    readers = [each.func for each in metadata if isinstance(each, BeforeValidator)]
    return (readers or found or [None])[0]


def _default(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, dict):
        return ""  # each of its keys has its own
    if isinstance(value, list):
        return ", ".join(map(code, value))
    return code(f"{value:g}" if isinstance(value, float) else value)


def _interval(seconds: float | None) -> str:
    return "off" if seconds is None else format_duration(seconds)
