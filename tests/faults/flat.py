"""Hourly samples of a process's resources and its state, and the judgement of their growth."""

from __future__ import annotations

import os
import statistics
from contextlib import suppress
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence


#: Samples of the first 15 real minutes are left out: things kept for a fixed time, such as the ends
#: of alerts and ended runs, still increase in them.
WARM_UP_SECONDS = 900.0

#: Samples of the first hours are left out too, while caches and pools fill.
WARM_UP_HOURS = 1

#: The fewest hours after the warm-up that show a slope.
LEAST_HOURS = 3

_ESTABLISHED = "01"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The resources found at one moment of an hour.

    Attributes:
        hour: The number of the hour, from 0.
        age: Real seconds since the daemon was started.
        agents: The size of the fleet.
        anonymous: Memory without mapped files, bytes.
        resident: All memory, bytes.
        descriptors: Open ones, without the connections to the vendors.
        threads: The process's threads.
        page: The length of `/metrics`, bytes.
        series: The number of series on `/metrics`.
        keys: Documents in the state.
        state: Their size, bytes.
        history: The size of the history's file, with its journal, bytes.
        written: The number of new targets so far.
        log: The size of the log so far, bytes.
        cpu: Seconds of processor time so far.
        calls: The number of calls that the vendors have answered.
    """

    hour: int
    age: float
    agents: int
    anonymous: int
    resident: int
    descriptors: int
    threads: int
    page: int
    series: int
    keys: int
    state: int
    history: int
    written: int
    log: int
    cpu: float
    calls: int


class Bound(NamedTuple):
    """A bound on a resource's growth over a run.

    Attributes:
        once: Growth in all, however long the run, for the variation of the samples.
        hourly: Further growth in each hour.
        share: Further growth in all, as a share of the median.
    """

    once: float = 0.0
    hourly: float = 0.0
    share: float = 0.0


#: The bounds of growth. A leak of 100 bytes for each of 20,000 new agents an hour would be 2 MB.
BOUNDS: dict[str, Bound] = {
    "anonymous": Bound(once=3 << 20, hourly=256 << 10, share=0.02),
    "resident": Bound(once=4 << 20, hourly=256 << 10, share=0.02),
    "descriptors": Bound(once=2.5),
    "threads": Bound(once=1.5),
    "page": Bound(share=0.02),
    "series": Bound(share=0.02),
    "keys": Bound(once=2.5),
    "state": Bound(once=256 << 10, share=0.1),
}

#: The most bytes that the history keeps of a target that comes and goes: two or three transitions
#: and one or two hours, with their index entries.
HISTORY_BYTES = 600.0

#: The growth allowed over a run: of an hour's log, and of the processor time for a call.
LOG_SHARE, CPU_SHARE = 0.5, 0.3


class Terms(NamedTuple):
    """The terms by which a run is judged.

    Attributes:
        warm_up_seconds: The first real seconds, whose samples are left out.
        bounds: The bounds of growth, by the name of the resource.
    """

    warm_up_seconds: float = WARM_UP_SECONDS
    bounds: Mapping[str, Bound] = BOUNDS


LONG = Terms()

#: Coarse terms for a run that ends within the warm-up.
SHORT = Terms(
    warm_up_seconds=0.0,
    bounds={
        **BOUNDS,
        "anonymous": Bound(once=64 << 20),
        "resident": Bound(once=64 << 20),
        "page": Bound(share=0.25),
        "series": Bound(share=0.25),
        "state": Bound(once=1 << 20),
    },
)


def judge(samples: Sequence[Sample], terms: Terms = LONG) -> list[str]:
    """Compare samples of equal fleets with each other.

    Args:
        samples: In the order of time.
        terms: The bounds and the warm-up.

    Returns:
        The resources that grow, in words; none if there are too few samples.
    """
    found = []
    for agents in sorted({each.agents for each in samples}):
        alike = [each for each in samples if each.agents == agents]
        settled = [
            each
            for each in alike
            if each.hour >= WARM_UP_HOURS and each.age >= terms.warm_up_seconds
        ]
        if len(settled) >= LEAST_HOURS:
            found += [f"with {agents} agents {text}" for text in _grown(settled, terms.bounds)]
    return found


def slope(values: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes between all pairs of points, which outliers do not move.

    Args:
        values: Points with different first coordinates.
    """
    return statistics.median((v - u) / (y - x) for (x, u), (y, v) in combinations(values, 2))


def _grown(samples: Sequence[Sample], bounds: Mapping[str, Bound]) -> Iterator[str]:
    hours = samples[-1].hour - samples[0].hour
    for name, bound in bounds.items():
        values = [float(getattr(each, name)) for each in samples]
        growth = hours * slope([(float(each.hour), float(getattr(each, name))) for each in samples])
        allowed = bound.once + bound.hourly * hours + bound.share * statistics.median(values)
        if growth > allowed:
            yield f"{name} grew by {growth:,.0f} in {hours} hours, {allowed:,.0f} are allowed"
    came = samples[-1].written - samples[0].written
    grown = samples[-1].history - samples[0].history
    if grown > came * HISTORY_BYTES + (1 << 20):
        yield f"the history grew by {grown:,} bytes for {came:,} targets"
    log = [(float(new.hour), float(new.log - old.log)) for old, new in pairwise(samples)]
    work = [(float(new.hour), _work(old, new)) for old, new in pairwise(samples)]
    of_hours = (("the log", log, LOG_SHARE), ("the CPU per call", work, CPU_SHARE))
    for name, hourly, share in of_hours:
        if len(hourly) >= LEAST_HOURS:
            growth = (hourly[-1][0] - hourly[0][0]) * slope(hourly)
            middle = statistics.median(value for _, value in hourly)
            if growth > share * middle:
                yield f"{name} of an hour grew by {growth / middle:.0%} in {hours} hours"


def _work(old: Sample, new: Sample) -> float:
    return (new.cpu - old.cpu) / max(1, new.calls - old.calls)


class Weight(NamedTuple):
    """The resources of a process at one moment; see `Sample`."""

    anonymous: int
    resident: int
    descriptors: int
    threads: int


def weighed(pid: int, vendors: Collection[int]) -> Weight:
    """Return the resources of a process.

    Args:
        pid: Its id.
        vendors: Ports of the vendors. Open connections to them do not count as descriptors, since
            they come and go with the polls; connections closed by the other end do.
    """
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    busy = _connected(pid, vendors)
    descriptors = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            descriptors += str(entry.readlink()) not in busy
    return Weight(
        anonymous=_kilobytes(status["RssAnon"]),
        resident=_kilobytes(status["VmRSS"]),
        descriptors=descriptors,
        threads=int(status["Threads"]),
    )


def typical(weights: Sequence[Weight]) -> Weight:
    """Return the median memory of several samples, and the minimum of the other resources."""
    memory, resident, descriptors, threads = zip(*weights, strict=True)
    return Weight(
        anonymous=int(statistics.median(memory)),
        resident=int(statistics.median(resident)),
        descriptors=min(descriptors),
        threads=min(threads),
    )


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _connected(pid: int, ports: Collection[int]) -> set[str]:
    """Return the sockets of open connections to certain ports of this machine."""
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _ESTABLISHED and int(fields[2].partition(":")[2], 16) in ports:
            found.add(f"socket:[{fields[9]}]")
    return found
