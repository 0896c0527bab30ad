from __future__ import annotations

import gc
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest
import trustme

from exporter.conformance.front import instead
from exporter.conformance.trial import Trial
from exporter.conformance.vendor import Vendor, hang, reply
from exporter.errors import ConfigurationError
from exporter.http.transport import NetworkTransport
from exporter.polling.duty import Duty
from exporter.polling.engine import Engine
from exporter.settings.load import from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command, Fault
from exporter.sources.base import Client
from tests.support.candidates import CANDIDATES
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.settings.load import Settings


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    async with Simulation(SimulatorOptions(still=True, agents=5)) as simulation:
        yield simulation


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    yield engine
    await engine.end(grace_seconds=0)


def source(simulation: Simulation, name: str, **extra: Any) -> dict[str, Any]:
    return {
        "provider": "realload",
        "name": name,
        "url": simulation.realload_url,
        "auth_token": simulation.realload_token,
        **extra,
    }


def settings(*sources: dict[str, Any]) -> Settings:
    return from_data({"sources": list(sources)})


def heavy() -> WeakSet[Any]:
    """Return what is made for each source, and holds much: readings, certificates and metrics."""
    kinds = (Client, NetworkTransport, Duty)
    return WeakSet(each for each in gc.get_objects() if isinstance(each, kinds))


async def begun(engine: Engine, wanted: Settings) -> None:
    await engine.connect(wanted)
    engine.begin()
    await until(lambda: engine.first_polls_done)


def page(engine: Engine) -> str:
    return engine.exposition.metrics(
        accept="", accept_encoding="", names=(), sources=()
    ).body.decode()


def agents_up(engine: Engine, name: str) -> list[str]:
    return [
        line
        for line in page(engine).splitlines()
        if line.startswith("loadfleet_agent_up{") and f'source="{name}"' in line
    ]


def changed(engine: Engine) -> list[str]:
    return [line for line in page(engine).splitlines() if "_changed_timestamp_seconds{" in line]


async def test_nothing_is_shown_before_it_begins(engine: Engine, simulation: Simulation) -> None:
    """Between the start of the web server and the first poll, the exporter must not be ready."""
    await engine.connect(settings(source(simulation, "prod")))

    early = engine.first_shown, engine.first_polls_done

    assert (False, False) == early


class TestApply:
    async def test_what_stays_as_it_was_is_not_touched(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """A reload for one source must not cost another a call or a reading."""
        kept = source(simulation, "kept")
        await begun(engine, settings(kept))
        poller = engine.pollers["kept"]
        calls = simulation.realload.calls.total()

        found = await engine.apply(settings(kept))

        assert not found
        assert poller is engine.pollers["kept"]
        assert calls == simulation.realload.calls.total()

    async def test_an_added_source_is_polled_and_a_removed_one_leaves_nothing(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """A removed source must leave neither series nor counters."""
        await begun(engine, settings(source(simulation, "old")))

        await engine.apply(settings(source(simulation, "new")))
        await until(lambda: engine.first_polls_done)

        assert 4 == len(agents_up(engine, "new"))
        assert 'source="old"' not in page(engine)

    async def test_a_changed_source_keeps_its_series_until_the_first_poll(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """An edited interval must not make a gap in everybody's graphs."""
        await begun(engine, settings(source(simulation, "prod")))

        await engine.apply(settings(source(simulation, "prod", interval="2m", labels={"s": "x"})))

        series = agents_up(engine, "prod")
        assert 4 == len(series)
        assert all('s="x"' in line for line in series)

    async def test_a_changed_source_carries_over_what_it_cannot_find_out(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """After a reload, agents whose first pings fail must keep their state."""
        await begun(engine, settings(source(simulation, "prod")))
        before = agents_up(engine, "prod")
        simulation.realload.obey(
            Command(fault=Fault.BAD_GATEWAY, fault_on=frozenset({"pingMeasuringAgent"}))
        )

        await engine.apply(settings(source(simulation, "prod", retries=0)))
        assert 'loadfleet_source_up{provider="realload",source="prod"} 1.0' in page(engine)
        await until(lambda: engine.first_polls_done)

        assert 4 == len(before)
        assert before == agents_up(engine, "prod")

    async def test_a_changed_source_keeps_since_when_its_targets_are_so(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """An edited interval has neither ended nor begun an outage."""
        await begun(engine, settings(source(simulation, "prod")))
        before = changed(engine)

        await engine.apply(settings(source(simulation, "prod", interval="2m")))
        await until(lambda: engine.first_polls_done)

        assert before
        assert before == changed(engine)

    async def test_a_source_that_is_another_portal_by_now_starts_anew(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """The agents of one portal must not be shown as those of another."""
        await begun(engine, settings(source(simulation, "prod")))

        elsewhere = simulation.realload_url.replace("RemoteUserAPI", "Elsewhere")
        await engine.apply(settings(source(simulation, "prod", url=elsewhere)))

        assert [] == agents_up(engine, "prod")

    async def test_a_task_that_was_switched_off_leaves_nothing(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """A task that is switched off must leave no series."""
        await begun(engine, settings(source(simulation, "prod")))

        await engine.apply(settings(source(simulation, "prod", tasks={"recorders": "off"})))

        assert "loadfleet_recorder_up" not in page(engine)
        assert 'task="recorders"' not in page(engine)

    async def test_a_refused_token_stays_refused_over_reloads(
        self, engine: Engine, simulation: Simulation
    ) -> None:
        """A reload with the same secret must not spend another of the five tries."""
        bad = source(simulation, "prod") | {"auth_token": "wrong"}
        await begun(engine, settings(bad))
        refused = len(simulation.realload.refused)

        for seconds in range(5, 15):
            await engine.apply(settings(bad | {"timeout": f"{seconds}s"}))
            await until(lambda: engine.first_polls_done)

        assert (1, 1) == (refused, len(simulation.realload.refused))
        assert engine.pollers["prod"].source.auth_failed

    @pytest.mark.usefixtures("uncollected")
    @pytest.mark.parametrize("removed", [False, True], ids=["changed", "removed"])
    async def test_a_source_that_is_closed_is_gone(
        self, engine: Engine, simulation: Simulation, *, removed: bool
    ) -> None:
        """Until the garbage collector came, each reload would take megabytes more."""
        vendors = simulation.configuration()["sources"]
        changed = (
            [{**vendors[0], "name": "other"}]
            if removed
            else [{**each, "timeout": "7s"} for each in vendors]
        )
        others = heavy()
        await begun(engine, settings(*vendors))
        made = heavy() - others
        number = len(made)

        await engine.apply(settings(*changed))

        assert 3 * len(vendors) == number
        await until(lambda: not made)

    @pytest.mark.usefixtures("uncollected")
    @pytest.mark.parametrize(
        "source",
        [
            {"provider": "realload", "auth_token": "token"},
            {"provider": "blazemeter", "api_key_id": "a", "api_key_secret": "b", "workspaces": [1]},
            {"provider": "eggplant", "auth": {"access_token": "token"}},
        ],
        ids=lambda source: source["provider"],
    )
    async def test_a_source_that_is_closed_amid_a_poll_is_gone(
        self, engine: Engine, source: dict[str, Any]
    ) -> None:
        """A source that is closed during a poll must be freed."""
        async with Vendor(hang) as vendor:
            hanging = {**source, "url": vendor.url}
            others = heavy()
            await engine.connect(settings(hanging))
            engine.begin()
            made = heavy() - others
            await until(lambda: vendor.seen)

            await engine.apply(settings({**hanging, "timeout": "7s"}))

            await until(lambda: not made)

    async def test_a_source_that_cannot_be_made_costs_no_other_and_is_made_later(
        self, engine: Engine, simulation: Simulation, tmp_path: Path
    ) -> None:
        """A certificate that is being replaced just then must not leave the fleet unwatched."""
        authority = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(str(authority))
        first = source(simulation, "first", ca_file=str(authority), labels={"s": "x"})
        second = source(simulation, "second", labels={"s": "x"})
        await begun(engine, settings(source(simulation, "first"), source(simulation, "second")))
        wanted = settings(first, second)
        good = authority.read_bytes()
        authority.write_bytes(b"half")

        with pytest.raises(ConfigurationError):
            await engine.apply(wanted)
        assert ["second"] == list(engine.pollers)
        authority.write_bytes(good)
        found = await engine.apply(wanted)
        await until(lambda: engine.first_polls_done)

        assert (("first",), ("second",)) == (found.added, found.kept)
        assert ["first", "second"] == list(engine.pollers)
        assert 4 == len(agents_up(engine, "first"))


async def test_the_end_of_a_vendors_certificate_is_there_while_the_source_is(
    engine: Engine, tmp_path: Path
) -> None:
    """The end of a vendor's certificate must be exposed as long as the source is."""
    authority, end = trustme.CA(), datetime(2031, 2, 3, tzinfo=UTC)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=end).configure_cert(tls)
    labels = {"provider": "realload", "source": "realload"}

    def ends() -> float | None:
        name = "loadfleet_exporter_vendor_certificate_not_after_timestamp_seconds"
        return engine.telemetry.registry.get_sample_value(name, labels)

    async with Vendor(reply(status=500), tls=tls) as vendor:
        secured = {
            "provider": "realload",
            "url": vendor.url,
            "auth_token": "token",
            "ca_file": str(tmp_path / "ca.pem"),
        }
        await engine.connect(settings(secured))
        found = [ends()]
        await engine.poll_once()
        found.append(ends())
        await engine.apply(settings({**secured, "name": "other"}))
        found.append(ends())

    assert [None, end.timestamp(), None] == found


async def test_a_round_waits_twice_for_a_vendor_that_hangs(tmp_path: Path) -> None:
    """A look at a portal that hangs ends after two time-outs, however many tasks it has."""
    async with Trial({"prod": CANDIDATES[0]}, tmp_path, timeout="1s", retries=0) as trial:
        trial.only.front.treatment = instead(hang)

        await trial.engine.poll_once()

        assert 2 == trial.only.front.treated
        assert 2 < len(trial.engine.pollers["prod"].intervals)
