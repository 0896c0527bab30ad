"""The alerts as JSON."""

from __future__ import annotations

from exporter.alerts.alert import Phase
from exporter.overview.interface import AlertView
from tests.support.alerts import START, alert
from tests.web import fakes


async def test_an_alert_is_told_whole() -> None:
    """With its labels, its texts and since when it holds."""
    view = fakes.FakeView()
    view.found_alerts = [
        AlertView.of(alert("a", fired=300)),
        AlertView.of(alert(phase=Phase.PENDING)),
    ]

    async with fakes.browsing(view) as client:
        answer = await client.get("/api/v1/alerts")

    fires, waits = answer.json()["data"]["alerts"]
    assert {
        "name": "Down",
        "severity": "critical",
        "state": "firing",
        "labels": {"alertname": "Down", "severity": "critical", "agent": "a", "source": "prod"},
        "annotations": {"summary": "Something is down."},
        "since_timestamp_seconds": START.unix,
    } == fires
    assert "pending" == waits["state"]


async def test_where_they_are_off_there_are_none() -> None:
    """Whoever asks gets a list in any case."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.get("/api/v1/alerts")

    assert {"status": "success", "data": {"alerts": []}} == answer.json()
