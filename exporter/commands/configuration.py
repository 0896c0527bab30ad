"""Loading of settings from flags, environment and file, shared by all commands."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.alerts.settings import AlertingSettings
from exporter.config import yaml_file
from exporter.config.environment import PREFIX
from exporter.config.files import is_pipe
from exporter.config.types import WrongValueError, parse_duration
from exporter.config.validation import S, checked
from exporter.errors import ConfigurationError
from exporter.history.settings import HistorySettings
from exporter.settings import flags
from exporter.settings.layers import Layers
from exporter.settings.load import Loaded, load
from exporter.settings.sections import ShardingSettings, WebSettings, with_runbooks
from exporter.sharding import Shard
from exporter.state.memory import MemoryState
from exporter.state.settings import StateSettings


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.config.validation import Checked
    from exporter.polling.engine import Engine


#: Interval at which the daemon checks the configuration's files for changes.
DEFAULT_AUTO_RELOAD_SECONDS = 30.0

_ALERTING, _THRESHOLDS = "alerting", "thresholds"
_SHARDING, _STATE, _HISTORY = "sharding", "state", "history"
_WEB, _URL = "web", "external_url"


def load_settings(
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
    used: Sequence[flags.Flag] = flags.COMMON,
    *,
    pipe: bool = True,
) -> Loaded:
    """Return the configuration that a command's flags and environment choose.

    Args:
        arguments: The command's parsed arguments.
        environ: The environment.
        used: The flags that override settings.
        pipe: Whether the file may be a pipe, which can be read only once.

    Raises:
        ConfigurationError: With all mistakes of the configuration.
    """
    loaded = load(
        config_path(arguments, environ),
        environ=environ,
        overrides=flags.overrides(used, arguments, environ),
        pipe=pipe,
    )
    warnings = (*flags.warnings(flags.ALL, arguments, environ), *loaded.warnings)
    return msgspec.structs.replace(loaded, warnings=warnings)


def auto_reload_seconds(arguments: argparse.Namespace, environ: Mapping[str, str]) -> float:
    """Return the interval at which to check the configuration's files for changes.

    Returns:
        The interval in seconds; 0 for never, and always 0 for a pipe.

    Raises:
        ConfigurationError: The value is no duration.
    """
    text = flags.AUTO_RELOAD.value(arguments, environ)
    try:
        seconds = DEFAULT_AUTO_RELOAD_SECONDS if text is None else parse_duration(text)
    except WrongValueError as error:
        raise ConfigurationError([f"{flags.AUTO_RELOAD.spelled}: {error}"]) from None
    path = config_path(arguments, environ)
    return 0.0 if path is not None and is_pipe(path) else seconds


def config_path(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file, or `None` if none is named and the default does not exist."""
    named = flags.CONFIG_FILE.value(arguments, environ)
    if named is not None:
        return Path(named)
    default = Path(flags.DEFAULT_CONFIG_FILE)
    return default if default.exists() else None


def warn_of_own_ledger(command: str, engine: Engine) -> None:
    """Warn on stderr if the command polled without the ledger that it would share with a daemon."""
    if engine.state.backend == MemoryState.backend:
        print(
            f"{command}: polled without the daemon's ledger, so refused calls of this command count"
            " in addition to the daemon's; --url asks the daemon instead",
            file=sys.stderr,
        )


def duration(text: str) -> float:
    """Return a duration in seconds, as a type for argparse.

    Raises:
        argparse.ArgumentTypeError: The text is no duration.
    """
    try:
        return parse_duration(text)
    except WrongValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_alerting_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that `alerting` reads."""
    for flag in (flags.CONFIG_FILE, flags.RUNBOOK_URL):
        flag.add_to(parser)


def alerting(
    arguments: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[AlertingSettings, str]:
    """Read the settings that rules and dashboards depend on.

    Sources and secrets may be missing, because rules and dashboards are often generated on
    another machine than the daemon's.

    Returns:
        The settings, and the board's URL, empty if it is not configured.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    layers = _layers((flags.CONFIG_FILE, flags.RUNBOOK_URL), arguments, environ)
    given = _part(layers, _ALERTING)
    if not isinstance(given, dict) or not isinstance(given.get(_THRESHOLDS, {}), dict):
        raise ConfigurationError(
            [f"{_ALERTING}: it and its {_THRESHOLDS} must be mappings of keys to values"]
        )
    keys = (_THRESHOLDS, "alerts", "runbook_url", "grafana_url")
    wanted = {key: given[key] for key in keys if key in given}
    web = _part(layers, _WEB)
    reached = {_URL: web[_URL]} if isinstance(web, dict) and _URL in web else {}
    settings = _settings(layers, _ALERTING, checked(AlertingSettings, wanted))
    board = _settings(layers, _WEB, checked(WebSettings, reached))
    return with_runbooks(settings, board), board.external_url or ""


def notifying(
    arguments: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[AlertingSettings, str]:
    """Read the daemon's settings for notifications. Sources and their secrets may be missing.

    Returns:
        The settings of this shard, and the board's URL, empty if it is not configured.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    layers = _layers((*flags.COMMON, *flags.DAEMON), arguments, environ)
    given = _settings(layers, _ALERTING, checked(AlertingSettings, _part(layers, _ALERTING)))
    share = _settings(layers, _SHARDING, checked(ShardingSettings, _part(layers, _SHARDING)))
    web = _settings(layers, _WEB, checked(WebSettings, _part(layers, _WEB)))
    shard = Shard.of(share.shard, share.total_shards, host=socket.gethostname())
    return given.of_shard(shard), web.external_url or ""


def kept(
    arguments: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[StateSettings, HistorySettings]:
    """Return the settings of state and history. Sources and their secrets may be missing.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    layers = _layers((flags.CONFIG_FILE, flags.STATE_PATH, flags.STATE_URL), arguments, environ)
    return (
        _settings(layers, _STATE, checked(StateSettings, _part(layers, _STATE))),
        _settings(layers, _HISTORY, checked(HistorySettings, _part(layers, _HISTORY))),
    )


def _layers(
    used: Sequence[flags.Flag], arguments: argparse.Namespace, environ: Mapping[str, str]
) -> Layers:
    path = config_path(arguments, environ)
    layers = Layers(
        yaml_file.parse(yaml_file.read(path, pipe=True), name=str(path))
        if path is not None
        else {},
        environ=environ,
        overrides=flags.overrides(used, arguments, environ),
        folder=yaml_file.folder_of(path),
    )
    for warning in (*flags.warnings(used, arguments, environ), *layers.old_names.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    return layers


def _part(layers: Layers, section: str) -> Any:
    """Return the raw data of a section, ignoring mistakes in variables of other sections."""
    about = (f"{PREFIX}{section.upper()}", section)
    problems = [problem for problem in layers.problems(()) if problem.startswith(about)]
    if problems:
        raise ConfigurationError(problems)
    return layers.joined().get(section, {})


def _settings(layers: Layers, section: str, outcome: Checked[S]) -> S:
    if outcome.mistakes:
        raise ConfigurationError(
            [
                f"{layers.location_of((section, *mistake.path))}: {mistake.text}"
                for mistake in outcome.mistakes
            ]
        )
    return outcome.settings
