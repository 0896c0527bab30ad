"""Runs as lists and `/masters/{id}` describe them, with the verdict that the vendor gives."""

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


#: So many pages are read at most in one poll of a workspace: 1,000 runs.
PAGES = 20

#: The id of a suite that is a multi-test begins with this: the vendor numbers them apart from
#: tests, whose id stands alone.
MULTI = "multi-"

# By `reportStatus` without regard to case. ENDED alone is no verdict, and neither is `unset`: such
# a run had no failure criteria.
_OUTCOMES: dict[str, Outcome] = {
    "pass": Outcome.PASSED,
    "fail": Outcome.FAILED,
    "error": Outcome.ERROR,
    "abort": Outcome.ABORTED,
    "nodata": Outcome.NO_DATA,
}

# An id becomes a part of a path: nothing but the number it has to be may pass.
_ID = re.compile(r"[0-9]{1,20}")


class MasterRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a list describes it; the bounds hold where it is read from a memory.

    Attributes:
        name: The report's name, which can differ from run to run of a suite.
        workspace: The one whose list named it; 0 while none did.
        suite_id: The test, or with `MULTI` the multi-test, it is a run of; empty when the vendor
            named none.
        created, ended: Epoch seconds; `ended` is `None` while it is in flight.
        outcome: What it was, so far; only of worth after the end.
        locations: Where it runs, by the vendor's ids.
        boot_seconds: How long its engines took to boot, as its events say.
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
        """Return whether it ended before a time."""
        return self.ended is not None and self.ended < unix

    def before_its_end(self) -> MasterRow:
        """Return it as it reads while the run may be in flight: a pass can still be lost."""
        if self.ended is None and self.outcome is Outcome.PASSED:
            return msgspec.structs.replace(self, outcome=Outcome.NO_VERDICT)
        return self

    def after(self, older: MasterRow) -> MasterRow:
        """Return it with the verdict of an older description where it has none itself.

        A list can lack what the run's own description, or its events, had.
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
    """Read the runs of a workspace, the newest changed first and no farther than needed.

    The list has no filter for runs in flight, and its `total` can be "n/a". Reading ends with the
    list, with a page whose runs had all ended by then, or after `PAGES` pages.

    Args:
        client: Sends the calls.
        workspace: The id of the workspace.
        back_to: Epoch seconds; nothing that ended before is news.
        surprise: Called for each value that did not fit.

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
    """Read the runs of a list, without those that have no id that can be asked for."""
    rows = (read_master(master, surprise, workspace=workspace) for master in masters)
    return [row for row in rows if row is not None]


def read_master(master: Master, surprise: Surprised, *, workspace: int = 0) -> MasterRow | None:
    """Read a run; `None` for one without an id that can be asked for."""
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
    """Return what a run was: by its report's word, else its criteria, else its functional summary.

    The latter two say something only of a run that ended. A run that ended without data has not
    passed, whatever they say. An unknown word is a surprise of kind `enum` and no word.
    """
    outcome = _word(master, surprise)
    if outcome is None and epoch(master.ended) is not None:
        outcome = _flags(master)
    if outcome is Outcome.PASSED and master.has_data is False:
        return Outcome.NO_DATA
    return outcome or Outcome.NO_VERDICT


def suite_id_of(number: int | str | None, *, multi: bool) -> str:
    """Return the id of the suite that a test or a multi-test is; empty for what is no number."""
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
