"""BlazeMeter tests that run repeatedly, with the phases and verdicts of their runs."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec


Verdict = Literal["pass", "fail", "unset", "error", "abort", "noData"]
VERDICTS: Final[tuple[Verdict, ...]] = ("pass", "fail", "unset", "error", "abort", "noData")
_KEPT_RUNS: Final = 20
_FIRST_MASTER: Final = 82_000_000
_VERDICT_LAG_SECONDS: Final = 20.0
_BOOT: Final = (
    (0.0, 5, "CREATE"),
    (2.0, 10, "CONFIGURING_DEPENDENCIES"),
    (4.0, 14, "PREPARING_PROVISIONING"),
    (8.0, 25, "BOOT_STARTING"),
    (20.0, 50, "INIT_SCRIPT"),
    (30.0, 71, "TAURUS_ENGINE_INIT"),
    (34.0, 90, "TAURUS_ENGINE_READY"),
)
_DATA_SECONDS: Final = 40.0
_TEARDOWN: Final = (
    (0.0, 130, "TERMINATING"),
    (9.0, 135, "TAURUS_BZT_DONE"),
    (14.0, 136, "TAURUS_IMAGE_DONE"),
    (15.0, 140, "ENDED"),
)


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of a run.

    Attributes:
        at: The moment when the phase begins.
        code, name: The vendor's code and name.
    """

    at: float
    code: int
    name: str


class LoadTest(msgspec.Struct, kw_only=True):
    """A test with a schedule.

    Attributes:
        verdicts: The verdicts of its runs, which are used in turn.
        told_by: The field with the verdict `pass` or `fail`.
        renamed: Whether the names of its runs have the run's number instead of the date.
        multi: Whether it is a multi-test; its runs do not refer to it.
        named_by: A field in which runs refer to their multi-test nevertheless; the vendor does not
            document whether such a field exists.
        engines: The number of sessions of each run.
        servers, missing_servers: The number of planned engines of each session, and of those that
            never appear.
        exit_code: The exit code of the first session's engine in runs that pass or fail.
        waits_seconds: Time during which ready engines wait for a manual start of the load.
        kpis: Whether the summary of a run has numbers.
        hold_seconds: Duration of the load of each run.
        history: The number of runs that began before the world's beginning.
        latest_seconds: Time from the start of the latest of these runs to the world's beginning.
        forbidden: Whether the API key has no access to its runs.
    """

    test_id: int
    name: str
    workspace_id: int
    verdicts: list[Verdict] = msgspec.field(default_factory=lambda: ["pass"])
    told_by: Literal["reportStatus", "passed", "functionalSummary"] = "reportStatus"
    renamed: bool = False
    multi: bool = False
    named_by: Literal["", "collectionId", "testCollectionId"] = ""
    engines: int = 1
    servers: int = 1
    missing_servers: int = 0
    exit_code: int = 0
    waits_seconds: float = 0.0
    kpis: bool = True
    period_seconds: float = 400.0
    hold_seconds: float = 120.0
    history: int = 12
    latest_seconds: float = 0.0
    users: int = 50
    forbidden: bool = False

    def runs(self, moment: float) -> list[Run]:
        """Return the newest runs that have begun, oldest first."""
        first = -self.latest_seconds - (self.history - 1) * self.period_seconds
        begun = math.floor((moment - first) / self.period_seconds) + 1
        oldest = max(1, begun - _KEPT_RUNS + 1)
        return [
            Run(
                master_id=_FIRST_MASTER + 1000 * number + self.test_id % 1000,
                number=number,
                test=self,
                started=first + (number - 1) * self.period_seconds,
            )
            for number in range(oldest, begun + 1)
        ]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a test; the vendor calls it a master."""

    master_id: int
    number: int
    test: LoadTest
    started: float

    @property
    def result(self) -> Verdict:
        """The final verdict."""
        return self.test.verdicts[(self.number - 1) % len(self.test.verdicts)]

    @property
    def data_from(self) -> float:
        """The moment when the load begins, unless the run ends before."""
        return self.started + _DATA_SECONDS + self.test.waits_seconds

    def phases(self, engine: int = 0) -> list[Phase]:
        """Return all phases of one engine. Each engine is two seconds later than the previous."""
        boot = list(_BOOT)
        data = self.data_from - self.started
        stop = data + self.test.hold_seconds
        if self.result == "abort":  # stopped during the boot
            boot, stop = boot[:5], boot[4][0] + 5
        elif self.result in ("error", "noData"):
            stop = data
        else:
            boot.append((data, 100, "DATA_RECEIVED"))
        steps = boot + [(stop + at, code, name) for at, code, name in _TEARDOWN]
        late = self.started + 2.0 * engine
        return [Phase(at=late + at, code=code, name=name) for at, code, name in steps]

    def phase(self, moment: float, engine: int = 0) -> Phase:
        """Return the phase of an engine at a moment."""
        phases = self.phases(engine)
        return [phases[0], *(phase for phase in phases if phase.at <= moment)][-1]

    def least_phase(self, moment: float) -> Phase:
        """Return the phase of the slowest engine, which is also the run's phase."""
        engines = range(self.test.engines)
        return min((self.phase(moment, e) for e in engines), key=lambda phase: phase.code)

    def ended(self, moment: float) -> float | None:
        """Return the moment when the run ended, `None` while it is in flight."""
        end = self.phases(self.test.engines - 1)[-1].at
        return end if end <= moment else None

    def verdict(self, moment: float) -> Verdict | None:
        """Return `None` while the run is in flight, then at first `unset`, then the verdict."""
        end = self.ended(moment)
        if end is None:
            return None
        return "unset" if moment < end + _VERDICT_LAG_SECONDS else self.result

    def waits(self, moment: float) -> bool:
        """Return whether the engines are ready and wait for a manual start of the load."""
        ready = self.least_phase(moment).code == 90
        return ready and self.test.waits_seconds > 0 and moment < self.data_from

    @property
    def has_data(self) -> bool:
        """True if the run produces data until its end."""
        return self.result not in ("error", "abort", "noData")

    def session_id(self, engine: int) -> str:
        """Return the id of one engine's session."""
        return f"r-v4-{self.master_id:x}{engine:02x}"
