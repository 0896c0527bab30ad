from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.daemon import Daemon
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.polling.engine import Engine
from exporter.settings.load import Loaded, from_data
from exporter.state.memory import MemoryState
from exporter.state.opening import open_state, place_of
from exporter.state.settings import StateSettings
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.state.base import State


@pytest.mark.parametrize(
    ("path", "environ", "folder"),
    [
        ("/a", {"STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c", "HOME": "/d"}, "/a"),
        (None, {"STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c", "HOME": "/d"}, "/b"),
        (None, {"STATE_DIRECTORY": "/b:/e", "HOME": "/d"}, "/b"),
        (None, {"XDG_STATE_HOME": "/c", "HOME": "/d"}, "/c/loadfleet-exporter"),
        (None, {"XDG_STATE_HOME": "c", "HOME": "/d"}, "/d/.local/state/loadfleet-exporter"),
        (None, {"STATE_DIRECTORY": "", "HOME": "/d"}, "/d/.local/state/loadfleet-exporter"),
    ],
)
def test_the_place_is_the_first_that_is_named(
    path: str | None, environ: Mapping[str, str], folder: str
) -> None:
    """Settings go over systemd, systemd over the user's own folders."""
    settings = StateSettings(path=None if path is None else Path(path))

    place = place_of(settings, environ)

    assert place is not None
    assert Path(folder) == place.folder


async def test_without_a_home_it_is_in_memory(tmp_path: Path) -> None:
    """Without a home, the state must be in memory, which is logged once as information."""
    telemetry = SelfMetrics()

    with capture_logs() as logs:
        state = open_state(
            StateSettings(), clock=FakeClock().clock, telemetry=telemetry, environ={}
        )
        await state.put("key", b"value")

    assert "memory" == state.backend
    assert [("state_in_memory", "info")] == [(log["event"], log["log_level"]) for log in logs]
    assert 0.0 == telemetry.registry.get_sample_value(own.STATE_UP.name, {"backend": "memory"})


@pytest.mark.parametrize(
    ("environ", "level"), [({"HOME": "/sys"}, "info"), ({"STATE_DIRECTORY": "/sys/s"}, "warning")]
)
async def test_a_place_that_cannot_be_is_told(environ: Mapping[str, str], level: str) -> None:
    """A folder that cannot be made must be a warning if it was asked for."""
    with capture_logs() as logs:
        state = open_state(
            StateSettings(), clock=FakeClock().clock, telemetry=SelfMetrics(), environ=environ
        )
        await state.put("key", b"value")

    assert [("state_in_memory", level)] == [(log["event"], log["log_level"]) for log in logs]
    await state.aclose()


async def test_a_server_that_is_named_is_used_in_place_of_a_folder() -> None:
    """A configured server must be used even if there is a folder, and memory while it is away."""
    with capture_logs() as logs:
        state = open_state(
            StateSettings(url="redis://127.0.0.1:1"),
            clock=FakeClock().clock,
            telemetry=SelfMetrics(),
            environ={"STATE_DIRECTORY": "/sys/s"},
        )
        named = state.backend
        await state.put("key", b"value")

    assert ("redis", "memory") == (named, state.backend)
    assert ["127.0.0.1:1: it cannot be reached (Connection refused); start it, or correct"] == [
        log["message"].removesuffix(" state.url") for log in logs
    ]
    await state.aclose()


async def test_the_folders_of_the_default_are_made(tmp_path: Path) -> None:
    """The folders of the default path must be made."""
    state = open_state(
        StateSettings(),
        clock=FakeClock().clock,
        telemetry=SelfMetrics(),
        environ={"HOME": str(tmp_path)},
    )

    await state.put("key", b"value")

    assert (tmp_path / ".local/state/loadfleet-exporter/state.db").exists()
    await state.aclose()


async def test_an_engine_without_a_state_keeps_it_in_memory() -> None:
    """An engine without a state must keep it in memory, and show it as working."""
    engine = Engine(state=None)

    await engine.state.put("key", b"value")

    page = engine.exposition.metrics(names=[own.STATE_UP.name]).body
    assert b'loadfleet_exporter_state_up{backend="memory"} 1' in page


@pytest.mark.parametrize("given", [None, MemoryState(lambda: 0.0)])
async def test_a_daemon_keeps_its_state_unless_given_another(
    tmp_path: Path, given: State | None
) -> None:
    """The demo gives it one, whatever the settings and the environment say."""
    source = {"provider": "realload", "url": "https://portal.example.com", "auth_token": "t0ken"}
    settings = from_data({"sources": [source], "state": {"path": str(tmp_path / "state")}})
    daemon = Daemon(Loaded(settings=settings, hash=""), state=given)

    await daemon._engine.state.put("key", b"value")

    assert (tmp_path / "state").exists() == (given is None)
    await daemon._engine.end(grace_seconds=0)
