"""A play: a test of many cells of the grid at once, with the checks for each of them.

Every cell has a source of its own. One engine polls all these sources, and a healthy source of each
provider beside them.
"""

from __future__ import annotations

import asyncio
import re
import subprocess  # nosec B404
from typing import TYPE_CHECKING, Any

from prometheus_client.openmetrics import parser as openmetrics_parser
from structlog.testing import capture_logs

from exporter.conformance.faults.grid import ALL
from exporter.conformance.faults.table import AMPLE, BRIEF, LATER_SECONDS, MAX_REPLY
from exporter.conformance.trial import Trial, accused, fits, parsed, select, vendor_samples
from exporter.errors import Reason
from exporter.metrics import catalogue as c
from exporter.settings.load import from_data


if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from exporter.conformance.faults.grid import Cell
    from exporter.conformance.trial import Page, Subject

    #: The samples of each source, by the source's name.
    Pages = dict[str, Page]


#: The parser, which has no type annotations.
_openmetrics: Callable[[str], Iterator[Any]] = openmetrics_parser.text_string_to_metric_families

#: The vendor with the strictest lock-out blocks an address at the fifth refused call in a minute.
ALLOWED_REFUSALS = 4

#: The largest number of additional calls for runs: 4 for each listed run whose end is unreadable.
MOST_OF_RUNS = 4 * 24

#: Further allowed reasons if a fault hits one operation only.
_ONE_OPERATION_REASONS = frozenset((Reason.UNKNOWN_ID, Reason.ACCESS_DENIED, Reason.API_ERROR))


class Play:
    """The test of some cells at once.

    Attributes:
        wrong: The failed checks, a line each.
    """

    def __init__(self, batch: Sequence[Cell], folder: Path, **options: Any) -> None:
        self.wrong: list[str] = []
        self._cells = {f"s{number}": cell for number, cell in enumerate(batch)}
        self._candidates = {cell.candidate.name: cell.candidate for cell in batch}
        (self._known,) = {cell.known for cell in batch}
        (self._lasts,) = {cell.fault.lasts for cell in batch}
        (self._recovery_seconds,) = {cell.fault.recovery_seconds for cell in batch}
        self._trial = Trial(
            {
                **{f"well-{name}": each for name, each in self._candidates.items()},
                **{name: cell.candidate for name, cell in self._cells.items()},
            },
            folder,
            timeout=BRIEF if self._lasts else AMPLE,
            max_reply_bytes=MAX_REPLY,
            retries=1,
            **options,
        )
        self._before: dict[str, Counter[str]] = {}
        self._secrets = {text for each in self._candidates.values() for text in each.secrets}

    async def run(self, promtool: str | None) -> list[str]:
        """Run the play.

        Args:
            promtool: The path of promtool, if it is installed.

        Returns:
            The failed checks, a line each.
        """
        with capture_logs() as logs:
            async with self._trial as trial:
                for settings in from_data(trial.data).sources:
                    self._secrets |= {secret.reveal() for secret in settings.secrets()}
                if self._known:
                    await self._poll()
                    self._check_well()
                    trial.time.shift(LATER_SECONDS - 1)
                for name, cell in self._cells.items():
                    await strike(cell, trial.subjects[name])
                await self._poll()
                self._check_fault(self._page())
                await self._check_pages(promtool)
                for name in self._cells:
                    await relent(trial.subjects[name])
                trial.time.shift(self._recovery_seconds)
                await self._poll()
                self._check_recovery(self._page())
        self._check_logs(logs)
        return self.wrong

    async def _poll(self) -> None:
        self._before = self._trial.failures()
        await self._trial.engine.poll_once()

    def _page(self) -> Pages:
        """Return the parsed samples that show whether sources and targets are well."""
        body = self._trial.alike(self._trial.engine.exposition.metrics().body.decode())
        # Split at "\n" only, because label values may contain other line separators.
        lines = (f"{line}\n" for line in body.split("\n") if _JUDGED.match(line))
        pages: Pages = {name: {} for name in self._trial.subjects}
        for (name, labels), value in parsed("".join(lines)).items():
            pages[dict(labels)["source"]][name, labels] = value
        return pages

    def _reasons(self, name: str) -> set[str]:
        found = self._trial.failures()[name] - self._before[name]
        return {*found} - {Reason.BLOCKED.value}

    def _blame(self, subject: object, fault: str) -> None:
        self.wrong.append(f"{subject}: {fault}")

    def _check_well(self) -> None:
        for name in self._cells:
            if self._reasons(name):
                self._blame("before the fault", f"{name} failed for {self._reasons(name)}")

    def _check_fault(self, pages: Pages) -> None:
        for provider in self._candidates:
            self._check_undisturbed(pages, f"well-{provider}")
        for name, cell in self._cells.items():
            self._check_effect(pages, name, cell)
            self._check_evidence(pages, name, cell)
            self._check_calls(name, cell)

    def _check_undisturbed(self, pages: Pages, name: str) -> None:
        if self._reasons(name):
            self._blame(name, f"disturbed: {self._reasons(name)}")
        if flag(pages, c.SOURCE_UP.name, name) != 1:
            self._blame(name, "not up")
        if accused(pages[name], name):
            self._blame(name, f"shown as down: {accused(pages[name], name)}")

    def _check_effect(self, pages: Pages, name: str, cell: Cell) -> None:
        """Check the reasons of failed polls and the state of the source."""
        fault, reasons = cell.fault, self._reasons(name)
        effect = fault.told(cell.candidate)
        expected = effect.reason
        also = set(fault.also)
        if cell.operation == ALL:
            if expected is not None and not reasons:
                self._blame(cell, f"counted under nothing instead of {expected}")
        else:
            also |= _ONE_OPERATION_REASONS
            # If a reply could be a refusal, the guard sends a proof, which may be refused, too.
            also |= {Reason.AUTH} if effect.refused else set()
        strange = reasons - {each.value for each in (*also, expected) if each is not None}
        if strange:
            self._blame(cell, f"counted under {sorted(strange)} instead of {expected}")
        if flag(pages, c.SOURCE_AUTH_FAILED.name, name) and not effect.refused:
            self._blame(cell, "the credentials count as refused")
        # A fault in numbers leaves replies without numbers unchanged, so the source may be up.
        is_struck = cell.operation == ALL and fault.group != "number"
        is_silenced = is_struck and reasons and expected is not None
        if is_silenced and flag(pages, c.SOURCE_UP.name, name) != 0:
            self._blame(cell, "the source counts as up")

    def _check_evidence(self, pages: Pages, name: str, cell: Cell) -> None:
        """Check that the fault makes no target appear as down, and nothing as up or passed."""
        truth = targets(pages, f"well-{cell.candidate.name}")
        found = targets(pages, name)
        if not cell.fault.renames:
            down = accused(pages[name], name)
            late = cell.fault.lasts and {*down.values()} <= {"timeout"}
            if down and not (late and cell.operation != ALL):
                self._blame(cell, f"shown as down: {down}")
            # A run whose end is unreadable is shown by its status and its report.
            green = {key for key, value in found.items() if value == 1 and key[0] != _RUN}
            green -= truth.keys()
            if green:
                self._blame(cell, f"up or passed without evidence: {sorted(green)}")
        failed = cell.fault.told(cell.candidate).reason is not None
        if cell.operation == ALL and failed:
            if not self._known and found:
                self._blame(cell, f"shown although nothing was read: {sorted(found)}")
            if self._known and found != truth:
                self._blame(cell, f"not kept: {sorted(truth.items() ^ found.items())}")

    def _check_calls(self, name: str, cell: Cell) -> None:
        """Check that only allowed calls are sent, and not too many."""
        subject = self._trial.subjects[name]
        well = self._trial.subjects[f"well-{cell.candidate.name}"]
        odd = [seen for seen in subject.front.seen if not fits(subject.candidate.allowed, seen)]
        if odd:
            self._blame(cell, f"sent: {odd[0].method} {odd[0].target[:200]}")
        most = 3 * len(well.front.seen) + MOST_OF_RUNS
        if len(subject.front.seen) > most:
            self._blame(cell, f"{len(subject.front.seen)} calls instead of {len(well.front.seen)}")
        may_be_refused = cell.fault.told(cell.candidate).reason in _MAY_BE_REFUSED
        if cell.operation == ALL and may_be_refused and subject.front.treated > ALLOWED_REFUSALS:
            self._blame(cell, f"{subject.front.treated} calls that may have been refused")

    def _check_recovery(self, pages: Pages) -> None:
        for provider in self._candidates:
            self._check_undisturbed(pages, f"well-{provider}")
        for name, cell in self._cells.items():
            if self._reasons(name):
                self._blame(cell, f"afterwards: {self._reasons(name)}")
            if flag(pages, c.SOURCE_UP.name, name) != 1:
                self._blame(cell, "afterwards not up")
            if flag(pages, c.SOURCE_AUTH_FAILED.name, name):
                self._blame(cell, "afterwards the credentials count as refused")
            truth, found = targets(pages, f"well-{cell.candidate.name}"), targets(pages, name)
            lacking = truth.items() - found.items()
            # Targets that were listed with other names are remembered.
            strange = {key for key in found.items() - truth.items() if key[0][0] != _RUN}
            strange = set() if cell.fault.renames else strange
            if lacking or strange:
                self._blame(cell, f"afterwards: {sorted(lacking)} missing, {sorted(strange)} new")

    async def _check_pages(self, promtool: str | None) -> None:
        """Check that the metrics page is valid in both formats and shows no secret."""
        trial = self._trial
        exposition = trial.engine.exposition
        plain = exposition.metrics().body
        parsed(plain.decode())
        if b"\nplanted_metric" in plain:
            self._blame("/metrics", "a text of a vendor has become a sample")
        wants = "application/openmetrics-text; version=1.0.0"
        list(_openmetrics(exposition.metrics(accept=wants).body.decode()))
        if promtool is not None:
            found = await asyncio.to_thread(
                subprocess.run, [promtool, "check", "metrics"], input=plain, capture_output=True
            )
            if (found.returncode, found.stdout + found.stderr) != (0, b""):
                self._blame("promtool", (found.stdout + found.stderr).decode()[:500])
        for secret in self._secrets:
            if secret.encode() in plain:
                self._blame("/metrics", "a secret is shown")

    def _check_logs(self, logs: Sequence[Mapping[str, Any]]) -> None:
        for entry in logs:
            if entry.get("exc_info") or "crashed" in entry["event"]:
                self._blame(self._cells.get(entry.get("source", "")), f"logged {entry}")
            if any(secret in repr(entry) for secret in self._secrets):
                self._blame(self._cells.get(entry.get("source", "")), "a secret is logged")


#: The lines of a page to parse: families that show whether a source or a target is well.
_JUDGED = re.compile(r"loadfleet_(\w+_up|\w+_failure|\w+_passed|source_auth_failed)\{.*\bsource=")

#: The reasons of replies that might be refusals of the credentials.
_MAY_BE_REFUSED = frozenset((Reason.DECODE, Reason.HTTP_4XX, Reason.AUTH, Reason.API_ERROR))


async def strike(cell: Cell, subject: Subject) -> None:
    """Inject a fault into a source's calls from now on."""
    front = subject.front
    if cell.operation != ALL:
        pattern = cell.candidate.operations[cell.operation]
        front.struck = lambda seen: fits(pattern, seen)
    front.treatment, front.greeting = cell.fault.treatment, cell.fault.greeting
    if cell.fault.on_connections:
        await front.hang_up()


async def relent(subject: Subject) -> None:
    """End the fault."""
    subject.front.treatment = subject.front.greeting = None
    await subject.front.hang_up()


def flag(pages: Pages, family: str, source: str) -> float | None:
    """Return the value of a family for a source, or `None` if it has no sample."""
    return next(iter(select(pages[source], family).values()), None)


_GREEN = re.compile(r"loadfleet_\w+_(up|passed)")


def targets(pages: Pages, source: str) -> dict[tuple[str, ...], float]:
    """Return the up and passed states that a page shows, by family and ids."""
    found = {}
    for (name, labels), value in vendor_samples(pages[source], source).items():
        if _GREEN.fullmatch(name) and name not in _NOT_OF_TARGETS:
            ids = (f"{key}={text}" for key, text in sorted(labels) if _identifies(key))
            found[(name, *ids)] = value
    return found


_RUN = c.RUN_PASSED.name

_NOT_OF_TARGETS = frozenset((c.LOCATION_AGENTS_UP.name,))


def _identifies(label: str) -> bool:
    return label.endswith("_id") or label == "controller"
