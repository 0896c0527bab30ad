"""The board: the first page, with the fleet in readable parts.

Data that do not depend on the query are prepared once per picture of the fleet. For each query the
page is rendered once per picture. The page does not depend on the time of a request, so all clients
share its bytes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.fleet.kinds import LISTED, Kind
from exporter.overview import format as text
from exporter.overview.attention import troubles
from exporter.overview.filters import Filters, Known, Order, Section, by_state, searchable
from exporter.overview.preflight.strip import strip
from exporter.overview.problems import RANKS, WRONG, by_target
from exporter.overview.rows import ClusterRow, Condition
from exporter.overview.verdict import Group, groups, look, tallies, tiles
from exporter.web.endpoints.pages import Page, Pages, answer, rendered


if TYPE_CHECKING:
    from collections.abc import Callable

    import jinja2
    from starlette.requests import Request
    from starlette.responses import Response

    from exporter.fleet.recent import Entry, Record
    from exporter.overview.filters import State
    from exporter.overview.interface import View
    from exporter.overview.picture import Picture
    from exporter.overview.rows import MemberRow, TargetRow
    from exporter.overview.sources import SourceRow
    from exporter.overview.verdict import Tally, Tile


#: The most rows of targets on a page, of all kinds together.
ROWS = 100

#: The most rows in one of several sections.
FEW = 10

#: The most members of clusters on a page.
_MEMBERS = 200

#: A picture younger than this may be shown while the next one is made.
_YOUNG_SECONDS = 30.0

#: How long a filtered request waits for the next picture before the last one is shown.
_PATIENCE_SECONDS = 0.05

#: A filter with more values than this has a text field instead of a list of options.
_CHOICES = 50


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a list that are on the page, with links to the others.

    Attributes:
        rows: The rows on the page.
        total: The number of rows in the list.
        first: The position of the first row, counted from 1.
        before, after, whole: Links to the previous rows, the next rows and the whole list; empty if
            not needed.
    """

    rows: Sequence[Any]
    total: int
    first: int = 1
    before: str = ""
    after: str = ""
    whole: str = ""

    @property
    def last(self) -> int:
        """The position of the last row."""
        return self.first + len(self.rows) - 1

    @classmethod
    def of(cls, rows: Sequence[Any], filters: Filters, *, size: int, **about: Any) -> Part:
        """Return the part at the filters' offset; `about` are the list's own query parameters."""
        begin, total = filters.offset, len(rows)
        before = max(0, min(begin, total) - size)
        return cls(
            rows=rows[begin : begin + size],
            total=total,
            first=begin + 1,
            before=filters.address(offset=before, **about) if begin else "",
            after=filters.address(offset=begin + size, **about) if begin + size < total else "",
        )

    @classmethod
    def top(cls, rows: Sequence[Any], filters: Filters, *, size: int, **about: Any) -> Part:
        """Return the first rows of a list; `about` are the query parameters of its own page."""
        whole = filters.address(**about) if size < len(rows) else ""
        return cls(rows=rows[:size], total=len(rows), whole=whole)


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """The severities of a target's problems, for the cells of its row.

    Attributes:
        clock: The severity of its clock skew, empty without one.
        outdated: The severity of its outdated version, empty without one.
        others: Words and severities of the problems that no other cell of the row shows.
    """

    clock: str
    outdated: str
    others: tuple[tuple[str, str], ...]


class Prepared:
    """Data of a picture that the board needs with any filters."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.tiles: Sequence[Tile] = tiles(picture.targets)
        self.states: Sequence[State] = [state for state, _ in by_state(picture.targets)]
        self.known = Known.of(picture.sources)
        self.labels = {row.name: row.labels for row in picture.sources}
        self.providers: dict[str, list[str]] = {}
        for source in picture.sources:
            self.providers.setdefault(source.provider, []).append(source.name)
        self.problems = by_target(each for each in picture.problems if each.severity in WRONG)
        self.troubles = troubles(picture.problems, picture.targets, picture.alerts)
        self.preflights = strip(picture.preflights, picture.problems)

    @cached_property
    def _texts(self) -> dict[int, str]:
        # Keys by identity are safe, because the picture keeps its rows alive.
        return {id(row): searchable(row) for row in self.picture.targets}

    def chosen(self, filters: Filters) -> Sequence[TargetRow]:
        """Return the rows that match the filters, in the filters' order."""
        found: Sequence[TargetRow] = self.picture.targets
        if filters.narrows:
            texts = self._texts if filters.text else {}
            found = list(filter(filters.matcher(lambda row: texts[id(row)]), found))
        return filters.arranged(found)

    def excerpt(self, filters: Filters) -> dict[str, Any]:
        """Return the template's variables for some filters."""
        picture, chosen = self.picture, self.chosen(filters)
        # A search for certain targets hides the other sections.
        whole = not (filters.text or filters.states or filters.kinds)

        def shown(
            section: Section,
            rows: Sequence[Any],
            *,
            few: int = FEW,
            most: int = ROWS,
            always: bool = False,
        ) -> Part:
            if filters.section is section:
                size = min(filters.limit or most, most)
                return Part.of(rows, filters, size=size, section=section)
            wanted = rows if (whole or always) and filters.section is None else ()
            return Part.top(wanted, filters, size=few, section=section)

        attention = [
            each
            for each in self.troubles
            if filters.covers(each.problem.source, each.problem.labels)
        ]
        ill = {each.problem.source for each in attention if not each.problem.kind}
        sources = [row for row in picture.sources if filters.covers(row.name, row.labels)]
        well = [row for row in sources if is_well(row) and row.name not in ill]
        others = [row for row in sources if not is_well(row) or row.name in ill]
        runs = [
            run
            for run in picture.runs
            if filters.covers(run.source, self.labels.get(run.source, {}))
        ]
        grouped: list[Tally] = []
        if filters.group:
            of_sources = [each.problem for each in attention] if whole else []
            grouped = tallies(chosen, filters.group, of_sources)
        alone = filters.section is not None
        preflights = self.preflights if whole and not alone else []
        return {
            "preflights": Part(rows=preflights[:FEW], total=len(preflights)),
            "attention": shown(Section.ATTENTION, attention),
            "sources": shown(Section.SOURCES, [*others, *well] if alone else others, most=50),
            "well": [] if alone or not whole else well,
            "grouped": shown(Section.GROUPS, grouped, few=20, always=True),
            "flights": shown(Section.RUNS, runs),
            "shown": len(chosen),
            "groups": [] if alone else _parts(groups(chosen), filters),
        }

    def marks(self, row: TargetRow) -> Marks:
        """Return the severities with which to mark the cells of a row."""
        clock = outdated = ""
        others: dict[str, str] = {}
        for problem in self.problems.get(row.target, ()):
            words = problem.spoken.removeprefix(f"{row.kind} ")
            others.setdefault(words, problem.severity)
            if words == "clock skew":
                clock = problem.severity
            elif words == "outdated":
                outdated = problem.severity
        # The cell of the state shows these already.
        if row.reason is not None or row.state is Condition.DOWN:
            for words in ("unreachable", "unusable", "unhealthy"):
                others.pop(words, None)
        if isinstance(row, ClusterRow):
            others.pop("outdated", None)
        return Marks(clock=clock, outdated=outdated, others=tuple(others.items()))

    def members(self, row: ClusterRow, shown: int) -> list[tuple[MemberRow, str]]:
        """Return the worst members of a cluster, each with its severity or `calm`."""
        looks: dict[str, str] = {}
        for problem in reversed(self.problems.get(row.target, ())):
            looks[problem.labels.get("member_id", "")] = problem.severity
        for member in row.members:
            # If the vendor cannot reach the agent itself either, the agent's alert covers both.
            agents = self.problems.get((row.source, Kind.AGENT, member.agent_id), ())
            if agents and member.state is Condition.DOWN:
                looks.setdefault(member.id, agents[0].severity)
        worst = sorted(
            row.members,
            key=lambda member: (
                RANKS.get(looks.get(member.id, ""), len(RANKS)),
                list(Condition).index(member.state),
            ),
        )
        return [(member, looks.get(member.id, "calm")) for member in worst[:shown]]


def is_well(row: SourceRow) -> bool:
    """Return whether a source is up without any problem."""
    return (
        row.state is Condition.UP
        and not (row.auth_failed or row.blocked or row.vendor_slow)
        and not any(task.failing or task.unread or task.up is False for task in row.tasks)
    )


def _parts(found: Sequence[Group], filters: Filters) -> list[tuple[Group, Part]]:
    """Divide the rows of a page among kinds; rows that are left over go to the first kinds."""
    size = min(filters.limit or ROWS, ROWS)
    if filters.kind:
        about: dict[str, Any] = {"kinds": (filters.kind,)}
        return [(group, Part.of(group.rows, filters, size=size, **about)) for group in found]
    least = max(1, min(FEW, size // max(1, len(found))))
    shares = [min(len(group.rows), least) for group in found]
    left = size - sum(shares)
    for index, group in enumerate(found):
        more = max(0, min(left, len(group.rows) - shares[index]))
        shares[index] += more
        left -= more
    return [
        (group, Part.top(group.rows, filters, size=share, kinds=(group.kind,)))
        for group, share in zip(found, shares, strict=True)
    ]


def _newest_failure(record: Record, row: TargetRow) -> Entry | None:
    """Return the newest failure up to the row's reading; the records may have newer ones."""
    read = math.inf if row.read_timestamp_seconds is None else row.read_timestamp_seconds
    return next((each for each in record.failures() if each.timestamp_seconds <= read), None)


class Board:
    """The first page.

    Args:
        view: The source of everything shown.
        template: Returns the template of the page.
    """

    def __init__(self, view: View, template: Callable[[], jinja2.Template]) -> None:
        self._view = view
        self._template = template
        self._pages = Pages()
        self._newest: Prepared | None = None
        self._checked = -math.inf
        self._check: asyncio.Task[Prepared] | None = None

    async def answer(self, request: Request) -> Response:
        """Return the response with the board; the query filters and sorts it, see `Filters`."""
        prepared = await self._prepared(hurried=bool(request.query_params))
        filters, mistakes = Filters.read(request.query_params, prepared.known)
        if filters.limit and filters.limit > ROWS:
            mistakes += (f"limit: this page has at most {ROWS} rows, the JSON API all of them",)
        if filters.offset and filters.section is None and filters.kind is None:
            mistakes += ("offset: choose one kind, whose rows are then counted",)
            filters = msgspec.structs.replace(filters, offset=0)
        key = (prepared.picture.tag, filters.canonical, mistakes)
        page = await self._pages.get(key, lambda: self._render(prepared, filters, mistakes))
        return answer(request, page)

    async def _prepared(self, *, hurried: bool) -> Prepared:
        """Return the prepared data of the newest picture.

        A picture of thousands of targets takes noticeable time. So a `hurried` request, which comes
        while a user types into a filter, gets the last picture while the next one is made.
        """
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._prepare())
        young = self._view.now().monotonic - self._checked < _YOUNG_SECONDS
        if hurried and young and self._newest is not None:
            await asyncio.wait((self._check,), timeout=_PATIENCE_SECONDS)
            if not self._check.done():
                return self._newest
        return await asyncio.shield(self._check)

    async def _prepare(self) -> Prepared:
        picture = await self._view.picture()
        if self._newest is None or self._newest.picture.tag != picture.tag:
            self._newest = await asyncio.to_thread(Prepared, picture)
        self._checked = picture.at.monotonic
        return self._newest

    async def _render(
        self, prepared: Prepared, filters: Filters, mistakes: tuple[str, ...]
    ) -> Page:
        picture = prepared.picture
        excerpt = await asyncio.to_thread(prepared.excerpt, filters)
        clusters = sum(
            len(part.rows) for group, part in excerpt["groups"] if group.kind == "cluster"
        )
        return await rendered(
            self._template,
            now=picture.at,
            headline=picture.headline,
            mistakes=mistakes,
            tiles=prepared.tiles,
            total=len(picture.targets),
            filters=filters,
            known=prepared.known,
            providers=prepared.providers,
            choices=_CHOICES,
            kinds=LISTED,
            states=prepared.states,
            orders=Order,
            section=filters.section,
            marks_of=prepared.marks,
            members_of=prepared.members,
            members_shown=max(2, min(FEW, _MEMBERS // max(1, clusters))),
            look=look,
            severities=WRONG,
            recent=self._view.recent,
            trend=text.trend,
            newest_failure=_newest_failure,
            **excerpt,
        )
