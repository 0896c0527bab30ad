from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter.cli import main
from tests.rules.support import COMMITTED, DEPLOY, run


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


def flat(output: str) -> str:
    """Return the output without the line breaks that YAML makes in long texts."""
    return " ".join(output.split())


def alerts_of(output: str) -> dict[str, dict[str, Any]]:
    """Return the alerts that were printed, by their names."""
    groups = yaml.safe_load(output)["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_without_a_configuration_it_prints_what_is_shipped(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """Without a configuration, the command must print the rules as they are shipped."""
    assert (0, COMMITTED.read_text(), "") == rules()


def test_those_for_vmalert_are_shipped(rules: Callable[..., tuple[int, str, str]]) -> None:
    """The file to copy must be what the command prints; print it anew when this fails."""
    shipped = DEPLOY / "victoriametrics" / "alerts.yml"

    assert (0, shipped.read_text(), "") == rules("--format=victoriametrics")


def test_thresholds_come_from_the_file(rules: Callable[..., tuple[int, str, str]]) -> None:
    """The thresholds must be read from the file, without its sources or their secrets."""
    code, output, _ = rules(
        file="alerting: {thresholds: {clock_skew: 90s, run_stuck: off}}\n"
        "sources: [{provider: realload, auth_token_file: /nowhere/token}]\n"
    )

    assert 0 == code
    assert "(last_over_time(loadfleet_agent_clock_delta_seconds[3m]))) > 90 " in flat(output)
    assert "LoadFleetRunStuck" not in output


def test_the_environment_goes_over_the_file(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """The environment must take precedence over the file, setting by setting."""
    _, output, _ = rules(
        file="alerting: {thresholds: {clock_skew: 90s, agents_down_ratio: 0.3}}\n",
        LOADFLEET_ALERTING__THRESHOLDS__CLOCK_SKEW="7s",
    )

    assert "(last_over_time(loadfleet_agent_clock_delta_seconds[3m]))) > 7 " in flat(output)
    assert ">= 0.3 " in flat(output)


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
    """The runbooks' URL must be taken from the flag, the environment or the file, in this order."""
    _, output, _ = rules(*flags, file=file, **environ)

    assert "runbook_url: https://wiki/r/LoadFleetSourceDown.md\n" in output
    assert "https://no" not in output


def test_the_runbooks_are_the_exporter_s_own_where_it_is_reached(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """When `external_url` is set, the rules must link to the runbooks that the exporter serves."""
    _, output, _ = rules(file="web: {external_url: https://fleet.example/lab/}\n")

    expected = "runbook_url: https://fleet.example/lab/runbooks/LoadFleetSourceDown.md\n"
    assert expected in output


def test_runbooks_that_are_named_go_over_the_exporter_s_own(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """A configured runbook URL must take precedence over the exporter's own runbooks."""
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
            "alerting.thresholds.agents_down_ratio: must be at most 1",
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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--lookback=5",),
            "--lookback: has no unit; write a duration such as 90s, 5m or 1h30m",
        ),
        (("--lookback=30s",), "--lookback: must be at least 1m, two scrapes of 30s"),
        (("--without=instance,po d",), "--without: 'po d' is no name of a label"),
        (("--without=pod,agent_id",), "--without: agent_id identifies targets; leave it out"),
        (
            ("--board-url=fleet.example",),
            "--board-url: is not an http or https URL; write it as https://host/path",
        ),
        (
            ("--format=grafana", "--datasource-uid=my uid"),
            "--datasource-uid: must be 1 to 40 letters, digits, hyphens and underscores",
        ),
    ],
)
def test_a_flag_that_cannot_be_used_is_named(
    rules: Callable[..., tuple[int, str, str]], flags: tuple[str, ...], message: str
) -> None:
    """Rules with a mistake in them would be noticed by the first outage."""
    assert (2, "", f"configuration: {message}\n") == rules(*flags)


def test_a_format_that_does_not_exist_is_refused(
    rules: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown format must be refused with the known ones."""
    with pytest.raises(SystemExit) as stopped:
        rules("--format=graphana")

    assert 2 == stopped.value.code
    message = capsys.readouterr().err
    assert [] == [name for name in ("prometheus", "operator", "grafana") if name not in message]


def test_the_lookback_is_in_every_window(rules: Callable[..., tuple[int, str, str]]) -> None:
    """Readings are bridged for as long, and the evidence for half of it."""
    _, output, _ = rules("--lookback=4m")

    agent = alerts_of(output)["LoadFleetAgentUnreachable"]["expr"]
    assert "last_over_time(loadfleet_agent_up[4m])" in agent
    assert "last_over_time(loadfleet_agent_up[2m])" in agent
    assert "[3m]" not in flat(output).replace("[3m]) < 0.5", "")


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("--without=instance, replica", "max without (instance, replica) ("), ("--without=", "()")],
)
def test_what_tells_exporters_apart_is_chosen(
    rules: Callable[..., tuple[int, str, str]], flag: str, expected: str
) -> None:
    """The labels that tell replicas apart must be replaceable, also by none."""
    _, output, _ = rules(flag)

    assert expected in alerts_of(output)["LoadFleetAgentUnreachable"]["expr"]
    assert "prometheus_replica" not in output


def test_alerts_link_to_the_board_where_it_is_known(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """The link is to the target's page; without an address there is none."""
    _, plain, _ = rules()

    _, linked, _ = rules("--board-url=https://fleet.example/lab/")

    assert "board_url" not in plain
    assert (
        "https://fleet.example/lab/target?source={{ $labels.source | urlquery }}&kind=agent"
        "&id={{ $labels.agent_id | urlquery }}"
    ) == alerts_of(linked)["LoadFleetAgentUnreachable"]["annotations"]["board_url"]


def test_the_board_is_where_the_file_says_unless_a_flag_does(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """The board's URL must be `external_url` unless a flag gives another."""
    file = "web: {external_url: https://fleet.example}\n"

    _, told, _ = rules(file=file)
    _, flagged, _ = rules("--board-url=https://other.example", file=file)

    assert "board_url: https://fleet.example/\n" in told
    assert "board_url: https://other.example/\n" in flagged


@pytest.mark.parametrize("name", ["RecorderUnreachable", "LoadFleetRecorderUnreachable"])
def test_an_alert_is_changed_by_the_configuration(
    rules: Callable[..., tuple[int, str, str]], name: str
) -> None:
    """A configured change must apply to its alert, with or without the name's prefix."""
    _, output, _ = rules(file=f"alerting: {{alerts: {{{name}: {{severity: critical, for: 10m}}}}}}")

    alert = alerts_of(output)["LoadFleetRecorderUnreachable"]
    assert ("critical", "10m") == (alert["labels"]["severity"], alert["for"])


@pytest.mark.parametrize("name", ["AgentUnprotected", "Heartbeat", "TaskFailing"])
def test_any_alert_can_be_off(rules: Callable[..., tuple[int, str, str]], name: str) -> None:
    """Any alert can be switched off, also one with two severities."""
    _, output, _ = rules(file=f"alerting: {{alerts: {{{name}: {{off: true}}}}}}")

    assert f"alert: LoadFleet{name}\n" not in output
    assert "alert: LoadFleetSourceDown\n" in output


def test_an_alert_that_does_not_exist_is_a_mistake(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """An alert that does not exist must be refused."""
    code, output, errors = rules(file="alerting: {alerts: {AgentUnreachabel: {off: true}}}")

    assert (2, "") == (code, output)
    assert (
        "configuration: alerting.alerts.AgentUnreachabel: there is no such alert;"
        " did you mean AgentUnreachable?\n"
    ) == errors


def test_the_heartbeat_takes_no_severity(rules: Callable[..., tuple[int, str, str]]) -> None:
    """The heartbeat must take no severity: it always fires, and would page for ever."""
    code, _, errors = rules(file="alerting: {alerts: {LoadFleetHeartbeat: {severity: critical}}}")

    assert 2 == code
    assert "alerts.LoadFleetHeartbeat.severity: must not be set, as the heartbeat" in errors


def test_without_waiting_windows_are_not_empty(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """A scale of 0 is for trials: nothing waits, and Prometheus still takes the file."""
    code, output, _ = rules(file="alerting: {thresholds: {for_scale: 0}}")

    alerts = alerts_of(output)
    assert 0 == code
    assert not any({"for", "keep_firing_for"} & alert.keys() for alert in alerts.values())
    assert "[0s]" not in output


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        (("--lookback=1m", "--without="), ""),
        (("--without=instance", "--board-url=https://fleet.example"), ""),
        ((), "alerting: {thresholds: {for_scale: 0, suite_overdue: 1d}}"),
        ((), "alerting: {thresholds: {for_scale: 0.01}, grafana_url: 'https://grafana.example'}"),
    ],
)
def test_prometheus_takes_what_is_printed(
    rules: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    flags: tuple[str, ...],
    file: str,
) -> None:
    """With all flags and settings, Prometheus must accept the rules and their templates."""
    path = tmp_path / "alerts.yml"
    path.write_text(rules(*flags, file=file)[1])

    checked = run("promtool", "check", "rules", path)

    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_rules_of_grafana_ask_the_data_source_that_is_named(
    rules: Callable[..., tuple[int, str, str]],
) -> None:
    """Grafana's rules must use the given data source, by default the shipped one."""
    _, shipped, _ = rules("--format=grafana")

    _, named, _ = rules("--format=grafana", "--datasource-uid=mimir")

    assert "datasourceUid: prometheus\n" in shipped
    assert "datasourceUid: mimir\n" in named
    assert shipped == named.replace("mimir", "prometheus")
