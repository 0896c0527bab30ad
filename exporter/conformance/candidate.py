"""A provider with all that is needed to try it: a simulated vendor, and what is special about it.

An entry point of the group `loadfleet_exporter.candidates`, with the provider's name, names one
`Candidate` or several: one for each way to log in.
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


#: What the vendors are made of: small, standing still, and nothing in it is down.
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
    """The effect of a fault on a source all of whose calls are struck.

    Attributes:
        reason: What the failed polls are counted under; `None` where no poll fails.
        refused: Whether the credentials count as refused.
        answered: Whether the source counts as up although polls of it fail.
    """

    reason: Reason | None
    refused: bool = False
    answered: bool = False


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, one of its ways to log in, and the vendor.

    Attributes:
        name: Of the case.
        provider: Under trial.
        vendor: Makes the simulated vendor, an application with its `Portal` in `state.portal`.
        settings: Makes the source's settings, without provider and name, from the vendor's URL
            and a file with the credential.
        guarded: Whether the vendor asks for credentials. One that asks nobody cannot refuse any, so
            nothing is tried that has to do with that.
        credential: Turns what the portal knows as its token into what the file holds.
        fixed: What the file holds in its place, where a login gets the token; it does not change.
        secrets: Texts of replies that must not come out, beside the token and the settings' own.
        secret_fields: The fields of replies that hold secrets or what identifies people.
        allowed: Fits every request that the provider may send (see `front.line`).
        operations: By name, what fits the calls of one operation, which faults strike alone.
        part: Fits the calls about one target, or one kind of call if no call is about one.
        target: The id of that target, as a label has it.
        pings: Fits the calls that the vendor passes on to its targets, if it does that.
        interrupted: Has a person stop the newest run of everything at the vendor, and lets the
            runs before it fail, where there are any; `None` for a vendor without runs.
        emptied: Tables of the vendor's world that hold all targets of which it lists all; empty if
            it lists only those that are connected.
        shortened: Has the vendor list less targets than it says that there are, where it says so.
        told: The faults that mean something else to this provider than to all others, by their
            names or by those of their classes.
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
        """Return the source's settings, with the provider."""
        return {"provider": self.provider.name, **self.settings(url, file)}

    def written(self, portal: Portal, file: Path) -> None:
        """Write the credential that the vendor accepts now to a file."""
        file.write_text(self.fixed or self.credential(portal.token or ""))
