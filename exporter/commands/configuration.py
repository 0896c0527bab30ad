"""From flags and environment to settings, the same way for every command."""

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


#: How often to look for changes of the configuration's files.
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
    """Load the configuration a command was asked to use.

    Args:
        arguments: The command's.
        environ: The environment.
        used: The flags that give settings.
        pipe: Whether the file may be a pipe, which can be read once.

    Raises:
        ConfigurationError: With every mistake in it.
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
    """Return how often to look for changes of the configuration's files; 0 is never, as of a pipe.

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
    """Return the configuration file to read, if there is one."""
    named = flags.CONFIG_FILE.value(arguments, environ)
    if named is not None:
        return Path(named)
    default = Path(flags.DEFAULT_CONFIG_FILE)
    return default if default.exists() else None


def warn_of_own_ledger(command: str, engine: Engine) -> None:
    """Say so on stderr if the calls of a command were not counted with those of a daemon."""
    if engine.state.backend == MemoryState.backend:
        print(
            f"{command}: polled without the daemon's ledger, so refused calls of this command add"
            " to those of the daemon; --url asks the daemon instead",
            file=sys.stderr,
        )


def duration(text: str) -> float:
    """Read a duration, for argparse; seconds.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        return parse_duration(text)
    except WrongValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_alerting_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that `alerting` reads."""
    for flag in (flags.CONFIG_FILE, flags.RUNBOOK_URL):
        flag.add_to(parser)


def alerting(
    arguments: argparse.Namespace, environ: Mapping[str, str]
) -> tuple[AlertingSettings, str]:
    """Read what rules and dashboards depend on: no source has to be there, and no secret.

    Rules and dashboards are often made elsewhere than where the daemon runs.

    Returns:
        The settings, and the board's address, empty if it is not configured.

    Raises:
        ConfigurationError: It cannot be used.
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
    """Read how the daemon notifies; no source has to be there, and none of their secrets.

    Returns:
        The settings, of our shard, and the board's address, empty if it is not configured.

    Raises:
        ConfigurationError: It cannot be used.
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
    """Read where state and history are kept; no source has to be there, nor a secret of one.

    Raises:
        ConfigurationError: It cannot be used.
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
    """Return what was given for a section; only its own variables have to be readable."""
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
