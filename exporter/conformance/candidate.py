"""Candidates: providers to test, each with a simulated vendor and its particulars.

An entry point of the group `loadfleet_exporter.candidates`, named after the provider, points to a
`Candidate` or to several, one for each way to log in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette

from exporter.clock import Clock
from exporter.errors import Reason
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.world import World
from exporter.sources.base import Provider


if TYPE_CHECKING:
    from exporter.simulator.vendor import Portal


#: The options of the simulated vendors: a small world without changes, in which everything is up.
SMALL = SimulatorOptions(
    still=True,
    agents=3,
    controllers=1,
    clusters=1,
    cluster_members=2,
    recorders=2,
    suites=2,
    blazemeter_agents=2,
    tests=2,
    eggplant_agents=3,
)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The expected effect of a fault that hits all calls of a source.

    Attributes:
        reason: The reason under which failed polls are counted; `None` if no poll fails.
        refused: Whether the credentials count as refused.
        answered: Whether the source counts as up although its polls fail.
    """

    reason: Reason | None
    refused: bool = False
    answered: bool = False


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider to test, with one of its ways to log in and a simulated vendor.

    The expressions are regular expressions for requests in the form of `front.line`; they must
    match the whole line.

    Attributes:
        name: The name in the report.
        provider: The provider to test.
        vendor: Makes the simulated vendor, an application with its `Portal` in `state.portal`.
        settings: Makes the source's settings, without provider and name, from the vendor's URL
            and a file with the credential.
        guarded: Whether the vendor requires credentials. The tests of refused credentials run only
            if it does.
        credential: Turns the portal's token into the content of the credential's file.
        fixed: The unchanging content of that file, if a login exchanges it for the token.
        secrets: Texts in replies that must not leak, besides the token and the settings' secrets.
        secret_fields: The fields of replies that hold secrets or personal data.
        allowed: The expression for all requests that the provider may send.
        operations: The expression for the calls of each operation, by its name; faults are injected
            into each operation separately.
        part: The expression for the calls about one target, or for one kind of call if no call is
            about a single target.
        target: The id of that target, as in its label.
        pings: The expression for the calls that the vendor forwards to its targets, if there are
            any.
        interrupted: Makes a user stop the newest runs at the vendor, and makes the runs before
            them fail; `None` for a vendor without runs.
        emptied: The tables of the vendor's world with the targets that the vendor lists completely;
            empty if it lists only connected targets.
        shortened: Makes the vendor list fewer targets than its total says; `None` if its replies
            have no total.
        told: The effects of faults that differ from the common ones, by the name or the group of
            the fault.
    """

    name: str
    provider: Provider
    vendor: Callable[[SimulatorOptions, Clock], Starlette]
    settings: Callable[[str, Path], Mapping[str, Any]]
    guarded: bool = True
    credential: Callable[[str], str] = str
    fixed: str = ""
    secrets: frozenset[str] = frozenset()
    secret_fields: frozenset[str] = frozenset()
    allowed: str
    operations: Mapping[str, str] = {}
    part: str = ""
    target: str = ""
    pings: str = ""
    interrupted: Callable[[World], None] | None = None
    emptied: frozenset[str] = frozenset()
    shortened: Callable[[World], None] | None = None
    told: Mapping[str, Told] = {}

    def connected(self, url: str, file: Path) -> dict[str, Any]:
        """Return the source's settings, including the provider."""
        return {"provider": self.provider.name, **self.settings(url, file)}

    def written(self, portal: Portal, file: Path) -> None:
        """Write the credential that the vendor currently accepts to a file."""
        file.write_text(self.fixed or self.credential(portal.token or ""))
