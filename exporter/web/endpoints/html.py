"""The HTML pages: the board, one page per target, and the runbooks."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import jinja2

from exporter import __version__
from exporter.alerts.thresholds import RUNBOOK_URL
from exporter.errors import StateError
from exporter.overview import format as text
from exporter.overview.details import details
from exporter.overview.rows import Condition, TargetRow, word
from exporter.overview.timeline import past
from exporter.overview.verdict import LEVELS
from exporter.web.endpoints.board import Board
from exporter.web.endpoints.pages import answer, rendered
from exporter.web.endpoints.runbooks import SUFFIX, Runbooks


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from exporter.overview.interface import View
    from exporter.overview.problems import Problem
    from exporter.overview.verdict import Level


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("exporter.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = (
        text.agents_up,
        text.ago,
        text.duration,
        text.instant,
        text.of_planned,
        text.signed,
        text.stamp,
        text.times,
        text.words,
    )
    environment.filters.update({each.__name__: each for each in filters})
    # `root` is the relative path from a page to the board.
    environment.globals.update(release=__version__, word=word, root="", elsewhere=RUNBOOK_URL)
    return environment


class HtmlPages:
    """The endpoints that answer with HTML; none of them calls a vendor."""

    def __init__(self, view: View) -> None:
        self._view = view
        load = _templates().get_template
        self._board = Board(view, partial(load, "fleet.html"))
        self._target = partial(load, "target.html")
        self._runbook = partial(load, "runbook.html")
        self._index = partial(load, "runbooks.html")
        self._runbooks = Runbooks()

    async def fleet(self, request: Request) -> Response:
        """Return the response with the board; the query filters and sorts it, see `Filters`."""
        return await self._board.answer(request)

    async def target(self, request: Request) -> Response:
        """Return the response with all data of the target `source`, `kind` and `id`."""
        view, now = self._view, self._view.now()
        query = request.query_params
        source, kind, target_id = (query.get(name, "") for name in ("source", "kind", "id"))
        found = details(view.snapshots(), now, source=source, kind=kind, target_id=target_id)
        picture = await view.picture()
        problems = [each for each in picture.problems if each.target == (source, kind, target_id)]
        providers = (each.provider for each in picture.sources if each.name == source)
        record = view.recent.of(next(providers, ""), source, kind, target_id)
        readings = list(record.readings())
        row = found.row if found else None
        drawn, problem = None, ""
        try:
            history = view.history and await view.history.of(source, kind, target_id, now.unix)
            drawn = past(history, kind, now.unix) if history else None
        except StateError:
            problem = "The history cannot be read now."
        return await _answer(
            request,
            self._target,
            status=HTTPStatus.OK if found or readings or drawn else HTTPStatus.NOT_FOUND,
            past=drawn,
            past_problem=problem,
            now=now,
            source=source,
            kind=kind,
            name=found.name if found else target_id,
            details=found,
            level=_level(row if isinstance(row, TargetRow) else None, problems),
            problems=problems,
            readings=readings,
            failures=list(record.failures()),
            trend=text.trend(record, width=720, height=96, readings=max(2, len(readings))),
        )

    async def runbook(self, request: Request) -> Response:
        """Return the response with the runbook of an alert, or 404 with the names of all."""
        name = request.path_params["alert"]
        try:
            blocks = self._runbooks.blocks(name)
        except KeyError:
            return await self._listed(request, status=HTTPStatus.NOT_FOUND, missing=name)
        shown = name.removesuffix(SUFFIX)
        return await _answer(request, self._runbook, root="../", name=shown, blocks=blocks)

    async def runbooks(self, request: Request) -> Response:
        """Return the response with the names of all alerts that have a runbook."""
        return await self._listed(request)

    async def _listed(
        self, request: Request, *, status: HTTPStatus = HTTPStatus.OK, missing: str = ""
    ) -> Response:
        return await _answer(
            request,
            self._index,
            status=status,
            root="../",
            names=self._runbooks.names,
            missing=missing,
            nearest=self._runbooks.nearest(missing),
        )


def _level(row: TargetRow | None, problems: Sequence[Problem]) -> Level:
    """Return the level of a target's worst problem; without a problem, good if it is up."""
    worst = next((LEVELS[each.severity] for each in problems if each.severity in LEVELS), None)
    well = row is not None and row.state is Condition.UP
    return worst or ("good" if well else "unsure")


async def _answer(
    request: Request,
    template: Callable[[], jinja2.Template],
    *,
    status: HTTPStatus = HTTPStatus.OK,
    **context: Any,
) -> Response:
    return answer(request, await rendered(template, **context), status=status)
