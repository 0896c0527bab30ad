"""The board: the fleet for people, no more of it at a time than can be looked at.

All that does not depend on the address is prepared once per picture, and each view of the picture
is rendered once. Nothing on it depends on the moment somebody looks, so all share its bytes.
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


#: So many rows of targets are on a page at most, of whatever kinds.
ROWS = 100

#: So many rows does a section have that is one of several.
FEW = 10

#: So many members of clusters are on a page at most.
_MEMBERS = 200

#: A picture is shown while the next one is made if it is no older than this.
_YOUNG_SECONDS = 30.0

#: So long does somebody who filters wait for a picture that is being made.
_PATIENCE_SECONDS = 0.05

#: A list of more values than this is typed, not chosen from.
_CHOICES = 50


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a list that are on the page, and where the others are.

    Attributes:
        first: The position of the first row, from 1 on.
        before, after, whole: Addresses, empty where there is nothing.
    """

    rows: Sequence[Any]
    total: int
    first: int = 1
    before: str = ""
    after: str = ""
    whole: str = ""

    @property
    def last(self) -> int:
        """Return the position of the last row."""
        return self.first + len(self.rows) - 1

    @classmethod
    def of(cls, rows: Sequence[Any], filters: Filters, *, size: int, **about: Any) -> Part:
        """Return the part that some filters lead to; `about` leads to this list alone."""
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
        """Return the first rows of a list that has a page of its own."""
        whole = filters.address(**about) if size < len(rows) else ""
        return cls(rows=rows[:size], total=len(rows), whole=whole)


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """The severities of what is wrong with a target, empty where there is none.

    Attributes:
        others: With the words for all that the row does not tell otherwise.
    """

    clock: str
    outdated: str
    others: tuple[tuple[str, str], ...]


class Prepared:
    """The parts of a picture that all its views need, whatever their filters."""

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
        # The picture holds the rows, so that no other object can come to have their identity.
        return {id(row): searchable(row) for row in self.picture.targets}

    def chosen(self, filters: Filters) -> Sequence[TargetRow]:
        """Return the rows that some filters want, in their order."""
        found: Sequence[TargetRow] = self.picture.targets
        if filters.narrows:
            texts = self._texts if filters.text else {}
            found = list(filter(filters.matcher(lambda row: texts[id(row)]), found))
        return filters.arranged(found)

    def excerpt(self, filters: Filters) -> dict[str, Any]:
        """Return what of the picture is on a page."""
        picture, chosen = self.picture, self.chosen(filters)
        # Whoever looks for certain targets is not interested in the rest of the page.
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
        """Return how the cells of a row are marked."""
        clock = outdated = ""
        others: dict[str, str] = {}
        for problem in self.problems.get(row.target, ()):
            told = problem.spoken.removeprefix(f"{row.kind} ")
            others.setdefault(told, problem.severity)
            if told == "clock skew":
                clock = problem.severity
            elif told == "outdated":
                outdated = problem.severity
        # The row says so already.
        if row.reason is not None or row.state is Condition.DOWN:
            for told in ("unreachable", "unusable", "unhealthy"):
                others.pop(told, None)
        if isinstance(row, ClusterRow):
            others.pop("outdated", None)
        return Marks(clock=clock, outdated=outdated, others=tuple(others.items()))

    def members(self, row: ClusterRow, shown: int) -> list[tuple[MemberRow, str]]:
        """Return some members with their looks, the worst first."""
        looks: dict[str, str] = {}
        for problem in reversed(self.problems.get(row.target, ())):
            looks[problem.labels.get("member_id", "")] = problem.severity
        for member in row.members:
            # One trouble is one alert: that of the agent, if the portal cannot reach it either.
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
    """Return whether a source answers and nothing about it has to be told."""
    return (
        row.state is Condition.UP
        and not (row.auth_failed or row.blocked or row.vendor_slow)
        and not any(task.failing or task.unread or task.up is False for task in row.tasks)
    )


def _parts(found: Sequence[Group], filters: Filters) -> list[tuple[Group, Part]]:
    """Part the rows of a page among kinds: the first has what the others leave."""
    size = min(filters.limit or ROWS, ROWS)
    if filters.kind:
        about: dict[str, Any] = {"kinds": (filters.kind,)}
        return [(group, Part.of(group.rows, filters, size=size, **about)) for group in found]
    least = max(1, min(FEW, size // max(1, len(found))))
    shares = [min(len(group.rows), least) for group in found]
    left = size - sum(shares)
    for place, group in enumerate(found):
        more = max(0, min(left, len(group.rows) - shares[place]))
        shares[place] += more
        left -= more
    return [
        (group, Part.top(group.rows, filters, size=share, kinds=(group.kind,)))
        for group, share in zip(found, shares, strict=True)
    ]


def _newest_failure(record: Record, row: TargetRow) -> Entry | None:
    """Return the newest failure that the picture can know: the records are newer than it is."""
    read = math.inf if row.read_timestamp_seconds is None else row.read_timestamp_seconds
    return next((each for each in record.failures() if each.timestamp_seconds <= read), None)


class Board:
    """The first page.

    Args:
        view: Where everything shown comes from.
        template: That of the page.
    """

    def __init__(self, view: View, template: Callable[[], jinja2.Template]) -> None:
        self._view = view
        self._template = template
        self._pages = Pages()
        self._newest: Prepared | None = None
        self._checked = -math.inf
        self._check: asyncio.Task[Prepared] | None = None

    async def answer(self, request: Request) -> Response:
        """Answer with the state of the fleet; the query narrows and sorts it, see `Filters`."""
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
        """Return what is prepared of the newest picture.

        Whoever types into the filter is `hurried`: a picture of thousands of targets takes longer
        than people notice, so they get the one that they look at while the next one is made.
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
