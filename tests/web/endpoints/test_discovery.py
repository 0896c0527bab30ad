from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from exporter.fleet.readings import Controller
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.fleet.readings import Reading
    from exporter.fleet.store import Snapshot
    from exporter.overview.picture import Picture


class View(fakes.FakeView):
    """A view with as many snapshots as a test needs; every source watches agents."""

    def __init__(self, *readings: Reading, task: str = "agents", known: bool = True) -> None:
        super().__init__(*readings, sources=[fakes.source()])
        self.snapshot = msgspec.structs.replace(self.snapshot, task=task)
        self.known = [self.snapshot] if known else []

    def snapshots(self) -> Iterable[Snapshot]:
        """Return what is known."""
        return self.known


async def groups(view: fakes.FakeView, path: str = "/sd/agents") -> list[dict[str, Any]]:
    """Return the groups that Prometheus would get."""
    async with fakes.browsing(view) as client:
        answer = await client.get(path)
    assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
    found: list[dict[str, Any]] = json.loads(answer.content)
    return found


async def status(view: fakes.FakeView, path: str) -> int:
    async with fakes.browsing(view) as client:
        return (await client.get(path)).status_code


async def test_lists_hosts_with_what_is_known_of_them() -> None:
    """Each host is a target at the wanted port, with labels to choose and rename by."""
    agent = fakes.agent(host="a1.example", port="8080", location="Bern", active=True)

    found = await groups(View(agent), "/sd/agents?port=9100")

    assert [
        {
            "targets": ["a1.example:9100"],
            "labels": {
                "__meta_loadfleet_provider": "realload",
                "__meta_loadfleet_source": "prod",
                "__meta_loadfleet_kind": "agent",
                "__meta_loadfleet_id": "id-agent-1",
                "__meta_loadfleet_name": "agent-1",
                "__meta_loadfleet_active": "true",
                "__meta_loadfleet_host": "a1.example",
                "__meta_loadfleet_port": "8080",
                "__meta_loadfleet_location": "Bern",
                "__meta_loadfleet_version": "4.8.24",
                "__meta_loadfleet_label_site": "bern",
            },
        }
    ] == found


@pytest.mark.parametrize(
    ("host", "port", "query", "target"),
    [
        ("a.example", "8080", "", "a.example:8080"),
        ("a.example", "", "", "a.example"),
        ("2001:db8::7", "8080", "?port=9100", "[2001:db8::7]:9100"),
        ("[2001:db8::7]", "", "?port=9100", "[2001:db8::7]:9100"),
    ],
)
async def test_writes_addresses_as_prometheus_reads_them(
    host: str, port: str, query: str, target: str
) -> None:
    """The agent's own port stands where none is wanted; IPv6 goes in brackets."""
    found = await groups(View(fakes.agent(host=host, port=port)), f"/sd/agents{query}")

    assert [target] == found[0]["targets"]


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a\nb"])
async def test_leaves_out_what_has_no_usable_host(host: str) -> None:
    """A target without a usable host must be left out, and the others be listed."""
    good = fakes.agent("good", host="good.example")

    found = await groups(View(fakes.agent("odd", host=host), good))

    assert [["good.example"]] == [group["targets"] for group in found]


@pytest.mark.parametrize(
    ("path", "kind", "reading"),
    [
        ("controllers", "controller", Controller(controller="c:1", host="c", port="1")),
        ("recorders", "recorder", fakes.recorder()),
    ],
)
async def test_lists_controllers_and_recorders(path: str, kind: str, reading: Reading) -> None:
    """All machines of the fleet can be discovered, not only agents."""
    view = View(reading, task=path)
    (source,) = view.source_rows
    tasks = (msgspec.structs.replace(source.tasks[0], name=path),)
    view.source_rows = [msgspec.structs.replace(source, tasks=tasks)]

    (found,) = await groups(view, f"/sd/{path}")

    assert kind == found["labels"]["__meta_loadfleet_kind"]


async def test_an_empty_inventory_is_an_empty_list() -> None:
    """A source without targets must be an empty list, so that Prometheus forgets them."""
    assert [] == await groups(View())


async def test_an_unknown_inventory_is_no_empty_list() -> None:
    """While nothing is known, Prometheus must keep what it has."""
    view = View(known=False)

    assert 503 == await status(view, "/sd/agents")


async def test_a_broken_source_hides_no_other() -> None:
    """A broken source must not hide the others, and be an error only if asked for by name."""
    view = View(fakes.agent(host="a.example"))
    view.source_rows = [fakes.source(), fakes.source("broken")]

    found = await groups(view)
    named = [
        await status(view, f"/sd/agents?source={name}")
        for name in ("prod", "broken", "prod&source=broken", "nobody")
    ]

    assert [["a.example"]] == [group["targets"] for group in found]
    assert [200, 503, 503, 404] == named


async def test_nobody_watching_is_an_empty_list() -> None:
    """A kind that no source watches has no hosts, and that is known."""
    assert [] == await groups(View(), "/sd/recorders")


@pytest.mark.parametrize(
    "port",
    [
        *("0", "65536", "http", "-1", "9100,", "9" * 100, "\u0669", "\uff19\uff11"),
        *("0000019999999999", "09100", "00001", "9100%0A", "9100%00", "%209100", "%2B9100", "9_1"),
        *("0x50", "1e3", "80.0", "\u00b2", "\u2460", "80&port=x", "0&port=80"),
    ],
)
async def test_refuses_what_is_no_port(port: str) -> None:
    """A port that is none must be refused."""
    assert 400 == await status(View(), f"/sd/agents?port={port}")


@pytest.mark.parametrize("port", ["1", "80", "9100", "65535"])
async def test_takes_every_port(port: str) -> None:
    """The first and the last port are ports."""
    found = await groups(View(fakes.agent(host="a.example")), f"/sd/agents?port={port}")

    assert [f"a.example:{port}"] == found[0]["targets"]


async def test_text_that_cannot_be_sent_breaks_nothing() -> None:
    """A lone surrogate out of a vendor's reply must not cost the whole list."""
    found = await groups(View(fakes.agent("\ud800", host="a.example")))

    assert "?" == found[0]["labels"]["__meta_loadfleet_name"]


async def test_judges_nothing() -> None:
    """Service discovery must make no picture."""

    class Blind(View):
        async def picture(self) -> Picture:
            raise AssertionError

    assert 1 == len(await groups(Blind(fakes.agent(host="a1.example", port="8080"))))
