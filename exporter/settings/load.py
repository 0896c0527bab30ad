"""The settings: flags over environment over file over defaults, right as a whole or refused.

Reading bytes, joining the layers and validating are apart, so that a reload does the same as the
start: read once, then validate, then see what changed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from pydantic import SecretStr, SerializeAsAny, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from exporter.alerts.settings import AlertingSettings
from exporter.config import environment
from exporter.config import yaml_file as config_file
from exporter.config.types import HIDDEN
from exporter.config.validation import MistakesError
from exporter.errors import ConfigurationError
from exporter.settings.assemble import SECTIONS, SOURCES, assemble
from exporter.settings.locations import place, told
from exporter.settings.sections import LogSettings, ShardingSettings, WebSettings
from exporter.sources.registry import PROVIDERS
from exporter.sources.settings import SourceDefaults, SourceSettings


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


#: The layers that `Settings` is made from, the strongest first.
_LAYERS = ("flags", "environment", "file")


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, case_sensitive=True
    )

    defaults: SourceDefaults
    sources: tuple[SerializeAsAny[SourceSettings], ...]
    web: WebSettings
    alerting: AlertingSettings
    log: LogSettings
    sharding: ShardingSettings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the layers instead of the process's own environment and files."""
        del env_settings, dotenv_settings, file_secret_settings
        layers = init_settings()
        return tuple(InitSettingsSource(settings_cls, layers.get(name, {})) for name in _LAYERS)

    @classmethod
    def of(cls, **layers: Any) -> Self:
        """Join the layers `flags`, `environment` and `file`, each nested as in the file.

        Raises:
            MistakesError: Something is wrong in them, taken together.
        """
        return cls(**layers)

    @model_validator(mode="before")
    @classmethod
    def _assemble(cls, data: dict[str, Any]) -> dict[str, Any]:
        parts, mistakes = assemble(data)
        if mistakes:
            raise MistakesError(mistakes)
        return parts


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings with the hash of everything they were read from.

    Attributes:
        hash: Of the file and of all files it names; changes when one of them does.
    """

    settings: Settings
    hash: str


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    known_environment: Collection[str] = (),
) -> Loaded:
    """Read the configuration file, if there is one, and everything on top of it.

    Args:
        path: The file.
        environ: The environment.
        overrides: What flags set, nested as in the file.
        known_environment: Variables that are none of the settings'.

    Raises:
        ConfigurationError: With every mistake at once.
    """
    return load_bytes(
        config_file.read(path) if path is not None else b"",
        path=path,
        environ=environ,
        overrides=overrides,
        known_environment=known_environment,
    )


def load_bytes(
    content: bytes,
    *,
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    known_environment: Collection[str] = (),
) -> Loaded:
    """Do what `load` does with the content of a file that was read already.

    Args:
        content: The file's bytes.
        path: Where they came from: relative paths count from there.
        environ: The environment.
        overrides: What flags set, nested as in the file.
        known_environment: Variables that are none of the settings'.

    Raises:
        ConfigurationError: With every mistake at once.
    """
    settings = from_data(
        config_file.parse(content, name=str(path or "configuration")),
        environ=environ,
        overrides=overrides,
        known_environment=known_environment,
        folder=path.parent if path is not None else Path(),
    )
    return Loaded(settings=settings, hash=content_hash(content, settings))


def from_data(
    data: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    known_environment: Collection[str] = (),
    folder: Path = Path(),
) -> Settings:
    """Make settings from the plain data of a file and everything on top of it.

    Args:
        data: The file's data.
        environ: The environment.
        overrides: What flags set, nested as in the file.
        known_environment: Variables that are none of the settings'.
        folder: From where relative paths in the data count.

    Raises:
        ConfigurationError: With every mistake at once.
    """
    models = {name: provider.settings for name, provider in PROVIDERS.items()}
    variables = environment.read(
        environ or {}, sections=SECTIONS, providers=models, known=known_environment
    )
    file = {
        key: environment.absolute(SECTIONS[key], value, folder) if key in SECTIONS else value
        for key, value in data.items()
    }
    listed = file.get(SOURCES, [])
    if isinstance(listed, list):
        # The list is joined here, since one layer cannot extend the list of another.
        file[SOURCES] = [
            *(_absolute_source(source, models, folder) for source in listed),
            *variables.sources,
        ]
    given = dict(overrides or {})
    try:
        settings = Settings.of(flags=given, environment=variables.values, file=file)
    except MistakesError as error:
        count = len(listed) if isinstance(listed, list) else 0
        unread = {problem.partition(":")[0] for problem in variables.problems}
        problems = (
            f"{where}: {told(mistake, variables, count)}"
            for mistake in error.mistakes
            # What could not be read is not missing.
            if (where := place(mistake.path, variables, given, count)) not in unread
        )
        raise ConfigurationError([*variables.problems, *problems]) from None
    if variables.problems:
        raise ConfigurationError(variables.problems)
    return settings


def content_hash(content: bytes, settings: Settings) -> str:
    """Hash a file's content and that of all files its settings name."""
    digest = hashlib.sha256(content)
    for path in sorted(set(_paths(settings.model_dump()))):
        try:
            inner = path.read_bytes()
        except OSError:
            inner = b""
        digest.update(f"\0{path}\0{len(inner)}\0".encode(errors="surrogateescape"))
        digest.update(inner)
    return digest.hexdigest()


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the effective settings as plain values that YAML and JSON know, without secrets."""
    plain: dict[str, Any] = _plain(settings.model_dump())
    # Who a source is comes first, for whoever reads the page.
    plain[SOURCES] = [
        {key: source[key] for key in ("provider", "name", "url")} | source
        for source in plain[SOURCES]
    ]
    return plain


def _absolute_source(source: Any, models: Mapping[str, type[SourceSettings]], folder: Path) -> Any:
    provider = source.get("provider") if isinstance(source, dict) else None
    model = models.get(provider, SourceSettings) if isinstance(provider, str) else SourceSettings
    return environment.absolute(model, source, folder)


def _paths(data: Any) -> Iterator[Path]:
    if isinstance(data, Path):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _paths(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _paths(value)


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items() if value is not None}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, SecretStr):
        return HIDDEN
    return str(data) if isinstance(data, Path) else data
