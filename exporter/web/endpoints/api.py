"""The JSON API, with the envelope of Prometheus' own.

Unknown values are `null`. JSON has no infinity: as in Prometheus' API it is the string `"+Inf"`.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from exporter.cooperative import collected, in_turns
from exporter.fleet.kinds import LISTED
from exporter.overview.build import arranged, target_rows
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
        rows = await collected(target_rows(self._view.snapshots(), self._view.now()))
        return await _filtered("targets", arranged(rows), request.query_params)

    async def sources(self, request: Request) -> Response:
        """Answer with all sources, filtered by `source` and `state`, each repeatable."""
        return await _filtered("sources", self._view.sources(), request.query_params)

    async def alerts(self, request: Request) -> Response:
        """Answer with what the built-in evaluation has found; with nothing where it is off."""
        del request
        return await _success("alerts", self._view.alerts() or ())


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
    return await _success(
        name,
        [
            row
            async for row in in_turns(rows)
            if all(getattr(row, attribute) in chosen for attribute, chosen in wanted.items())
        ],
    )


async def _success(name: str, rows: Iterable[msgspec.Struct]) -> Response:
    encoder = msgspec.json.Encoder()
    items = await collected(encoder.encode(plain(row)) for row in rows)
    body = b'{"status":"success","data":{"%s":[%s]}}' % (name.encode(), b",".join(items))
    return Response(body, media_type="application/json")


def _bad_data(message: str) -> Response:
    body = {"status": "error", "errorType": "bad_data", "error": message}
    return Response(
        msgspec.json.encode(body),
        status_code=HTTPStatus.BAD_REQUEST,
        media_type="application/json",
    )
