"""The layers of the settings (flags over environment over file) and the origin of each value.

An error text names the flag, the variable or the file's key that gave the value. A user who set a
variable would not recognise `sources[0].auth_token`.
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


#: A setting's name in a text, outside of paths. Only names with an underscore are matched, since
#: one such as `interval` may also be an ordinary word.
_NAME = re.compile(r"(?<![\w/.-])[a-z]+(?:_[a-z]+)+(?![\w/.-])")

_MODELS = {name: provider.settings for name, provider in PROVIDERS.items()}


class Given(BaseSettings):
    """All given values, merged by pydantic-settings and not yet checked."""

    model_config = SettingsConfigDict(extra="allow", case_sensitive=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the layers, instead of the process's own environment and files."""
        del settings_cls, args, kwargs
        layers: tuple[PydanticBaseSettingsSource, ...] = init_settings()["layers"]
        return layers


class FlagSource(InitSettingsSource):
    """The settings from flags and their variables, nested as in the file."""

    def location(self, path: KeyPath) -> str:
        """Return the names of the flag that gave a setting; empty if none did."""
        section, key = (*path, "", "")[:2]
        if key not in self.init_kwargs.get(str(section), {}):
            return ""
        return flags.spelled((section, key)) or dotted(path)


class FileSource(InitSettingsSource):
    """The settings from the configuration file, with the environment's sources after its own.

    The list of sources is merged here, since one layer cannot extend a list of another.

    Attributes:
        listed: The number of sources in the file itself.
    """

    def __init__(self, data: Mapping[str, Any], *, folder: Path, more: Iterable[Any]) -> None:
        """Take the file's data, whose relative paths are resolved from the folder."""
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
    """All layers of the settings.

    Attributes:
        old_names: The old names in use, with their warnings.
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
            overrides: The settings from flags, nested as in the file.
            folder: The folder to which paths in the data are relative.
            renamed: Settings that also work under an old name.
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
        """Return all given values by key; a higher layer overrides a lower one."""
        layers = (self._flags, self._environment, self._file)
        given = Given(layers=layers)  # type: ignore[call-arg]  # no field: the class's sources
        return given.model_extra or {}

    def problems(self, mistakes: Sequence[Mistake]) -> list[str]:
        """Return the complete error texts, for unreadable variables and for mistakes."""
        problems = self._environment.problems | self._references.problems
        unread = {self.old_names.location(name): why for name, why in problems.items()}
        located = [(self.location_of(mistake.path), mistake) for mistake in mistakes]
        return [
            *self.old_names.problems,
            *(f"{location}: {why}" for location, why in unread.items()),
            *(
                f"{location}: {self.message_for(mistake)}"
                for location, mistake in located
                if location not in unread  # an unreadable value is not missing
            ),
        ]

    def location_of(self, path: KeyPath) -> str:
        """Return the flag, variable or key that gave the value at a path."""
        provider = self._provider(path)
        if provider:
            location = source_variable(provider, path[2:])
        else:
            given = self._flags.location(path) or self._environment.location(path)
            location = given or dotted(path)
        return self.old_names.location(location)

    def message_for(self, mistake: Mistake) -> str:
        """Return a mistake's text; for a source from the environment, with names of variables."""
        provider = self._provider(mistake.path)
        if not provider:
            return mistake.text
        known = known_keys(_MODELS[provider], mistake.path[2:-1])

        def variable(match: re.Match[str]) -> str:
            sibling = (*mistake.path[2:-1], match[0])
            return source_variable(provider, sibling) if match[0] in known else match[0]

        return _NAME.sub(variable, mistake.text)

    def _provider(self, path: KeyPath) -> str:
        """Return the provider if the path is in a source from the environment; else empty."""
        first, index = (*path, "")[:2]
        if first != SOURCES or not isinstance(index, int) or index < self._file.listed:
            return ""
        return list(self._environment.sources)[index - self._file.listed]


def _model_of(source: Any) -> type[SourceSettings]:
    provider = source.get("provider") if isinstance(source, dict) else None
    return _MODELS.get(str(provider), SourceSettings)
