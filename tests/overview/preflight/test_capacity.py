"""Users that fit agents carry and suites bring, and the number of agents that may still fail."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.overview.preflight.fleet import agent, cluster, fleet, jobs, member, suite


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading
    from exporter.overview.preflight.report import Capacity


FOUR = tuple(agent(name) for name in "abcd")

#: Three clusters, of which the first two share an agent.
CLUSTERS = (
    cluster("C", member("a"), member("b")),
    cluster("D", member("b"), member("c")),
    cluster("E", member("d")),
)


def found(settings: dict[str, Any], *readings: Reading) -> Capacity:
    return fleet(*readings).judged(settings).capacity


class TestUsers:
    def test_of_the_fit_agents(self) -> None:
        """Only fit agents must count, and those that are not known separately."""
        unlike = (agent("b", up=False), agent("c", users_limit=None))

        capacity = found({"agents": {}}, agent("a"), *unlike)

        assert (100.0, 1) == (capacity.users, capacity.users_unknown)

    def test_one_without_a_limit(self) -> None:
        """One agent without a limit must make the capacity infinite."""
        capacity = found({"agents": {}}, agent("a"), agent("b", users_limit=math.inf))

        assert math.inf == capacity.users

    def test_of_the_suites(self) -> None:
        """The users of the chosen suites' newest runs must be summed, and unknown ones counted."""
        suites = (suite("s"), suite("t", took=2.0), suite("u", took=None), suite("x", took=900.0))

        capacity = found({"suites": {"include": "[stu]"}}, *suites)

        assert (42.0, 1) == (capacity.suites_users, capacity.suites_unknown)

    def test_of_no_suites(self) -> None:
        """Without chosen suites, their users must be unknown."""
        capacity = found({"agents": {}}, agent("a"), suite("s"))

        assert (None, 0) == (capacity.suites_users, capacity.suites_unknown)


class TestMayFail:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"agents": {}}, 0),
            ({"agents": {"max_down": 2}}, 2),
            ({"agents": {"max_down": 9}}, 3),  # one has to be fit
            ({"agents": {"min_up": 3}}, 1),
            ({"agents": {"min_up": 1, "max_down": 2}}, 2),
            ({"agents": {"min_up": 0}}, 4),
            ({"agents": {"min_up": 1}, "users": 201}, 1),
            ({"users": 200}, 2),
            ({"users": 1}, 3),
            ({"clock": "1s"}, 0),
            ({"agents": {"max_down": 1}, "clock": "1s"}, 1),
            ({"suites": {}}, None),
            ({"agents": {"min_up": 5}}, None),
        ],
    )
    def test_of_four(self, settings: dict[str, Any], expected: int | None) -> None:
        """The number of agents that may fail must be given for fit fleets only."""
        assert expected == found(settings, *FOUR, suite("s")).agents_may_fail

    @pytest.mark.parametrize(
        ("limits", "needed", "expected"),
        [
            ([300.0, 100.0, 100.0], 200, 1),
            ([300.0, 100.0, 100.0], 201, 0),
            ([300.0, 300.0, 100.0], 100, 2),
            ([math.inf, 100.0, 100.0], 100, 2),
            ([math.inf, 100.0, 100.0], 300, 0),
            ([math.inf, math.inf, 100.0], 300, 1),
            ([100.0, None, None], 100, 0),
        ],
    )
    def test_the_largest_first(
        self, limits: list[float | None], needed: int, expected: int
    ) -> None:
        """The largest agents must be assumed to fail first."""
        agents = [agent(str(number), users_limit=each) for number, each in enumerate(limits)]

        assert expected == found({"users": needed}, *agents).agents_may_fail

    @pytest.mark.parametrize(
        ("demand", "expected"),
        [({}, 0), ({"max_down": 1}, 0), ({"max_down": 2}, 1), ({"min_up": 0}, 4)],
    )
    def test_members_take_their_clusters_along(self, demand: dict[str, int], expected: int) -> None:
        """An agent that two clusters share makes both unfit."""
        assert expected == found({"clusters": demand}, *FOUR, *CLUSTERS).agents_may_fail

    def test_members_that_are_not_chosen(self) -> None:
        """A cluster needs its members whatever the agents are."""
        settings = {"agents": {"include": "[bcd]", "min_up": 0}, "clusters": {"include": "C"}}

        assert 0 == found(settings, *FOUR, *CLUSTERS).agents_may_fail


class TestWantedTwice:
    def test_by_two_suites(self) -> None:
        """An agent is named with the chosen suites that run on it, alone or in a cluster."""
        suites = (
            suite("s", agent_id="id-b"),
            suite("t", cluster_id="id-C"),
            suite("u", agent_id="id-a"),
            suite("x", agent_id="id-a"),
            suite("nowhere"),
        )

        capacity = found({"suites": {"include": "[stx]"}}, *FOUR, *CLUSTERS, *suites)

        assert [("prod", "id-a", "a", ("t", "x")), ("prod", "id-b", "b", ("s", "t"))] == [
            (each.source, each.id, each.name, each.suites) for each in capacity.wanted_twice
        ]

    def test_has_the_name_of_an_agent_that_is_not_chosen(self) -> None:
        """An agent that is not chosen must be named, not only its id."""
        suites = (suite("s", agent_id="id-a"), suite("t", agent_id="id-a"))

        capacity = found({"agents": {"include": "b"}, "suites": {}}, *FOUR, *suites, jobs("a"))

        assert ["a"] == [each.name for each in capacity.wanted_twice]
