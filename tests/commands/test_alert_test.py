"""The command `alert-test`: the alerts sent, the answers reported, and no alert left over."""

from __future__ import annotations

import asyncio
import io
import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exporter.alerts.alertmanager import AlertmanagerClient, NotificationOptions
from exporter.alerts.rule import Severity
from exporter.alerts.settings import AlertmanagerSettings
from exporter.cli import main
from exporter.commands.alert_test import SEVERITIES, marked, rehearse
from exporter.simulator.server import serve
from tests.support.alerts import START, FakeAlertmanager
from tests.support.clock import FakeClock
from tests.support.processes import EXPORTER, answers, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request


ONE, TWO = "http://one.test", "http://two.test"


class Bench:
    """Two Alertmanagers that the command sends alerts to."""

    def __init__(self) -> None:
        self.time = FakeClock(unix=START.unix, monotonic=START.monotonic)
        self.one, self.two = FakeAlertmanager(self.time), FakeAlertmanager(self.time)
        self.out = io.StringIO()
        self.stop = asyncio.Event()

    async def rehearse(self, *severities: Severity, hold_seconds: float = 0.0) -> bool:
        """Do what the command does, on the test's clock."""
        options = NotificationOptions(
            resend_seconds=60.0,
            hold_seconds=hold_seconds + 60.0,
            generator_url="",
            external_labels={"env": "lab"},
        )
        clients = [
            AlertmanagerClient(AlertmanagerSettings(url=url), options, connect=fake.connect)
            for url, fake in ((ONE, self.one), (TWO, self.two))
        ]
        alerts = marked(severities or SEVERITIES, self.time.clock.now(), host="dev-7")
        return await rehearse(
            clients,
            alerts,
            hold_seconds=hold_seconds,
            stop=self.stop,
            clock=self.time.clock,
            out=self.out,
        )

    def lines(self, url: str) -> list[str]:
        """Return the output lines about an Alertmanager."""
        return [
            " ".join(line.removeprefix(url).split())
            for line in self.out.getvalue().splitlines()
            if line.startswith(url)
        ]


class TestRehearse:
    async def test_every_alertmanager_is_told_each_severity_and_its_end(self) -> None:
        """Every Alertmanager must be sent one call for each severity's alert and for its end."""
        bench = Bench()

        accepted = await bench.rehearse()

        assert accepted
        for url, fake in ((ONE, bench.one), (TWO, bench.two)):
            told = [(one["labels"]["severity"], fake.has_ended(one)) for (one,) in fake.calls]
            severities = ("critical", "warning", "info")
            assert [(each, ended) for ended in (False, True) for each in severities] == told
            assert [
                *(f"{each} alert accepted" for each in severities),
                *(f"{each} end accepted" for each in severities),
            ] == bench.lines(url)

    async def test_an_alert_says_that_it_is_a_test_and_from_where(self) -> None:
        """A test alert must name itself a test and its sender, with the labels of a real one."""
        bench = Bench()

        await bench.rehearse(Severity.CRITICAL)

        alert, end = bench.one.taken()
        assert {
            "alertname": "LoadFleetTest",
            "severity": "critical",
            "provider": "test",
            "source": "alert-test-20231114T221320Z",
            "instance": "dev-7",
            "env": "lab",
        } == alert["labels"]
        assert (
            "This is a test alert from dev-7: nothing is wrong."
            == (alert["annotations"]["summary"])
        )
        assert "dev-7" in alert["annotations"]["description"]
        assert alert["annotations"]["runbook_url"].startswith("https://")
        assert (alert["labels"], alert["startsAt"]) == (end["labels"], end["startsAt"])
        assert "2023-11-14T22:14:20.000+00:00" == alert["endsAt"]

    async def test_a_severity_that_is_named_twice_is_sent_once(self) -> None:
        """A severity that is given twice must be sent once."""
        bench = Bench()

        await bench.rehearse(Severity.INFO, Severity.INFO)

        assert ["info alert accepted", "info end accepted"] == bench.lines(ONE)

    @pytest.mark.parametrize(
        ("status", "told"),
        [
            (400, "refused as invalid, with status 400"),
            (401, "failed (auth): Alertmanager answered with status 401"),
            (404, "failed (http_4xx): Alertmanager answered with status 404"),
            (500, "failed (http_5xx): Alertmanager answered with status 500"),
        ],
    )
    async def test_a_refusal_is_told_and_the_others_go_on(self, status: int, told: str) -> None:
        """A refused test alert must be reported and have no end sent; other receivers go on."""
        bench = Bench()
        bench.one.status = status

        accepted = await bench.rehearse(Severity.WARNING)

        assert not accepted
        assert [f"warning alert {told}"] == bench.lines(ONE)
        assert ["warning alert accepted", "warning end accepted"] == bench.lines(TWO)

    async def test_an_end_that_is_not_accepted_is_a_failure(self) -> None:
        """The alert goes on there until it ends by itself."""
        bench = Bench()
        bench.two.on_call = lambda: setattr(
            bench.two, "status", 500 if bench.two.attempts > 1 else 200
        )

        accepted = await bench.rehearse(Severity.WARNING)

        assert not accepted
        assert [
            "warning alert accepted",
            "warning end failed (http_5xx): Alertmanager answered with status 500",
        ] == bench.lines(TWO)

    async def test_it_says_what_to_expect(self) -> None:
        """The command must say whether people will be notified, which takes some time."""
        at_once, held = Bench(), Bench()
        held.stop.set()

        await at_once.rehearse()
        await held.rehearse(hold_seconds=120.0)

        assert "sends no notifications" in at_once.out.getvalue()
        assert "fires for 2m, or until Ctrl-C" in held.out.getvalue()
        assert "group_wait" in held.out.getvalue()

    async def test_it_holds_the_alerts_until_it_is_stopped(self) -> None:
        """Ctrl-C resolves them."""
        bench = Bench()
        held = asyncio.create_task(bench.rehearse(Severity.INFO, hold_seconds=3600.0))
        await until(lambda: "fires for 1h" in bench.out.getvalue())
        before = len(bench.one.calls)

        bench.stop.set()

        assert await held
        assert (1, 2) == (before, len(bench.one.calls))

    async def test_it_ends_its_alerts_where_nobody_reads_what_it_says(self) -> None:
        """The command must end its alerts even if its output is closed, as by `| head -1`."""
        bench = Bench()
        bench.out.close()

        with pytest.raises(ValueError, match="closed file"):
            await bench.rehearse(Severity.INFO)

        assert [False, True] == [bench.one.has_ended(one) for one in bench.one.taken()]


async def run(folder: Path, *flags: str, **environ: str) -> tuple[int, str, str]:
    """Run the command in a process, as it waits for signals: exit code, output, errors."""
    command = (*EXPORTER, "alert-test", *flags)
    async with running(*command, folder=folder, name="alert-test", environ=environ) as process:
        code = await process.process.wait()
    return code, process.output, process.errors


class TestCommand:
    def test_without_an_alertmanager_it_is_a_mistake(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without a configured Alertmanager, the command must fail as a usage error."""
        code = main(["alert-test"], environ={})

        assert 2 == code
        assert "alerting.alertmanagers: is empty" in capsys.readouterr().err

    @pytest.mark.parametrize("flag", ["--hold=5", "--hold=soon", "--severity=none"])
    def test_a_wrong_value_is_a_mistake(
        self, flag: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A wrong value must be a usage error, before anything is sent."""
        with pytest.raises(SystemExit) as ended:
            main(["alert-test", flag], environ={})

        assert 2 == ended.value.code
        assert flag.partition("=")[0] in capsys.readouterr().err

    async def test_one_that_cannot_be_reached_fails(self, tmp_path: Path) -> None:
        """An Alertmanager that cannot be reached must fail the command, with the reason."""
        async with serve(Starlette()) as plain:
            nobody, no_tls = f"http://127.0.0.1:{free_port()}", f"https{plain[4:]}"

            code, output, errors = await run(
                tmp_path,
                "--severity=critical",
                LOADFLEET_ALERTING__ALERTMANAGERS=f"{nobody},{no_tls}",
            )

        assert (1, "") == (code, errors)
        assert f"{nobody}  critical  alert failed (connect): the connection was refused" in output
        failed = f"TLS with {no_tls[8:]} failed: WRONG_VERSION_NUMBER"
        assert f"{no_tls}  critical  alert failed (tls): {failed}" in output

    async def test_it_sends_as_the_daemon_does(self, tmp_path: Path) -> None:
        """With its credentials, its labels and its shard's; no source's secret has to be there."""
        calls: list[tuple[str, list[dict[str, Any]]]] = []

        async def take(request: Request) -> Response:
            calls.append((request.headers["authorization"], await request.json()))
            return Response()

        (tmp_path / "token").write_text("CANARY-token\n")
        routes = [Route("/am/api/v2/alerts", take, methods=["POST"])]
        async with serve(Starlette(routes=routes)) as url:
            configuration = {
                "sources": [{"provider": "realload", "auth_token_file": "/nowhere/token"}],
                "sharding": {"total_shards": 2},
                "alerting": {
                    "alertmanagers": [{"url": f"{url}/am", "bearer_token_file": "token"}],
                    "external_labels": {"env": "lab"},
                },
            }
            (tmp_path / "loadfleet.yml").write_text(yaml.safe_dump(configuration))

            code, output, errors = await run(
                tmp_path,
                f"--config.file={tmp_path / 'loadfleet.yml'}",
                "--severity=warning",
                "--hold=0",
                "--shard=1",
                "--web.external-url=https://monitor.example/fleet/",
            )

        assert (0, "") == (code, errors)
        assert {"Bearer CANARY-token"} == {authorization for authorization, _ in calls}
        for _, (alert,) in calls:
            assert ("lab", "1") == (alert["labels"]["env"], alert["labels"]["shard"])
            assert "https://monitor.example/fleet/" == alert["generatorURL"]
        assert "CANARY" not in output


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_real_alertmanager_notifies_of_it_and_of_its_end(tmp_path: Path) -> None:
    """Ctrl-C resolves what is held, and the exit code says that all was accepted."""
    require("prometheus-alertmanager")
    notified: list[dict[str, Any]] = []

    async def take(request: Request) -> Response:
        notified.append(await request.json())
        return Response()

    async with serve(Starlette(routes=[Route("/", take, methods=["POST"])])) as pager:
        configuration = {
            "route": {
                "receiver": "page",
                "group_by": ["alertname", "provider", "source", "severity"],
                "group_wait": "1s",
                "group_interval": "1s",
            },
            "receivers": [{"name": "page", "webhook_configs": [{"url": pager}]}],
        }
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
        port = free_port()
        async with running(
            "prometheus-alertmanager",
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            folder=tmp_path,
            name="alertmanager",
        ) as alertmanager:
            url = f"http://127.0.0.1:{port}"
            await answers(f"{url}/-/ready", alertmanager)
            async with running(
                *EXPORTER,
                "alert-test",
                "--hold=10m",
                folder=tmp_path,
                name="alert-test",
                environ={"LOADFLEET_ALERTING__ALERTMANAGERS": url},
            ) as command:
                await until(lambda: len(notified) == len(SEVERITIES))
                fired = {page["commonLabels"]["severity"] for page in notified}
                code = await command.stop(signal.SIGINT)
            await until(lambda: len(notified) == 2 * len(SEVERITIES))

    assert (0, {"critical", "warning", "info"}) == (code, fired)
    assert ["firing"] * 3 + ["resolved"] * 3 == [page["status"] for page in notified]
    assert "Traceback" not in command.errors
