"""`/api/v1/history`: the history of one target, as JSON."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from exporter.config.words import one_of
from exporter.errors import StateError
from exporter.fleet.kinds import LISTED
from exporter.history.summary import SPANS
from exporter.overview.document import plain
from exporter.web.endpoints.api import bad_data, refused


if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from exporter.history.summary import TargetHistory
    from exporter.overview.interface import View


#: The parameters that name the target.
_NAMED = ("source", "kind", "id")


class HistoryApi:
    """The endpoint of the history."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def history(self, request: Request) -> Response:
        """Return the response with the history of the target `source`, `kind` and `id`.

        The history has all spans, or those of the repeatable parameter `span`, and their hours.
        """
        query = request.query_params
        if mistake := _mistake(query):
            return bad_data(mistake)
        if self._view.history is None:
            return refused(HTTPStatus.NOT_FOUND, "not_found", "no history is kept: it is off")
        try:
            found = await self._view.history.of(
                query["source"], query["kind"], query["id"], self._view.now().unix
            )
        except StateError as error:
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error))
        if found is None:
            return refused(HTTPStatus.NOT_FOUND, "not_found", "nothing is known of such a target")
        wanted = query.getlist("span") or SPANS
        spans = tuple(each for each in found.spans if each.span in wanted)
        begin = min(each.begin_timestamp_seconds for each in spans)
        hours = tuple(each for each in found.hours if each.begin_timestamp_seconds >= begin)
        found = msgspec.structs.replace(found, spans=spans, hours=hours)
        about = {name: query[name] for name in _NAMED}
        # In a thread: a target that changes at each poll has tens of thousands of transitions.
        body = await asyncio.to_thread(_encoded, about, found)
        return Response(body, media_type="application/json")


def _encoded(about: dict[str, str], history: TargetHistory) -> bytes:
    return msgspec.json.encode({"status": "success", "data": {"history": about | plain(history)}})


def _mistake(query: QueryParams) -> str:
    """Return the mistake in the parameters with a remedy, empty if they are right."""
    if set(query) - {*_NAMED, "span"}:
        return f"the parameters are: {', '.join((*_NAMED, 'span'))}"
    for name in _NAMED:
        if not query.get(name):
            return f"{name} is missing; name the target by source, kind and id"
    for name, known in (("kind", LISTED), ("span", SPANS)):
        for text in query.getlist(name):
            if text not in known:
                return f"{name} {one_of(text, known)}"
    return ""
