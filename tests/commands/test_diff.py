from __future__ import annotations

from typing import Any

import pytest
import yaml

from exporter.commands.diff import lines, running
from exporter.errors import StartError
from exporter.settings import from_data, redacted
from tests.support.processes import free_port


def configuration(*names: str, **extra: Any) -> dict[str, Any]:
    source = {"provider": "realload", "url": "http://portal/x", "auth_token": "t", **extra}
    return {"sources": [source | {"name": name} for name in names]}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    shown = yaml.safe_load(yaml.safe_dump(redacted(from_data(old))))
    return list(lines(shown, from_data(new)))


def test_the_same_configuration_keeps_everything() -> None:
    """What a reload would not touch must be said to be kept."""
    assert ["keep     a"] == told(configuration("a"), configuration("a"))


def test_it_tells_what_starts_stops_and_restarts() -> None:
    """Before a change goes live, somebody can read what it does."""
    old = configuration("a", "b")
    new = configuration("b", "c", timeout="3s")

    assert ["start    c", "restart  b: timeout", "stop     a"] == told(old, new)


def test_another_secret_restarts_nothing() -> None:
    """Secrets are read again by themselves and are shown by nobody."""
    assert ["keep     a"] == told(configuration("a"), configuration("a", auth_token="u"))


def test_web_settings_need_a_restart() -> None:
    """Whoever moves the port must not wait for a reload to do it."""
    new = configuration("a") | {"web": {"max_requests": 3}}

    assert ["keep     a", "web differs: only a restart of the daemon applies it"] == told(
        configuration("a"), new
    )


@pytest.mark.parametrize("url", ["localhost:10871", "file:///etc/passwd"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """Nothing but a daemon is asked."""
    with pytest.raises(StartError, match="--diff takes the URL"):
        running(url)


def test_a_daemon_that_is_not_there_is_a_clear_error() -> None:
    """No traceback, and the URL that was tried."""
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(StartError, match=url):
        running(url)
