"""The common part of all simulated vendors: counts, faults, blocking and the control interface.

`POST /_control` takes a JSON object. Every key is optional and applies from then on. The response,
like that of `GET /_control`, has the counts.

    still         true stops the world's time, false lets it continue
    token         the only valid credential; null: none is valid
    delay         duration of each call in seconds; for Real Load, only of calls for which the
                  portal calls another machine
    delay_spread  maximum of a random addition to `delay`, seconds
    dead_delay    addition to `delay` if that machine is down, seconds
    fault         the response to calls: none (no fault), bad_gateway, unavailable (both with HTML),
                  rate_limited (429 with Retry-After), garbage (200 with HTML), drop, hang
    fault_rate    ratio of calls answered with 502, 0 to 1
    refusal       the response to a bad Real Load token, which is not documented: envelope
                  (the error envelope), bare (nothing but `isError`), flags (with the action's
                  flags, none set), http_401
    fault_on      the actions that `fault` and `fault_rate` affect; empty: all
    fault_after   number of these calls that succeed before `fault` takes effect
    skew          the vendor's clock minus the true time, seconds
    unblock       true forgets bad tokens and blocked addresses
    change        {"agents": {"41": {"up": false}}}: new attributes of objects, see the worlds
    delete        {"agents": ["41"]}: objects to remove
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict, deque
from contextlib import suppress
from email.utils import formatdate
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from exporter.simulator.world import UnknownChangeError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from exporter.clock import Clock
    from exporter.simulator.options import SimulatorOptions
    from exporter.simulator.world import World

BAD_TOKENS: Final = 5
BAD_TOKEN_WINDOW_SECONDS: Final = 60.0


class Fault(StrEnum):
    """The ways in which a portal misbehaves."""

    NONE = "none"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    GARBAGE = "garbage"
    DROP = "drop"
    HANG = "hang"


class Refusal(StrEnum):
    """The ways in which Real Load may answer a bad token."""

    ENVELOPE = "envelope"
    BARE = "bare"
    FLAGS = "flags"
    HTTP_401 = "http_401"


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /_control`."""

    still: bool | msgspec.UnsetType = msgspec.UNSET
    token: str | msgspec.UnsetType | None = msgspec.UNSET
    delay: float | msgspec.UnsetType = msgspec.UNSET
    delay_spread: float | msgspec.UnsetType = msgspec.UNSET
    dead_delay: float | msgspec.UnsetType = msgspec.UNSET
    fault: Fault | msgspec.UnsetType = msgspec.UNSET
    fault_rate: float | msgspec.UnsetType = msgspec.UNSET
    fault_on: frozenset[str] | msgspec.UnsetType = msgspec.UNSET
    fault_after: int | msgspec.UnsetType = msgspec.UNSET
    skew: float | msgspec.UnsetType = msgspec.UNSET
    refusal: Refusal | msgspec.UnsetType = msgspec.UNSET
    unblock: bool = False
    change: dict[str, dict[str, dict[str, Any]]] = {}
    delete: dict[str, list[str]] = {}


class JsonResponse(Response):
    """A JSON response, encoded with msgspec."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the encoded content."""
        return msgspec.json.encode(content)


class SilentResponse(Response):
    """No response: the connection is dropped at once, or held until the caller gives up.

    To drop it, the response calls `abort` in the scope's state, which `server.py` offers.
    """

    def __init__(self, *, drop: bool) -> None:
        super().__init__()
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drop the connection if `drop` is set, and wait for its end."""
        del send
        if self._drop:
            scope.get("state", {}).get("abort", lambda: None)()
        with suppress(asyncio.CancelledError):  # on shutdown, see `Portal.answer`
            while (await receive())["type"] != "http.disconnect":
                pass


class Portal:
    """The entry point of one simulated vendor, through which all calls pass.

    Attributes:
        calls: The number of calls per action, including faults and refusals.
        refused: Times of the calls with a bad credential, monotonic seconds.
        blocked_calls: The number of calls from blocked addresses.
        violations: Calls that would have changed something at the vendor.
        in_flight, peak: The number of calls in progress, and its maximum.
        token: The valid credential; `None` for none.
    """

    def __init__(self, world: World, options: SimulatorOptions, clock: Clock, token: str) -> None:
        self.world = world
        self.clock = clock
        self.token: str | None = token
        self.delay_seconds = options.delay_seconds
        self.delay_spread_seconds = 0.0
        self.dead_delay_seconds = options.dead_delay_seconds
        self.fault = Fault.NONE
        self.refusal = Refusal.ENVELOPE
        self.fault_rate = options.fault_rate
        self.fault_on: frozenset[str] = frozenset()
        self.fault_after = 0
        self.calls: Counter[str] = Counter()
        self.refused: list[float] = []
        self.blocked_calls = 0
        self.violations: list[str] = []
        self.in_flight = 0
        self.peak = 0
        self._block_seconds = options.block_seconds
        self._chance = random.Random(f"{options.seed}/faults")  # noqa: S311 - not secret
        self._bad_tokens: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=BAD_TOKENS)
        )
        self._blocked_until: dict[str, float] = {}

    async def answer(self, action: str, work: Callable[[], Awaitable[Response]]) -> Response:
        """Return the response of `work`, or that of an injected fault, and count the call."""
        self.calls[action] += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            response = self._misbehave(action) or await work()
        except asyncio.CancelledError:
            # On shutdown uvicorn would print a traceback for a cancelled call.
            response = SilentResponse(drop=True)
        finally:
            self.in_flight -= 1
        response.headers["Date"] = formatdate(self.world.timeline.now(), usegmt=True)
        return response

    def refuse(self, caller: str) -> None:
        """Record a bad credential; the fifth within a minute blocks the address."""
        now = self.clock.monotonic()
        self.refused.append(now)
        bad = self._bad_tokens[caller]
        bad.append(now)
        if len(bad) == BAD_TOKENS and now - bad[0] <= BAD_TOKEN_WINDOW_SECONDS:
            self._blocked_until[caller] = now + self._block_seconds
            bad.clear()

    def is_blocked(self, caller: str) -> bool:
        """Return whether an address is blocked, and count the call if so."""
        blocked = self.clock.monotonic() < self._blocked_until.get(caller, float("-inf"))
        self.blocked_calls += blocked
        return blocked

    async def reach(self, *, up: bool, delay_seconds: float | None) -> None:
        """Sleep for the duration of a call to another machine."""
        seconds = self.delay_seconds if delay_seconds is None else delay_seconds
        seconds += 0.0 if up else self.dead_delay_seconds
        seconds += self.delay_spread_seconds * self._chance.random()
        if seconds > 0:
            await self.clock.sleep(seconds)

    def obey(self, command: Command) -> None:
        """Execute a command of the control interface.

        Raises:
            UnknownChangeError: The command names something that does not exist.
        """
        targets = {
            "still": (self.world.timeline, "still"),
            "token": (self, "token"),
            "delay": (self, "delay_seconds"),
            "delay_spread": (self, "delay_spread_seconds"),
            "dead_delay": (self, "dead_delay_seconds"),
            "fault": (self, "fault"),
            "fault_rate": (self, "fault_rate"),
            "fault_on": (self, "fault_on"),
            "fault_after": (self, "fault_after"),
            "skew": (self.world.timeline, "skew_seconds"),
            "refusal": (self, "refusal"),
        }
        for name, (owner, attribute) in targets.items():
            value = getattr(command, name)
            if value is not msgspec.UNSET:
                setattr(owner, attribute, value)
        if command.unblock:
            self._bad_tokens.clear()
            self._blocked_until.clear()
        for kind, things in command.change.items():
            for key, changes in things.items():
                self.world.change(kind, key, **changes)
        for kind, keys in command.delete.items():
            for key in keys:
                self.world.delete(kind, key)

    def route(self) -> Route:
        """Return the route of the control interface."""
        return Route("/_control", self._control, methods=["GET", "POST"])

    async def _control(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.obey(msgspec.json.decode(await request.body(), type=Command))
            except (msgspec.MsgspecError, UnknownChangeError) as error:
                return JsonResponse({"error": str(error)}, status_code=400)
        return JsonResponse(
            {
                "calls": dict(self.calls),
                "refused": len(self.refused),
                "blocked_calls": self.blocked_calls,
                "violations": self.violations,
                "peak": self.peak,
                "still": self.world.timeline.still,
                "moment": self.world.timeline.moment(),
            }
        )

    def _misbehave(self, action: str) -> Response | None:
        if self.fault_on and action not in self.fault_on:
            return None
        if self.fault_rate and self._chance.random() < self.fault_rate:
            return _FAULTS[Fault.BAD_GATEWAY]()
        if self.fault is not Fault.NONE and self.fault_after > 0:
            self.fault_after -= 1
            return None
        return _FAULTS[self.fault]()


def _page(status: int, title: str) -> Response:
    return HTMLResponse(f"<html><body><h1>{title}</h1></body></html>\n", status_code=status)


def _rate_limited() -> Response:
    error = {"code": 429, "message": "Too Many Requests"}
    return JsonResponse(
        {"error": error, "api_version": 4, "result": None},
        status_code=429,
        headers={"Retry-After": "30"},
    )


_FAULTS: Final[dict[Fault, Callable[[], Response | None]]] = {
    Fault.NONE: lambda: None,
    Fault.BAD_GATEWAY: lambda: _page(502, "Bad Gateway"),
    Fault.UNAVAILABLE: lambda: _page(503, "Service Unavailable"),
    Fault.RATE_LIMITED: _rate_limited,
    Fault.GARBAGE: lambda: _page(200, "Welcome"),
    Fault.DROP: lambda: SilentResponse(drop=True),
    Fault.HANG: lambda: SilentResponse(drop=False),
}


def caller_of(request: Request) -> str:
    """Return the IP address of the caller."""
    return request.client.host if request.client else ""
