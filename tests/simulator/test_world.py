from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from exporter.simulator.blazemeter.account import Account
from exporter.simulator.eggplant.lab import Lab
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.realload.fleet import Fleet
from exporter.simulator.world import Machine, Timeline, UnknownChangeError, Wave


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def test_time_runs_at_its_pace(time: FakeClock) -> None:
    """At pace 10 one second is ten of the world."""
    timeline = Timeline(time.clock, pace=10)

    time.shift(3)

    assert 30 == timeline.moment()


def test_time_stands_still(time: FakeClock) -> None:
    """A world that was stopped keeps its moment and goes on from there."""
    timeline = Timeline(time.clock)
    time.shift(5)
    timeline.still = True
    time.shift(100)
    timeline.still = False

    time.shift(2)

    assert 7 == timeline.moment()


def test_moments_become_times_of_the_epoch(time: FakeClock) -> None:
    """A moment ten of the world's seconds ago was one second ago at pace 10."""
    timeline = Timeline(time.clock, pace=10)
    time.shift(60)

    unix = timeline.unix(timeline.moment() - 10)

    assert time.unix - 1 == pytest.approx(unix)


@pytest.mark.parametrize(
    ("moment", "up"), [(0, True), (99.9, True), (100, False), (149, False), (150, True)]
)
def test_a_wave_goes_down_and_comes_back(moment: float, up: bool) -> None:
    """The beginning of each turn is up, its rest is down."""
    wave = Wave(period_seconds=150, up_seconds=100)

    assert up is wave.is_up(moment)


def test_a_machine_has_started_when_it_came_back() -> None:
    """After an outage the start is the end of the outage; before, it is its age."""
    machine = Machine(wave=Wave(period_seconds=150, up_seconds=100), age_seconds=500)

    assert (-500, 300) == (machine.started(20), machine.started(310))


def test_a_forced_state_wins_over_life() -> None:
    """A forced state must win over the simulated one."""
    assert not Machine(up=False).is_up(0)


@pytest.mark.parametrize(
    ("kind", "key", "changes"),
    [
        ("ships", 1, {}),
        ("agents", 9999, {"up": False}),
        ("agents", 41, {"colour": "red"}),
        ("agents", 41, {"up": "perhaps"}),
    ],
)
def test_an_impossible_change_is_refused(
    time: FakeClock, kind: str, key: int, changes: dict[str, object]
) -> None:
    """An impossible change must be refused."""
    fleet = Fleet(SimulatorOptions(), time.clock)

    with pytest.raises(UnknownChangeError):
        fleet.change(kind, key, **changes)


@pytest.mark.parametrize("make", [Fleet, Account, Lab])
def test_everything_can_be_changed(time: FakeClock, make: type[Fleet | Account | Lab]) -> None:
    """Every attribute of each kind of thing takes its own value again."""
    world = make(SimulatorOptions(), time.clock)

    for kind in world.kinds:
        key, thing = next(iter(world.table(kind).items()))
        before = msgspec.to_builtins(thing)
        world.change(kind, key, **before)
        assert before == msgspec.to_builtins(thing)
