"""More trouble never makes a fleet fit, and as many agents may fail as a preflight says."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import event, given
from hypothesis import strategies as st

from exporter.errors import Reason
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    Member,
    Outcome,
    Reading,
    Suite,
    SuiteRun,
    Usual,
)
from exporter.overview.preflight.report import Status
from tests.overview.preflight.fleet import (
    TASKS,
    Fleet,
    agent,
    change,
    cluster,
    jobs,
    member,
    source,
    suite,
    task,
)
from tests.web.fakes import NOW, ago


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from exporter.overview.preflight.report import Report
    from exporter.overview.sources import TaskRow


SOURCES = ("prod", "lab")
NAMES = ("a", "b", "c")

#: An age above any `max_age` of the tests, and above three intervals.
OLD = 1_000.0

R = TypeVar("R", bound=Reading)

#: A place in a fleet: source, task, and the position of a reading.
Place = tuple[str, str, int]


# ----- any fleet, mostly well -----


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Draw what is usual nine times of ten."""
    return st.sampled_from((*(usual,) * 9 * len(others), *others))


@st.composite
def any_agent(draw: st.DrawFn, name: str) -> Agent:
    found = agent(
        name,
        age=draw(mostly(30.0, OLD)),
        up=draw(mostly(True, False, None)),
        active=draw(mostly(True, False, None)),
        outdated=draw(mostly(False, True, None)),
        managed=draw(mostly("", "vendor")),
        clock_delta_seconds=draw(mostly(0.1, -5.0, None)),
        users_limit=draw(mostly(100.0, 300.0, None, float("inf"))),
    )
    return change(found, state=None) if draw(mostly(False, True)) else found


@st.composite
def any_member(draw: st.DrawFn, name: str) -> Member:
    found = member(
        name,
        up=draw(mostly(True, False)),
        active=draw(mostly(True, False)),
        outdated=draw(mostly(False, True)),
    )
    return change(found, state=None) if draw(mostly(False, True)) else found


@st.composite
def any_cluster(draw: st.DrawFn, name: str) -> Cluster:
    of = draw(st.sets(st.sampled_from(NAMES)))
    found = cluster(
        name,
        *(draw(any_member(each)) for each in sorted(of)),
        up=draw(mostly(True, False, None)),
        active=draw(mostly(True, False)),
        outdated=draw(mostly(False, True)),
    )
    return change(found, state=None) if draw(mostly(False, True)) else found


@st.composite
def any_suite(draw: st.DrawFn, name: str) -> Suite:
    place = draw(st.sampled_from([("", ""), ("id-a", ""), ("id-b", ""), ("", "id-C")]))
    took = draw(mostly(60.0, 600.0, None))
    return suite(
        name,
        healthy=draw(mostly(True, False, None)),
        running=draw(mostly(False, True, None)),
        agent_id=place[0],
        cluster_id=place[1],
        history=(SuiteRun(run_id="1", outcome=Outcome.PASSED, duration_seconds=took),),
        usual=Usual(runs=20, duration_seconds=draw(mostly(60.0, None))),
    )


@st.composite
def any_fleet(draw: st.DrawFn) -> Fleet:
    known: dict[tuple[str, str], tuple[Reading, ...]] = {}
    for name in SOURCES[: draw(st.integers(1, 2))]:
        names = sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1)))
        known[name, "agents"] = tuple(draw(any_agent(each)) for each in names)
        known[name, "jobs"] = tuple(jobs(each, draw(mostly(0.0, 2.0, None))) for each in names)
        known[name, "clusters"] = tuple(
            draw(any_cluster(each)) for each in "CD"[: draw(st.integers(0, 2))]
        )
        known[name, "suites"] = tuple(
            draw(any_suite(each)) for each in "ST"[: draw(st.integers(0, 2))]
        )
    sources = dict.fromkeys(name for name, _ in known)
    return Fleet(sources=tuple(map(source, sources)), known=known)


def choice(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {"source": st.sampled_from(SOURCES[:1]), "exclude": st.sampled_from("aCS"), **more}
    return st.fixed_dictionaries({}, optional=optional)


MACHINES = choice(min_up=st.integers(0, 3), max_down=st.integers(0, 2))

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "agents": MACHINES,
        "clusters": MACHINES,
        "suites": choice(slower_than_usual=st.just(1.5)),
        "clock": st.just("1s"),
        "users": st.sampled_from([100, 200, 500]),
        "idle": st.just(True),
        "max_age": st.just("3m"),
    },
).map(lambda found: found or {"clock": "1s"})


# ----- trouble -----


def unfit(report: Report) -> set[tuple[str, str]]:
    """Return source and id of all targets that fail a check, or may."""
    return {(each.source, each.id) for check in report.checks for each in check.targets}


def edited(fleet: Fleet, place: Place, *readings: Reading) -> Fleet:
    """Put other readings in the place of one."""
    name, of, position = place
    known = fleet.known[name, of]
    rest = (*known[:position], *readings, *known[position + 1 :])
    return change(fleet, known={**fleet.known, (name, of): rest})


def read(fleet: Fleet, place: Place) -> Any:
    name, of, position = place
    return fleet.known[name, of][position]


def with_state(fleet: Fleet, place: Place, **facts: Any) -> Fleet:
    """Change what is known of the state of a target, if anything is."""
    target_ = read(fleet, place)
    if target_.state is None:
        return fleet
    return edited(fleet, place, change(target_, state=change(target_.state, **facts)))


def with_member(fleet: Fleet, place: Place, edit: Callable[[Member], Member]) -> Fleet:
    """Change the first member of a cluster of which that says more."""
    found: Cluster = read(fleet, place)
    for position, each in enumerate(found.members):
        if (made := edit(each)) != each:
            members = (*found.members[:position], made, *found.members[position + 1 :])
            return edited(fleet, place, change(found, members=members))
    return fleet


def down(each: Member) -> Member:
    return each if each.state is None else change(each, state=change(each.state, up=False))


def with_task(fleet: Fleet, name: str, of: str, found: TaskRow) -> Fleet:
    sources = tuple(
        change(row, tasks=tuple(found if each.name == of else each for each in row.tasks))
        if row.name == name
        else row
        for row in fleet.sources
    )
    return change(fleet, sources=sources)


def unread(fleet: Fleet, place: Place) -> Fleet:
    """Lose a list with all that was on it."""
    name, of, _ = place
    known = {key: each for key, each in fleet.known.items() if key != (name, of)}
    return with_task(change(fleet, known=known), name, of, task(of, unread=True, up=False))


def never_polled(fleet: Fleet, place: Place) -> Fleet:
    name = place[0]
    for of in TASKS:
        fleet = unread(fleet, (name, of, 0))
        never = task(
            of, up=None, last_attempt_timestamp_seconds=None, last_success_timestamp_seconds=None
        )
        fleet = with_task(fleet, name, of, never)
    return fleet


def read_in_part(fleet: Fleet, place: Place) -> Fleet:
    """Lose one target of a list that was not read as a whole for long."""
    name, of, _ = place
    partly = task(of, up=False, last_success_timestamp_seconds=NOW.unix - OLD)
    return with_task(edited(fleet, place), name, of, partly)


def gone(fleet: Fleet, place: Place) -> Fleet:
    """Take a target off its list, unless that is the end of a trouble."""
    found, name = read(fleet, place), place[0]
    if isinstance(found, Suite) and found.running is not False:
        return fleet
    if isinstance(found, Cluster):
        # Neither a check nor a suite needs the cluster's members any more.
        agents = {each.agent_id for each in of_type(fleet, name, Agent)}
        suites = of_type(fleet, name, Suite)
        if any(each.agent_id not in agents for each in found.members) or any(
            each.cluster_id == found.cluster_id for each in suites
        ):
            return fleet
    return edited(fleet, place)


def of_type(fleet: Fleet, name: str, type_: type[R]) -> list[R]:
    return [
        each
        for key, readings in fleet.known.items()
        for each in readings
        if key[0] == name and isinstance(each, type_)
    ]


def is_apart(fleet: Fleet, place: Place, report: Report) -> bool:
    """Return whether nothing was wrong with a target, nor with what it brings along."""
    found = read(fleet, place)
    ids = {getattr(found, f"{place[1].removesuffix('s')}_id")}
    if isinstance(found, Cluster):
        ids |= {each.agent_id for each in found.members}
    return not any((place[0], each) in unfit(report) for each in ids)


SLOW = SuiteRun(run_id="2", outcome=Outcome.PASSED, duration_seconds=6_000.0)

#: What can go wrong, by the task whose targets it is about.
TROUBLES: Mapping[str, tuple[Callable[[Fleet, Place], Fleet], ...]] = {
    "agents": (
        lambda fleet, place: with_state(fleet, place, up=False, reason=Reason.NOT_REACHABLE),
        lambda fleet, place: with_state(fleet, place, outdated=True),
        lambda fleet, place: with_state(fleet, place, clock_delta_seconds=-7.0),
        lambda fleet, place: with_state(fleet, place, clock_delta_seconds=None),
        lambda fleet, place: with_state(fleet, place, users_limit=1.0),
        lambda fleet, place: with_state(fleet, place, users_limit=None),
        lambda fleet, place: with_state(fleet, place, busy=True),
        lambda fleet, place: with_state(fleet, place, read_at=ago(OLD)),
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), state=None)),
        lambda fleet, place: edited(
            fleet, place, change(read(fleet, place), active=False, state=None)
        ),
    ),
    "jobs": (
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), counts=None)),
        lambda fleet, place: edited(
            fleet, place, change(read(fleet, place), counts={"running": 3.0})
        ),
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), read_at=ago(OLD))),
    ),
    "clusters": (
        lambda fleet, place: with_state(fleet, place, up=False, reason=Reason.ACCESS_DENIED),
        lambda fleet, place: with_state(fleet, place, outdated=True),
        lambda fleet, place: with_state(fleet, place, read_at=ago(OLD)),
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), state=None)),
        lambda fleet, place: edited(
            fleet, place, change(read(fleet, place), active=False, state=None)
        ),
        lambda fleet, place: with_member(fleet, place, down),
        lambda fleet, place: with_member(fleet, place, lambda each: change(each, state=None)),
        lambda fleet, place: with_member(
            fleet, place, lambda each: change(each, active=False, state=None)
        ),
    ),
    "suites": (
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), healthy=False)),
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), healthy=None)),
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), running=True)),
        lambda fleet, place: edited(fleet, place, change(read(fleet, place), history=(SLOW,))),
    ),
}


def places(fleet: Fleet) -> Iterator[Place]:
    for (name, of), readings in fleet.known.items():
        for position in range(len(readings)):
            yield name, of, position


def troubles(fleet: Fleet, report: Report) -> Iterator[Fleet]:
    """Yield the fleet with each single thing that can go wrong in it."""
    for place in places(fleet):
        apart = place[1] != "jobs" and is_apart(fleet, place, report)
        own = TROUBLES[place[1]]
        found = read(fleet, place)
        if isinstance(found, Agent) and found.managed and not apart:
            # The vendor removes agents that it ended, so such an end can end a problem.
            own = own[1:]
        for trouble in (*own, unread, never_polled, read_in_part, *([gone] if apart else [])):
            yield trouble(fleet, place)


@given(any_fleet(), SETTINGS)
def test_more_trouble_never_makes_a_fleet_fit(fleet: Fleet, settings: dict[str, Any]) -> None:
    """A fleet that is not fit, or not known to be, is not fit for something more being wrong."""
    before = fleet.judged(settings)
    event(before.status)

    after = () if before.status is Status.FIT else troubles(fleet, before)

    assert all(each.judged(settings).status is not Status.FIT for each in after)


# ----- how many agents may fail -----


def without(fleet: Fleet, agent_ids: set[tuple[str, str]]) -> Fleet:
    """Let some agents fail, as agents and as members."""

    def failed(name: str, reading: Any) -> Any:
        if isinstance(reading, Agent) and (name, reading.agent_id) in agent_ids:
            return change(reading, state=AgentState(read_at=ago(30), up=False))
        if isinstance(reading, Cluster):
            members = tuple(
                down(each) if (name, each.agent_id) in agent_ids else each
                for each in reading.members
            )
            return change(reading, members=members)
        return reading

    known = {
        key: tuple(failed(key[0], each) for each in readings)
        for key, readings in fleet.known.items()
    }
    return change(fleet, known=known)


@st.composite
def fit_fleet(draw: st.DrawFn) -> Fleet:
    """Make a fleet in which little is wrong."""
    names = "abcd"[: draw(st.integers(1, 4))]
    limit = st.sampled_from([50.0, 100.0, 300.0, None, float("inf")])
    agents = tuple(
        agent(each, users_limit=draw(limit), outdated=draw(mostly(False, True))) for each in names
    )
    clusters = tuple(
        cluster(each, *map(member, sorted(draw(st.sets(st.sampled_from(names), min_size=1)))))
        for each in "CD"[: draw(st.integers(0, 2))]
    )
    known: dict[tuple[str, str], tuple[Reading, ...]] = {
        ("prod", "agents"): agents,
        ("prod", "jobs"): tuple(jobs(each) for each in names),
        ("prod", "clusters"): clusters,
    }
    return Fleet(sources=(source(),), known=known)


#: Settings that a mostly fit fleet often fulfils.
LENIENT = st.fixed_dictionaries(
    {},
    optional={
        "agents": choice(min_up=st.integers(0, 2), max_down=st.integers(1, 3)),
        "clusters": choice(min_up=st.integers(0, 1), max_down=st.integers(1, 2)),
        "clock": st.just("1s"),
        "users": st.sampled_from([50, 100, 300]),
        "idle": st.just(True),
    },
).map(lambda found: found or {"clock": "1s"})


@given(fit_fleet(), LENIENT)
def test_so_many_agents_may_fail(fleet: Fleet, settings: dict[str, Any]) -> None:
    """The fleet must stay fit if that many agents fail, whichever they are, and for no more."""
    report = fleet.judged(settings)
    spare = report.capacity.agents_may_fail
    agents = [each for each in fleet.known["prod", "agents"] if isinstance(each, Agent)]
    fit = [("prod", each.agent_id) for each in agents if each.state and not each.state.outdated]

    def still_fit(number: int) -> list[bool]:
        return [
            without(fleet, set(each)).judged(settings).status is Status.FIT
            for each in combinations(fit, number)
        ]

    event(f"{report.status}, {spare} may fail")
    if report.status is not Status.FIT or spare is None:
        assert report.status is Status.FIT or spare is None
    else:
        assert all(still_fit(min(spare, len(fit))))
        if "clusters" not in settings:
            assert not all(still_fit(spare + 1)) or spare == report.agents_fit
