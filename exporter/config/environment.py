"""Settings from environment variables: maps names to paths and texts to values of the fields."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic_settings import InitSettingsSource

from exporter.config.secret import is_text
from exporter.config.validation import beginnings, dotted, is_list, model_of, plain
from exporter.config.words import nearest


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic import BaseModel
    from pydantic_settings import BaseSettings

    from exporter.config.validation import KeyPath


PREFIX = "LOADFLEET_"
NEST = "__"

#: Variables that Kubernetes sets in every container for each service of the namespace. Those of a
#: service named loadfleet or loadfleet-exporter begin with our prefix.
_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)\w*)?)"
)

#: A value in the file that refers to a variable; the reference must be the whole value.
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _UnusableError(Exception):
    """A variable cannot be used. The text gives the reason, never the value."""


class EnvironmentSource(InitSettingsSource):
    """The settings from variables that begin with `LOADFLEET_`. An empty one counts as not set.

    Attributes:
        sources: For each provider with variables, one source, nested as in the file.
        problems: For each unusable variable, the reason.
    """

    def __init__(
        self,
        settings: type[BaseSettings],
        environ: Mapping[str, str],
        *,
        sections: Mapping[str, type[BaseModel]],
        providers: Mapping[str, type[BaseModel]],
        known: Collection[str] = (),
    ) -> None:
        """Read the variables.

        Args:
            settings: The settings class for pydantic.
            environ: The environment.
            sections: The models of the sections by key.
            providers: The models of sources by the provider's name.
            known: Variables that other code reads.
        """
        self.sources: dict[str, dict[str, Any]] = {}
        self.problems: dict[str, str] = {}
        self._variables: dict[KeyPath, str] = {}
        self._sections = sections
        self._providers = providers
        values: dict[str, dict[str, Any]] = {}
        # Sorted, so that a variable for a mapping comes before those for its keys.
        for name in sorted(environ):
            if not name.startswith(PREFIX) or name in known or not environ[name]:
                continue
            try:
                self._take(name, environ[name], values)
            except _UnusableError as error:
                offered = {*_offered(sections, NEST), *_offered(providers, "_"), *known}
                why = str(error) or f"unknown variable; {nearest(name, offered, prefix=PREFIX)}"
                self.problems[name] = why
        super().__init__(settings, {key: value for key, value in values.items() if value})

    def location(self, path: KeyPath) -> str:
        """Return the variable that gave a setting outside the sources; empty if none did."""
        starts = beginnings(path)
        return next((self._variables[start] for start in starts if start in self._variables), "")

    def _take(self, name: str, text: str, values: dict[str, dict[str, Any]]) -> None:
        """Read one variable.

        Raises:
            _UnusableError: The variable is unknown (without a text), or its value does not fit.
        """
        first, *rest = name.removeprefix(PREFIX).lower().split(NEST)
        provider = next((key for key in self._providers if first.startswith(f"{key}_")), None)
        if first in self._sections and rest:
            _put(self._sections[first], rest, text, values.setdefault(first, {}))
            self._variables[first, *rest] = name
        elif provider is not None:
            path = [first.removeprefix(f"{provider}_"), *rest]
            # A source exists only once one of its variables was valid.
            source = self.sources.get(provider, {"provider": provider})
            _put(self._providers[provider], path, text, source)
            self.sources[provider] = source
        elif not _SERVICE_LINK.fullmatch(name):
            raise _UnusableError


class References:
    """References such as `${NAME}` in a file, replaced by the values of environment variables.

    Attributes:
        data: The file's data after replacement; empty texts for variables that are not set.
        names: The variables that the file names.
        problems: For each path with an unusable variable, the reason.
    """

    def __init__(self, data: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Resolve the references; an empty variable counts as not set."""
        self.names: set[str] = set()
        self.problems: dict[str, str] = {}
        self._environ = environ
        self.data: dict[str, Any] = self._resolved(data, ())

    def _resolved(self, data: Any, path: KeyPath) -> Any:
        if isinstance(data, dict):
            return {key: self._resolved(value, (*path, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self._resolved(value, (*path, index)) for index, value in enumerate(data)]
        match = _REFERENCE.fullmatch(data) if isinstance(data, str) else None
        if match is None:
            return data
        self.names.add(match[1])
        text = self._environ.get(match[1], "")
        if not text:
            self.problems[dotted(path)] = f"{match[1]} is not set in the environment; set it"
        elif not is_text(text):
            why = f"{match[1]} in the environment is not valid UTF-8; set it as UTF-8"
            self.problems[dotted(path)] = why
        return text


def source_variable(provider: str, path: KeyPath) -> str:
    """Return the variable for a path within a provider's source."""
    parts = [str(part) for part in path if not isinstance(part, int)]
    return f"{PREFIX}{provider}_{NEST.join(parts) or '*'}".upper()


def _put(model: type[BaseModel], path: list[str], text: str, target: dict[str, Any]) -> None:
    key, *rest = path
    if key not in model.model_fields:
        raise _UnusableError
    kind = plain(model.model_fields[key].annotation)
    inner = model_of(kind)
    if not rest:
        target[key] = _value(kind, text)
    elif is_list(kind):
        raise _UnusableError(
            "elements have no variables of their own; give a whole list, separated by commas"
        )
    elif get_origin(kind) is dict:
        mapping = target.setdefault(key, {})
        mapping[NEST.join(rest)] = _value(plain(get_args(kind)[1]), text)
    elif inner is not None:
        _put(inner, rest, text, target.setdefault(key, {}))
    else:
        raise _UnusableError


def _value(kind: Any, text: str) -> Any:
    if kind is Path:
        return str(Path(text).absolute())
    if not is_text(text):
        raise _UnusableError("is not valid UTF-8; set it as UTF-8")
    if is_list(kind):
        if not text.lstrip().startswith("["):
            return [part.strip() for part in text.split(",") if part.strip()]
        return _json(text, list, "is not a JSON list; separate the elements by commas")
    if get_origin(kind) is dict or model_of(kind) is not None:
        return _json(
            text, dict, "is not a JSON object; write one, or set a variable per key, joined by __"
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
            kind = plain(field.annotation)
            inner = None if is_list(kind) or get_origin(kind) is dict else model_of(kind)
            yield variable
            for nested in inner.model_fields if inner is not None else ():
                yield f"{variable}{NEST}{nested}".upper()
