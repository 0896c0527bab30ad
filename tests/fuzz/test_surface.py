"""The web server must give one of its specified answers to any request."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import bcrypt
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.config.address import Address
from exporter.fleet.store import Store
from exporter.metrics.exposition import Exposition
from exporter.metrics.telemetry import SelfMetrics
from exporter.web.access.gate import SECURITY_HEADERS, Gate
from exporter.web.access.security import WebSecurity
from exporter.web.app import create_app
from exporter.web.server.uvicorn_server import WebServer
from tests.fuzz.mutations import mutated
from tests.support.clock import FakeClock
from tests.support.fleet import READINGS
from tests.web.fakes import NOW, ExposingView, failed, source


if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message


words = str.split

PATHS = words("""/ /target /runbooks/ /metrics /config /probe /static/board.js /static/style.css
/api/v1/targets /api/v1/sources /api/v1/problems /api/v1/alerts /api/v1/status
/badge/target.svg /badge/fleet.svg
/sd/agents /sd/controllers /sd/recorders /-/healthy /-/ready /-/reload""")
METHODS = words("GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT FOO")
HEADERS = words("""accept accept-encoding authorization host range if-none-match if-modified-since
cookie content-length origin x-prometheus-scrape-timeout-seconds""")
NAMES = words("""source kind id state name[] sort desc q page port debug location version provider
label group limit offset severity label.site""")
VALUES = words("""prod agent 7 cluster 3 run 21 suite 11 controller 10.0.0.8:8083 recorder down up
name -1 0 99999999999999999999 true 1e999 nan inf loadfleet_agent_up gzip gzip;q=0 */* bytes=0-
bytes=-1,2- application/openmetrics-text;version=1.0.0 text/plain;version=x;escaping=y;q=z
../../etc/passwd""")
VALUES += ["Basic YWxpY2U6cmlnaHQ=", "Basic ====", "Basic /w==", "Bearer x"]

# The machine's speed is not what is tested.
patient = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

texts = st.sampled_from(VALUES) | st.text(max_size=12)
raw = st.sampled_from([value.encode() for value in VALUES]) | st.binary(max_size=24).map(
    lambda value: value.translate(None, b"\r\n\0")
)
paths = st.builds(
    lambda path, more: path + more,
    st.sampled_from(PATHS),
    st.sampled_from(
        ["", "", "", "/", "//", "/..", "/%2e%2e/%2e%2e/app.py", "%00", "%ff", ";x", "/."]
    )
    | st.text(max_size=8).map(quote),
)
queries = st.lists(
    st.builds(
        lambda name, value: f"{quote(name)}={quote(value)}",
        st.sampled_from(NAMES) | st.text(max_size=4),
        texts,
    ),
    max_size=5,
).map(lambda pairs: "&".join(pairs).encode()) | st.binary(max_size=30)
headers = st.lists(st.tuples(st.sampled_from(HEADERS).map(str.encode), raw), max_size=4)
#: Valid requests among the noise, which alone would hardly ever pass the checks.
targets = st.tuples(paths, queries) | st.builds(
    lambda good, noise: (good[0], b"&".join((good[1], noise))),
    st.sampled_from(
        [
            ("/probe", b"source=prod&kind=agent&id=7"),
            ("/probe", b"source=prod&kind=cluster&id=3&debug=true"),
            ("/target", b"source=prod&kind=agent&id=7"),
            ("/api/v1/targets", b"source=prod&kind=agent&state=up"),
            ("/badge/target.svg", b"source=prod&kind=agent&id=7"),
            ("/metrics", b"name[]=loadfleet_agent_up"),
        ]
    ),
    queries,
)
requests = st.builds(
    lambda method, target, headers: {
        "method": method,
        "path": target[0],
        "query_string": target[1],
        "headers": headers,
    },
    st.sampled_from(METHODS) | st.just("GET"),
    targets,
    headers,
)


@functools.cache
def served(prefix: str = "", lifecycle: bool = True) -> ASGIApp:
    """Make the app of a daemon that knows a reading of every kind."""
    clock = FakeClock(unix=NOW.unix, monotonic=NOW.monotonic).clock
    store = Store(clock)
    view = ExposingView(
        Exposition(store, SelfMetrics(clock=clock)),
        *READINGS,
        sources=[source(), source("lab", status=failed())],
    )
    store.put(view.snapshot)
    return create_app(view, route_prefix=prefix, lifecycle=lifecycle)


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> WebSecurity:
    path = tmp_path_factory.mktemp("web") / "web.yml"
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    path.write_text(yaml.safe_dump({"basic_auth_users": {"alice": hashed}}))
    return WebSecurity(path)


async def ask(app: ASGIApp, **request: Any) -> tuple[int, dict[str, str], bytes]:
    """Ask as a server does and return status, headers and body; what the app raises comes out."""
    path = request["path"]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 10871),
        "client": ("127.0.0.1", 50000),
        "root_path": "",
        "state": {},
        **request,
        "path": unquote(path),
        "raw_path": path.encode(),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await app(scope, receive, send)
    fields = {name.decode("latin-1"): text.decode("latin-1") for name, text in sent[0]["headers"]}
    return sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent)


@settings(patient, max_examples=settings().max_examples * 4)
@given(
    request=requests,
    prefix=st.sampled_from(["", "/fleet"]),
    lifecycle=st.booleans(),
    guarded=st.booleans(),
)
async def test_no_request_is_answered_with_a_mistake_of_ours(
    security: WebSecurity, request: dict[str, Any], prefix: str, lifecycle: bool, guarded: bool
) -> None:
    """No request may cause a 5xx or a traceback; every answer must have the security headers."""
    app = served(prefix, lifecycle)
    if guarded:
        app = Gate(app, security, route_prefix=prefix)

    status, answered, body = await ask(app, **{**request, "path": prefix + request["path"]})

    assert 200 <= status < 500
    assert b"Traceback" not in body
    assert {name.lower(): text for name, text in SECURITY_HEADERS.items()}.items() <= (
        answered.items()
    )


REQUEST = (
    b"GET /api/v1/targets?source=prod&state=up HTTP/1.1\r\nHost: exporter\r\n"
    b"Accept-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    b"POST /-/reload HTTP/1.1\r\nHost: exporter\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n"
)


@settings(patient, max_examples=settings().max_examples // 8)
@given(st.lists(mutated(REQUEST) | st.binary(max_size=60), min_size=4, max_size=12))
async def test_no_bytes_on_the_wire_break_the_server(sent: list[bytes]) -> None:
    """The server must answer any bytes without an error of its own, or close the connection."""
    server = WebServer(served(), [Address("127.0.0.1", 0)])
    await server.start()
    try:
        port = server.addresses[0].port
        replies = [await talk(port, request) for request in sent]
        last = await talk(port, b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    finally:
        await server.stop(0)

    assert last.startswith(b"HTTP/1.1 200 ")
    for reply in replies:
        assert b"HTTP/1.1 5" not in reply
        assert b"Traceback" not in reply


async def talk(port: int, request: bytes) -> bytes:
    """Send bytes, then nothing more, and return what comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()
