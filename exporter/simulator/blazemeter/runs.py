"""BlazeMeter tests that run again and again, with the steps and verdicts of their runs."""

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
    """A step of a run.

    Attributes:
        at: The moment it begins.
        code, name: As the vendor has them.
    """

    at: float
    code: int
    name: str


class LoadTest(msgspec.Struct, kw_only=True):
    """A test with a schedule.

    Attributes:
        verdicts: What its runs end with: the first run with the first and so on, by turns.
        told_by: The field that tells the verdict `pass` or `fail`.
        renamed: Whether its runs are named by a report name with their number, else by the date.
        multi: Whether it is a multi-test, whose runs do not name it.
        named_by: The field by which they name it nevertheless; which one the vendor has is not
            documented.
        engines: How many sessions each run has.
        servers, missing_servers: Engines planned for each session, and how many never come.
        exit_code: Of the first session's engine, in runs that pass or fail.
        waits_seconds: How long the engines are ready before somebody starts the load.
        kpis: Whether the summary of a run has numbers.
        hold_seconds: How long each run sends load.
        history: How many runs had begun before the world did.
        latest_seconds: How long before the beginning of the world the latest of them began.
        forbidden: Whether the key lacks the right to see its runs.
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
        """Return the runs that have begun, oldest first, without those of long ago."""
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
    """One run of a test, a master in the vendor's words."""

    master_id: int
    number: int
    test: LoadTest
    started: float

    @property
    def result(self) -> Verdict:
        """Return its verdict once that is told."""
        return self.test.verdicts[(self.number - 1) % len(self.test.verdicts)]

    @property
    def data_from(self) -> float:
        """Return when the load begins, unless the run ends before."""
        return self.started + _DATA_SECONDS + self.test.waits_seconds

    def phases(self, engine: int = 0) -> list[Phase]:
        """Return all steps of one engine; each engine is two seconds later than the one before."""
        boot = list(_BOOT)
        data = self.data_from - self.started
        stop = data + self.test.hold_seconds
        if self.result == "abort":  # stopped while it booted
            boot, stop = boot[:5], boot[4][0] + 5
        elif self.result in ("error", "noData"):
            stop = data
        else:
            boot.append((data, 100, "DATA_RECEIVED"))
        steps = boot + [(stop + at, code, name) for at, code, name in _TEARDOWN]
        late = self.started + 2.0 * engine
        return [Phase(at=late + at, code=code, name=name) for at, code, name in steps]

    def phase(self, moment: float, engine: int = 0) -> Phase:
        """Return the step an engine is in."""
        phases = self.phases(engine)
        return [phases[0], *(phase for phase in phases if phase.at <= moment)][-1]

    def least_phase(self, moment: float) -> Phase:
        """Return the step of the engine that is least far along, which is the run's."""
        engines = range(self.test.engines)
        return min((self.phase(moment, e) for e in engines), key=lambda phase: phase.code)

    def ended(self, moment: float) -> float | None:
        """Return when it ended, `None` while it goes on."""
        end = self.phases(self.test.engines - 1)[-1].at
        return end if end <= moment else None

    def verdict(self, moment: float) -> Verdict | None:
        """Return the verdict: none at first, `unset` shortly after the end, then its own."""
        end = self.ended(moment)
        if end is None:
            return None
        return "unset" if moment < end + _VERDICT_LAG_SECONDS else self.result

    def waits(self, moment: float) -> bool:
        """Return whether its engines are ready and somebody has to start the load."""
        ready = self.least_phase(moment).code == 90
        return ready and self.test.waits_seconds > 0 and moment < self.data_from

    @property
    def has_data(self) -> bool:
        """True if a complete run of this kind sends data."""
        return self.result not in ("error", "abort", "noData")

    def session_id(self, engine: int) -> str:
        """Return the id of one engine's session."""
        return f"r-v4-{self.master_id:x}{engine:02x}"
