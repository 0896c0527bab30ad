"""The notifications to one Alertmanager: their content, their times and their repetition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from exporter.alerts.alertmanager import BATCH, NotificationOptions, Receiver
from exporter.alerts.settings import AlertmanagerSettings
from exporter.clock import Moment
from exporter.metrics.telemetry import SelfMetrics
from tests.support.alerts import START, FakeAlertmanager, alert, keyed
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.alerts.evaluate import Alert


URL = "http://alertmanager.test:9093"


class Bench:
    """A receiver with what it is tested by."""

    def __init__(self, **settings: Any) -> None:
        self.time = FakeClock(unix=START.unix, monotonic=START.monotonic)
        self.alertmanager = FakeAlertmanager(self.time)
        self.telemetry = SelfMetrics(clock=self.time.clock)
        self.receiver = Receiver(
            AlertmanagerSettings.model_validate({"url": URL, **settings}),
            NotificationOptions(
                resend_seconds=60.0,
                hold_seconds=14_400.0,
                generator_url="https://monitor.example/fleet/",
                external_labels={"region": "eu", "agent": "external"},
            ),
            telemetry=self.telemetry,
            clock=self.time.clock,
            connect=self.alertmanager.connect,
        )

    async def tell(self, *alerts: Alert, at: float = 0.0) -> list[tuple[str, str]]:
        """Publish alerts that long after `START` and return what arrives."""
        self.time.shift(START.monotonic + at - self.time.monotonic)
        self.receiver.publish(keyed(*alerts))
        await self.receiver.send_due()
        return self.alertmanager.told()

    def counted(self, name: str) -> float | None:
        """Return one of the sender's own metrics."""
        return self.telemetry.registry.get_sample_value(
            f"loadfleet_exporter_{name}", {"receiver": URL}
        )


class TestMessage:
    async def test_what_fires_is_told_as_prometheus_tells_it(self) -> None:
        """External labels are added, the end is far away, the link goes to the board."""
        bench = Bench()
        bench.receiver.publish(keyed(alert("a", fired=-60.5)))

        await bench.receiver.send_due()

        assert [f"{URL}/api/v2/alerts"] == bench.alertmanager.urls
        assert "application/json" == bench.alertmanager.headers["content-type"]
        assert [
            [
                {
                    "labels": {
                        "alertname": "Down",
                        "severity": "critical",
                        "source": "prod",
                        "agent": "a",
                        "region": "eu",
                    },
                    "annotations": {"summary": "Something is down."},
                    "startsAt": "2023-11-14T22:12:19.500+00:00",
                    "endsAt": "2023-11-15T02:13:20.000+00:00",
                    "generatorURL": "https://monitor.example/fleet/",
                }
            ]
        ] == bench.alertmanager.calls

    async def test_what_has_ended_is_told_with_its_end(self) -> None:
        """The end of an alert must be the time at which its condition ended."""
        bench = Bench()
        bench.receiver.publish(keyed(alert("a", resolved=-10)))

        await bench.receiver.send_due()

        assert "2023-11-14T22:13:10.000+00:00" == bench.alertmanager.calls[0][0]["endsAt"]

    async def test_only_the_heartbeat_ends_soon_after_the_exporter(self) -> None:
        """Only the heartbeat must end soon after it was sent: its end means a dead exporter."""
        bench = Bench()

        bench.receiver.publish(keyed(alert("a"), alert("b", name="LoadFleetHeartbeat")))

        await bench.receiver.send_due()

        assert ["2023-11-15T02:13:20.000+00:00", "2023-11-14T22:17:20.000+00:00"] == [
            one["endsAt"] for one in bench.alertmanager.taken()
        ]

    async def test_the_link_is_that_of_the_target(self) -> None:
        """The link of an alert must lead to the page of its target, not to the whole board."""
        bench = Bench()
        page = "https://monitor.example/fleet/target?source=prod&kind=agent&id=7"
        bench.receiver.publish(keyed(alert("a", annotations={"board_url": page})))

        await bench.receiver.send_due()

        assert [page] == [one["generatorURL"] for one in bench.alertmanager.taken()]

    async def test_a_path_in_the_url_is_kept(self) -> None:
        """An Alertmanager may be served below a path."""
        bench = Bench(url=f"{URL}/alerting/")

        await bench.tell(alert())

        assert [f"{URL}/alerting/api/v2/alerts"] == bench.alertmanager.urls


class TestWhen:
    async def test_what_goes_on_is_told_again_after_the_resend_interval(self) -> None:
        """Alertmanager forgets what it does not hear of."""
        bench = Bench()

        told = [await bench.tell(alert("a"), at=seconds) for seconds in (0, 15, 59, 60, 75)]

        assert [[("a", "firing")], [], [], [("a", "firing")], []] == told

    async def test_an_end_is_told_at_once(self) -> None:
        """An end must be sent at once."""
        bench = Bench()
        await bench.tell(alert("a"))

        told = await bench.tell(alert("a", resolved=15), at=15)

        assert [("a", "resolved")] == told

    async def test_an_end_is_repeated_for_a_quarter_of_an_hour(self) -> None:
        """An end must be repeated for 15 minutes, for each Alertmanager behind one address."""
        bench = Bench()
        ended = alert("a", resolved=0)

        told = [await bench.tell(ended, at=seconds) for seconds in (0, 60, 900, 960, 5000)]

        assert [1, 1, 1, 0, 0] == [len(each) for each in told]

    async def test_what_fires_anew_is_told_at_once(self) -> None:
        """An alert that fires anew must be sent at once."""
        bench = Bench()
        await bench.tell(alert("a", fired=0))

        told = await bench.tell(alert("a", fired=15), at=15)

        assert [("a", "firing")] == told

    async def test_many_go_in_several_calls(self) -> None:
        """A call that is too large might never arrive."""
        bench = Bench()
        alerts = [alert(f"a{number}") for number in range(BATCH + 1)]

        told = await bench.tell(*alerts)

        assert BATCH + 1 == len(told)
        assert 2 == bench.alertmanager.attempts

    async def test_the_newest_state_wins(self) -> None:
        """An alert that ends while earlier calls are under way is not sent as firing any more."""
        bench = Bench()
        alerts = [alert(f"a{number}") for number in range(BATCH + 1)]
        ended = [*alerts[:-1], alert(f"a{BATCH}", resolved=0)]
        bench.alertmanager.on_call = lambda: bench.receiver.publish(keyed(*ended))

        told = await bench.tell(*alerts)

        assert (f"a{BATCH}", "resolved") == told[-1]


class TestFailure:
    @pytest.mark.parametrize("wrong", [1e18, math.nan, math.inf])
    async def test_an_alert_that_cannot_be_told_keeps_no_other_back(self, wrong: float) -> None:
        """A time that is none, wherever it came from, must not end all pages."""
        bench = Bench()
        odd = alert("odd", fired=1.0)
        odd = replace(odd, fired=Moment(unix=wrong, monotonic=0.0))

        with capture_logs() as logs:
            told = await bench.tell(alert("a"), odd, alert("b"))

        assert [("a", "firing"), ("b", "firing")] == told
        assert ["alert_not_sent"] == [entry["event"] for entry in logs]

    @pytest.mark.parametrize("status", [302, 401, 403, 404, 500])
    async def test_what_was_not_taken_is_told_at_the_next_evaluation(self, status: int) -> None:
        """A failure is counted, shown and made good."""
        bench = Bench()
        bench.alertmanager.status = status
        first = await bench.tell(alert("a"))
        failing = bench.counted("notifications_failing")
        bench.alertmanager.status = 200

        second = await bench.tell(alert("a"), at=15)

        assert ([], [("a", "firing")]) == (first, second)
        assert (1.0, 0.0) == (failing, bench.counted("notifications_failing"))
        assert 2.0 == bench.counted("notifications_total")
        assert 1.0 == bench.counted("notification_failures_total")

    async def test_a_call_that_fails_ends_the_round(self) -> None:
        """An Alertmanager that does not take the first call is not bothered with the others."""
        bench = Bench()
        bench.alertmanager.status = 500

        await bench.tell(*(alert(f"a{number}") for number in range(3 * BATCH)))

        assert 1 == bench.alertmanager.attempts

    async def test_invalid_alerts_are_not_tried_again_at_once(self) -> None:
        """Alertmanager has taken the valid ones, and the others will not get better."""
        bench = Bench()
        bench.alertmanager.status = 400
        ended = alert("a", resolved=0)

        for seconds in (0, 15, 60):
            await bench.tell(ended, at=seconds)

        assert 2 == bench.alertmanager.attempts
        assert 2.0 == bench.counted("notification_failures_total")
        assert not bench.receiver.has_accepted(*keyed(ended).popitem())

    async def test_an_end_that_was_refused_is_told_until_it_is_taken(self) -> None:
        """A refused end must be sent until it is accepted, however old it is."""
        bench = Bench()
        bench.alertmanager.status = 400
        ended = alert("a", resolved=0)
        await bench.tell(ended, at=3600)
        bench.alertmanager.status = 200

        told = [await bench.tell(ended, at=seconds) for seconds in (3660, 3720)]

        assert [[("a", "resolved")], []] == told

    async def test_after_an_hour_away_it_hears_what_counts(self) -> None:
        """After an hour away, an Alertmanager must be sent every alert of that time."""
        bench = Bench()
        await bench.tell(alert("goes-on"), alert("ends"))
        bench.alertmanager.status = 500
        state = [
            alert("goes-on"),
            alert("new", fired=1800),
            alert("ends", resolved=600),
            alert("brief", fired=1200, resolved=1500),
        ]
        await bench.tell(*state, at=1800)
        bench.alertmanager.status = 200

        told = await bench.tell(*state, at=3600)

        assert [
            ("brief", "resolved"),
            ("ends", "resolved"),
            ("goes-on", "firing"),
            ("new", "firing"),
        ] == sorted(told)

    async def test_the_same_failure_is_logged_once(self) -> None:
        """An Alertmanager that is away for a day must not fill the log."""
        bench = Bench()

        with capture_logs() as logged:
            for number, status in enumerate((500, 500, 401, 200, 200)):
                bench.alertmanager.status = status
                await bench.tell(alert(f"a{number}"))

        assert [
            ("notification_failed", "http_5xx"),
            ("notification_failed", "auth"),
            ("notifications_recovered", None),
        ] == [(entry["event"], entry.get("reason")) for entry in logged]


class TestAuthentication:
    async def test_basic_authentication_reads_its_password_anew(self, tmp_path: Path) -> None:
        """Rotation needs no restart."""
        file = tmp_path / "password"
        file.write_text("first\n")
        bench = Bench(basic_auth={"username": "fleet", "password_file": str(file)})
        await bench.tell(alert("a"))
        first = bench.alertmanager.headers["authorization"]

        file.write_text("the second\n")
        await bench.tell(alert("b"))

        assert "Basic ZmxlZXQ6Zmlyc3Q=" == first
        assert "Basic ZmxlZXQ6dGhlIHNlY29uZA==" == bench.alertmanager.headers["authorization"]

    async def test_a_bearer_token_is_sent(self) -> None:
        """Proxies in front of Alertmanager want one."""
        bench = Bench(bearer_token="canary")

        await bench.tell(alert())

        assert "Bearer canary" == bench.alertmanager.headers["authorization"]

    async def test_a_secret_that_cannot_be_read_is_a_failure(self, tmp_path: Path) -> None:
        """If the secret cannot be read, nothing must be sent, and the failure be counted."""
        bench = Bench(bearer_token_file=str(tmp_path / "absent"))

        await bench.tell(alert())

        assert 0 == bench.alertmanager.attempts
        assert 1.0 == bench.counted("notifications_failing")


async def test_what_was_accepted_before_a_restart_is_known() -> None:
    """An end that was accepted before a restart must not be sent again."""
    bench = Bench()
    ended = alert("a", resolved=-3600)
    bench.receiver.mark_delivered(*keyed(ended).popitem())

    told = await bench.tell(ended)

    assert [] == told
    assert bench.receiver.has_accepted(*keyed(ended).popitem())


async def test_the_series_exist_from_the_start() -> None:
    """A rate over a counter that appears with its first failure misses that failure."""
    bench = Bench()

    assert [0.0, 0.0, 0.0] == [
        bench.counted(name)
        for name in ("notifications_total", "notification_failures_total", "notifications_failing")
    ]
