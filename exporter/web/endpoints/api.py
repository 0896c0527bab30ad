"""The JSON API, with the envelope of Prometheus' own.

Unknown values are `null`. JSON has no infinity: as in Prometheus' API it is the string `"+Inf"`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from exporter.cooperative import collected, in_turns
from exporter.fleet.kinds import LISTED
from exporter.overview.rows import Condition


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import StrEnum

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from exporter.overview.interface import View


#: The filters of each list: a row's attribute, and its values where they are a closed list.
_FILTERS: Mapping[str, Mapping[str, tuple[str, Iterable[StrEnum] | None]]] = {
    "targets": {
        "source": ("source", None),
        "kind": ("kind", LISTED),
        "state": ("state", Condition),
    },
    "sources": {"source": ("name", None), "state": ("state", Condition)},
}


class Api:
    """The endpoints below `/api/v1`."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def targets(self, request: Request) -> Response:
        """Answer with all targets, filtered by `source`, `kind` and `state`, each repeatable."""
        picture = await self._view.picture()
        return await _filtered("targets", picture.targets, request.query_params)

    async def sources(self, request: Request) -> Response:
        """Answer with all sources, filtered by `source` and `state`, each repeatable."""
        picture = await self._view.picture()
        return await _filtered("sources", picture.sources, request.query_params)

    async def alerts(self, request: Request) -> Response:
        """Answer with what the built-in evaluation has found; with nothing where it is off."""
        del request
        picture = await self._view.picture()
        return await _success(alerts=picture.alerts or ())

    async def status(self, request: Request) -> Response:
        """Answer with the verdict on the fleet and all that it is about, of one moment."""
        del request
        picture = await self._view.picture()
        return await _success(
            ready=picture.ready,
            headline=picture.headline,
            problems=picture.problems,
            sources=picture.sources,
            targets=picture.targets,
            runs=picture.runs,
        )


def plain(value: Any) -> Any:
    """Turn rows into values that JSON has."""
    match value:
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case msgspec.Struct():
            return plain(msgspec.to_builtins(value))
        case _:
            return value


async def _filtered(name: str, rows: Iterable[msgspec.Struct], query: QueryParams) -> Response:
    wanted: dict[str, set[str]] = {}
    for parameter, (attribute, known) in _FILTERS[name].items():
        chosen = set(query.getlist(parameter))
        if known is not None and not chosen <= set(known):
            return _bad_data(f"{parameter} must be one of: {', '.join(known)}")
        if chosen:
            wanted[attribute] = chosen
    found = [
        row
        async for row in in_turns(rows)
        if all(getattr(row, attribute) in chosen for attribute, chosen in wanted.items())
    ]
    return await _success(**{name: found})


async def _success(**data: Any) -> Response:
    """Answer with facts and with sequences of rows, which may be long."""
    encoder = msgspec.json.Encoder()
    parts = []
    for name, value in data.items():
        if isinstance(value, Sequence):
            items = await collected(encoder.encode(plain(row)) for row in value)
            encoded = b"[%s]" % b",".join(items)
        else:
            encoded = encoder.encode(plain(value))
        parts.append(b'"%s":%s' % (name.encode(), encoded))
    body = b'{"status":"success","data":{%s}}' % b",".join(parts)
    return Response(body, media_type="application/json")


def _bad_data(message: str) -> Response:
    body = {"status": "error", "errorType": "bad_data", "error": message}
    return Response(
        msgspec.json.encode(body),
        status_code=HTTPStatus.BAD_REQUEST,
        media_type="application/json",
    )
