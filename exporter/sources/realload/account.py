"""What the account may do, and which versions the portal demands (reference section 3)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.clock import Moment
from exporter.errors import BlockedError, PollError
from exporter.fleet.readings import Account, MinVersion
from exporter.sources.base import Failure, Poll
from exporter.sources.realload import actions
from exporter.sources.realload.client import Trace
from exporter.sources.realload.values import limit


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.realload.actions import Action
    from exporter.sources.realload.portal import Portal


_ACCOUNT = "account"
_RECORDER = "proxy_recorder"
_VERSIONS: Mapping[str, Action[Any]] = {
    "measuring_agent": actions.MIN_AGENT_VERSION,
    "cluster_controller": actions.MIN_CONTROLLER_VERSION,
    _RECORDER: actions.MIN_RECORDER_VERSION,
}

# When the task `versions` is off, the recorders' poll asks for their smallest version itself: this
# often, and sooner when it could not be read.
_KNOWN_SECONDS = 3600.0
_RETRY_SECONDS = 600.0

_LIMIT_KEY = "maxDurationPerLoadJob"
_DEEPEST = 20


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    reading: Account | MinVersion
    read_at: Moment


class AccountFacts:
    """The smallest versions and the price plan: a handful of values that hardly ever change."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._kept: dict[str, _Kept] = {}
        self._recorders_asked_at: float | None = None

    async def poll(self) -> Poll:
        """Ask for all of them; one that cannot be read keeps its value until that is too old.

        Raises:
            PollError: None could be read.
        """
        keys = (*_VERSIONS, _ACCOUNT)
        errors: list[PollError] = []
        answered = False
        for key in keys:
            try:
                await self._ask(key)
                answered = True
            except PollError as error:
                errors.append(error)
                if isinstance(error, BlockedError):
                    break  # the others would not be sent either, or cost a proof each
        if not answered:
            raise errors[0]
        stale_after = self._portal.settings.stale_after_for("versions")
        not_before = self._portal.clock.monotonic() - stale_after
        kept = [self._kept[key] for key in keys if key in self._kept]
        return Poll(
            readings=tuple(each.reading for each in kept if each.read_at.monotonic >= not_before),
            failures=tuple(Failure(reason=error.reason, message=str(error)) for error in errors),
        )

    async def min_recorder_version(self) -> str | None:
        """Return the smallest version of recorders, asked for if it is not known.

        A call that fails is counted as a request, but it is no failure of the recorders' poll:
        they are only not compared.
        """
        now = self._portal.clock.monotonic()
        kept = self._kept.get(_RECORDER)
        asked_at = self._recorders_asked_at
        known = kept is not None and now - kept.read_at.monotonic < _KNOWN_SECONDS
        if not known and (asked_at is None or now - asked_at >= _RETRY_SECONDS):
            with suppress(PollError):
                await self._ask(_RECORDER)
            kept = self._kept.get(_RECORDER)
        reading = kept.reading if kept else None
        return reading.version if isinstance(reading, MinVersion) else None

    async def _ask(self, key: str) -> None:
        if key == _RECORDER:
            self._recorders_asked_at = self._portal.clock.monotonic()
        reading = await (self._plan() if key == _ACCOUNT else self._version(key))
        if reading is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = _Kept(reading=reading, read_at=self._portal.clock.now())

    async def _version(self, component: str) -> MinVersion | None:
        action = _VERSIONS[component]
        reply = await self._portal.client.data(action)
        version: str = getattr(reply, action.data)
        return MinVersion(component=component, version=version) if version else None

    async def _plan(self) -> Account | None:
        trace = Trace(keeps_body=True)
        await self._portal.client.call(actions.PRICE_PLAN, trace=trace)
        try:
            value = _found(msgspec.json.decode(trace.body), _DEEPEST)
        except (ValueError, RecursionError):
            value = None
        if value is None:
            self._portal.surprise("missing_field")
            return None
        return Account(job_duration_limit_seconds=limit(value))


def _found(value: Any, depth: int) -> float | None:
    """Find the limit wherever it stands: the shape of the price plan is not documented."""
    if depth == 0:
        return None
    if isinstance(value, list):
        parts = value
    elif isinstance(value, dict):
        own = value.get(_LIMIT_KEY)
        if isinstance(own, int | float) and not isinstance(own, bool):
            return own
        parts = list(value.values())
    else:
        return None
    return next((found for part in parts if (found := _found(part, depth - 1)) is not None), None)
