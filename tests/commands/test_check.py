from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.cli import main
from exporter.commands.check import lines, running
from exporter.commands.remote import NotAskedError
from exporter.polling.reload import BY_RELOAD, BY_RESTART
from exporter.settings.load import from_data, redacted
from exporter.settings.preflights import PREFLIGHTS
from exporter.settings.sections import SECTIONS
from exporter.simulator.server import serve
from tests.support.processes import free_port


if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request


def configuration(*names: str, **extra: Any) -> dict[str, Any]:
    source = {"provider": "realload", "url": "http://portal/x", "auth_token": "t", **extra}
    return {"sources": [source | {"name": name} for name in names]}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    shown = yaml.safe_load(yaml.safe_dump(redacted(from_data(old))))
    *found, last = lines(shown, from_data(new))
    assert "secrets are not compared" == last
    return found


def test_the_same_configuration_keeps_everything() -> None:
    """A source that a reload would not change must be reported as kept."""
    assert ["keep     a"] == told(configuration("a"), configuration("a"))


def test_it_tells_what_starts_stops_and_restarts() -> None:
    """The command must report the sources that a reload would start, stop and restart."""
    old = configuration("a", "b")
    new = configuration("b", "c", timeout="3s")

    assert ["start    c", "restart  b: timeout", "stop     a"] == told(old, new)


def test_another_secret_restarts_nothing() -> None:
    """Another secret must restart nothing, and not be shown."""
    assert ["keep     a"] == told(configuration("a"), configuration("a", auth_token="u"))


def test_web_settings_need_a_restart() -> None:
    """A change of `web` must be reported as one that needs a restart."""
    new = configuration("a") | {"web": {"max_requests": 3}}

    assert [
        "keep     a",
        (
            "web differs: only a restart of the daemon applies it"
            " (run check-config with the daemon's flags and environment)"
        ),
    ] == told(configuration("a"), new)


NIGHTLY = {
    "name": "nightly",
    "agents": {"source": "a", "include": "ubuntu.*"},
    "clock": "1s",
    "window": {"before": "02:00", "days": ["mon"]},
}


@pytest.mark.parametrize(
    "section",
    [
        {"alerting": {"thresholds": {"clock_skew": "7s"}}},
        {"log": {"level": "warn"}},
        {"preflights": [NIGHTLY]},
    ],
)
def test_what_a_reload_applies_beside_the_sources_is_told(section: dict[str, Any]) -> None:
    """A changed threshold must not look as if nothing would happen."""
    (name,) = section

    assert ["keep     a", f"{name} differs: a reload applies it"] == told(
        configuration("a"), configuration("a") | section
    )


def test_every_section_is_compared() -> None:
    """A section that is added must not be forgotten; what is in `defaults` is in the sources."""
    assert SECTIONS.keys() - {"defaults"} | {PREFLIGHTS} == {*BY_RELOAD, *BY_RESTART}


def test_preflights_that_are_the_same_do_not_differ() -> None:
    """Expressions, durations and times of day come through the page as they were."""
    same = configuration("a") | {"preflights": [NIGHTLY]}

    assert ["keep     a"] == told(same, same)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:10871", "is not an http or https URL"),
        ("file:///etc/passwd", "is not an http or https URL"),
        ("http://user:CANARY@localhost", "holds a user or password"),
        ("http://localhost/?x=CANARY", "holds a query or fragment"),
    ],
)
def test_what_is_no_url_is_refused(url: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--diff` must refuse anything that is not a daemon's URL, without repeating a password."""
    with pytest.raises(SystemExit) as ended:
        main(["check-config", f"--diff={url}"], environ={})

    output = capsys.readouterr()
    assert 2 == ended.value.code
    assert f"argument --diff: {why}; give only the URL of a running daemon" in output.err
    assert "CANARY" not in output.err + output.out


async def test_what_is_no_configuration_is_no_daemon() -> None:
    """A page that is no configuration must be refused as no exporter's."""

    async def answer(_: Request) -> Response:
        return PlainTextResponse("a: [")

    async with serve(Starlette(routes=[Route("/config", answer)])) as url:
        with pytest.raises(NotAskedError, match="is no loadfleet-exporter"):
            await running(url)


def test_the_command_says_that_it_is_about_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed comparison must be reported under `--diff`, not as a failed start."""
    path = tmp_path / "loadfleet.yml"
    path.write_text(yaml.safe_dump(configuration("a")))

    code = main(
        ["check-config", f"--config.file={path}", f"--diff=http://127.0.0.1:{free_port()}/"],
        environ={},
    )

    assert 1 == code
    assert capsys.readouterr().err.startswith("--diff: cannot read http://127.0.0.1:")
