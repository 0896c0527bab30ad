"""Loading of the settings: the layers are merged, validated as a whole and frozen.

Start and reload load in the same way. A reload then compares the new settings with the old.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, SecretStr, SerializeAsAny

from exporter.alerts.settings import AlertingSettings
from exporter.config import files, yaml_file
from exporter.config.secret import HIDDEN, Secret
from exporter.config.validation import Mistake, checked, dotted
from exporter.config.words import nearest
from exporter.errors import ConfigurationError
from exporter.history.settings import HistorySettings
from exporter.logging import LEVELS, Level, configure
from exporter.settings.deprecation import RENAMED
from exporter.settings.flags import DEFAULT_CONFIG_FILE
from exporter.settings.layers import Layers
from exporter.settings.preflights import PREFLIGHTS, PreflightSettings, preflights
from exporter.settings.sections import (
    SECTIONS,
    SOURCES,
    LogSettings,
    ShardingSettings,
    WebSettings,
    lockout_danger,
    lockout_mistakes,
    with_runbooks,
)
from exporter.sources.registry import BROKEN, PROVIDERS
from exporter.sources.settings import SourceDefaults, SourceSettings
from exporter.state.settings import StateSettings


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from exporter.config.validation import Checked, KeyPath
    from exporter.settings.deprecation import Renamed


_NO_SOURCES = "none is given; list one in the configuration file"
_NO_FILE = (
    f"none is given, and this folder has no {DEFAULT_CONFIG_FILE}; name one with --config.file"
)
_OTHERWISE = (
    ", or set LOADFLEET_REALLOAD_URL and LOADFLEET_REALLOAD_AUTH_TOKEN,"
    " or try `loadfleet-exporter demo`"
)


class Settings(BaseModel):
    """All settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    defaults: SourceDefaults
    sources: tuple[SerializeAsAny[SourceSettings], ...]
    web: WebSettings
    alerting: AlertingSettings
    log: LogSettings
    sharding: ShardingSettings
    state: StateSettings
    history: HistorySettings
    preflights: tuple[PreflightSettings, ...] = ()

    def risks(self) -> Iterator[str]:
        """Yield a warning for each valid setting that may do harm."""
        for source in self.sources:
            yield from source.risks()
        yield from self.state.risks()
        if danger := lockout_danger(self.sharding, self.sources, self.state):
            yield danger

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret that the exporter sends."""
        for source in self.sources:
            yield from source.secrets()
        yield from self.alerting.secrets()
        if self.state.secret is not None:
            yield self.state.secret

    def files(self) -> Iterator[Path]:
        """Yield every file that the settings name for reading."""
        for source in (self.defaults, *self.sources):
            yield from source.files()
        yield from self.alerting.files()
        yield from self.state.files()
        if self.web.config_file is not None:
            yield self.web.config_file


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings with the hash of all files they were read from.

    Attributes:
        hash: Hash of the configuration file and all files that it names.
        warnings: Sentences about deprecated settings and broken plug-ins.
    """

    settings: Settings
    hash: str
    warnings: tuple[str, ...] = ()


def load(  # noqa: PLR0913 - all but the first by keyword
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    content: bytes | None = None,
    pipe: bool = False,
    renamed: Sequence[Renamed] = RENAMED,
) -> Loaded:
    """Return the settings from the configuration file, the environment and flags.

    Args:
        path: The file, if any; relative paths in it are resolved from its folder.
        environ: The environment.
        overrides: The settings from flags, nested as in the file.
        content: The file's content, if it was already read.
        pipe: Whether the file may be a pipe, which can be read only once.
        renamed: Settings that also work under an old name.

    Raises:
        ConfigurationError: With all mistakes.
    """
    if content is None:
        content = yaml_file.read(path, pipe=pipe) if path is not None else b""
    layers = Layers(
        yaml_file.parse(content, name=str(path or "configuration")),
        environ=environ,
        overrides=overrides,
        folder=yaml_file.folder_of(path),
        renamed=renamed,
    )
    settings = _checked(layers, no_sources=_NO_FILE if path is None else _NO_SOURCES)
    warnings = (*layers.old_names.warnings, *map(str, BROKEN))
    return Loaded(settings=settings, hash=content_hash(content, settings), warnings=warnings)


def from_data(
    data: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    folder: Path = Path(),
) -> Settings:
    """Return the settings from plain data, whose relative paths are resolved from `folder`.

    Raises:
        ConfigurationError: With all mistakes.
    """
    return _checked(Layers(data, environ=environ, overrides=overrides, folder=folder))


def _checked(layers: Layers, *, no_sources: str = _NO_SOURCES) -> Settings:
    """Check all sections, then the sources, which inherit the defaults.

    Args:
        layers: The layers of the settings.
        no_sources: The beginning of the message if no source is given.

    Raises:
        ConfigurationError: With all mistakes.
    """
    raw = layers.joined()
    known = {*SECTIONS, SOURCES, PREFLIGHTS}
    found = [
        Mistake((key,), f"unknown key; {nearest(key, known)}") for key in raw if key not in known
    ]
    outcomes = {name: checked(model, raw.get(name, {})) for name, model in SECTIONS.items()}
    for name, outcome in outcomes.items():
        found += (Mistake((name, *mistake.path), mistake.text) for mistake in outcome.mistakes)
    given = raw.get(SOURCES, [])
    if not isinstance(given, list | tuple):
        found.append(Mistake((SOURCES,), "must be a list; begin each source with a dash"))
        given = []
    elif not given:
        found.append(Mistake((SOURCES,), f"{no_sources}{_OTHERWISE}"))
    sources: list[SourceSettings] = []
    names: dict[str, int] = {}
    for index, source in enumerate(given):
        settings, mistakes = _source(index, source, outcomes["defaults"])
        found += mistakes
        if settings is None:
            continue
        sources.append(settings)
        first = names.setdefault(settings.name, index)
        if first != index and not any(m.path == (SOURCES, index, "name") for m in mistakes):
            text = f"is already the name of {dotted((SOURCES, first))}; give each its own"
            found.append(Mistake((SOURCES, index, "name"), text))
    parts: dict[str, Any] = {name: outcome.settings for name, outcome in outcomes.items()}
    found += lockout_mistakes(parts["sharding"], sources, parts["state"])
    # Preflights can be checked against the sources only if their names and tasks are right.
    known_sources = len(sources) == len(given) and not any(
        mistake.path[:1] == (SOURCES,) and mistake.path[2:3] in ((), ("name",), ("tasks",))
        for mistake in found
    )
    parts[PREFLIGHTS], mistakes = preflights(
        raw.get(PREFLIGHTS, []),
        sources if known_sources else None,
        sharded=parts["sharding"].total_shards > 1,
        remembers=parts["history"].keep is not None,
    )
    found += mistakes
    # Several sources may inherit the same mistake from the defaults; report it once.
    problems = layers.problems(list(dict.fromkeys(found)))
    if problems:
        raise ConfigurationError(problems)
    parts["alerting"] = with_runbooks(parts["alerting"], parts["web"])
    return Settings(**parts, sources=tuple(sources))


def _source(
    index: int, raw: Any, defaults: Checked[Any]
) -> tuple[SourceSettings | None, list[Mistake]]:
    place: KeyPath = (SOURCES, index)
    if not isinstance(raw, dict):
        return None, [Mistake(place, "must be a mapping with a provider and its keys")]
    provider = raw.get("provider")
    if not isinstance(provider, str) or provider not in PROVIDERS:
        for broken in BROKEN:
            if broken.name == provider:
                return None, [Mistake((*place, "provider"), str(broken))]
        what = "is missing" if provider is None else "unknown provider"
        remedy = nearest(provider, PROVIDERS, otherwise=f"write one of {', '.join(PROVIDERS)}")
        return None, [Mistake((*place, "provider"), f"{what}; {remedy}")]
    wrong = [m.path for m in defaults.mistakes if m.path and m.path[0] not in raw]
    outcome = checked(
        PROVIDERS[provider].settings,
        {"name": provider} | dict(_inherited(defaults.raw, raw)) | raw | _labels(defaults.raw, raw),
        wrong=wrong,
    )
    mistakes = []
    for mistake in outcome.mistakes:
        inherited = mistake.path and mistake.path[0] not in raw and mistake.path[0] in defaults.raw
        where = ("defaults",) if inherited else place
        mistakes.append(Mistake((*where, *mistake.path), mistake.text))
    return outcome.settings, mistakes


def _inherited(defaults: dict[str, Any], own: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the defaults that a source does not override, by value or by file."""
    for key, value in defaults.items():
        if own.keys().isdisjoint({key, f"{key}_file", key.removesuffix("_file")}):
            yield key, value


def _labels(defaults: dict[str, Any], own: dict[Any, Any]) -> dict[str, Any]:
    """Return the source's labels together with the inherited ones."""
    inherited, added = defaults.get("labels", {}), own.get("labels")
    return {"labels": inherited | added} if isinstance(added, dict) else {}


def content_hash(content: bytes, settings: Settings) -> str:
    """Return the SHA-256 hash, in hex, of a file's content and of all files its settings name."""
    digest = hashlib.sha256(content)
    for path in sorted(set(settings.files())):
        inner = files.content(path)
        digest.update(f"\0{path}\0{len(inner)}\0".encode(errors="surrogateescape"))
        digest.update(inner)
    return digest.hexdigest()


def configure_for(
    settings: Settings, *, level: Level | None = None, warnings: Sequence[str] = ()
) -> None:
    """Set up logging by the settings, and remove their secrets from it.

    Args:
        settings: The settings with format, level and secrets.
        level: A minimum level, for commands whose output is not the log.
        warnings: Sentences to log first.
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
    """Return the effective settings as plain values for YAML and JSON, without secrets."""
    plain: dict[str, Any] = _plain(settings.model_dump())
    # Readers of the page `/config` find the identity of each source first.
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
