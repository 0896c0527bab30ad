"""The layers of the settings, flags over environment over file, and the origin of each key.

A problem is named by the flag, the variable or the key in the file that its author used: nobody
who set a variable searches for `sources[0].auth_token`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from exporter.config.environment import EnvironmentSource, References, source_variable
from exporter.config.validation import dotted, known_keys
from exporter.config.yaml_file import absolute
from exporter.settings import flags
from exporter.settings.deprecation import RENAMED, OldNames
from exporter.settings.sections import SECTIONS, SOURCES
from exporter.sources.registry import PROVIDERS
from exporter.sources.settings import SourceSettings


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exporter.config.validation import KeyPath, Mistake
    from exporter.settings.deprecation import Renamed


#: A setting's name in a text, and no part of a path. One of a single word, such as `interval`, is a
#: word of the language as well.
_NAME = re.compile(r"(?<![\w/.-])[a-z]+(?:_[a-z]+)+(?![\w/.-])")

_MODELS = {name: provider.settings for name, provider in PROVIDERS.items()}


class Given(BaseSettings):
    """Everything that was given, joined by the settings library and not checked yet."""

    model_config = SettingsConfigDict(extra="allow", case_sensitive=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the layers in place of the process's own environment and files."""
        del settings_cls, args, kwargs
        layers: tuple[PydanticBaseSettingsSource, ...] = init_settings()["layers"]
        return layers


class FlagSource(InitSettingsSource):
    """The settings that flags and their twins give, nested as in the file."""

    def location(self, path: KeyPath) -> str:
        """Return the names of the flag that gave a setting, empty if none did."""
        section, key = (*path, "", "")[:2]
        if key not in self.init_kwargs.get(str(section), {}):
            return ""
        return flags.spelled((section, key)) or dotted(path)


class FileSource(InitSettingsSource):
    """The settings that the configuration file gives, with the environment's sources after its own.

    The list of sources is joined here, since one layer cannot extend the list of another.

    Attributes:
        listed: The number of sources in the file itself.
    """

    def __init__(self, data: Mapping[str, Any], *, folder: Path, more: Iterable[Any]) -> None:
        """Take over the file's data; relative paths in it count from the folder."""
        given = {
            key: absolute(SECTIONS[key], value, folder) if key in SECTIONS else value
            for key, value in data.items()
        }
        sources = given.get(SOURCES, [])
        self.listed = len(sources) if isinstance(sources, list) else 0
        if isinstance(sources, list):
            own = (absolute(_model_of(source), source, folder) for source in sources)
            given[SOURCES] = [*own, *more]
        super().__init__(Given, given)


class Layers:
    """All that was given, layer by layer.

    Attributes:
        old_names: Those that were used.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        folder: Path = Path(),
        renamed: Iterable[Renamed] = RENAMED,
    ) -> None:
        """Read the layers.

        Args:
            data: The file's data.
            environ: The environment.
            overrides: The settings that flags give, nested as in the file.
            folder: From where relative paths in the data count.
            renamed: Settings whose old names work as well.
        """
        self.old_names = OldNames(renamed)
        self._references = References(data, environ or {})
        self._flags = FlagSource(Given, dict(overrides or {}))
        self._environment = EnvironmentSource(
            Given,
            self.old_names.in_environment(environ or {}),
            sections=SECTIONS,
            providers=_MODELS,
            known={*flags.ENVIRONMENT, *self._references.names},
        )
        more = self._environment.sources.values()
        named = self.old_names.in_file(self._references.data)
        self._file = FileSource(named, folder=folder, more=more)

    def joined(self) -> dict[str, Any]:
        """Return what was given by its keys, where a stronger layer hides a weaker one."""
        layers = (self._flags, self._environment, self._file)
        given = Given(layers=layers)  # type: ignore[call-arg]  # no field: the class's sources
        return given.model_extra or {}

    def problems(self, mistakes: Sequence[Mistake]) -> list[str]:
        """Return complete messages: on variables that cannot be read, and on mistakes."""
        problems = self._environment.problems | self._references.problems
        unread = {self.old_names.location(name): why for name, why in problems.items()}
        located = [(self.location_of(mistake.path), mistake) for mistake in mistakes]
        return [
            *self.old_names.problems,
            *(f"{location}: {why}" for location, why in unread.items()),
            *(
                f"{location}: {self.message_for(mistake)}"
                for location, mistake in located
                if location not in unread  # what could not be read is not missing
            ),
        ]

    def location_of(self, path: KeyPath) -> str:
        """Return a place as its author knows it."""
        provider = self._provider(path)
        if provider:
            location = source_variable(provider, path[2:])
        else:
            given = self._flags.location(path) or self._environment.location(path)
            location = given or dotted(path)
        return self.old_names.location(location)

    def message_for(self, mistake: Mistake) -> str:
        """Return the text, with other settings of the environment's sources by their variables."""
        provider = self._provider(mistake.path)
        if not provider:
            return mistake.text
        known = known_keys(_MODELS[provider], mistake.path[2:-1])

        def variable(match: re.Match[str]) -> str:
            sibling = (*mistake.path[2:-1], match[0])
            return source_variable(provider, sibling) if match[0] in known else match[0]

        return _NAME.sub(variable, mistake.text)

    def _provider(self, path: KeyPath) -> str:
        """Return the provider of the source a place is in, if the environment gave the source."""
        first, index = (*path, "")[:2]
        if first != SOURCES or not isinstance(index, int) or index < self._file.listed:
            return ""
        return list(self._environment.sources)[index - self._file.listed]


def _model_of(source: Any) -> type[SourceSettings]:
    provider = source.get("provider") if isinstance(source, dict) else None
    return _MODELS.get(str(provider), SourceSettings)
