"""The fleet's hosts in the format of Prometheus' HTTP service discovery.

While an inventory is unknown, the response is 503 and not an empty list, because Prometheus then
keeps the hosts that it has.
"""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from exporter.cooperative import collected
from exporter.fleet.kinds import BY_READING, Kind
from exporter.fleet.readings import Agent, Target


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request

    from exporter.fleet.store import Snapshot
    from exporter.overview.interface import View


_META = "__meta_loadfleet_"

# Prometheus refuses addresses with a slash, and addresses with a blank cannot be reached.
_HOST = re.compile(r"[^\s/\x00-\x1f\x7f]+")

# Without leading zeros: Prometheus uses the text unchanged in the label `instance`, too.
_PORT = re.compile(r"[1-9][0-9]{0,4}")


class Discovery:
    """The endpoints below `/sd`; each lists the hosts of one kind of target."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.agents = partial(self._hosts, Kind.AGENT.task)
        self.controllers = partial(self._hosts, Kind.CONTROLLER.task)
        self.recorders = partial(self._hosts, Kind.RECORDER.task)

    async def _hosts(self, task: str, request: Request) -> Response:
        wanted = request.query_params.getlist("source")
        ports = request.query_params.getlist("port") or [""]
        port = ports[0]
        if len(ports) > 1 or (port and not (_PORT.fullmatch(port) and int(port) < 65_536)):
            why = "port must be one number from 1 to 65535, without leading zeros"
            raise HTTPException(HTTPStatus.BAD_REQUEST, why)
        watching = {
            source.name
            for source in self._view.sources()
            if any(known.name == task for known in source.tasks)
        }
        strangers = sorted(set(wanted) - watching)
        if strangers:
            why = f"no source of that name watches {task}"
            raise HTTPException(HTTPStatus.NOT_FOUND, why)
        found = [snapshot for snapshot in self._view.snapshots() if snapshot.task == task]
        known = {snapshot.source for snapshot in found}
        # With `source`, all of these sources must be known. Without it, one is enough, so that a
        # broken source does not hide the others.
        if not known.issuperset(wanted) or (watching and not known):
            why = f"the {task} are not known now"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, why)
        encoder = msgspec.json.Encoder()
        groups = await collected(
            encoder.encode(group)
            for snapshot in found
            if not wanted or snapshot.source in wanted
            for group in _groups(snapshot, port)
        )
        return Response(b"[%s]" % b",".join(groups), media_type="application/json")


def _groups(snapshot: Snapshot, port: str) -> Iterator[dict[str, Any]]:
    for reading in snapshot.readings:
        kind = BY_READING.get(type(reading))
        if kind and isinstance(reading, Target) and _HOST.fullmatch(reading.host):
            host = reading.host
            if ":" in host and not host.startswith("["):
                host = f"[{host}]"
            at = port or reading.port
            address = f"{host}:{at}" if at else host
            yield {"targets": [_sendable(address)], "labels": _labels(snapshot, kind, reading)}


def _labels(snapshot: Snapshot, kind: Kind, target: Target) -> Mapping[str, str]:
    labels = {
        "provider": snapshot.provider,
        "source": snapshot.source,
        "host": target.host,
        "port": target.port,
        "location": target.location,
        "kind": kind.value,
        "id": kind.id_of(target),
        "name": kind.name_of(target),
    }
    if isinstance(target, Agent) and target.active is not None:
        labels["active"] = str(target.active).lower()
    if target.state is not None:
        labels |= {"version": target.state.version, "os": target.state.os}
    labels |= {f"label_{name}": value for name, value in snapshot.labels.items()}
    return {_META + name: _sendable(value) for name, value in labels.items() if value}


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
