"""The JSON API, with the envelope of Prometheus' own.

Unknown values are `null`. JSON has no infinity: as in Prometheus' API it is the string `"+Inf"`.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from exporter.fleet.kinds import LISTED
from exporter.overview.build import arranged, target_rows
from exporter.overview.rows import Condition
from exporter.web.slices import in_slices


if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import StrEnum

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from exporter.overview.interface import View


class Api:
    """The endpoints below `/api/v1`."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def targets(self, request: Request) -> Response:
        """Answer with all targets, filtered by `source`, `kind` and `state`, each repeatable."""
        try:
            kinds = _chosen(request.query_params, "kind", LISTED)
            states = _chosen(request.query_params, "state", Condition)
        except ValueError as error:
            return _bad_data(str(error))
        sources = request.query_params.getlist("source")
        rows = await in_slices(target_rows(self._view.snapshots(), self._view.now()))
        return await _success(
            "targets",
            (
                row
                for row in arranged(rows)
                if (not kinds or row.kind in kinds)
                and (not states or row.state in states)
                and (not sources or row.source in sources)
            ),
        )

    async def sources(self, request: Request) -> Response:
        """Answer with all sources, filtered by `source` and `state`, each repeatable."""
        try:
            states = _chosen(request.query_params, "state", Condition)
        except ValueError as error:
            return _bad_data(str(error))
        names = request.query_params.getlist("source")
        return await _success(
            "sources",
            (
                row
                for row in self._view.sources()
                if (not states or row.state in states) and (not names or row.name in names)
            ),
        )

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


def _chosen(query: QueryParams, name: str, values: Iterable[StrEnum]) -> list[str]:
    chosen = query.getlist(name)
    if not set(chosen) <= set(values):
        raise ValueError(f"{name} must be one of: {', '.join(values)}")
    return chosen


async def _success(name: str, rows: Iterable[msgspec.Struct]) -> Response:
    encoder = msgspec.json.Encoder()
    items = await in_slices(encoder.encode(plain(row)) for row in rows)
    body = b'{"status":"success","data":{"%s":[%s]}}' % (name.encode(), b",".join(items))
    return Response(body, media_type="application/json")


def _bad_data(message: str) -> Response:
    body = {"status": "error", "errorType": "bad_data", "error": message}
    return Response(
        msgspec.json.encode(body),
        status_code=HTTPStatus.BAD_REQUEST,
        media_type="application/json",
    )
