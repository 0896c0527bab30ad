from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.cli import main
from tests.rules.support import COMMITTED


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a call of the command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*flags: str, file: str = "", **environ: str) -> tuple[int, str, str]:
        if file:
            (tmp_path / "loadfleet.yml").write_text(file)
        code = main(["rules", *flags], environ=environ)
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def test_without_a_configuration_it_prints_what_is_shipped(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """Whoever asks gets the defaults, also where there is nothing to watch."""
    assert (0, COMMITTED.read_text(), "") == rules()


def test_thresholds_come_from_the_file(rules: Callable[..., tuple[int, str, str]]) -> None:
    """Neither sources nor their secrets have to be there."""
    code, output, _ = rules(
        file="alerting: {thresholds: {clock_skew: 90s, run_stuck: off}}\n"
        "sources: [{provider: realload, auth_token_file: /nowhere/token}]\n"
    )

    assert 0 == code
    assert "abs(loadfleet_agent_clock_delta_seconds) > 90\n" in output
    assert "LoadFleetRunStuck" not in output


def test_the_environment_goes_over_the_file(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """As it does for the daemon; what it does not mention stays."""
    _, output, _ = rules(
        file="alerting: {thresholds: {clock_skew: 90s, agents_down_ratio: 0.3}}\n",
        LOADFLEET_ALERTING__THRESHOLDS__CLOCK_SKEW="7s",
    )

    assert "abs(loadfleet_agent_clock_delta_seconds) > 7\n" in output
    assert ">= 0.3 " in output.replace("\n", " ")


@pytest.mark.parametrize(
    ("flags", "environ", "file"),
    [
        (("--runbook-url=https://wiki/r",), {"LOADFLEET_RUNBOOK_URL": "https://no"}, ""),
        ((), {"LOADFLEET_RUNBOOK_URL": "https://wiki/r"}, "alerting: {runbook_url: https://no}"),
        ((), {}, "alerting: {runbook_url: https://wiki/r}"),
    ],
    ids=["flag", "environment", "file"],
)
def test_the_runbooks_can_be_elsewhere(
    rules: Callable[..., tuple[int, str, str]],
    flags: tuple[str, ...],
    environ: dict[str, str],
    file: str,
) -> None:
    """Who copies them to a wiki says so by flag, environment or file, in this order."""
    _, output, _ = rules(*flags, file=file, **environ)

    assert "runbook_url: https://wiki/r/LoadFleetSourceDown.md\n" in output
    assert "https://no" not in output


def test_the_runbooks_are_the_exporter_s_own_where_it_is_reached(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """Who says under which URL others reach the exporter gets links to what it serves itself."""
    _, output, _ = rules(file="web: {external_url: https://fleet.example/lab/}\n")

    expected = "runbook_url: https://fleet.example/lab/runbooks/LoadFleetSourceDown.md\n"
    assert expected in output


def test_runbooks_that_are_named_go_over_the_exporter_s_own(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """Who keeps runbooks in a wiki gets links to these, wherever the exporter is reached."""
    _, output, _ = rules(
        "--runbook-url=https://wiki/r", file="web: {external_url: https://fleet.example}\n"
    )

    assert "runbook_url: https://wiki/r/LoadFleetSourceDown.md\n" in output
    assert "fleet.example/runbooks" not in output


@pytest.mark.parametrize(
    ("file", "environ", "message"),
    [
        (
            "alerting: {thresholds: {clock_skw: 5s}}",
            {},
            "alerting.thresholds.clock_skw: unknown key; did you mean clock_skew?",
        ),
        (
            "alerting: {thresholds: {agents_down_ratio: 2}}",
            {},
            "alerting.thresholds.agents_down_ratio: must be at most 1.0",
        ),
        (
            "alerting: {runbook_url: foo}",
            {},
            "alerting.runbook_url: is not an http or https URL; write it as https://host/path",
        ),
        (
            "",
            {"LOADFLEET_RUNBOOK_URL": "foo"},
            (
                "--runbook-url or LOADFLEET_RUNBOOK_URL: is not an http or https URL;"
                " write it as https://host/path"
            ),
        ),
        (
            "",
            {"LOADFLEET_ALERTING__THRESHOLDS__RUN_STUCK": "5"},
            (
                "LOADFLEET_ALERTING__THRESHOLDS__RUN_STUCK: has no unit;"
                " write a duration such as 90s, 5m or 1h30m"
            ),
        ),
        (
            "alerting: [thresholds]",
            {},
            "alerting: it and its thresholds must be mappings of keys to values",
        ),
        (
            "",
            {"LOADFLEET_ALERTING__THRESHOLDS__RUN_STUK": "5m"},
            (
                "LOADFLEET_ALERTING__THRESHOLDS__RUN_STUK: unknown variable;"
                " did you mean LOADFLEET_ALERTING__THRESHOLDS__RUN_STUCK?"
            ),
        ),
    ],
)
def test_a_mistake_is_named(
    rules: Callable[..., tuple[int, str, str]], file: str, environ: dict[str, str], message: str
) -> None:
    """A threshold that is not understood must not silently be the default."""
    assert (2, "", f"configuration: {message}\n") == rules(file=file, **environ)
