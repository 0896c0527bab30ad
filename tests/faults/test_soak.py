"""The short form of `python -m tests.faults.soak`, and its judge with series that leak."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.faults.flat import SHORT, WARM_UP_SECONDS, Sample, judge, slope, weighed
from tests.faults.soak import Plan, run
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path


UPSETS = {
    *("restart", "pause", "lab_secret", "certificate", "reload"),
    *("guest_comes", "guest_goes", "mistake", "web_mistake"),
}

#: The hourly variation of the memory of a daemon that does not leak, bytes.
NOISE = (0, 410_000, -300_000, 150_000, 620_000, -90_000, 30_000, -510_000)

MIB = 1 << 20


def series(hours: int = 8, **hourly: float) -> list[Sample]:
    """Return samples of some hours, with the given growth of resources per hour."""
    found = []
    for hour in range(hours):
        for agents in (2_000, 4_000):
            facts: dict[str, Any] = {
                "anonymous": 180 * MIB + agents * 8_000 + NOISE[hour % len(NOISE)],
                "resident": 210 * MIB + agents * 8_000 + NOISE[hour % len(NOISE)],
                "descriptors": 24 + hour % 2,
                "threads": 10,
                "page": agents * 1_800,
                "series": agents * 14,
                "keys": 20,
                "state": agents * 60,
                "history": hour * 20_000 * 250,
                "written": hour * 20_000,
                "log": hour * 900_000,
                "cpu": hour * 50.0,
                "calls": hour * 100_000,
            }
            for name, growth in hourly.items():
                facts[name] += type(facts[name])(growth * hour)
            found.append(Sample(hour=hour, age=WARM_UP_SECONDS + hour, agents=agents, **facts))
    return found


class TestJudge:
    """`judge` finds what grows from hour to hour, and nothing else."""

    def test_what_is_flat_is_not_accused(self) -> None:
        """Neither the usual variation nor the fleet's size may count as a leak."""
        assert [] == judge(series())
        assert [] == judge(series(24))

    @pytest.mark.parametrize("hours", [12, 24])
    @pytest.mark.parametrize(
        ("name", "hourly"),
        [
            ("anonymous", 20_000 * 100),
            ("resident", 20_000 * 100),
            ("descriptors", 4),
            ("threads", 1),
            ("page", 4_000 * 18),
            ("series", 560),
            ("keys", 1),
            ("state", 20_000 * 10),
        ],
    )
    def test_a_leak_is_found(self, hours: int, name: str, hourly: float) -> None:
        """Small leaks must be found: 100 bytes per agent, or a descriptor, thread or document."""
        found = judge(series(hours, **{name: hourly}))

        assert {name} == {text.split()[3] for text in found}
        assert 2 == len(found)

    def test_one_hour_says_nothing(self) -> None:
        """Memory or threads that grow for one hour only must not count as a leak."""
        samples = series()
        samples[8] = msgspec.structs.replace(samples[8], anonymous=400 * MIB, threads=50)

        assert [] == judge(samples)

    def test_the_first_hour_says_nothing(self) -> None:
        """Growth in the first hour must not count."""
        samples = series(4)
        samples[:2] = [msgspec.structs.replace(each, anonymous=MIB, keys=1) for each in samples[:2]]

        assert [] == judge(samples)

    def test_neither_do_the_first_minutes(self) -> None:
        """Samples of the first quarter of an hour must not count, however many hours pass in it."""
        samples = [
            msgspec.structs.replace(each, age=WARM_UP_SECONDS / 10 * each.hour)
            for each in series(13, threads=1)
        ]

        assert [] == judge(samples[:-2])
        assert [] != judge(samples, SHORT)

    def test_few_hours_say_nothing(self) -> None:
        """Too few hours must not count: two points are always on a line."""
        assert [] == judge(series(3, threads=50))

    def test_the_history_may_grow_by_what_it_is_told(self) -> None:
        """The history may grow by the documented bytes per target, and no more."""
        assert ["history"] * 2 == [text.split()[4] for text in judge(series(history=20_000 * 600))]

    def test_the_log_of_an_hour_stays_as_long(self) -> None:
        """A log that grows from hour to hour must be reported."""
        samples = [
            msgspec.structs.replace(each, log=900_000 * each.hour**2 // 4) for each in series()
        ]

        assert all("the log of an hour grew" in text for text in judge(samples))
        assert 2 == len(judge(samples))

    def test_an_hour_takes_as_much_work(self) -> None:
        """Processor time that grows from hour to hour must be reported."""
        samples = [msgspec.structs.replace(each, cpu=5.0 * each.hour**2) for each in series()]

        assert 2 == len(judge(samples))

    def test_the_slope_is_that_of_most(self) -> None:
        """The slope must not depend on outliers."""
        points = [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 700.0), (4.0, 9.0), (5.0, 11.0)]

        assert slope(points) == pytest.approx(2.0)


class TestWeighed:
    """`weighed` sees what a process holds."""

    def test_a_descriptor_and_a_thread(self) -> None:
        """An open descriptor and a running thread must count."""
        before, done = weighed(os.getpid(), ()), threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        descriptor = os.open(os.devnull, os.O_RDONLY)

        after = weighed(os.getpid(), ())

        os.close(descriptor)
        done.set()
        thread.join()
        assert 1 == after.descriptors - before.descriptors
        assert 1 == after.threads - before.threads

    def test_a_connection_to_a_vendor(self) -> None:
        """A connection must count when the vendor has closed it, or when it goes elsewhere."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            before = weighed(os.getpid(), (port,)).descriptors
            with socket.create_connection(("127.0.0.1", port)) as connection:
                accepted, _ = listener.accept()
                known = weighed(os.getpid(), (port,)).descriptors
                foreign = weighed(os.getpid(), ()).descriptors
                accepted.close()
                closed = weighed(os.getpid(), (port,)).descriptors
                assert b"" == connection.recv(1)

        # The accepted end belongs to this process as well, and counts while it is open.
        assert (before + 1, before + 2, before + 1) == (known, foreign, closed)


@pytest.mark.timeout(400)
async def test_a_few_short_hours(tmp_path: Path) -> None:
    """A soak test of few and short hours must find no leak and no fault."""
    require("redis-server")
    plan = Plan(hours=4, rate=900.0, sizes=(30, 60), steps=2, trouble_hours=2, terms=SHORT)

    report = await run(tmp_path, plan)

    assert () == report.wrong
    assert UPSETS == report.done.keys()
    assert 8 == len(report.samples)
    assert report.pages["/metrics", 200] >= 50
    assert report.told >= 2
