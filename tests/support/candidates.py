"""Every provider with a simulated vendor to be tried against: the table that a new one joins.

`tests/conformance` and `tests/faults` run for each entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette

from exporter.clock import Clock
from exporter.simulator.blazemeter import app as blazemeter
from exporter.simulator.blazemeter.account import MIN_AGENT_VERSION, Account
from exporter.simulator.eggplant import app as eggplant
from exporter.simulator.eggplant.lab import Lab
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload import app as realload
from exporter.simulator.realload.fleet import Fleet
from exporter.simulator.world import World
from exporter.sources.base import Provider
from exporter.sources.blazemeter import BLAZEMETER
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.realload import REALLOAD


if TYPE_CHECKING:
    from exporter.simulator.vendor import Portal


#: Small, standing still, and nothing in it is down.
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


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, one of its ways to log in, and the vendor.

    Attributes:
        name: Of the case.
        provider: What is tried.
        vendor: Makes the simulated vendor, an application with its `Portal` in `state.portal`.
        settings: Makes the source's settings, without provider and name, from the vendor's URL
            and a file with the credential.
        credential: Writes what the portal knows as its token the way the file holds it; `None`
            where the file holds something else, which does not change.
        allowed: Fits every request that the provider may send (see `front.line`).
        part: Fits the calls about one target, or one kind of call if no call is about one.
        target: The id of that target, as a label has it.
        pings: Fits the calls that the vendor passes on to its targets, if it does that.
        interrupted: Has a person stop the newest run of everything at the vendor, and lets the
            runs before it fail, where there are any.
        emptied: Tables of the vendor's world that hold all targets of which it lists all; empty if
            it lists only those that are connected.
        shortened: Has the vendor list less targets than it says that there are, where it says so.
        secret_fields: The fields of replies that hold secrets or what identifies people.
    """

    name: str
    provider: Provider
    vendor: Callable[[SimulatorOptions, Clock], Starlette]
    settings: Callable[[str, Path], Mapping[str, Any]]
    credential: Callable[[str], str] | None = str
    allowed: str
    part: str = ""
    target: str = ""
    pings: str = ""
    interrupted: Callable[[World], None]
    emptied: frozenset[str] = frozenset()
    shortened: Callable[[World], None] | None = None
    secret_fields: frozenset[str] = frozenset()

    def connected(self, url: str, file: Path) -> dict[str, Any]:
        """Return the source's settings, with the provider."""
        return {"provider": self.provider.name, **self.settings(url, file)}

    def written(self, portal: Portal, file: Path) -> None:
        """Write the credential that the vendor accepts now to a file."""
        if self.credential is None:
            file.write_text(eggplant.CLIENT["client_secret"])
        else:
            file.write_text(self.credential(portal.token or ""))


def _key_file(token: str) -> str:
    key_id, _, secret = token.partition(":")
    return json.dumps({"id": key_id, "secret": secret})


def _lab(options: SimulatorOptions, clock: Clock, **server: Any) -> Starlette:
    lab = Lab(options, clock)
    lab.change("servers", "main", **server)
    return eggplant.app(lab, options, clock)


def _interrupted_suites(portal: World) -> None:
    for suite in portal.table("suites").values():
        suite.outcomes = ["fail"] * (suite.history - 1) + ["stop"]


def _interrupted_tests(account: World) -> None:
    for test in account.table("tests").values():
        test.verdicts = ["fail"] * (test.history - 1) + ["abort"]


def _interrupted_agents(lab: World) -> None:
    for agent in lab.table("agents").values():
        agent.outcome = "Incomplete"


def _run(options: SimulatorOptions) -> str:
    """Return the id of a run that is in flight when the account's life begins."""
    return str(Account(options).runs()[0].master_id)


#: Section 5 of the reference.
_PORTAL_SECRETS = """
authToken controllerAuthToken agentAuthToken recorderControlAuthToken recorderProxyAuthUsername
recorderProxyAuthPassword certPassword certFileDataB64 testjobSignature testjobAdditionalArguments
defaultValue currentValue nickname firstName lastName primaryEmail primarySMSPhone secondaryEmail
secondarySMSPhone lastLoginIP pingFromRemoteIp annotationArray errorMessage
"""

#: One entry for each provider, or for each of its ways to log in.
CANDIDATES = (
    Candidate(
        name="realload",
        provider=REALLOAD,
        vendor=lambda options, clock: realload.app(Fleet(options, clock), options, clock),
        settings=lambda url, file: {
            "url": url + realload.PATH,
            "auth_token_file": str(file),
            "tasks": {"jobs": "1m", "templates": "10m", "certificates": "1h"},
        },
        allowed=r'POST /RemoteUserAPI \{(?!.*"synchronizeLocalTestjobsState":true).*'
        r'"action":"(get|ping)[A-Za-z]+"\}',
        part=r'.*"agentId":41,.*"action":"pingMeasuringAgent".*',
        target="41",
        pings=r'.*"action":"ping[A-Za-z]+".*',
        interrupted=_interrupted_suites,
        emptied=frozenset({"agents", "controllers", "clusters", "recorders", "suites"}),
        secret_fields=frozenset(_PORTAL_SECRETS.split()),
    ),
    Candidate(
        name="blazemeter",
        provider=BLAZEMETER,
        vendor=lambda options, clock: blazemeter.app(Account(options, clock), options, clock),
        settings=lambda url, file: {
            "url": url,
            "api_key_file": str(file),
            "workspaces": [200_001, 200_002],
            "min_agent_version": MIN_AGENT_VERSION,
            "run_linger": "5m",
        },
        credential=_key_file,
        allowed=r"GET /api/v4/(user|masters(/\d+(/status|/ci-status|/reports/default/summary)?)?"
        r"|tests/\d+|multi-tests(/\d+)?|private-locations(/\w+(/servers)?)?)"
        r"(\?\S*)? ",
        part=rf"GET /api/v4/masters/{_run(SMALL)}/status.*",
        target=_run(SMALL),
        interrupted=_interrupted_tests,
        emptied=frozenset({"locations"}),
        shortened=lambda account: account.change("services", "main", lost_rows=1),
        secret_fields=frozenset(
            ("email", "displayName", "publicToken", "publicUrl", "address", "hostName", "token")
        ),
    ),
    Candidate(
        name="eggplant",
        provider=EGGPLANT,
        vendor=_lab,
        settings=lambda url, file: {"url": url, "auth": {"access_token_file": str(file)}},
        allowed=rf"POST {eggplant.STATUS_PATH} |POST {eggplant.PROGRESS_PATH} id=[\w-]+",
        interrupted=_interrupted_agents,
        secret_fields=frozenset(("username", "last_log")),
    ),
    Candidate(
        name="eggplant-login",
        provider=EGGPLANT,
        # Each poll logs in anew.
        vendor=lambda options, clock: _lab(options, clock, life_seconds=60.0),
        settings=lambda url, file: {
            "url": url,
            "auth": {
                "token_url": eggplant.REALM_PATH,
                "client_id": eggplant.CLIENT["client_id"],
                "client_secret_file": str(file),
            },
        },
        credential=None,
        allowed=rf"POST {eggplant.STATUS_PATH} |POST {eggplant.PROGRESS_PATH} id=[\w-]+"
        rf"|POST {eggplant.REALM_PATH} .*",
        interrupted=_interrupted_agents,
        part=rf"POST {eggplant.REALM_PATH} .*",
        secret_fields=frozenset(("username", "last_log")),
    ),
)
