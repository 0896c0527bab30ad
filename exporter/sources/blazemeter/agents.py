"""Private-location agents ("ships"), judged by the age of their heartbeat and by nothing else.

`state` keeps its last value after an agent died, so it only tells what a living one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState
from exporter.sources.blazemeter.replies import Location, Ship, text
from exporter.sources.blazemeter.values import epoch
from exporter.sources.decode import older


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.clock import Moment
    from exporter.sources.decode import Surprised


#: The states seen in the wild; the full list is not documented (reference section B6).
_STATES = frozenset({"idle", "running", "empty"})

_BUSY = "running"


class Rules(Protocol):
    """What the configuration says about judging agents."""

    @property
    def heartbeat_max_age(self) -> float:
        """Seconds after which an agent that was not heard of is down."""
        ...

    @property
    def min_agent_version(self) -> str | None:
        """The oldest version accepted."""
        ...


class LocatedShip(msgspec.Struct, frozen=True, kw_only=True):
    """An agent with the private location it belongs to."""

    ship_id: str
    ship: Ship
    location_id: str
    location: str


def location_key(location_id: str) -> str:
    """Return the id under which runs name a private location."""
    return f"harbor-{location_id}"


def locate(locations: Iterable[Location], surprise: Surprised) -> dict[str, LocatedShip]:
    """Collect the agents of some locations by id, each once.

    A location that belongs to two workspaces comes with the list of both: the first one counts.
    """
    found: dict[str, LocatedShip] = {}
    for location in locations:
        location_id = text(location.id)
        name = location.name or (location_key(location_id) if location_id else "")
        for ship in location.ships or ():
            ship_id = text(ship.id)
            if not ship_id:
                surprise("missing_field")
                continue
            found.setdefault(
                ship_id,
                LocatedShip(ship_id=ship_id, ship=ship, location_id=location_id, location=name),
            )
    return found


def read_agent(
    located: LocatedShip,
    *,
    rules: Rules,
    now: Moment,
    before: Agent | None,
    surprise: Surprised,
) -> Agent:
    """Judge an agent now; `before` is what was last known of it."""
    ship = located.ship
    heartbeat = _heartbeat(ship, surprise)
    up = _is_up(heartbeat, now=now.unix, max_age=rules.heartbeat_max_age)
    version = ship.installed_version or ""
    last_up = before.last_up_timestamp_seconds if before else None
    return Agent(
        agent_id=located.ship_id,
        agent=ship.name or located.ship_id,
        location=located.location,
        last_up_timestamp_seconds=now.unix if up else last_up,
        state=AgentState(
            read_at=now,
            up=up,
            reason=Reason.NO_HEARTBEAT if up is False else None,
            outdated=older(version, rules.min_agent_version) if rules.min_agent_version else None,
            version=version,
            busy=None if up is False else _is_busy(ship.state, surprise),
            heartbeat_timestamp_seconds=heartbeat,
        ),
    )


def names_of(locations: Iterable[Location]) -> Mapping[str, str]:
    """Return the names of private locations by the id that runs use."""
    return {
        location_key(text(location.id)): location.name
        for location in locations
        if location.id is not None and location.name
    }


def _heartbeat(ship: Ship, surprise: Surprised) -> float | None:
    """Return the newest heartbeat; 0 is how the vendor says never."""
    heartbeat = epoch(ship.last_heart_beat)
    if heartbeat is None and ship.last_heart_beat:
        surprise("type")
    return heartbeat


def _is_up(heartbeat: float | None, *, now: float, max_age: float) -> bool | None:
    """Compare the heartbeat's age with the limit.

    The age compares two clocks. A heartbeat a little in the future is a fresh one; one farther
    ahead than the limit shows that the clocks disagree too much to tell anything.
    """
    if heartbeat is None or heartbeat - now > max_age:
        return None
    return now - heartbeat <= max_age


def _is_busy(state: str | None, surprise: Surprised) -> bool | None:
    if state is None:
        return None
    if state not in _STATES:
        surprise("enum")
    return state == _BUSY
