"""A simulated day in which everything is replaced again and again, and the resources in its end.

    python -m tests.faults.soak [--hours 24] [--rate 20] [--seed S] [--disk] [--program MODULE]

Each hour, a fleet of 2,000 agents grows to 4,000 by new agents and shrinks again; suites, runs and
lab agents come and go, the configuration is reloaded, secrets and the certificate are replaced, and
Redis is restarted or does not answer. Twice an hour, at equal fleets, the daemon's resources are
sampled; see `flat` for their judgement, and the README here for the length of an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.simulator.server import serve
from tests.faults import flat
from tests.faults.churn import HOUR_SECONDS, World
from tests.faults.receiver import Receiver
from tests.faults.upsets import Upsets
from tests.faults.visitors import Visitors
from tests.support.processes import free_port, running
from tests.support.redis import RedisServer
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.processes import Process


#: Texts in the log that mean an unforeseen error.
_SIGNS = ("Traceback", "_crashed")

#: The interval of samples of the daemon's resources, and their time in shortest intervals.
_LOOK_SECONDS, _LOOKED_INTERVALS = 0.1, 4


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The extent of a soak test.

    Attributes:
        hours: The number of simulated hours.
        rate: Simulated hours per real hour.
        sizes: The smaller and the larger size of the fleet.
        steps: The steps from one size to the other.
        trouble_hours: One of so many hours has trouble with Redis, after which the exporter makes
            one call at a time for two real minutes.
        seed: The seed of all randomness.
        disk: Whether the state is on the disk, or on a Redis that is disturbed.
        program: The module that is run as the exporter.
        terms: The terms of the judgement.
    """

    hours: int = 24
    rate: float = 20.0
    sizes: tuple[int, int] = (2_000, 4_000)
    steps: int = 6
    trouble_hours: int = 3
    seed: int = 1
    disk: bool = False
    program: str = "exporter"
    terms: flat.Terms = flat.LONG


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a soak test.

    Attributes:
        wrong: The failed checks, in words.
        samples: The samples, two for each hour.
        done: The number of events of each kind.
        pages: The number of answers by path and status.
        told: The number of notifications.
    """

    wrong: tuple[str, ...]
    samples: tuple[flat.Sample, ...]
    done: dict[str, int]
    pages: dict[tuple[str, int], int]
    told: int


async def run(folder: Path, plan: Plan, *, say: Callable[[str], object] = lambda _: None) -> Report:
    """Run it.

    Args:
        folder: The folder of configuration, secrets, state and logs.
        plan: The extent.
        say: Called with a line for each sample.
    """
    async with AsyncExitStack() as stack:
        store = None
        if not plan.disk:
            store = RedisServer("redis-server", folder / "redis", "--appendonly", "yes")
            stack.callback(store.stop)
            await store.begin()
        state = {"url": store.url()} if store else {"path": str(folder / "state")}
        chance = Random(plan.seed)  # noqa: S311 - repeatable, not secret
        world = World(folder, rate=plan.rate, chance=chance, state=state)
        receiver = Receiver()
        await stack.enter_async_context(world.simulation)
        world.begin(await stack.enter_async_context(serve(receiver.app())))
        world.step(plan.sizes[0])
        port = free_port()
        command = (sys.executable, "-m", plan.program, f"--config.file={world.file}")
        web = (f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={world.web}")
        process = await stack.enter_async_context(
            running(*command, *web, folder=folder, name="daemon")
        )
        soak = Soak(
            plan,
            folder=folder,
            world=world,
            process=process,
            visitors=Visitors(world, port),
            store=store,
        )
        await soak.live(say)
        wrong = [*soak.wrong(), *await _ended(process)]
        return Report(
            wrong=tuple(wrong),
            samples=tuple(soak.samples),
            done=soak.done,
            pages=soak.visitors.answers,
            told=len(receiver.pages),
        )


class Soak:
    """A soak test that runs.

    Attributes:
        samples: The samples so far.
        done: The number of events of each kind.
        visitors: The visitors of the exporter.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        folder: Path,
        world: World,
        process: Process,
        visitors: Visitors,
        store: RedisServer | None,
    ) -> None:
        self.samples: list[flat.Sample] = []
        self.done: dict[str, int] = {}
        self.visitors = visitors
        self._plan = plan
        self._begun = time.monotonic()
        self._folder = folder
        self._world = world
        self._process = process
        self._store = store
        self._upsets = Upsets(
            world, process=process, visitors=visitors, store=store, trouble_hours=plan.trouble_hours
        )
        urls = (*world.simulation.base_urls, world.receiver)
        self._vendors = {int(url.rpartition(":")[2]) for url in urls}

    async def live(self, say: Callable[[str], object]) -> None:
        """Let the hours pass."""
        await self._started()
        visits = (self.visitors.scrape(), self.visitors.look(), self.visitors.leave())
        background = [asyncio.create_task(each) for each in visits]
        try:
            await self.visitors.whole()
            for hour in range(self._plan.hours):
                await self._pass(hour, say)
                for task in background:
                    if task.done():
                        task.result()
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    def wrong(self) -> list[str]:
        """Return the failed checks."""
        found = [*self.visitors.wrong, *flat.judge(self.samples, self._plan.terms)]
        simulation = self._world.simulation
        for portal in (simulation.realload, simulation.blazemeter, simulation.eggplant):
            if portal.blocked_calls:
                found.append("a vendor has locked us out")
            if portal.violations:
                found.append(f"we asked for {portal.violations[0]}")
        return found

    async def _started(self) -> None:
        async def answers() -> bool:
            assert not self._process.ended, self._process.errors
            try:
                return (await self.visitors.get("/-/healthy")).status == 200
            except OSError:
                return False

        await until(answers)

    async def _pass(self, hour: int, say: Callable[[str], object]) -> None:
        """Let an hour pass, in whose steps a part of the fleet is replaced and an event happens.

        A step ends after its time, once its whole fleet was shown: a target that was never polled
        cannot leak.
        """
        world, (small, large), steps = self._world, self._plan.sizes, self._plan.steps
        upsets = self._upsets.hourly(hour)
        pause = world.seconds(HOUR_SECONDS) / (2 * steps)
        for step in range(2 * steps):
            due = time.monotonic() + pause
            size = small + (large - small) * (steps - abs(steps - step - 1)) // steps
            world.step(size)
            first, last = (len(upsets) * each // (2 * steps) for each in (step, step + 1))
            for upset in upsets[first:last]:
                self.done[upset.__name__] = self.done.get(upset.__name__, 0) + 1
                await upset()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            page = await self.visitors.whole()
            if size in self._plan.sizes:
                self.samples.append(await self._sample(hour, size, page))
                say(" ".join(str(value) for value in msgspec.structs.astuple(self.samples[-1])))
        world.turn_over()

    async def _sample(self, hour: int, size: int, page: str) -> flat.Sample:
        """Take a sample while the page shows exactly the fleet."""
        world, pid = self._world, self._process.process.pid
        weights = []
        end = time.monotonic() + _LOOKED_INTERVALS * world.shortest_seconds
        while time.monotonic() < end:
            weights.append(flat.weighed(pid, self._vendors))
            await asyncio.sleep(_LOOK_SECONDS)
        weight = flat.typical(weights)
        keys, state = self._state()
        return flat.Sample(
            hour=hour,
            age=round(time.monotonic() - self._begun),
            agents=size,
            **weight._asdict(),
            page=len(page),
            series=sum(not line.startswith("#") for line in page.splitlines()),
            keys=keys,
            state=state,
            history=_size(self._folder / "history"),
            written=world.came,
            log=_size(self._folder, "daemon.*"),
            cpu=flat.processor_seconds(pid),
            calls=world.calls(),
        )

    def _state(self) -> tuple[int, int]:
        """Return the number of the store's documents, or files on disk, and their bytes."""
        if self._store is None:
            folder = self._folder / "state"
            return len(list(folder.iterdir())), _size(folder)
        keys = self._store.command("KEYS", "*")
        return len(keys), sum(self._store.command("MEMORY", "USAGE", key) or 0 for key in keys)


async def _ended(process: Process) -> list[str]:
    """Stop the daemon, and check its log."""
    if process.ended:
        return ["the exporter ended by itself"]
    code = await process.stop()
    found = [f"the log has: {sign}" for sign in _SIGNS if sign in process.errors]
    return [*found, *([f"the exporter ended with {code}"] if code else [])]


def _size(folder: Path, pattern: str = "*") -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    plan = Plan()
    parser.add_argument("--hours", type=int, default=plan.hours)
    parser.add_argument("--rate", type=float, default=plan.rate, help="hours that pass in one")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--agents", type=int, nargs=2, default=plan.sizes, help="fewest and most")
    parser.add_argument(
        "--trouble-hours", type=int, default=plan.trouble_hours, help="how seldom Redis has trouble"
    )
    parser.add_argument(
        "--warm-up", type=float, default=flat.WARM_UP_SECONDS, help="seconds that are not judged"
    )
    parser.add_argument("--disk", action="store_true", help="the state on the disk, not on Redis")
    parser.add_argument("--program", default=plan.program, help="the module run as the exporter")
    given: Any = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    plan = Plan(
        hours=given.hours,
        rate=given.rate,
        sizes=tuple(given.agents),
        trouble_hours=given.trouble_hours,
        terms=flat.Terms(warm_up_seconds=given.warm_up),
        seed=given.seed,
        disk=given.disk,
        program=given.program,
    )

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    say(f"seed {plan.seed}, files in {folder}")
    say(" ".join(flat.Sample.__struct_fields__))
    report = asyncio.run(run(folder, plan, say=say))
    say("done: " + ", ".join(f"{name} {count}" for name, count in sorted(report.done.items())))
    for (path, status), count in sorted(report.pages.items()):
        say(f"{path} {status}: {count}")
    say(f"told {report.told} times")
    for text in report.wrong:
        say(f"WRONG: {text}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
