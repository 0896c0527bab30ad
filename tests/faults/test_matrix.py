"""Every fault, to every provider: as a whole and in part, on the first poll and after a good one.

The table in `faults.py` has the expectations: the reason of failed polls, refused credentials, and
targets that are down. In all cases, other sources stay well, the page is valid and quick, no error
is unhandled, and everything recovers by itself.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from exporter.conformance.faults.table import BODY, BRIEF_SECONDS, FAULTS, Fault, redirect
from exporter.conformance.stalls import undisturbed
from exporter.conformance.vendor import Vendor, reply
from exporter.errors import Reason
from tests.faults import tls
from tests.faults.case import PARTS, WELL, WHOLE, Case, all_accused, flags, playing, ups
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trustme

    from exporter.conformance.trial import Page


moments = pytest.mark.parametrize("known", [False, True], ids=["first poll", "after a good one"])


async def play(case: Case, *, known: bool) -> Page:
    """Let the fault strike, on the first poll or after a good one."""
    if known:
        await case.round()
        case.trial.time.shift(61.0)
    await case.strike()
    await (case.flooded_round() if case.fault.floods else case.round())
    return case.page()


def check(case: Case, page: Page, *, known: bool) -> None:
    """Check the table's expectations, and those of all faults."""
    fault, expected, told = case.fault, case.expected_reasons(), case.told()

    reasons = {name: found - fault.also for name, found in case.reasons().items()}
    assert expected == {name: found for name, found in reasons.items() if found}
    refused = {name for name, each in told.items() if each.refused}
    assert refused == flags(page, "loadfleet_source_auth_failed")
    assert case.accused() == all_accused(page)
    assert {*WELL} == flags(page, "loadfleet_source_up") & {*WELL}
    unanswered = {name for name in expected if name in WHOLE and not told[name].answered}
    assert set() == flags(page, "loadfleet_source_up") & unanswered
    for name in PARTS:
        target = case.trial.subjects[name].candidate.target
        if target and (known or not fault.pauses):
            well = name.replace("-part", "-well")
            assert ups(page, well, without=target) == ups(page, name, without=target)


async def check_recovery(case: Case) -> None:
    """Check that everything recovers as soon as the fault is over."""
    await case.relent()
    await case.later()
    page = case.page(whole=False)

    assert {} == case.reasons()
    assert {} == all_accused(page)
    assert {*WHOLE, *PARTS, *WELL} == flags(page, "loadfleet_source_up")
    assert set() == flags(page, "loadfleet_source_auth_failed")
    assert set() == flags(page, "loadfleet_exporter_breaker_open")
    for name in (*WHOLE, *PARTS):
        assert ups(page, f"{name.removesuffix('-part')}-well") == ups(page, name)


async def told(fault: Fault, folder: Path, *, known: bool, **options: Any) -> None:
    """Play a fault and its end, and check the page after both."""

    async def once(own: Path) -> None:
        async with playing(fault, own, **options) as case:
            page = await play(case, known=known)

            check(case, page, known=known)
            await check_recovery(case)

    # Answered calls do not time out because of a shorter stall.
    await undisturbed(once, folder, patience_seconds=BRIEF_SECONDS / 2)


@moments
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_told_for_what_it_is(
    fault: Fault, known: bool, ca_file: str, tmp_path: Path
) -> None:
    """A fault must have its reason, leave other sources alone, and end when it is over."""
    await told(fault, tmp_path, known=known, ca_file=ca_file)


@moments
@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_is_not_followed(
    status: int, known: bool, ca_file: str, tmp_path: Path
) -> None:
    """A redirect must not be followed: it would send the credentials to another server."""
    async with Vendor(reply()) as elsewhere:
        fault = redirect(status, elsewhere.url)
        async with playing(fault, tmp_path, ca_file=ca_file) as case:
            page = await play(case, known=known)

            check(case, page, known=known)
            await check_recovery(case)

    assert [] == elsewhere.seen


@moments
@pytest.mark.parametrize("make", tls.FAULTS, ids=[make.__name__ for make in tls.FAULTS])
async def test_a_fault_of_tls_is_told_for_what_it_is(
    make: Callable[[trustme.CA], Fault],
    known: bool,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
) -> None:
    """A fault of TLS must have its reason, leave other sources alone, and end when it is over."""
    context = tls.server(authority.issue_cert("127.0.0.1"))

    await told(make(authority), tmp_path, known=known, tls=context, ca_file=ca_file)


class Names:
    """The system's resolver, as the event loop asks it."""

    def __init__(self) -> None:
        self.unknown: set[str] = set()

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        await asyncio.sleep(0)
        if host.partition(".")[0] in self.unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@moments
async def test_a_name_that_is_not_found(
    known: bool, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that no longer resolves must be `dns` once it is looked up again."""
    names = Names()
    # The resolver is the operating system's, and the daemon has no parameter for another one.
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
    fault = Fault(name="no name", reason=Reason.DNS, refuses=True)
    async with playing(fault, tmp_path, ca_file=ca_file, domain="vendor.example") as case:
        if known:
            await case.round()
            # Addresses are cached for seconds, so new clients are made, which look them up.
            await case.trial.reload(timeout="3s")
            case.trial.time.shift(61.0)
        names.unknown = {*WHOLE}
        await case.round()

        check(case, case.page(), known=known)
        names.unknown = set()
        await check_recovery(case)


async def test_promtool_accepts_what_odd_replies_leave(ca_file: str, tmp_path: Path) -> None:
    """Prometheus must be able to read the page after any odd reply."""
    promtool = require("promtool")
    pages = []
    for number, fault in enumerate(BODY):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with playing(fault, folder, ca_file=ca_file) as case:
            await case.strike()
            await case.round()
            pages.append(case.trial.engine.exposition.metrics().body)

    for page in pages:
        found = await asyncio.to_thread(
            subprocess.run, [promtool, "check", "metrics"], input=page, capture_output=True
        )
        assert (0, b"") == (found.returncode, found.stderr + found.stdout)
