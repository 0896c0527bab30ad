"""Settings out of environment variables: names into places, texts into what the fields take."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel

from exporter.config.secret import is_text
from exporter.config.validation import nearest


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


PREFIX = "LOADFLEET_"
_NEST = "__"

#: Kubernetes gives every container of a namespace such variables for each of its services, also
#: for one that is called loadfleet or loadfleet-exporter.
_SERVICE_LINK = re.compile(
    r"LOADFLEET_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)\w*)?)"
)


class _UnusableError(Exception):
    """A variable cannot be used; the text says why and never holds its value."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says.

    Attributes:
        values: Settings outside the sources, nested as in the file.
        variables: For each place in them, the variable that gave it.
        sources: One source per provider that variables speak of, nested as in the file.
        problems: Complete messages on variables that cannot be used.
    """

    values: dict[str, Any]
    variables: dict[tuple[str | int, ...], str]
    sources: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]


def read(
    environ: Mapping[str, str],
    *,
    sections: Mapping[str, type[BaseModel]],
    providers: Mapping[str, type[BaseModel]],
    known: Collection[str] = (),
) -> Environment:
    """Read every variable that begins with `LOADFLEET_`; an empty one counts as not set.

    Args:
        environ: The environment.
        sections: The settings' parts by their keys.
        providers: The sources' models by the names of their providers.
        known: Variables that others read.
    """
    reader = _Reader(sections, providers)
    problems: list[str] = []
    # Sorted, so that a whole mapping comes before its single keys.
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or not environ[name]:
            continue
        try:
            reader.take(name, environ[name])
        except _UnusableError as error:
            offered = {*_offered(sections, _NEST), *_offered(providers, "_"), *known}
            why = str(error) or f"unknown variable; {nearest(name, offered, prefix=PREFIX)}"
            problems.append(f"{name}: {why}")
    return Environment(
        values={key: value for key, value in reader.values.items() if value},
        variables=reader.variables,
        sources=tuple(reader.sources.values()),
        problems=tuple(problems),
    )


class _Reader:
    """Puts variable after variable in its place."""

    def __init__(
        self, sections: Mapping[str, type[BaseModel]], providers: Mapping[str, type[BaseModel]]
    ) -> None:
        self.values: dict[str, Any] = {}
        self.variables: dict[tuple[str | int, ...], str] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self._sections = sections
        self._providers = providers

    def take(self, name: str, text: str) -> None:
        """Read one variable.

        Raises:
            _UnusableError: It is unknown, then without a text, or its value does not fit.
        """
        first, *rest = name.removeprefix(PREFIX).lower().split(_NEST)
        provider = next((key for key in self._providers if first.startswith(f"{key}_")), None)
        if first in self._sections and rest:
            _put(self._sections[first], rest, text, self.values.setdefault(first, {}))
            self.variables[first, *rest] = name
        elif provider is not None:
            path = [first.removeprefix(f"{provider}_"), *rest]
            # A misspelt variable alone makes no source.
            source = self.sources.get(provider, {"provider": provider})
            _put(self._providers[provider], path, text, source)
            self.sources[provider] = source
        elif not _SERVICE_LINK.fullmatch(name):
            raise _UnusableError


def source_variable(provider: str, path: tuple[str | int, ...]) -> str:
    """Return the variable that gives a place of a provider's source."""
    parts = [str(part) for part in path if not isinstance(part, int)]
    return f"{PREFIX}{provider}_{_NEST.join(parts) or '*'}".upper()


def absolute(model: type[BaseModel], raw: Any, folder: Path) -> Any:
    """Return raw data in which relative paths, by their fields' types, count from a folder."""
    if not isinstance(raw, dict):
        return raw
    result = dict(raw)
    for key, value in raw.items():
        field = model.model_fields.get(key) if isinstance(key, str) else None
        kind = _plain(field.annotation) if field else None
        if kind is Path and isinstance(value, str):
            result[key] = str(folder / value)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            result[key] = absolute(kind, value, folder)
        elif _is_list(kind) and isinstance(value, list):
            element = _plain(get_args(kind)[0])
            if isinstance(element, type) and issubclass(element, BaseModel):
                result[key] = [absolute(element, each, folder) for each in value]
    return result


def _put(model: type[BaseModel], path: list[str], text: str, target: dict[str, Any]) -> None:
    key, *rest = path
    if key not in model.model_fields:
        raise _UnusableError
    kind = _plain(model.model_fields[key].annotation)
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    if not rest:
        target[key] = _value(kind, text)
    elif is_model:
        _put(kind, rest, text, target.setdefault(key, {}))
    elif get_origin(kind) is dict:
        inner = target.setdefault(key, {})
        inner[_NEST.join(rest)] = _value(_plain(get_args(kind)[1]), text)
    elif _is_list(kind):
        raise _UnusableError("elements have no variables of their own; separate them by commas")
    else:
        raise _UnusableError


def _value(kind: Any, text: str) -> Any:
    if kind is Path:
        return str(Path(text).absolute())
    if not is_text(text):
        raise _UnusableError("holds bytes that are not UTF-8; write it anew")
    if _is_list(kind):
        if not text.lstrip().startswith("["):
            return [part.strip() for part in text.split(",") if part.strip()]
        return _json(text, list, "is not a JSON list; separate the elements by commas")
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return _json(
            text, dict, "is not a JSON object; write one, or a variable per key, joined by __"
        )
    return text


def _json(text: str, expected: type, why: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, expected):
        raise _UnusableError(why)
    return value


def _offered(models: Mapping[str, type[BaseModel]], joint: str) -> Iterator[str]:
    for name, model in models.items():
        for key, field in model.model_fields.items():
            variable = f"{PREFIX}{name}{joint}{key}".upper()
            kind = _plain(field.annotation)
            yield variable
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from (f"{variable}{_NEST}{inner}".upper() for inner in kind.model_fields)


def _plain(annotation: Any) -> Any:
    """Return an annotation without its metadata and without `None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _plain(parts[0]) if len(parts) == 1 else annotation
    return annotation


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in {list, tuple, set, frozenset}
