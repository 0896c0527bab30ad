"""Checks of every page while the exporter's surroundings are upset."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.world import FAMILIES, INTERVAL_SECONDS, Target


if TYPE_CHECKING:
    from tests.faults.world import Source, Vendors


#: The greatest age of a healthy source's reading: two polls with their time-out, on a busy machine.
FRESH_SECONDS = 2 * INTERVAL_SECONDS + 3.0

#: The time after its recovery until a source must be as before.
SETTLED_SECONDS = 5.0

#: A delay above which a process must have stood still.
STALL_SECONDS = 0.3

#: The time for which a stall of the vendors or the exporter is felt: until the next poll, the
#: exporter rightly says that the vendors did not answer in time.
STALL_FELT_SECONDS = INTERVAL_SECONDS + FRESH_SECONDS

_LABEL = re.compile(r'(\w+)="([^"]*)"')

Series = dict[str, float]


def read(body: bytes) -> tuple[Series, list[str]]:
    """Return the series of a page, and those that occur twice."""
    series: Series = {}
    doubled = []
    for line in body.decode().splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition(" # ")[0].rpartition(" ")
            if key in series:
                doubled.append(key)
            series[key] = float(value)
    return series, doubled


class Watch:
    """Checks pages, and collects the failed checks.

    Attributes:
        wrong: The failed checks, each once.
        pages: The number of checked pages.
        missing: Targets that the newest page lacks, by source.
        stalls: The times of noticed stalls, monotonic.
    """

    def __init__(self, vendors: Vendors) -> None:
        self._vendors = vendors
        self._terms = vendors.terms
        self.wrong: dict[str, None] = {}
        self.pages = 0
        self.stalls: list[float] = []
        self.missing: dict[str, set[Target]] = {}
        self._complete: set[str] = set()

    def beside(self) -> Watch:
        """Make a watch for another exporter, with a common list of failures."""
        watch = Watch(self._vendors)
        watch.wrong, watch.stalls = self.wrong, self.stalls
        return watch

    def begin_anew(self) -> None:
        """Record that the exporter was restarted, and may know nothing."""
        self._complete.clear()

    def has_all(self, source: Source) -> bool:
        """Return whether the exporter has shown all of a source since it was started."""
        return source.name in self._complete

    def accuse(self, text: str) -> None:
        """Record a failed check."""
        self.wrong[text] = None

    def stood_still(self, at: float) -> None:
        """Record that the vendors, the exporter or this process stood still until a time."""
        self.stalls.append(at)

    def feels_stall(self, begin: float, end: float) -> bool:
        """Return whether an answer between two times may be due to a stall."""
        return any(begin - STALL_FELT_SECONDS <= at <= end for at in self.stalls)

    def look(self, status: int, body: bytes, *, asked_at: float) -> Series:
        """Check a page.

        Args:
            status: The answer's status.
            body: The answer's body, as plain text.
            asked_at: The time of the request, monotonic.

        Returns:
            The series of the page.
        """
        self.pages += 1
        if status != 200:
            self.accuse(f"a scrape was answered with {status}")
            return {}
        series, doubled = read(body)
        for key in doubled:
            self.accuse(f"there twice: {key}")
        shown = _shown(series)
        for source in self._vendors.sources.values():
            self._look_at(source, shown.get(source.name, {}), series, asked_at)
        return series

    def keeps_readings(self, source: Source, asked_at: float) -> bool:
        """Return whether a source is well, or was so lately that its readings cannot be too old."""
        if source.well_since is not None:
            return is_quiet(source)  # it has come back, and perhaps not yet with everything
        begun, _ = source.spells[-1]
        return asked_at - begun < self._terms.stale_seconds / 2

    def _look_at(
        self, source: Source, shown: dict[Target, float], series: Series, asked_at: float
    ) -> None:
        _note_recovery(source, series, asked_at)
        quiet = is_quiet(source)
        late = time.monotonic() - asked_at + FRESH_SECONDS
        machines = dict(source.machines())
        for target, value in shown.items():
            machine = machines.get(target)
            up_seconds = source.up_seconds(machine, target) if value == 0 and machine else 0.0
            if up_seconds <= late:
                continue
            heard = quiet and _polled_since(source, target, series, time.time() - up_seconds)
            stalled = self.feels_stall(asked_at, math.inf)
            if up_seconds > late + (0.0 if heard else self._terms.stale_seconds) and not (
                stalled and _has_timed_out(source, target, series)
            ):
                self.accuse(f"{source.name}: {target.id} is up and was said to be down")
        missing = self.missing[source.name] = machines.keys() - shown.keys()
        if not missing:
            self._complete.add(source.name)
        elif source.name in self._complete and self.keeps_readings(source, asked_at):
            self.accuse(f"{source.name}: missing {min(missing)} and {len(missing) - 1} more")
        ended = source.ended if source.well_since is None else None
        if ended is not None and asked_at - ended > self._terms.recovery_seconds:
            self.accuse(f"{source.name} does not recover")


def is_quiet(source: Source) -> bool:
    """Return whether a source recovered from all disturbances some time ago."""
    well = source.well_since
    return well is not None and time.monotonic() - well >= SETTLED_SECONDS


def _note_recovery(source: Source, series: Series, asked_at: float) -> None:
    """Record when all tasks were polled well since the last disturbance."""
    if source.well_since is not None or source.ended is None:
        return
    ended_unix = source.ended + time.time() - time.monotonic()
    up = max(_of(series, "loadfleet_source_up", source.name), default=0.0)
    polled = _of(series, "loadfleet_exporter_poll_last_success_timestamp_seconds", source.name)
    if up == 1 and min(polled, default=0.0) > ended_unix:
        source.recovered(asked_at)


def _polled_since(source: Source, target: Target, series: Series, came_up_unix: float) -> bool:
    """Return whether a complete poll has begun since a machine came up.

    A guard that has seen refusals may leave out some calls for a minute; targets that it does not
    ask keep their last reading until that is too old.
    """
    kind = target.family.removeprefix("loadfleet_").removesuffix("_up")
    polled = _of(
        series,
        "loadfleet_exporter_poll_last_success_timestamp_seconds",
        source.name,
        f'task="{kind}s"',
    )
    return min(polled, default=0.0) > came_up_unix + INTERVAL_SECONDS


def _has_timed_out(source: Source, target: Target, series: Series) -> bool:
    """Return whether a machine is shown as down because of a time-out."""
    failure = f"{target.family.removesuffix('_up')}_failure"
    label = dict(FAMILIES.values())[target.family]
    return 1 in _of(series, failure, source.name, f'{label}="{target.id}"', 'reason="timeout"')


#: Tasks that are polled too rarely to show a recovery.
_RARE = ('task="jobs"', 'task="versions"', 'task="templates"', 'task="certificates"')


def _of(series: Series, family: str, source: str, *labels: str) -> list[float]:
    """Return a family's samples of a source that have certain labels."""
    return [
        value
        for key, value in series.items()
        if key.startswith(f"{family}{{")
        and f'source="{source}"' in key
        and all(label in key for label in labels)
        and not any(rare in key for rare in _RARE)
    ]


def _shown(series: Series) -> dict[str, dict[Target, float]]:
    """Return the states of machines, by source."""
    labels_of = dict(FAMILIES.values())
    shown: dict[str, dict[Target, float]] = {}
    for key, value in series.items():
        family = key.partition("{")[0]
        if family in labels_of:
            labels = dict(_LABEL.findall(key))
            target = Target(family, labels[labels_of[family]])
            shown.setdefault(labels["source"], {})[target] = value
        elif family == "loadfleet_source_up":
            shown.setdefault(dict(_LABEL.findall(key))["source"], {})
    return shown


class Growth:
    """The memory and descriptors of a process over time."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._samples: list[tuple[int, int]] = []

    def sample(self) -> None:
        """Take a sample."""
        status = (self._folder / "status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        self._samples.append((resident, len(list((self._folder / "fd").iterdir()))))

    def wrong(self, *, least: int) -> list[str]:
        """Compare the end with the time after each kind of event has happened once.

        Args:
            least: The fewest samples that allow a judgement.
        """
        count = len(self._samples)
        if count < least:
            return []
        warm, last = (
            self._samples[count // 3 : count * 2 // 3],
            self._samples[-max(count // 5, 1) :],
        )
        memory, descriptors = (max(part) for part in zip(*warm, strict=True))
        memory_last, descriptors_last = (min(part) for part in zip(*last, strict=True))
        found = []
        if memory_last > memory * 1.1 + (8 << 20):
            found.append(f"memory grew from {memory >> 20} to {memory_last >> 20} MiB")
        if descriptors_last > descriptors + 4:
            found.append(f"descriptors grew from {descriptors} to {descriptors_last}")
        return found
