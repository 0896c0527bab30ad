"""The fleet's hosts as Prometheus' HTTP service discovery reads them.

An inventory that is not known is no empty one: it is answered with 503, upon which Prometheus
keeps the hosts it has.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import PlainTextResponse, Response

from exporter.cooperative import in_turns
from exporter.fleet.readings import Agent, Controller, Recorder, Target


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from starlette.requests import Request

    from exporter.fleet.store import Snapshot
    from exporter.overview.interface import View


_META = "__meta_loadfleet_"

# Prometheus refuses an address with a slash, and nothing can be reached under one with a blank.
_HOST = re.compile(r"[^\s/\x00-\x1f\x7f]+")


class Discovery:
    """The endpoints below `/sd`; each lists what one task found."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def agents(self, request: Request) -> Response:
        """Answer with the hosts of agents."""
        return await self._hosts("agents", request)

    async def controllers(self, request: Request) -> Response:
        """Answer with the hosts of cluster controllers."""
        return await self._hosts("controllers", request)

    async def recorders(self, request: Request) -> Response:
        """Answer with the hosts of proxy recorders."""
        return await self._hosts("recorders", request)

    async def _hosts(self, task: str, request: Request) -> Response:
        wanted = request.query_params.getlist("source")
        port = request.query_params.get("port", "")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
            return _text(HTTPStatus.BAD_REQUEST, "port must be a number from 1 to 65535")
        watching = {
            source.name
            for source in self._view.sources()
            if any(known.name == task for known in source.tasks)
        }
        strangers = sorted(set(wanted) - watching)
        if strangers:
            return _text(HTTPStatus.NOT_FOUND, f"no source of that name watches {task}")
        found = [snapshot for snapshot in self._view.snapshots() if snapshot.task == task]
        known = {snapshot.source for snapshot in found}
        # Whoever names sources wants them whole; else one that is broken must not hide the others.
        if not known.issuperset(wanted) or (watching and not known):
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"the {task} are not known now")
        encoder = msgspec.json.Encoder()
        groups = [
            encoder.encode(group)
            for snapshot in found
            if not wanted or snapshot.source in wanted
            async for group in in_turns(_groups(snapshot, port))
        ]
        return Response(b"[%s]" % b",".join(groups), media_type="application/json")


def _groups(snapshot: Snapshot, port: str) -> Iterator[dict[str, Any]]:
    for reading in snapshot.readings:
        if isinstance(reading, Target) and _HOST.fullmatch(reading.host):
            host = reading.host
            if ":" in host and not host.startswith("["):
                host = f"[{host}]"
            at = port or reading.port
            address = f"{host}:{at}" if at else host
            yield {"targets": [_sendable(address)], "labels": _labels(snapshot, reading)}


def _labels(snapshot: Snapshot, target: Target) -> Mapping[str, str]:
    facts = {
        "provider": snapshot.provider,
        "source": snapshot.source,
        "host": target.host,
        "port": target.port,
        "location": target.location,
    }
    labels = {**facts, **dict(_identity(target))}
    if target.state is not None:
        labels |= {"version": target.state.version, "os": target.state.os}
    labels |= {f"label_{name}": value for name, value in snapshot.labels.items()}
    return {_META + name: _sendable(value) for name, value in labels.items() if value}


def _identity(target: Target) -> Iterable[tuple[str, str]]:
    match target:
        case Agent(agent_id=key, agent=name, active=active):
            yield from (("kind", "agent"), ("id", key), ("name", name))
            if active is not None:
                yield "active", str(active).lower()
        case Controller(controller=key):
            yield from (("kind", "controller"), ("id", key), ("name", key))
        case Recorder(recorder_id=key, recorder=name):
            yield from (("kind", "recorder"), ("id", key), ("name", name))


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _text(status: HTTPStatus, message: str) -> Response:
    return PlainTextResponse(f"{status.value} {status.phrase}: {message}.\n", status_code=status)
