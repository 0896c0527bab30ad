"""The public module for authors of providers: every name that a provider may import.

A provider is a package with a `Provider` record; an entry point of the group
`loadfleet_exporter.providers` points to that record. The page "Adding a provider" of the
documentation builds one step by step. `exporter/sources/locust` and `exporter/sources/selenium`
import from this module alone. A name that is not listed in `__all__` may change in any release.

Names that need the HTTP client are imported at their first use, because loading httpx takes longer
than loading everything else together. Use these names only in the module of the `connector`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from exporter.clock import Moment
from exporter.config.checks import secret_mistakes
from exporter.config.secret import Secret
from exporter.config.types import Boolean, Duration, FilePath, Regex, Url, Whole
from exporter.config.validation import Mistake, Section
from exporter.errors import CallError, PollError, Reason, SuspectError
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    PHASES,
    Agent,
    AgentState,
    Controller,
    Outcome,
    Reading,
    Run,
    State,
    Suite,
    SuiteRun,
)
from exporter.lockout.policy import Policy
from exporter.metrics.catalogue import PREFIX, Family
from exporter.metrics.columns import TargetMapping, boolean, by_key, info, mapped, number
from exporter.sources.base import (
    Client,
    Explanation,
    Failure,
    Poll,
    Provider,
    Source,
    SourceContext,
)
from exporter.sources.basic import BasicSettings
from exporter.sources.decode import (
    Id,
    Surprised,
    decode,
    finite,
    measured,
    older,
    part_of,
    redacted_reply,
    text,
)
from exporter.sources.memory import known_readings, moment_of, remembered, unix_of
from exporter.sources.roster import Roster
from exporter.sources.settings import Name, SourceSettings, expected_mistakes


if TYPE_CHECKING:
    from exporter.http import Call, HttpClient, Reply, status_error
    from exporter.sources.calls import http_client, suspected


__all__ = [
    "PHASES",
    "Agent",
    "AgentState",
    "BasicSettings",
    "Boolean",
    "Call",
    "CallError",
    "Client",
    "Controller",
    "Duration",
    "Explanation",
    "Failure",
    "Family",
    "FilePath",
    "HttpClient",
    "Id",
    "Kind",
    "Mistake",
    "Moment",
    "Name",
    "Outcome",
    "Policy",
    "Poll",
    "PollError",
    "Provider",
    "Reading",
    "Reason",
    "Regex",
    "Reply",
    "Roster",
    "Run",
    "Secret",
    "Section",
    "Source",
    "SourceContext",
    "SourceSettings",
    "State",
    "Suite",
    "SuiteRun",
    "Surprised",
    "SuspectError",
    "TargetMapping",
    "Url",
    "Whole",
    "boolean",
    "by_key",
    "controller_at",
    "decode",
    "expected_mistakes",
    "family",
    "finite",
    "http_client",
    "info",
    "known_readings",
    "mapped",
    "measured",
    "moment_of",
    "number",
    "older",
    "part_of",
    "redacted_reply",
    "remembered",
    "secret_mistakes",
    "status_error",
    "suspected",
    "text",
    "unix_of",
]

#: Names that are imported at their first use, each with its module.
_LATE = {
    "Call": "exporter.http",
    "HttpClient": "exporter.http",
    "Reply": "exporter.http",
    "status_error": "exporter.http",
    "http_client": "exporter.sources.calls",
    "suspected": "exporter.sources.calls",
}

#: The identifying labels of each kind of target for which a provider can declare families.
_IDENTITIES = {
    None: (),
    Kind.AGENT: ("agent_id", "agent"),
    Kind.CONTROLLER: ("controller",),
    Kind.RUN: ("run_id", "run"),
    Kind.SUITE: ("suite_id", "suite"),
}


def family(
    provider: str, name: str, help_text: str, *labels: str, of: Kind | None = None
) -> Family:
    """Return a new metric family that belongs to a provider.

    Args:
        provider: The provider's name.
        name: The metric name without the prefix `loadfleet_PROVIDER_`; ends with the unit.
        help_text: One sentence.
        labels: Further labels; only labels that families of the catalogue have are allowed.
        of: The kind of targets that the family describes; the source as a whole if not given.
    """
    return Family(
        name=f"{PREFIX}{provider}_{name}", help=help_text, labels=(*_IDENTITIES[of], *labels)
    )


def controller_at(url: str, *, version: str, now: Moment) -> Controller:
    """Return the controller behind a URL, marked as up; call this after it has answered."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    state = State(read_at=now, up=True, version=version)
    return Controller(controller=f"{host}:{port}", host=host, port=str(port), state=state)


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
