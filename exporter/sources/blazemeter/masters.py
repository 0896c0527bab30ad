"""Descriptions of runs, which the API calls masters, with the vendor's verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from exporter.fleet.readings import Outcome
from exporter.sources.blazemeter.pages import Pages, read_pages
from exporter.sources.blazemeter.replies import Epoch, Master, epoch
from exporter.sources.decode import Surprised, measured, text


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.sources.blazemeter.client import BlazeMeterClient


#: The largest number of pages read in one poll of a workspace: 1,000 runs.
PAGES = 20

#: The prefix of a multi-test's suite id. A test's suite id has no prefix; the vendor numbers tests
#: and multi-tests separately, so that their numbers can collide.
MULTI = "multi-"

# Outcomes by `reportStatus` in lower case. `unset` is no verdict: the run had no failure criteria.
_OUTCOMES: dict[str, Outcome] = {
    "pass": Outcome.PASSED,
    "fail": Outcome.FAILED,
    "error": Outcome.ERROR,
    "abort": Outcome.ABORTED,
    "nodata": Outcome.NO_DATA,
}

# An id becomes a part of a URL path, so anything but a number is rejected.
_ID = re.compile(r"[0-9]{1,20}")


class MasterRow(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a run; the types' bounds check data read from a memory.

    Attributes:
        run_id: The run's id, a number.
        name: The report's name, which can differ between the runs of a suite.
        workspace: The workspace whose list named the run; 0 if none did.
        suite_id: The id of the run's test or multi-test, see `MULTI`; empty if the vendor named
            neither.
        created, ended: Unix timestamps; `ended` is `None` while the run is in flight.
        outcome: The outcome so far; final only after the end.
        max_users: The largest number of virtual users.
        locations: The vendor's ids of the locations on which the run runs.
        boot_seconds: The duration of the engines' boot phase, from the run's events.
    """

    run_id: Annotated[str, msgspec.Meta(pattern=rf"\A{_ID.pattern}\Z")]
    name: str
    workspace: int = 0
    suite_id: str = ""
    created: Epoch | None = None
    ended: Epoch | None = None
    outcome: Outcome | None = None
    max_users: float | None = None
    locations: tuple[str, ...] = ()
    boot_seconds: float | None = None

    def ended_before(self, unix: float) -> bool:
        """Return whether the run ended before a Unix timestamp."""
        return self.ended is not None and self.ended < unix

    def before_its_end(self) -> MasterRow:
        """Return the description without a "passed", which is not final before the run's end."""
        if self.ended is None and self.outcome is Outcome.PASSED:
            return msgspec.structs.replace(self, outcome=Outcome.NO_VERDICT)
        return self

    def after(self, older: MasterRow) -> MasterRow:
        """Return the description with missing values filled in from an older description.

        A list can lack values that the run's own description or its events had.
        """
        known: dict[str, Any] = {}
        if self.outcome is Outcome.NO_VERDICT and older.outcome is not None:
            known["outcome"] = older.outcome
        if self.boot_seconds is None and older.boot_seconds is not None:
            known["boot_seconds"] = older.boot_seconds
        return msgspec.structs.replace(self, **known) if known else self


async def read_masters(
    client: BlazeMeterClient, workspace: int, *, back_to: float, surprise: Surprised
) -> Pages[MasterRow]:
    """Return the runs of a workspace, the last changed run first, back to a time.

    The list has no filter for runs in flight, and its `total` can be "n/a". Reading stops at the
    end of the list, after a page whose runs all ended before `back_to`, or after `PAGES` pages.

    Args:
        client: Sends the calls.
        workspace: The id of the workspace.
        back_to: A Unix timestamp; runs that ended before it are already known.
        surprise: Called for each unexpected value.

    Raises:
        PollError: A page could not be read.
    """

    def is_old(page: Sequence[Master]) -> bool:
        return bool(page) and all((epoch(master.ended) or back_to) < back_to for master in page)

    scope = {"workspaceId": workspace}
    pages = await read_pages(
        lambda skip: client.masters(scope, skip=skip),
        key=lambda master: master.id,
        most=PAGES,
        enough=is_old,
    )
    rows = read_page(pages.items, surprise, workspace=workspace)
    return Pages(items=tuple(rows), short=pages.short)


def read_page(
    masters: Iterable[Master], surprise: Surprised, *, workspace: int = 0
) -> list[MasterRow]:
    """Return the descriptions of listed runs; a run without a valid id is left out."""
    rows = (read_master(master, surprise, workspace=workspace) for master in masters)
    return [row for row in rows if row is not None]


def read_master(master: Master, surprise: Surprised, *, workspace: int = 0) -> MasterRow | None:
    """Return the description of a run, or `None` if it has no valid id."""
    run_id = text(master.id)
    if _ID.fullmatch(run_id) is None:
        surprise("missing_field" if master.id is None else "type")
        return None
    return MasterRow(
        run_id=run_id,
        name=master.name or run_id,
        workspace=workspace,
        suite_id=_suite_of(master, surprise),
        created=epoch(master.created, surprise),
        ended=epoch(master.ended, surprise),
        outcome=read_outcome(master, surprise),
        max_users=measured(master.max_users),
        locations=master.locations or (),
    )


def read_outcome(master: Master, surprise: Surprised) -> Outcome:
    """Return the outcome of a run, so far.

    The report's status decides. If it is missing, the failure criteria decide, and then the
    functional summary; these two count only after the end of the run. A run that ended without data
    has not passed in any case. An unknown report status counts as a surprise of kind `enum` and as
    missing.
    """
    outcome = _word(master, surprise)
    if outcome is None and epoch(master.ended) is not None:
        outcome = _flags(master)
    if outcome is Outcome.PASSED and master.has_data is False:
        return Outcome.NO_DATA
    return outcome or Outcome.NO_VERDICT


def suite_id_of(number: int | str | None, *, multi: bool) -> str:
    """Return the suite id for the number of a test or multi-test; empty if it is not a number."""
    digits = text(number)
    if _ID.fullmatch(digits) is None or int(digits) == 0:
        return ""
    return f"{MULTI}{digits}" if multi else digits


def _suite_of(master: Master, surprise: Surprised) -> str:
    collection = master.collection_id or master.test_collection_id
    suite_id = suite_id_of(master.test_id, multi=False) or suite_id_of(collection, multi=True)
    if not suite_id and (master.test_id or collection):
        surprise("type")
    return suite_id


def _word(master: Master, surprise: Surprised) -> Outcome | None:
    word = (master.report_status or "").strip().casefold()
    if word and word != "unset" and word not in _OUTCOMES:
        surprise("enum")
    return _OUTCOMES.get(word)


def _flags(master: Master) -> Outcome | None:
    if master.passed is not None:
        return Outcome.PASSED if master.passed else Outcome.FAILED
    summary = master.functional_summary
    if summary is None:
        return None
    word = (summary.defined_status or "").strip().casefold()
    if word:
        return Outcome.PASSED if word == "passed" else Outcome.FAILED
    if summary.is_failed is not None:
        return Outcome.FAILED if summary.is_failed else Outcome.PASSED
    return None
