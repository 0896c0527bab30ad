"""The settings, right as a whole or refused: layers are joined, checked and frozen.

A reload does the same as the start: it reads once, then validates, then sees what changed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, SecretStr, SerializeAsAny

from exporter.alerts.settings import AlertingSettings
from exporter.config import yaml_file
from exporter.config.secret import HIDDEN, Secret
from exporter.errors import ConfigurationError
from exporter.logging import LEVELS, Level, configure
from exporter.settings.assemble import SOURCES, assemble
from exporter.settings.deprecation import RENAMED
from exporter.settings.layers import Layers
from exporter.settings.sections import LogSettings, ShardingSettings, WebSettings
from exporter.sources.settings import SourceDefaults, SourceSettings


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from exporter.settings.deprecation import Renamed


class Settings(BaseModel):
    """All settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    defaults: SourceDefaults
    sources: tuple[SerializeAsAny[SourceSettings], ...]
    web: WebSettings
    alerting: AlertingSettings
    log: LogSettings
    sharding: ShardingSettings

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret that is sent to somebody."""
        for source in self.sources:
            yield from source.secrets()
        yield from self.alerting.secrets()

    def files(self) -> Iterator[Path]:
        """Yield every file that the settings name and that is read."""
        for source in (self.defaults, *self.sources):
            yield from source.files()
        yield from self.alerting.files()
        if self.web.config_file is not None:
            yield self.web.config_file


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings with the hash of everything they were read from.

    Attributes:
        hash: Of the file and of all files it names; changes when one of them does.
        warnings: Sentences on what works and should be changed.
    """

    settings: Settings
    hash: str
    warnings: tuple[str, ...] = ()


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    content: bytes | None = None,
    renamed: Sequence[Renamed] = RENAMED,
) -> Loaded:
    """Read the configuration file, if there is one, and everything on top of it.

    Args:
        path: The file; relative paths in it count from its folder.
        environ: The environment.
        overrides: The settings that flags give, nested as in the file.
        content: The file's bytes, if they were read already.
        renamed: Settings whose old names work as well.

    Raises:
        ConfigurationError: With every mistake at once.
    """
    if content is None:
        content = yaml_file.read(path) if path is not None else b""
    layers = Layers(
        yaml_file.parse(content, name=str(path or "configuration")),
        environ=environ,
        overrides=overrides,
        folder=path.parent if path is not None else Path(),
        renamed=renamed,
    )
    settings = _checked(layers)
    warnings = tuple(layers.old_names.warnings)
    return Loaded(settings=settings, hash=content_hash(content, settings), warnings=warnings)


def from_data(
    data: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    folder: Path = Path(),
) -> Settings:
    """Make settings from the plain data of a file, whose relative paths count from a folder.

    Raises:
        ConfigurationError: With every mistake at once.
    """
    return _checked(Layers(data, environ=environ, overrides=overrides, folder=folder))


def _checked(layers: Layers) -> Settings:
    parts, mistakes = assemble(layers.joined())
    problems = layers.problems(mistakes)
    if problems:
        raise ConfigurationError(problems)
    return Settings(**parts)


def content_hash(content: bytes, settings: Settings) -> str:
    """Hash a file's content and that of all files its settings name."""
    digest = hashlib.sha256(content)
    for path in sorted(set(settings.files())):
        try:
            inner = path.read_bytes()
        except OSError:
            inner = b""
        digest.update(f"\0{path}\0{len(inner)}\0".encode(errors="surrogateescape"))
        digest.update(inner)
    return digest.hexdigest()


def configure_for(
    settings: Settings, *, level: Level | None = None, warnings: Sequence[str] = ()
) -> None:
    """Set up logging as settings say, with their secrets taken out.

    Args:
        settings: They give form, level and secrets.
        level: For commands whose answer is not the log: the lowest level that may disturb it.
        warnings: Sentences that are logged first.
    """
    secrets = tuple(settings.secrets())
    configure(
        level=max(settings.log.level, level or settings.log.level, key=LEVELS.index),
        log_format=settings.log.format,
        secrets=lambda: [secret.known() for secret in secrets],
    )
    for warning in warnings:
        structlog.get_logger("exporter.settings").warning("deprecated", problem=warning)


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the effective settings as plain values that YAML and JSON know, without secrets."""
    plain: dict[str, Any] = _plain(settings.model_dump())
    # The identity of a source comes first, for the readers of the page.
    plain[SOURCES] = [
        {key: source[key] for key in ("provider", "name", "url")} | source
        for source in plain[SOURCES]
    ]
    return plain


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items() if value is not None}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, SecretStr):
        return HIDDEN
    return str(data) if isinstance(data, Path) else data
