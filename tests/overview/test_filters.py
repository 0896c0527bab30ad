from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from exporter.fleet.kinds import LISTED
from exporter.overview.build import arranged, target_rows
from exporter.overview.filters import Filters, Known, Order, State, by_state
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading
    from exporter.overview.rows import TargetRow


KNOWN = Known(sources=("prod", "lab"), labels={"site": ("bern", "ulm")})


def filters(query: str) -> Filters:
    found, mistakes = Filters.read(QueryParams(query), KNOWN)
    assert () == mistakes
    return found


def rows(*readings: Reading) -> list[TargetRow]:
    return arranged(target_rows(fakes.FakeView(*readings).snapshots(), fakes.NOW))


def named(query: str, *readings: Reading) -> list[str]:
    """Return the names of what is shown, from top to bottom."""
    wanted = filters(query)
    matches = wanted.matcher()
    return [row.name for row in wanted.arranged(row for row in rows(*readings) if matches(row))]


def pinged(name: str, seconds: float | None) -> Reading:
    state = fakes.agent().state
    assert state is not None
    return fakes.agent(name, state=fakes.changed(state, ping_duration_seconds=seconds))


class TestAddress:
    @given(
        st.builds(
            Filters,
            text=st.text().map(str.strip),
            states=st.frozensets(st.sampled_from(State)),
            kinds=st.frozensets(st.sampled_from(LISTED)),
            sources=st.frozensets(st.sampled_from(KNOWN.sources)),
            labels=st.lists(st.sampled_from([("site", "bern"), ("site", "ulm")]), unique=True).map(
                tuple
            ),
            group=st.sampled_from(["", *KNOWN.groups]),
            limit=st.none() | st.integers(1, 10**9 - 1),
            order=st.none() | st.sampled_from(Order),
            descending=st.booleans(),
        )
    )
    def test_holds_all_of_it(self, wanted: Filters) -> None:
        """A view's address must hold all its filters."""
        wanted = fakes.changed(wanted, descending=wanted.descending and wanted.order is not None)

        assert wanted == filters(wanted.address().removeprefix("?"))

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("state=burning", "state must be one of: down, unknown, "),
            ("state=dwon", "failed; did you mean down?"),
            ("kind=AGENT", "suite; did you mean agent?"),
            ("source=prd", "source must be one of: prod, lab; did you mean prod?"),
            ("label.site=brn", "label.site must be one of: bern, ulm; did you mean bern?"),
            ("label.stie=bern", "there are: label.site; did you mean label.site?"),
            ("group=colour", "group must be one of: source, provider, site"),
            ("sort=nme", "did you mean name?"),
            ("sort=-", "sort must be one of: name, -name, "),
            ("sort=-&sort=", "sort must be one of: name, -name, "),
            ("limit=0", "limit must be a whole number from 1 on"),
            ("limit=٣", "limit must be a whole number from 1 on"),
            ("offset=-1", "offset must be a whole number from 0 on"),
            (f"q={'x' * 1_001}", "q must have 1,000 characters at most"),
        ],
    )
    def test_that_is_mistaken_filters_nothing_and_says_so(self, query: str, expected: str) -> None:
        """A mistaken value must filter nothing, and be reported with the known ones."""
        wanted, mistakes = Filters.read(QueryParams(query), KNOWN)

        assert Filters() == wanted
        assert 1 == len(mistakes)
        assert expected in mistakes[0]

    def test_tells_the_first_of_many_mistakes(self) -> None:
        """The number of reported mistakes must be bounded."""
        query = "&".join(f"label.x{number}=bern" for number in range(4_000))

        _, mistakes = Filters.read(QueryParams(query), KNOWN)

        assert 20 == len(mistakes)

    def test_takes_the_last_known_order(self) -> None:
        """The last valid order must apply."""
        wanted, mistakes = Filters.read(QueryParams("sort=name&sort=-ping&sort=nme&sort="), KNOWN)

        assert (Order.PING, True, 1) == (wanted.order, wanted.descending, len(mistakes))

    def test_with_a_value_given_twice(self) -> None:
        """A value that is given twice must count once."""
        wanted = filters("label.site=bern&label.site=bern&source=lab&source=lab")

        assert "?source=lab&label.site=bern" == wanted.address()

    def test_of_a_section(self) -> None:
        """A section and a place in it are part of the address, and no link keeps them unasked."""
        wanted = filters("section=runs&offset=100&source=lab")

        assert "?source=lab&offset=100&section=runs" == wanted.canonical
        assert "?source=lab" == wanted.address()

    @pytest.mark.parametrize(
        ("group", "value", "expected"),
        [
            ("source", "lab", "?q=a&source=lab"),
            ("provider", "realload", "?q=a&source=lab&source=prod"),
            ("site", "ulm", "?q=a&label.site=ulm"),
        ],
    )
    def test_of_a_group(self, group: str, value: str, expected: str) -> None:
        """A group leads to its targets, with whatever else is filtered by."""
        wanted = filters(f"q=a&group={group}")

        assert expected == wanted.within(value, {"realload": ("prod", "lab")})

    def test_of_a_badge_that_is_added(self) -> None:
        """A link can change one thing and keep the rest."""
        wanted = filters("q=a&sort=-ping")

        assert "?q=a&state=down&sort=-ping" == wanted.address(states=(State.DOWN,))

    def test_of_a_column_s_head(self) -> None:
        """The first click sorts, with the slowest ping on top; the next turns around."""
        first = filters("").sorted_by(Order.PING)
        second = filters("sort=-ping").sorted_by(Order.PING)
        name = filters("sort=-ping").sorted_by(Order.NAME)

        assert ("?sort=-ping", "?sort=ping", "?sort=name") == (first, second, name)

    def test_says_the_direction(self) -> None:
        """Only the column that is sorted by has a direction."""
        wanted = filters("sort=-ping")

        assert ("descending", None) == (
            wanted.direction(Order.PING),
            wanted.direction(Order.NAME),
        )


class TestFilter:
    @pytest.mark.parametrize(
        "text",
        ["BERN", "id-bern", "4.8", "rack-7", "prod", "realload", "Bern, Wankdorf", "not_reach"],
    )
    def test_finds_what_a_row_says(self, text: str) -> None:
        """Name, id, version, host, source, place and reason can be searched, in any case."""
        wanted = fakes.agent("bern", up=False, host="rack-7.example", location="Bern, Wankdorf")

        assert ["bern"] == named(f"q={text}", wanted, fakes.agent("other", version="5"))[:1]

    def test_finds_clusters_by_their_members(self) -> None:
        """A search for an agent must find the clusters that it is a member of."""
        found = named("q=one", fakes.cluster(fakes.member("one", up=True)))

        assert ["alps"] == found

    def test_wants_all_words(self) -> None:
        """A search must match all of its words."""
        fleet = [fakes.agent("a"), fakes.agent("ab", up=False)]

        found = named("q=a+down", *fleet) + named("q=a&q=down", *fleet)

        assert ["ab", "ab"] == found

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("state=down", ["c"]),
            ("state=inactive", ["d"]),
            ("state=unknown&state=inactive", ["e", "d"]),
            ("state=outdated", ["b"]),
            ("state=failed", ["nightly"]),
            ("state=up&kind=agent", ["a", "b"]),
            ("kind=suite", ["nightly"]),
            ("source=lab", []),
            ("label.site=ulm", []),
            ("label.site=ulm&label.site=bern&kind=suite", ["nightly"]),
        ],
    )
    def test_by_what_is_the_case(self, query: str, expected: list[str]) -> None:
        """States, kinds and sources choose; the states among each other add up."""
        state = fakes.agent().state
        assert state is not None
        fleet = [
            fakes.agent("a"),
            fakes.agent("b", state=fakes.changed(state, outdated=True)),
            fakes.agent("c", up=False),
            fakes.agent("d", active=False),
            fakes.agent("e", state=None),
            fakes.suite(passed=False),
        ]

        assert expected == named(query, *fleet)


class TestOrder:
    def test_is_by_urgency(self) -> None:
        """Without a wish, what needs a look comes first."""
        assert ["b", "a"] == named("", fakes.agent("a"), fakes.agent("b", up=False))

    def test_keeps_kinds_together(self) -> None:
        """The order is that within each kind."""
        found = named("sort=-name", fakes.suite(), fakes.agent("a"), fakes.agent("b"))

        assert ["b", "a", "nightly"] == found

    @pytest.mark.parametrize(
        ("query", "expected"),
        [("sort=ping", ["fast", "slow", "none"]), ("sort=-ping", ["slow", "fast", "none"])],
    )
    def test_what_is_unknown_is_last(self, query: str, expected: list[str]) -> None:
        """A target without a value is neither the best nor the worst."""
        fleet = [pinged("none", None), pinged("slow", 2.0), pinged("fast", 0.1)]

        assert expected == named(query, *fleet)

    def test_of_versions_is_by_number(self) -> None:
        """4.8.24 is newer than 4.8.9."""
        fleet = [fakes.agent("new", version="4.8.24"), fakes.agent("old", version="4.8.9")]

        assert ["old", "new"] == named("sort=version", *fleet)

    def test_of_clocks_is_by_distance(self) -> None:
        """Clocks must be sorted by distance, whether ahead or behind."""
        state = fakes.agent().state
        assert state is not None
        fleet = [
            fakes.agent(name, state=fakes.changed(state, clock_delta_seconds=delta))
            for name, delta in (("ahead", 2.0), ("right", 0.1), ("behind", -5.0))
        ]

        assert ["behind", "ahead", "right"] == named("sort=-clock", *fleet)

    @pytest.mark.parametrize("order", Order)
    def test_every_order_takes_every_kind(self, order: Order) -> None:
        """No column breaks on a row that has nothing to say in it."""
        fleet = [
            fakes.agent("a", version=""),
            fakes.controller(),
            fakes.cluster(looked_at=False),
            fakes.recorder(),
            fakes.suite(),
        ]

        assert 5 == len(named(f"sort={order}", *fleet))


def test_badges_are_counted() -> None:
    """A summary leaves out what there is none of."""
    fleet = rows(fakes.agent("a"), fakes.agent("b", up=False), fakes.suite(passed=False))

    assert [(State.DOWN, 1), (State.UP, 2), (State.FAILED, 1)] == [
        (state, len(having)) for state, having in by_state(fleet)
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", True),
        ("source=lab&label.site=bern", True),
        ("label.site=ulm&label.site=bern", True),
        ("source=prod", False),
        ("label.site=ulm", False),
    ],
)
def test_what_belongs_to_a_source_is_filtered(query: str, *, expected: bool) -> None:
    """Problems and runs are chosen by source and label as targets are."""
    assert expected == filters(query).covers("lab", {"site": "bern"})
