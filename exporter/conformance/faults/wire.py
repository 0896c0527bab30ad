"""Faults of connections, HTTP syntax, encodings and statuses.

A vendor, a gateway, or another server at the vendor's port can cause them. The module `grid`
combines them with providers and operations: a sample of the combinations in CI, and all of them in
the slow tests.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING, Any

from exporter.conformance.faults.table import LATER_SECONDS, Fault
from exporter.conformance.front import Answer, answered, instead
from exporter.conformance.vendor import drop, endless, hang, reply, reset, say
from exporter.errors import Reason


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.conformance.front import Ask, Greeting, Treatment
    from exporter.conformance.vendor import Step, Wire


_HEAD = b"HTTP/1.1 200 OK\r\n"

#: The longest pause that the exporter grants a vendor.
HOUR_SECONDS = 3600.0


def _as_said(say_it: Callable[[Answer], Step]) -> Treatment:
    """Return a treatment that sends the vendor's reply in an unusual way."""

    async def treat(wire: Wire, ask: Ask) -> None:
        await say_it(await ask())(wire)

    return treat


def _wire(name: str, step: Step, reason: Reason, **more: Any) -> Fault:
    return Fault(name=name, group="wire", reason=reason, treatment=instead(step), **more)


def _way(name: str, say_it: Callable[[Answer], Step], reason: Reason | None, **more: Any) -> Fault:
    return Fault(name=name, group="wire", reason=reason, treatment=_as_said(say_it), **more)


def _greeting(name: str, greet: Greeting, reason: Reason, **more: Any) -> Fault:
    return Fault(name=name, group="connection", reason=reason, greeting=greet, **more)


def banner(data: bytes) -> Greeting:
    """Return a greeting that sends bytes before any request, as some protocols do."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    return greet


async def torn(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Abort the connection before a request."""
    writer.transport.abort()


async def left_after_the_question(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Read a part of the request, and disconnect."""
    await reader.read(20)


def _type(answer: Answer) -> dict[str, str]:
    """Return the vendor's content-type header, if there is one."""
    return {name: text for name, text in answer.headers.items() if name == "content-type"}


def _typed(answer: Answer) -> bytes:
    """Return the lines of the vendor's content-type header."""
    return "".join(f"{name}: {text}\r\n" for name, text in _type(answer).items()).encode()


def _plain(answer: Answer, *, version: str = "1.1", more: str = "", ends: bool = False) -> Step:
    """Return a step that sends a reply with its length, or ends it by closing the connection."""
    length = "" if ends else f"Content-Length: {len(answer.body)}\r\n"
    head = f"HTTP/{version} {answer.status} OK\r\n{length}{more}".encode() + _typed(answer)
    return say(head + b"\r\n" + answer.body, then=drop if ends else None)


def _chunked(answer: Answer, *, size: int = 7, extension: str = "", trailer: str = "") -> Step:
    parts = [answer.body[at : at + size] for at in range(0, len(answer.body), size)]
    body = b"".join(f"{len(part):x}{extension}\r\n".encode() + part + b"\r\n" for part in parts)
    head = f"HTTP/1.1 {answer.status} OK\r\nTransfer-Encoding: chunked\r\n".encode()
    head += _typed(answer) + b"\r\n"
    return say(head + body + f"0\r\n{trailer}\r\n".encode())


def _after(informational: bytes) -> Callable[[Answer], Step]:
    """Return a function for steps that send an informational reply before the final one."""

    def say_it(answer: Answer) -> Step:
        async def step(wire: Wire) -> None:
            wire.writer.write(informational)
            await answered(answer, answer.body)(wire)

        return step

    return say_it


def _packed(encoding: str, pack: Callable[[bytes], bytes]) -> Callable[[Answer], Step]:
    """Return a function for steps that send a reply with a packed body."""
    return lambda answer: reply(
        pack(answer.body),
        status=answer.status,
        headers={"Content-Encoding": encoding, **_type(answer)},
    )


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def _wrong_sum(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[:-8] + bytes(8)


_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_SOCKET = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

CONNECTIONS = (
    _greeting("torn at once", torn, Reason.CONNECT),
    _greeting("left after the question", left_after_the_question, Reason.CONNECT),
    _greeting("SSH", banner(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), Reason.DECODE),
    _greeting("Redis", banner(b"-ERR unknown command 'GET'\r\n"), Reason.DECODE),
    _greeting("TLS alert", banner(bytes.fromhex("15030100020246")), Reason.DECODE),
    _greeting("HTTP/2", banner(bytes.fromhex("000000040000000000") * 2), Reason.DECODE),
    _greeting("HTTP/2 preface", banner(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Reason.DECODE),
    _greeting("NULs", banner(bytes(4096)), Reason.DECODE),
)

WIRE = (
    _wire("HTTP/0.9", say(b"<html>hello</html>\n", then=drop), Reason.DECODE),
    _wire("HTTP/3.0", say(b"HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Reason.DECODE),
    _wire("no version", say(b"200 OK\r\nContent-Length: 2\r\n\r\n{}"), Reason.DECODE),
    _wire("status of four digits", say(b"HTTP/1.1 2000 OK\r\n\r\n"), Reason.DECODE),
    _wire("negative status", say(b"HTTP/1.1 -200 OK\r\n\r\n"), Reason.DECODE),
    _wire("status 0", reply(b"{}", status=0), Reason.DECODE),
    _wire("a status line without end", say(b"HTTP/1.1 200 " + b"O" * 1_000_000), Reason.DECODE),
    _wire(
        "20,000 headers", say(_HEAD + b"X-A: 1\r\n" * 20_000 + b"\r\n", then=drop), Reason.DECODE
    ),
    _wire("a name of a header with a blank", say(_HEAD + b"X Y: 1\r\n\r\n{}"), Reason.DECODE),
    _wire("length of 400 digits", say(_HEAD + b"Content-Length: " + b"9" * 400), Reason.DECODE),
    _wire(
        "length 2^63",
        say(_HEAD + b"Content-Length: 9223372036854775808\r\n\r\n{}", then=drop),
        Reason.CONNECT,
        also=frozenset((Reason.DECODE,)),
    ),
    _wire("length with a sign", say(_HEAD + b"Content-Length: +2\r\n\r\n{}"), Reason.DECODE),
    _wire("length in hexadecimal", say(_HEAD + b"Content-Length: 0x2\r\n\r\n{}"), Reason.DECODE),
    _wire(
        "length and chunks",
        say(_HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        Reason.DECODE,
    ),
    _wire("no size of a chunk", say(_CHUNKED + b"many\r\n{}\r\n0\r\n\r\n"), Reason.DECODE),
    _wire("negative chunk", say(_CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n"), Reason.DECODE),
    _wire("chunk of 2^64", say(_CHUNKED + b"ffffffffffffffff1\r\n{}"), Reason.DECODE),
    _wire("chunk longer than declared", say(_CHUNKED + b"1\r\n{}\r\n0\r\n\r\n"), Reason.DECODE),
    _wire(
        "reset after the head",
        say(_HEAD + b"Content-Length: 9\r\n\r\n", then=reset),
        Reason.CONNECT,
    ),
    _wire(
        "reset in the body",
        say(_HEAD + b'Content-Length: 9\r\n\r\n{"a"', then=reset),
        Reason.CONNECT,
    ),
    _wire("reset in the head", say(b"HTTP/1.1 200 OK\r\nContent-", then=reset), Reason.CONNECT),
    _wire("closed between chunks", say(_CHUNKED + b"1\r\n{\r\n", then=drop), Reason.CONNECT),
    _wire(
        "only 100s",
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_seconds=0.02),
        Reason.TIMEOUT,
        also=frozenset((Reason.DECODE,)),
        lasts=True,
    ),
    _wire(
        "a head that drips",
        endless(_HEAD, b"X: y\r\n", pause_seconds=0.02),
        Reason.TIMEOUT,
        lasts=True,
    ),
    _wire(
        "chunks that drip",
        endless(_CHUNKED, b"1\r\n \r\n", pause_seconds=0.02),
        Reason.TIMEOUT,
        lasts=True,
    ),
    _wire("hang in the head", say(b"HTTP/1.1 200", then=hang), Reason.TIMEOUT, lasts=True),
    _wire("switching protocols", say(_SOCKET), Reason.DECODE),
    _way("HTTP/1.0", lambda answer: _plain(answer, version="1.0", ends=True), None),
    _way("until the end", lambda answer: _plain(answer, ends=True), None),
    _way("chunks of 7 bytes", _chunked, None),
    _way("chunks with extensions", lambda answer: _chunked(answer, extension=";a=b"), None),
    _way("chunks with a trailer", lambda answer: _chunked(answer, trailer="Status: 500\r\n"), None),
    _way("one header twice", lambda answer: _plain(answer, more="X: 1\r\nX: 2\r\n"), None),
    _way(
        "a cookie and a realm",
        lambda answer: _plain(
            answer, more="Set-Cookie: a=b\r\nWWW-Authenticate: Basic realm=x\r\n"
        ),
        None,
    ),
    _way("continue", _after(b"HTTP/1.1 100 Continue\r\n\r\n"), None),
    _way("hints", _after(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), None),
    _way(
        "length too short",
        lambda answer: say(
            _HEAD + _typed(answer) + b"Content-Length: 5\r\n\r\n" + answer.body, then=drop
        ),
        Reason.DECODE,
    ),
    _way(
        "length too long",
        lambda answer: say(
            _HEAD + f"Content-Length: {len(answer.body) + 1}\r\n\r\n".encode() + answer.body,
            then=drop,
        ),
        Reason.CONNECT,
    ),
    _way(
        "twice",
        lambda answer: say(
            2
            * (
                _HEAD
                + _typed(answer)
                + f"Content-Length: {len(answer.body)}\r\n\r\n".encode()
                + answer.body
            )
        ),
        None,
        also=frozenset((Reason.CONNECT, Reason.DECODE)),
    ),
    _way("gzip", _packed("gzip", gzip.compress), None),
    _way("x-gzip in capitals", _packed("X-GZIP", gzip.compress), None),
    _way(
        "gzip in two members",
        _packed("gzip", lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:])),
        None,
    ),
    _way("deflate", _packed("deflate", zlib.compress), None),
    _way("raw deflate", _packed("deflate", _raw_deflate), None),
    _way("half a gzip", _packed("gzip", lambda body: gzip.compress(body)[:-9]), Reason.DECODE),
    _way("gzip with a wrong sum", _packed("gzip", _wrong_sum), Reason.DECODE),
    _way(
        "gzip and garbage",
        _packed("gzip", lambda body: gzip.compress(body) + b"garbage"),
        Reason.DECODE,
    ),
    _way(
        "gzip twice",
        _packed("gzip", lambda body: gzip.compress(gzip.compress(body))),
        Reason.DECODE,
    ),
    _way("undeclared gzip", _packed("identity", gzip.compress), Reason.DECODE),
    _way("two encodings", _packed("gzip, gzip", gzip.compress), Reason.DECODE),
    _wire("gzip of nothing", reply(b"", headers={"Content-Encoding": "gzip"}), Reason.DECODE),
    _wire(
        "20,000 empty members",
        reply(gzip.compress(b"") * 20_000, headers={"Content-Encoding": "gzip"}),
        Reason.DECODE,
    ),
)


def _status(status: int, reason: Reason | None, *, name: str = "", **more: Any) -> Fault:
    headers = more.pop("headers", {})
    body = more.pop("body", b'{"message": "no"}')
    return Fault(
        name=name or str(status),
        group="status",
        reason=reason,
        treatment=instead(reply(body, status=status, headers=headers)),
        **more,
    )


def _kept(status: int, reason: Reason | None, **more: Any) -> Fault:
    """Return a fault that changes only the status of the vendor's reply."""
    return Fault(
        name=f"{status} with the reply",
        group="status",
        reason=reason,
        treatment=_as_said(lambda answer: reply(answer.body, status=status, headers=_type(answer))),
        **more,
    )


#: A gateway's login page, in place of a reply of the API.
_PAGE = b"<html><title>Sign in</title><body><form>Please log in.</form></body></html>"

#: Values of `Retry-After`, with the seconds after which all must be well again.
PAUSES = {
    "": LATER_SECONDS,
    "0": LATER_SECONDS,
    "-5": LATER_SECONDS,
    "1.5": LATER_SECONDS,
    "soon": LATER_SECONDS,
    "30, 60": LATER_SECONDS,
    "\u00b2": LATER_SECONDS,
    "Wed, 21 Oct 2015 07:28:00 GMT": LATER_SECONDS,
    "Tue, 14 Nov 2023 22:20:00 GMT": 500.0,
    "Fri, 31 Dec 9999 23:59:59 GMT": HOUR_SECONDS + 1,
    "Fri, 99 Zzz 99999 99:99:99 GMT": LATER_SECONDS,
    "9" * 400: HOUR_SECONDS + 1,
}

STATUS = (
    *(_status(status, Reason.HTTP_4XX) for status in (300, 303, 305, 308)),
    *(
        _status(status, Reason.HTTP_4XX)
        for status in (402, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 417, 418, 421, 422)
    ),
    *(_status(status, Reason.HTTP_4XX) for status in (407, 423, 424, 425, 426, 428, 431, 451, 499)),
    *(
        _status(status, Reason.HTTP_5XX)
        for status in (501, 504, 505, 506, 507, 508, 510, 511, 520, 522, 525, 530, 599, 600, 700)
    ),
    _status(302, Reason.HTTP_4XX, name="302 without Location"),
    _status(302, Reason.HTTP_4XX, name="302 to itself", headers={"Location": "/"}),
    _status(302, Reason.HTTP_4XX, name="302 to a file", headers={"Location": "file:///etc/passwd"}),
    _status(304, Reason.HTTP_4XX, body=b""),
    _status(204, Reason.DECODE, body=b""),
    _status(205, Reason.DECODE, body=b""),
    _status(202, Reason.DECODE, body=b""),
    _status(200, Reason.DECODE, name="login page", body=_PAGE),
    _status(500, Reason.HTTP_5XX, name="500 without a body", body=b""),
    _status(500, Reason.HTTP_5XX, name="500 with 200 kB", body=b"x" * 200_000),
    _status(500, Reason.DECODE, name="500 with 300 kB", body=b"x" * 300_000),
    *(_kept(status, None) for status in (201, 203, 206, 207, 226, 299)),
    _kept(500, Reason.HTTP_5XX),
    _kept(400, Reason.HTTP_4XX),
    *(
        _status(
            status,
            Reason.RATE_LIMITED if status == 429 else Reason.HTTP_5XX,
            name=f"{status} with Retry-After {wait[:40]!r}",
            headers={"Retry-After": wait},
            also=frozenset((Reason.RATE_LIMITED,)),
            pauses=True,
            recovery_seconds=seconds,
        )
        for status in (429, 503)
        for wait, seconds in PAUSES.items()
    ),
)
