from __future__ import annotations

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState
from exporter.sources.roster import Roster


DAY = 86_400.0
GRACE = 60.0
UNIX = 1_700_000_000.0


class Case:
    """A roster, and its agents so many seconds after the start."""

    def __init__(self, *expected: str) -> None:
        self.roster = Roster(expected, remember_for=DAY, grace=GRACE)

    def shows(self, *listed: Agent, after: float = 0.0) -> dict[str, bool | Reason | None]:
        """Take a list in; return of each agent whether it is up, or why not."""
        return {
            agent.agent_id: None if agent.state is None else agent.state.up or agent.state.reason
            for agent in self.roster.update(listed, moment(after))
        }


def moment(after: float) -> Moment:
    return Moment(unix=UNIX + after, monotonic=100.0 + after)


def one(agent_id: str = "a", *, up: bool | None = True) -> Agent:
    """Make an agent as the vendor lists it."""
    reason = Reason.NO_HEARTBEAT if up is False else None
    state = AgentState(read_at=moment(0), up=up, reason=reason)
    return Agent(agent_id=agent_id, agent=f"name-{agent_id}", state=state)


def test_shows_what_is_listed() -> None:
    """Targets must be shown as they are listed, in their order."""
    case = Case()

    assert {"b": True, "a": Reason.NO_HEARTBEAT, "c": None} == case.shows(
        one("b"), one("a", up=False), one("c", up=None)
    )


def test_one_that_died_stays_down_for_a_day() -> None:
    """The time counts from when it was last up."""
    case = Case()
    case.shows(one())
    case.shows(one(up=False), after=100)

    assert {"a": Reason.NO_HEARTBEAT} == case.shows(after=200)
    assert {"a": Reason.NO_HEARTBEAT} == case.shows(after=DAY)
    assert {} == case.shows(after=DAY + 1)


def test_one_that_was_never_up_is_remembered_from_when_its_row_went() -> None:
    """A target that was never up must be forgotten a day after its row went."""
    case = Case()
    case.shows(one(up=False))

    assert {"a": Reason.NO_HEARTBEAT} == case.shows(after=100)
    assert {"a": Reason.NO_HEARTBEAT} == case.shows(after=100 + DAY)
    assert {} == case.shows(after=101 + DAY)


def test_one_that_left_in_order_is_forgotten() -> None:
    """For the grace nothing is known of it; its name stays."""
    case = Case()
    case.shows(one())

    assert {"a": None} == case.shows(after=30)
    (agent,) = case.roster.update((), moment(30 + GRACE - 1))
    assert "name-a" == agent.agent
    assert {} == case.shows(after=30 + GRACE)


def test_one_that_comes_back_gets_its_grace_anew() -> None:
    """A target that comes back must get its grace anew."""
    case = Case()
    case.shows(one())
    case.shows(after=30)
    case.shows(one(), after=60)

    assert {"a": None} == case.shows(after=90)
    assert {"a": None} == case.shows(after=90 + GRACE - 1)
    assert {} == case.shows(after=90 + GRACE)


def test_an_expected_one_is_missed_after_the_grace() -> None:
    """An expected target must be missed after the grace, by its name if that is known."""
    case = Case("a", "z", "a")
    case.shows(one())
    away = Reason.NOT_CONNECTED

    assert {"a": None, "z": None} == case.shows(after=30)
    assert {"a": None, "z": away} == case.shows(after=GRACE)
    assert {"a": away, "z": away} == case.shows(after=30 + GRACE)
    assert {"a": away, "z": away} == case.shows(after=9 * DAY)
    assert {"a": True, "z": away} == case.shows(one(), after=9 * DAY + 1)


def test_an_expected_one_that_died_is_never_forgotten() -> None:
    """An expected target must never be forgotten, and keep its reason."""
    case = Case("a")
    case.shows(one())
    case.shows(one(up=False), after=1)

    assert {"a": Reason.NO_HEARTBEAT} == case.shows(after=9 * DAY)


def test_says_when_each_was_last_up() -> None:
    """The vendor forgets it with the row."""
    case = Case()
    case.shows(one())
    case.shows(one(), after=10)
    case.shows(one(up=False), after=20)

    (agent,) = case.roster.update((), moment(30))

    assert UNIX + 10 == agent.last_up_timestamp_seconds


def test_goes_on_from_what_was_shown() -> None:
    """After a restart, a dead target must stay down, and a healthy one not be down."""
    before = Case()
    before.shows(one("dead"), one("well"))
    known = before.roster.update((one("dead", up=False), one("well")), moment(10))
    after = Case()
    after.roster.recall(known)

    assert {"dead": Reason.NO_HEARTBEAT, "well": None} == after.shows(after=20)
    assert {"dead": Reason.NO_HEARTBEAT} == after.shows(after=20 + GRACE)
