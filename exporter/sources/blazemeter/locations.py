"""Private locations and their agents, which the API calls ships.

Only the age of its heartbeat decides whether an agent is up. Its `state` keeps the last value after
the agent died, so `state` is used for living agents only. The times of the heartbeat and of the
reply are both the vendor's, so an error of the exporter's clock does not change the result. The
agents of a disabled location are not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, Location
from exporter.sources.blazemeter.replies import Location as Row
from exporter.sources.blazemeter.replies import Ship, epoch
from exporter.sources.decode import Surprised, finite, older, text


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.clock import Moment
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


#: The observed states in lower case, and whether an agent in that state executes a run. The vendor
#: documents no list of states.
_BUSY = {"idle": False, "running": True, "empty": False, "created": False}


class ListedLocation(msgspec.Struct, frozen=True, kw_only=True):
    """A private location in a reply.

    Attributes:
        location_id: The id; empty if the reply has none.
        run_key: The id that runs use for the location; empty if the reply has no id.
        name: The name, or the `run_key` if it has none.
        active: Whether runs can be started on the location.
        ships: The agents by id; `None` if the reply does not list them.
        slots: The number of engines each agent can run.
        threads_per_engine: The number of virtual users for one engine.
        vendor_time: The time of the reply by the vendor's clock, as a Unix timestamp.
    """

    location_id: str
    run_key: str
    name: str
    active: bool
    ships: dict[str, Ship] | None
    slots: float | None
    threads_per_engine: float | None
    vendor_time: float


def read_row(row: Row, *, vendor_time: float, surprise: Surprised) -> ListedLocation:
    """Return a location of a reply; if an agent's id occurs twice, the first agent counts."""
    location_id = text(row.id)
    run_key = f"harbor-{location_id}" if location_id else ""
    if not location_id:
        surprise("missing_field")
    ships: dict[str, Ship] = {}
    for ship in row.ships or ():
        if ship_id := text(ship.id):
            ships.setdefault(ship_id, ship)
        else:
            surprise("missing_field")
    return ListedLocation(
        location_id=location_id,
        run_key=run_key,
        name=row.name or run_key,
        active=not row.disabled,
        ships=None if row.ships is None else ships,
        slots=_amount(row.slots, surprise) or None,
        threads_per_engine=_amount(row.threads_per_engine, surprise) or None,
        vendor_time=vendor_time,
    )


def homes(locations: Iterable[ListedLocation]) -> dict[str, ListedLocation]:
    """Return the location of each agent, by the agent's id.

    If an agent is listed several times, its first enabled location counts, or else the first: a
    location of two workspaces is listed in both.
    """
    found: dict[str, ListedLocation] = {}
    for location in locations:
        for ship_id in location.ships or ():
            first = found.setdefault(ship_id, location)
            if location.active and not first.active:
                found[ship_id] = location
    return found


def read_location(
    location: ListedLocation, up: Mapping[str, bool | None], *, now: Moment
) -> Location:
    """Return the reading of a location; `up` has the state of each of its agents by id."""
    known = [verdict for ship_id in location.ships or () if (verdict := up[ship_id]) is not None]
    agents = None if location.ships is None else float(len(location.ships))
    counted = location.active and (known or agents == 0)
    return Location(
        location_id=location.location_id,
        location_name=location.name,
        read_at=now,
        active=location.active,
        agents=agents,
        agents_up=float(sum(known)) if counted else None,
        slots=location.slots,
        threads_per_engine=location.threads_per_engine,
    )


def read_agent(  # noqa: PLR0913 - all but the first two are keyword-only
    ship: Ship,
    location: ListedLocation,
    *,
    settings: BlazeMeterSettings,
    now: Moment,
    last_up: float | None,
    surprise: Surprised,
) -> Agent:
    """Return the reading of an agent of a location.

    Args:
        ship: The agent in the reply.
        location: The agent's location.
        settings: Has the limits for heartbeats and versions.
        now: The time by the exporter's clock.
        last_up: The Unix timestamp at which the agent was last up, as known before.
        surprise: Called for each unexpected value.
    """
    ship_id = text(ship.id)
    heartbeat = epoch(ship.last_heart_beat, surprise)
    up = None
    if location.active:
        up = _is_up(heartbeat, now=location.vendor_time, max_age=settings.heartbeat_max_age)
    busy = _is_busy(ship.state, surprise)
    version, minimum = ship.installed_version or "", settings.min_agent_version
    return Agent(
        agent_id=ship_id,
        agent=ship.name or ship_id,
        location=location.name,
        active=location.active,
        last_up_timestamp_seconds=now.unix if up else last_up,
        state=AgentState(
            read_at=now,
            up=up,
            reason=Reason.NO_HEARTBEAT if up is False else None,
            outdated=older(version, minimum) if up and minimum else None,
            version=version,
            busy=busy if up else None,
            heartbeat_timestamp_seconds=heartbeat,
            disk_free_bytes=_disk_free(ship, surprise),
        ),
    )


def _is_up(heartbeat: float | None, *, now: float, max_age: float) -> bool | None:
    """Return whether the heartbeat is younger than the limit, or `None` if that is unknown.

    A heartbeat slightly in the future counts as fresh: the reply's time has a resolution of 1 s and
    is the exporter's own if the reply has no date. A heartbeat farther in the future than the limit
    shows that the clocks differ too much for a verdict.
    """
    if heartbeat is None or heartbeat - now > max_age:
        return None
    return now - heartbeat <= max_age


def _is_busy(state: str | None, surprise: Surprised) -> bool | None:
    busy = _BUSY.get((state or "").casefold())
    if state and busy is None:
        surprise("enum")
    return busy


def _disk_free(ship: Ship, surprise: Surprised) -> float | None:
    """Return the free space of the fullest disk of the host, in bytes."""
    disks = (ship.host_info and ship.host_info.disk_space) or {}
    free = (
        _amount(disk.free_space, surprise) for disk in disks.values() if disk.present is not False
    )
    return min((each for each in free if each is not None), default=None)


def _amount(value: float | None, surprise: Surprised) -> float | None:
    """Return a number of at least 0; any other value counts as a surprise."""
    number = finite(value)
    if number is not None and number >= 0:
        return number
    if value is not None:
        surprise("type")
    return None
