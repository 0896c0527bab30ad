"""Opening of the state that the configuration names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from exporter.metrics import own
from exporter.state.fallback import FallbackState
from exporter.state.hostclock import HostClock
from exporter.state.memory import MemoryState
from exporter.state.place import FILE, Place
from exporter.state.sqlite import SqliteState


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.clock import Clock
    from exporter.metrics.telemetry import SelfMetrics
    from exporter.state.base import State
    from exporter.state.redis import RedisState
    from exporter.state.settings import StateSettings


def open_state(
    settings: StateSettings | None,
    *,
    clock: Clock,
    telemetry: SelfMetrics,
    environ: Mapping[str, str] = os.environ,
) -> State:
    """Return the state, which opens its store at the first use; never raises.

    Args:
        settings: The settings of the state; in memory only if not given.
        clock: The source of time.
        telemetry: Counts the operations.
        environ: The environment, which names the folder if the settings do not.
    """
    if settings is None:
        return _in_memory(clock, telemetry, up=True)
    if settings.url is not None:
        return FallbackState(on_server(settings, clock), clock=clock, telemetry=telemetry)
    place = place_of(settings, environ)
    if place is None:
        structlog.get_logger("exporter.state").info(
            "state_in_memory", message="there is no folder for it; name one in state.path"
        )
        return _in_memory(clock, telemetry, up=False)
    return FallbackState(
        SqliteState(place, host=HostClock.of(clock)),
        clock=clock,
        telemetry=telemetry,
        expected=settings.path is None and not _given(environ),
    )


def on_server(settings: StateSettings, clock: Clock) -> RedisState:
    """Return the state on the server that the settings name; nothing is connected yet."""
    # The import takes longer than the rest of the state, and most installations use no server.
    from exporter.state.redis import RedisState  # noqa: PLC0415 - see above

    return RedisState(settings, clock=clock)


def place_of(settings: StateSettings, environ: Mapping[str, str]) -> Place | None:
    """Return the place of the state, `None` if neither settings nor environment name one."""
    return place_in(settings.path, environ)


def place_in(
    folder: Path | None,
    environ: Mapping[str, str],
    *,
    name: str = FILE,
    setting: str = "state.path",
) -> Place | None:
    """Return a place in a folder, or in the default folder of the state; `None` without either.

    Args:
        folder: The folder that the settings name.
        environ: The environment, which names the default folder.
        name: The file's name.
        setting: The setting that names the folder, for messages.
    """
    folder = folder or _given(environ)
    if folder is not None:
        return Place(folder, name=name, setting=setting)
    states = Path(environ.get("XDG_STATE_HOME", ""))
    if not states.is_absolute():  # the XDG specification says to ignore relative paths
        home = Path(environ.get("HOME", ""))
        if not home.is_absolute():
            return None
        states = home / ".local" / "state"
    return Place(states / "loadfleet-exporter", name=name, setting=setting, parents=True)


def _in_memory(clock: Clock, telemetry: SelfMetrics, *, up: bool) -> State:
    telemetry[own.STATE_UP].labels(MemoryState.backend).set(up)
    return MemoryState(clock.monotonic)


def _given(environ: Mapping[str, str]) -> Path | None:
    """Return the first state folder that systemd has created for the service."""
    first = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None
