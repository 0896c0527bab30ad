"""The JSON API, in the envelope of Prometheus' API, with its lists also as CSV.

Unknown values are `null`.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from exporter.overview import lists
from exporter.overview.document import success, verdict
from exporter.overview.filters import Known
from exporter.overview.parameters import Parameters
from exporter.overview.preflight.report import Status, overall
from exporter.settings.preflights import NO_PREFLIGHTS
from exporter.web.endpoints import table
from exporter.web.endpoints.answers import Answers, preferred


if TYPE_CHECKING:
    from starlette.requests import Request

    from exporter.overview.interface import View
    from exporter.overview.lists import FleetList, Wanted
    from exporter.overview.picture import Picture


_JSON = "application/json"

#: The HTTP statuses of preflights, so that a client does not need to read the body.
STATUSES = {
    Status.FIT: HTTPStatus.OK,
    Status.NOT_FIT: HTTPStatus.CONFLICT,
    Status.NOT_KNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Api:
    """The endpoints below `/api/v1`.

    The query filters, sorts and limits each list, see `exporter.overview.lists`. A list is JSON
    unless the client prefers CSV.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._answers = Answers()
        self.targets = partial(self._list, lists.TARGETS)
        self.sources = partial(self._list, lists.SOURCES)
        # Only alerts of the built-in evaluation; empty if the evaluation is off.
        self.alerts = partial(self._list, lists.ALERTS)
        self.problems = partial(self._list, lists.PROBLEMS)

    async def status(self, request: Request) -> Response:
        """Return the response with the verdict on the fleet and all its data, of one moment."""
        picture = await self._view.picture()
        return await self._answers.answer(
            request,
            tag=picture.tag,
            headers={"Content-Type": _JSON},
            make=lambda: success(
                ready=picture.ready,
                total_shards=self._view.shard.total,
                headline=picture.headline,
                problems=picture.problems,
                sources=picture.sources,
                targets=picture.targets,
                runs=picture.runs,
            ),
        )

    async def preflight(self, request: Request) -> Response:
        """Return the response with all preflights, or those of the repeatable parameter `name`.

        The status is 200 if the fleet is fit for all of them, 409 if it is not fit for one of them,
        and else 503, because the fitness for one of them is unknown.
        """
        picture = await self._view.picture()
        known = {report.name: report for report in picture.preflights}
        if not known:
            return refused(HTTPStatus.NOT_FOUND, "not_found", NO_PREFLIGHTS)
        parameters = Parameters(request.query_params)
        parameters.only(("name",), labels=False)
        names = parameters.among("name", known)
        if parameters.mistakes:
            return bad_data(*parameters.mistakes)
        reports = [known[name] for name in names or known]
        return await self._answers.answer(
            request,
            tag=picture.tag,
            headers={"Content-Type": _JSON},
            make=partial(verdict, reports),
            status=STATUSES[overall(reports)],
        )

    async def _list(self, shown: FleetList, request: Request) -> Response:
        picture = await self._view.picture()
        wanted, mistakes = shown.read(request.query_params, picture)
        if mistakes:
            return bad_data(*mistakes)
        accept = ",".join(request.headers.getlist("accept"))
        if preferred(accept, (_JSON, table.MEDIA_TYPE)) == _JSON:
            headers, make = {"Content-Type": _JSON}, _json
        else:
            make = _csv
            headers = {
                "Content-Type": f"{table.MEDIA_TYPE}; charset=utf-8; header=present",
                "Content-Disposition": f'attachment; filename="{shown.name}.csv"',
            }
        return await self._answers.answer(
            request, tag=picture.tag, headers=headers, make=partial(make, shown, wanted, picture)
        )


def _json(shown: FleetList, wanted: Wanted, picture: Picture) -> bytes:
    rows, total = wanted.among(shown.rows(picture))
    return success(**{shown.name: rows, "total": total})


def _csv(shown: FleetList, wanted: Wanted, picture: Picture) -> bytes:
    everything = shown.rows(picture)
    rows, _ = wanted.among(everything)
    keys = table.mapping_keys(shown.types, everything)
    keys["labels"].update(Known.of(picture.sources).labels)
    if "annotations" in keys:
        keys["annotations"].update(("description", "runbook_url", "summary"))
    return table.table(shown.types, rows, {name: sorted(found) for name, found in keys.items()})


def refused(status: HTTPStatus, error_type: str, message: str) -> Response:
    """Return an error response, in the envelope of the API."""
    body = {"status": "error", "errorType": error_type, "error": message}
    return Response(msgspec.json.encode(body), status_code=status, media_type=_JSON)


def bad_data(*mistakes: str) -> Response:
    """Return the response to wrong parameters."""
    return refused(HTTPStatus.BAD_REQUEST, "bad_data", "; ".join(mistakes))
