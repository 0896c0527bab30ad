from __future__ import annotations

import asyncio

import httpx
import pytest
import yaml

from exporter.config.address import Address
from exporter.errors import StartError
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.app import PATH
from exporter.simulator.server import Simulation, run
from exporter.simulator.vendor import Command, Fault
from tests.support.wait import until


_LISTS = frozenset({"getMeasuringAgents"})
LIST = {"authTokenValue": SimulatorOptions().token, "action": "getMeasuringAgents"}


async def test_vendors_are_served() -> None:
    """All three vendors answer on ports of their own."""
    async with Simulation() as simulation, httpx.AsyncClient() as client:
        statuses = [
            (await client.post(simulation.realload_url, json=LIST)).status_code,
            (await client.get(simulation.blazemeter_url + "/api/v4/user")).status_code,
            (await client.post(simulation.eggplant_url + "/api/sut/status")).status_code,
        ]

    assert [200, 401, 401] == statuses


async def test_ports_are_free_again() -> None:
    """After the end nothing listens any more."""
    async with Simulation() as simulation:
        url = simulation.realload_url

    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(url, json=LIST)


async def test_a_port_in_use_is_an_error() -> None:
    """A port in use must be an error that names its flag, and leave nothing running."""
    async with Simulation() as first:
        port = int(first.realload_url.removesuffix(PATH).rpartition(":")[2])

        with pytest.raises(StartError) as caught:
            await Simulation(SimulatorOptions(eggplant_port=port)).__aenter__()

    assert (
        f"cannot listen on 127.0.0.1:{port}: the port is in use;"
        " stop the program that uses it or give another --eggplant-port"
    ) == str(caught.value)


@pytest.mark.parametrize("host", ["nohost.invalid", "no..host", "192.0.2.1", "2001:db8::1"])
async def test_an_address_of_elsewhere_is_an_error(host: str) -> None:
    """A foreign or unknown address must be an error without a traceback."""
    with pytest.raises(StartError) as caught:
        await Simulation(SimulatorOptions(host=host)).__aenter__()

    assert str(caught.value).startswith(f"cannot listen on {Address(host, 0)}: ")
    assert str(caught.value).endswith("; give another --host")
    assert "nknown error" not in str(caught.value)


async def test_an_address_of_ipv6_stands_in_brackets() -> None:
    """The URLs in the configuration must be URLs."""
    try:
        async with Simulation(SimulatorOptions(host="::1")) as simulation:
            urls = simulation.base_urls
    except StartError:
        pytest.skip("this machine has no IPv6")

    assert ["http://[::1]"] * 3 == [url.rpartition(":")[0] for url in urls]


@pytest.mark.parametrize(
    ("delay_seconds", "interval_seconds", "expected"), [(0, 60, 3), (0.25, 60, 9), (0.25, 30, 17)]
)
def test_a_round_takes_half_the_interval_at_most(
    delay_seconds: float, interval_seconds: float, expected: int
) -> None:
    """The printed configuration must keep up with the fleet it is printed for."""
    simulation = Simulation(SimulatorOptions(agents=1000, delay_seconds=delay_seconds))

    source, *_ = simulation.configuration(interval_seconds=interval_seconds)["sources"]

    assert expected == source["concurrency"]


async def test_connections_are_dropped() -> None:
    """The fault `drop` ends the connection without a byte."""
    async with Simulation() as simulation, httpx.AsyncClient() as client:
        simulation.realload.obey(Command(fault=Fault.DROP))

        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(simulation.realload_url, json=LIST)


async def test_hanging_calls_do_not_hold_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A simulation stops at once and silently, though callers are still waiting for an answer."""
    async with httpx.AsyncClient() as client:
        async with Simulation(SimulatorOptions(delay_seconds=600)) as simulation:
            simulation.realload.obey(Command(fault=Fault.HANG, fault_on=_LISTS))
            ping = LIST | {"action": "pingMeasuringAgent", "agentId": 41}
            calls = [
                asyncio.create_task(client.post(simulation.realload_url, json=body))
                for body in (LIST, ping)
            ]
            await until(lambda: len(calls) == simulation.realload.calls.total())

        results = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(result, httpx.TransportError) for result in results)
    assert [] == caplog.records


async def test_run_announces_a_configuration() -> None:
    """The output of `simulate` is a configuration file with one source per vendor."""
    lines: list[str] = []
    stop = asyncio.Event()
    stop.set()

    await run(SimulatorOptions(), announce=lines.append, stop=stop)

    sources = yaml.safe_load("\n".join(lines))["sources"]
    assert ["realload", "blazemeter", "eggplant"] == [source["provider"] for source in sources]
