from __future__ import annotations

from typing import Any

import msgspec
import pytest

from exporter.alerts.evaluate import Phase
from exporter.overview.interface import AlertView
from exporter.web.endpoints.api import plain
from tests.support.alerts import START, alert
from tests.web import fakes


async def get(view: fakes.FakeView, path: str) -> Any:
    """Return the decoded answer."""
    async with fakes.browsing(view) as client:
        answer = await client.get(path)
    assert "application/json" == answer.headers["content-type"]
    return answer.json()


FLEET = (
    fakes.agent("a"),
    fakes.agent("b", up=False),
    fakes.controller(),
    fakes.cluster(fakes.member("a", up=True)),
    fakes.recorder(),
    fakes.suite(),
)


async def test_a_target_has_all_its_fields() -> None:
    """A target is told whole, unknown values as null, without limit as +Inf."""
    document = await get(fakes.FakeView(fakes.agent("a", host="10.0.0.1")), "/api/v1/targets")

    assert {
        "status": "success",
        "data": {
            "targets": [
                {
                    "kind": "agent",
                    "provider": "realload",
                    "source": "prod",
                    "id": "id-a",
                    "name": "a",
                    "state": "up",
                    "reason": None,
                    "outdated": None,
                    "active": None,
                    "protected": None,
                    "host": "10.0.0.1",
                    "port": None,
                    "location": None,
                    "version": "4.8.24",
                    "minimum_version": None,
                    "clock_delta_seconds": -0.25,
                    "ping_duration_seconds": 0.012,
                    "read_timestamp_seconds": fakes.NOW.unix - 30,
                    "age_seconds": 30.0,
                    "last_up_timestamp_seconds": None,
                    "changed_timestamp_seconds": None,
                    "restored": False,
                    "labels": {"site": "bern"},
                    "managed": None,
                    "disk_free_bytes": None,
                    "busy": None,
                    "users_limit": "+Inf",
                    "job_duration_limit_seconds": None,
                    "heartbeat_timestamp_seconds": None,
                }
            ]
        },
    } == document


async def test_the_status_has_the_verdict_and_all_it_is_about() -> None:
    """Who asks once gets the headline of the board, and the rows it was judged by."""
    view = fakes.FakeView(*FLEET, sources=[fakes.source()])
    view.ready = False

    data = (await get(view, "/api/v1/status"))["data"]

    assert ["ready", "headline", "sources", "targets", "runs"] == list(data)
    assert data["ready"] is False
    assert ("bad", "The fleet is not well: 1 of 5 targets down.", True) == (
        data["headline"]["level"],
        data["headline"]["text"],
        data["headline"]["alarming"],
    )
    assert len(FLEET) == len(data["targets"])
    assert ["prod"] == [source["name"] for source in data["sources"]]


async def test_a_cluster_tells_its_members() -> None:
    """A cluster holds its members with their own states."""
    view = fakes.FakeView(fakes.cluster(fakes.member("a", up=False)))

    document = await get(view, "/api/v1/targets")

    assert [("a", "down", "not_reachable")] == [
        (member["name"], member["state"], member["reason"])
        for member in document["data"]["targets"][0]["members"]
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["b", "a", "ctl.example:8080", "alps", "rec", "nightly"]),
        ("?kind=agent", ["b", "a"]),
        ("?kind=agent&kind=suite", ["b", "a", "nightly"]),
        ("?state=down", ["b"]),
        ("?kind=agent&state=up", ["a"]),
        ("?source=prod&kind=suite", ["nightly"]),
        ("?source=other", []),
    ],
)
async def test_targets_are_filtered(query: str, expected: list[str]) -> None:
    """Values of a filter are alternatives, different filters narrow each other."""
    document = await get(fakes.FakeView(*FLEET), f"/api/v1/targets{query}")

    assert expected == [target["name"] for target in document["data"]["targets"]]


@pytest.mark.parametrize("path", ["/api/v1/targets?kind=tank", "/api/v1/sources?state=tank"])
async def test_filters_refuse_unknown_words(path: str) -> None:
    """A mistyped word is an error, not an empty list that looks like good news."""
    async with fakes.browsing(fakes.FakeView(*FLEET)) as client:
        answer = await client.get(path)

    document = answer.json()
    assert (400, "error", "bad_data") == (
        answer.status_code,
        document["status"],
        document["errorType"],
    )
    assert "must be one of" in document["error"]


async def test_a_source_has_all_its_fields() -> None:
    """A source is told whole, its URL without user-info."""
    url = "https://user:canary@portal.example/api"
    view = fakes.FakeView(sources=[fakes.source(url=url, status=fakes.failed("no reply"))])

    document = await get(view, "/api/v1/sources")

    assert [
        {
            "provider": "realload",
            "name": "prod",
            "url": "https://portal.example/api",
            "state": "up",
            "up": True,
            "auth_failed": False,
            "blocked": False,
            "vendor_slow": False,
            "standby": False,
            "tasks": [
                {
                    "name": "agents",
                    "interval_seconds": 60.0,
                    "failing": True,
                    "unread": False,
                    "up": None,
                    "last_attempt_timestamp_seconds": fakes.NOW.unix - 10,
                    "last_success_timestamp_seconds": fakes.NOW.unix - 70,
                    "last_success_age_seconds": 70.0,
                    "last_failure": {
                        "timestamp_seconds": fakes.NOW.unix - 10,
                        "age_seconds": 10.0,
                        "reason": "timeout",
                        "message": "no reply",
                    },
                    "restored": False,
                }
            ],
        }
    ] == document["data"]["sources"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", ["a", "b"]), ("?source=b", ["b"]), ("?state=down", ["b"]), ("?source=c", [])],
)
async def test_sources_are_filtered(query: str, expected: list[str]) -> None:
    """Sources are filtered like targets."""
    view = fakes.FakeView(sources=[fakes.source("a"), fakes.source("b", up=False)])

    document = await get(view, f"/api/v1/sources{query}")

    assert expected == [found["name"] for found in document["data"]["sources"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), None),
        ({"a": [1.5, float("inf")]}, {"a": [1.5, "+Inf"]}),
    ],
)
def test_no_value_outside_of_json(value: object, expected: object) -> None:
    """Infinity is told as Prometheus tells it, and no NaN leaves."""
    assert expected == plain(value)


async def test_hostile_names_stay_data() -> None:
    """A name with quotes, tags and control characters comes back as it was."""
    name = '"</script>\u202e\x00\N{PILE OF POO}\\'
    document = await get(fakes.FakeView(fakes.agent(name)), "/api/v1/targets")

    assert name == document["data"]["targets"][0]["name"]


async def test_five_thousand_targets_are_valid() -> None:
    """A large fleet is told whole."""
    view = fakes.FakeView(*(fakes.agent(f"agent-{number}") for number in range(5_000)))

    async with fakes.browsing(view) as client:
        answer = await client.get("/api/v1/targets")

    assert 5_000 == len(msgspec.json.decode(answer.content)["data"]["targets"])


async def test_an_alert_is_told_whole() -> None:
    """With its labels, its texts and since when it holds."""
    view = fakes.FakeView()
    view.found_alerts = [
        AlertView.of(alert("a", fired=300)),
        AlertView.of(alert(phase=Phase.PENDING)),
    ]

    document = await get(view, "/api/v1/alerts")

    fires, waits = document["data"]["alerts"]
    assert {
        "name": "Down",
        "severity": "critical",
        "state": "firing",
        "labels": {"alertname": "Down", "severity": "critical", "agent": "a", "source": "prod"},
        "annotations": {"summary": "Something is down."},
        "since_timestamp_seconds": START.unix,
    } == fires
    assert "pending" == waits["state"]


async def test_where_alerts_are_off_there_are_none() -> None:
    """Whoever asks gets a list in any case."""
    document = await get(fakes.FakeView(), "/api/v1/alerts")

    assert {"status": "success", "data": {"alerts": []}} == document
