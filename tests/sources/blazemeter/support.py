"""The recorded and built replies, and an account that answers with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from exporter.fleet.readings import Reading
from exporter.http import HttpClient
from exporter.metrics.mapping import samples
from exporter.metrics.telemetry import SelfMetrics
from exporter.sources.base import Poll, SourceContext
from exporter.sources.blazemeter.settings import BlazeMeterSettings
from exporter.sources.blazemeter.source import connect
from exporter.sources.calls import http_options
from exporter.sources.decode import decode
from tests.support.clock import FakeClock
from tests.support.ledger import ledger_of


if TYPE_CHECKING:
    from exporter.sources.base import Source


FOLDER = Path(__file__).parents[2] / "fixtures" / "blazemeter"

#: The present time in all invented fixtures, epoch seconds.
BASE = 1_760_000_000.0

WORKSPACE = 200001

#: The key of the workspace's list of runs.
LIST = f"masters?workspaceId={WORKSPACE}"

T = TypeVar("T")
R = TypeVar("R", bound=Reading)

Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


def body(name: str) -> bytes:
    """Return a fixture as it would come over the wire."""
    return (FOLDER / f"{name}.json").read_bytes()


def document(name: str) -> Any:
    """Return a fixture as plain data, to be changed at will."""
    return json.loads(body(name))


def reply(name: str, type_: type[T]) -> T:
    """Return a fixture decoded; a surprise is an error."""
    return decode(body(name), type_, operation=name, surprise=no_surprise)


def no_surprise(kind: str) -> None:
    """Stand where there must be no surprise."""
    raise AssertionError(f"surprised by: {kind}")


def ok(result: Any, **envelope: Any) -> httpx.Response:
    """Make a good reply around a result."""
    content = {"api_version": 4, "error": None, "result": result, **envelope}
    return httpx.Response(200, json=content)


def error(name: str, status: int, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Make an error of a fixture."""
    return httpx.Response(status, content=body(f"error.{name}"), headers=headers)


def status_of(
    progress: float, name: str = "", events: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Make the result of a status call."""
    status: dict[str, Any] = {"progress": progress, "sessions": []}
    if name:
        status["status"] = name
    if events is not None:
        status["events"] = events
    return status


class Account:
    """Answers of the API, by path below `/api/v4/` with the query that tells calls apart.

    Lists are keyed `masters?workspaceId=1`, a status with its events `masters/1/status+events`.
    A call without an answer gets 404. `sent` are the keys of the calls, `requests` all calls.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "user": ok({"id": 410001, "email": "canary@example.com"})
        }
        self.requests: list[httpx.Request] = []
        self.sent: list[str] = []

    def fixture(self, key: str, name: str) -> None:
        """Answer with a fixture."""
        self.answers[key] = httpx.Response(200, content=body(name))

    def status(self, run_id: int, name: str) -> None:
        """Answer both kinds of status calls with a fixture, events left out on demand."""
        whole = document(name)
        self.answers[f"masters/{run_id}/status+events"] = httpx.Response(200, json=whole)
        without = {key: value for key, value in whole["result"].items() if key != "events"}
        self.answers[f"masters/{run_id}/status"] = ok(without)

    def suites(self, **names: str) -> None:
        """Answer for some tests, as `t7="Load"`, or multi-tests, as `m7="Load"`, by their name."""
        for key, name in names.items():
            path = {"t": "tests", "m": "multi-tests"}[key[0]]
            self.answers[f"{path}/{key[1:]}"] = ok({"id": int(key[1:]), "name": name})

    def at(self, code: float, *run_ids: int, **fields: Any) -> None:
        """Set the status of some runs, with further fields."""
        for run_id in run_ids:
            self.answers[f"masters/{run_id}/status"] = ok({**status_of(code), **fields})
            whole = {**status_of(code, events=[]), **fields}
            self.answers[f"masters/{run_id}/status+events"] = ok(whole)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a call."""
        key = _key(request)
        self.requests.append(request)
        self.sent.append(key)
        answer = self.answers.get(key)
        if answer is None:
            return error("404", 404)
        made = answer(request) if callable(answer) else answer
        # A response can be read once only.
        return httpx.Response(made.status_code, headers=made.headers, content=made.content)


def _key(request: httpx.Request) -> str:
    path = request.url.path.removeprefix("/api/v4/")
    query = request.url.params
    for name in ("workspaceId", "testId", "collectionId"):
        if name in query:
            skip = int(query.get("skip", "0"))
            return f"{path}?{name}={query[name]}" + (f"&skip={skip}" if skip else "")
    return f"{path}+events" if query.get("events") == "true" else path


def row(run_id: int = 1, **fields: Any) -> dict[str, Any]:
    """Make a row of a list; in flight unless it has an end."""
    return {"id": run_id, "name": "Load", "testId": 7, "created": BASE, **fields}


def ended_row(run_id: int = 1, **fields: Any) -> dict[str, Any]:
    """Make a row of a run that ended just now."""
    return row(run_id, **{"ended": BASE + 50, "reportStatus": "pass", **fields})


def bench(*rows: dict[str, Any], **settings: Any) -> Bench:
    """Make a source with one workspace that lists some runs."""
    account = Account()
    account.answers[LIST] = ok(list(rows))
    account.suites(t7="Load")
    return Bench(account, **{"workspaces": [WORKSPACE], **settings})


class Bench:
    """A source over an account, with a clock that tests move."""

    def __init__(self, account: Account | None = None, **settings: Any) -> None:
        self.account = account or Account()
        self.time = FakeClock(unix=BASE + 60)
        self.telemetry = SelfMetrics(clock=self.time.clock)
        values = {
            "api_key_id": "key-id",
            "api_key_secret": "key-secret",
            "retries": 0,
            **settings,
        }
        self.settings = BlazeMeterSettings.model_validate(values)
        self.ledger = ledger_of(self.time)
        self.source = self.connect()

    def connect(self, **before: Any) -> Source:
        """Make a source, another one after a restart with what its context has from before."""
        context = SourceContext(
            telemetry=self.telemetry.source("blazemeter", "acme"),
            clock=self.time.clock,
            ledger=self.ledger,
            random=Random(1),  # noqa: S311 - jitter is no secret
            **before,
        )
        http = HttpClient(
            http_options(self.settings),
            clock=context.clock,
            random=context.random,
            transport=httpx.MockTransport(self.account.handle),
        )
        return connect(self.settings, context, http=http)

    async def poll(self, task: str) -> Poll:
        """Poll a task; the calls of earlier polls are forgotten."""
        self.account.sent.clear()
        return await self.source.poll(task)

    def surprises(self, kind: str) -> float:
        """Count the surprises so far."""
        labels = {"provider": "blazemeter", "source": "acme", "kind": kind}
        name = "loadfleet_exporter_vendor_surprises_total"
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def readings(poll: Poll, type_: type[R]) -> list[R]:
    """Return the readings of a type."""
    return [reading for reading in poll.readings if isinstance(reading, type_)]


def exposed(reading: Reading) -> dict[str, float]:
    """Return a reading's samples as `family`, or `family{label="value",…}` with further labels.

    The target's id and name are left out, and so are empty labels.
    """
    shown: dict[str, float] = {}
    for sample in samples(reading):
        own = [
            f'{label}="{value}"'
            for label, value in zip(sample.family.labels[2:], sample.labels[2:], strict=True)
            if value
        ]
        name = sample.family.name.removeprefix("loadfleet_")
        shown[f"{name}{{{','.join(own)}}}" if own else name] = sample.value
    return shown


async def only(bench: Bench, type_: type[R]) -> R:
    """Poll the runs, and return the one reading of a type."""
    (reading,) = readings(await bench.poll("runs"), type_)
    return reading
