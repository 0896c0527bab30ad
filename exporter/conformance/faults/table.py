"""The basic faults, with the reason under which each must be counted."""

from __future__ import annotations

import gzip
import json
import re
import ssl
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.conformance.candidate import Told
from exporter.conformance.front import Greeting, Treatment, changed, changed_json, instead
from exporter.conformance.vendor import drop, endless, hang, reply, reset, say
from exporter.errors import Reason


if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from exporter.conformance.candidate import Candidate
    from exporter.conformance.vendor import Step


_HEAD = b"HTTP/1.1 200 OK\r\n"
_HTML = b"<html><body><h1>Bad Gateway</h1></body></html>\n"

#: Time-outs: a brief one for faults that last until the time-out, an ample one for all others.
BRIEF_SECONDS = 1.2
BRIEF, AMPLE = f"{BRIEF_SECONDS * 1000:.0f}ms", "8s"

#: The largest reply in these tests, in bytes.
MAX_REPLY = 256 << 10

#: Longer than the pause after a reply without `Retry-After`, and than the minute in which the guard
#: counts refusals.
LATER_SECONDS = 62.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that a vendor can show.

    Attributes:
        name: The name of the fault.
        reason: The reason under which failed polls must be counted; `None` if no poll may fail.
        group: The group of faults, for a sample with at least one fault of each group.
        also: Further reasons under which failed polls may be counted.
        refused: Whether the credentials must count as refused.
        treatment: Injects the fault into a request.
        greeting: Injects the fault into a connection, and so into all of the source's calls.
        tls: The server's TLS context, if that is the fault; affects all calls, too.
        refuses: Whether the server refuses connections.
        lasts: Whether the fault lasts until the caller's time-out.
        floods: Whether the server sends an excessive amount of data.
        pauses: Whether the vendor asks for a pause of all calls.
        renames: Whether the vendor lists wrong targets, so that missing and unknown targets rightly
            count as down.
        recovery_seconds: The time after the end of the fault until all must be well again.
    """

    name: str
    reason: Reason | None
    group: str = ""
    also: frozenset[Reason] = frozenset()
    refused: bool = False
    treatment: Treatment | None = None
    greeting: Greeting | None = None
    tls: ssl.SSLContext | None = None
    refuses: bool = False
    lasts: bool = False
    floods: bool = False
    pauses: bool = False
    renames: bool = False
    recovery_seconds: float = LATER_SECONDS

    @property
    def on_connections(self) -> bool:
        """True if the fault hits connections and cannot hit single requests."""
        return self.refuses or self.greeting is not None or self.tls is not None

    def told(self, candidate: Candidate) -> Told:
        """Return the expected effect of the fault on a candidate."""
        own = candidate.told
        common = Told(reason=self.reason, refused=self.refused)
        return own.get(self.name) or own.get(self.group) or common


def _on_wire(name: str, step: Step, reason: Reason, **more: Any) -> Fault:
    return Fault(name=name, reason=reason, treatment=instead(step), **more)


def _status(status: int, reason: Reason, *, name: str = "", **more: Any) -> Fault:
    headers = more.pop("headers", {})
    body = more.pop("body", b'{"message": "no"}')
    step = reply(body, status=status, headers=headers)
    return _on_wire(name or str(status), step, reason, **more)


def _body(name: str, body: bytes, reason: Reason = Reason.DECODE, **more: Any) -> Fault:
    return _on_wire(name, reply(body, headers={"Content-Type": "application/json"}), reason, **more)


def _value(name: str, change: Callable[[Any], Any], reason: Reason | None, **more: Any) -> Fault:
    """Return a fault that changes every value in the vendor's replies."""

    def body(content: Any) -> bytes:
        text = json.dumps(_mapped(content, change), ensure_ascii=False)
        return text.encode(errors="surrogateescape")

    return Fault(name=name, reason=reason, treatment=changed_json(body), **more)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_mapped(part, change) for part in value]
    return change(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: change(value) if _is_number(value) else value


def _raw_numbers(text: str) -> Treatment:
    """Replace every number by a text, which need not be JSON."""
    number = re.compile(rb'(?<=[:\[,])-?[0-9][0-9.eE+-]*(?=[,}\]])|"(?:[^"\\]|\\.)*"')

    def replaced(match: re.Match[bytes]) -> bytes:
        return match[0] if match[0].startswith(b'"') else text.encode()

    return changed(lambda body: number.sub(replaced, body))


def talks(answer: bytes) -> Greeting:
    """Return a greeting that answers the client's first byte with some bytes and disconnects."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return greet


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a connection and never answer."""
    del writer
    while await reader.read(65_536):
        pass


def redirect(status: int, elsewhere: str) -> Fault:
    """Return a fault that redirects the caller to another server."""
    return _status(status, Reason.HTTP_4XX, headers={"Location": elsewhere})


_BOMB = gzip.compress(bytes(64 << 20), compresslevel=9)

CONNECTION = (
    Fault(name="refused", reason=Reason.CONNECT, refuses=True),
    Fault(name="accepted and left alone", reason=Reason.TIMEOUT, greeting=silent, lasts=True),
    Fault(name="other protocol", reason=Reason.DECODE, greeting=talks(b"220 mail.example\r\n\r\n")),
)

WIRE = (
    _on_wire("reset", reset, Reason.CONNECT),
    _on_wire("closed", drop, Reason.CONNECT),
    _on_wire("half a head", say(_HEAD[:9], then=drop), Reason.CONNECT),
    _on_wire(
        "half a body", say(_HEAD + b'Content-Length: 99\r\n\r\n{"a', then=drop), Reason.CONNECT
    ),
    _on_wire(
        "half a chunk",
        say(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", then=drop),
        Reason.CONNECT,
    ),
    _on_wire("hang", hang, Reason.TIMEOUT, lasts=True),
    _on_wire(
        "hang in the body",
        say(_HEAD + b"Content-Length: 99\r\n\r\n{", then=hang),
        Reason.TIMEOUT,
        lasts=True,
    ),
    _on_wire(
        "drip",
        endless(_HEAD + b"Content-Length: 99999\r\n\r\n", b" ", pause_seconds=0.02),
        Reason.TIMEOUT,
        lasts=True,
    ),
    _on_wire(
        "endless body",
        endless(_HEAD + b"Connection: close\r\n\r\n", b" " * 65_536),
        Reason.DECODE,
        floods=True,
    ),
    _on_wire(
        "gzip bomb", reply(_BOMB, headers={"Content-Encoding": "gzip"}), Reason.DECODE, floods=True
    ),
    _on_wire("no gzip", reply(b"{}", headers={"Content-Encoding": "gzip"}), Reason.DECODE),
)

HEADERS = (
    _on_wire("no header", say(_HEAD + b"no header at all\r\n\r\n"), Reason.DECODE),
    _on_wire(
        "endless header",
        say(_HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n"),
        Reason.DECODE,
        floods=True,
    ),
    _on_wire("no length", say(_HEAD + b"Content-Length: nine\r\n\r\n"), Reason.DECODE),
    _on_wire("negative length", say(_HEAD + b"Content-Length: -1\r\n\r\n{}"), Reason.DECODE),
    _on_wire(
        "two lengths",
        say(_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
        Reason.DECODE,
    ),
    _on_wire("no status", say(b"HTTP/1.1 many OK\r\n\r\n"), Reason.DECODE),
    _on_wire("control characters", say(_HEAD + b"X: a\x00b\r\n\r\n"), Reason.DECODE),
    _on_wire("unknown encoding", reply(b"{}", headers={"Content-Encoding": "zstd"}), Reason.DECODE),
)

STATUS = (
    _status(401, Reason.AUTH, refused=True),
    _status(403, Reason.AUTH, refused=True),
    _status(404, Reason.HTTP_4XX),
    _status(429, Reason.RATE_LIMITED, pauses=True),
    _status(
        429,
        Reason.RATE_LIMITED,
        name="429 with Retry-After",
        headers={"Retry-After": "30"},
        pauses=True,
    ),
    _status(
        429,
        Reason.RATE_LIMITED,
        name="429 with a bad Retry-After",
        headers={"Retry-After": "soon"},
        pauses=True,
    ),
    _status(500, Reason.HTTP_5XX),
    _status(502, Reason.HTTP_5XX, body=_HTML, headers={"Content-Type": "text/html"}),
    _status(
        503,
        Reason.HTTP_5XX,
        name="503 with Retry-After",
        headers={"Retry-After": "30"},
        also=frozenset((Reason.RATE_LIMITED,)),
        pauses=True,
    ),
    _status(999, Reason.HTTP_5XX),
)

#: If the ids in a list are unreadable or all the same, the list is too short to be believed.
_DOUBTED = frozenset((Reason.API_ERROR,))

BODY = (
    _body("empty", b""),
    _body("not JSON", _HTML),
    _body("array", b"[1, 2]"),
    _body("null", b"null"),
    _body("text", b'"ok"'),
    _body("deep nesting", b"[" * 100_000, floods=True),
    _body("deep nesting in an object", b'{"a":' * 20_000 + b"1" + b"}" * 20_000, floods=True),
    Fault(name="NaN", group="number", reason=Reason.DECODE, treatment=_raw_numbers("NaN")),
    Fault(name="400 digits", reason=None, also=_DOUBTED, treatment=_raw_numbers("9" * 400)),
    _value("strings for numbers", _numbers(str), None),
    _value(
        "numbers for strings",
        lambda value: 5 if isinstance(value, str) else value,
        None,
        # A list without names need not fail.
        also=_DOUBTED,
    ),
    _value("nulls", lambda _: None, None, also=_DOUBTED),
    _value(
        "invalid UTF-8",
        lambda value: f"{value}\udcff" if isinstance(value, str) else value,
        None,
        # A list without names need not fail.
        also=_DOUBTED,
    ),
)

FAULTS = (*CONNECTION, *WIRE, *HEADERS, *STATUS, *BODY)
