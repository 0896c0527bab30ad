"""The file that keeps the alerts over a restart."""

from __future__ import annotations

import json
import math
import stat
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.alerts.evaluate import Alerts, Phase
from exporter.alerts.state_file import AlertingState, StateFile
from exporter.clock import Moment
from tests.support.alerts import alert, keyed, later


if TYPE_CHECKING:
    from pathlib import Path


ACTIVE = keyed(alert("fires"), alert("waits", phase=Phase.PENDING))
RESOLVED = keyed(alert("ended", resolved=-60))
(ENDED,) = RESOLVED

STATE = AlertingState(
    alerts=Alerts(active=ACTIVE, resolved=RESOLVED),
    accepted={ENDED: frozenset({"http://one", "http://two"})},
)


def restarted(seconds: float) -> Moment:
    """Return a moment after `START` by the clocks of another process."""
    return Moment(unix=later(seconds).unix, monotonic=5.0)


def by_agent(state: AlertingState) -> dict[str, Any]:
    """Return all alerts of a state."""
    alerts = {**state.alerts.active, **state.alerts.resolved}
    return {one.labels["agent"]: one for one in alerts.values()}


def test_what_is_saved_is_taken_up_again(tmp_path: Path) -> None:
    """Phases, labels, texts, and who has heard of an end must survive."""
    file = StateFile(tmp_path / "state.json")
    file.save(STATE, later(0))

    loaded = file.load(restarted(30))

    assert STATE.accepted == loaded.accepted
    assert {key: (a.phase, a.annotations) for key, a in ACTIVE.items()} == {
        key: (a.phase, a.annotations) for key, a in loaded.alerts.active.items()
    }
    assert list(RESOLVED) == list(loaded.alerts.resolved)


def test_times_are_those_of_before_on_the_clocks_of_now(tmp_path: Path) -> None:
    """Alertmanager knows an alert by its beginning, and ages go on."""
    file = StateFile(tmp_path / "state.json")
    file.save(STATE, later(0))

    fires = by_agent(file.load(restarted(30)))["fires"]

    assert Moment(unix=later(0).unix, monotonic=-25.0) == fires.fired
    assert Moment(unix=later(-300).unix, monotonic=-325.0) == fires.since


def test_the_time_we_were_away_does_not_count_as_pending(tmp_path: Path) -> None:
    """Nobody saw the condition hold in that time."""
    file = StateFile(tmp_path / "state.json")
    file.save(STATE, later(0))

    waits = by_agent(file.load(restarted(120)))["waits"]

    assert later(-300 + 120).unix == waits.since.unix


def test_only_what_is_active_is_marked_as_restored(tmp_path: Path) -> None:
    """The evaluation has to know what it has not seen itself."""
    file = StateFile(tmp_path / "state.json")
    file.save(STATE, later(0))

    alerts = by_agent(file.load(restarted(1)))

    assert {"fires": True, "waits": True, "ended": False} == {
        agent: one.restored for agent, one in alerts.items()
    }


def test_after_an_hour_only_the_ends_are_loaded(tmp_path: Path) -> None:
    """Alertmanager has ended by itself what it heard no more of."""
    file = StateFile(tmp_path / "state.json")
    file.save(STATE, later(0))

    assert ["ended"] == list(by_agent(file.load(restarted(3601))))


@pytest.mark.parametrize("value", [math.inf, -math.inf, 12.5])
def test_any_value_can_be_saved(tmp_path: Path, value: float) -> None:
    """JSON has no infinity, and a limit can be infinite."""
    file = StateFile(tmp_path / "state.json")
    file.save(AlertingState(alerts=Alerts(active=keyed(alert("a", value=value)))), later(0))

    assert value == by_agent(file.load(restarted(0)))["a"].value


def test_the_first_start_has_no_state_and_no_complaint(tmp_path: Path) -> None:
    """A file that does not exist yet is no fault."""
    with capture_logs() as logged:
        loaded = StateFile(tmp_path / "state.json").load(later(0))

    assert (AlertingState(), []) == (loaded, logged)


SAVED = {
    "name": "Down",
    "labels": {"alertname": "Down"},
    "annotations": {},
    "value": "0.0",
    "phase": "firing",
    "since": 0.0,
    "fired": 0.0,
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"version": 1, "saved_at"',
        json.dumps({"version": 2, "saved_at": 0.0, "alerts": []}).encode(),
        json.dumps({"version": 1, "saved_at": 0.0, "alerts": [{"name": "CANARY"}]}).encode(),
        *(
            json.dumps({"version": 1, "saved_at": 0.0, "alerts": [SAVED | wrong]}).encode()
            for wrong in (
                {"value": "CANARY"},
                {"phase": "CANARY"},
                {"fired": None},
                {"phase": "resolved"},
                {"resolved": 1.0},
            )
        ),
    ],
)
def test_a_damaged_file_costs_the_state_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    """The daemon starts; the log says that something was lost and quotes nothing."""
    path = tmp_path / "state.json"
    path.write_bytes(content)

    with capture_logs() as logged:
        loaded = StateFile(path).load(later(0))

    assert AlertingState() == loaded
    assert ["alerts_forgotten"] == [entry["event"] for entry in logged]
    assert "CANARY" not in str(logged)


def test_a_file_that_cannot_be_read_costs_the_state_only(tmp_path: Path) -> None:
    """A folder in its place is as good as none."""
    assert AlertingState() == StateFile(tmp_path).load(later(0))


def test_the_file_is_for_nobody_else(tmp_path: Path) -> None:
    """The names of a fleet are nobody's business."""
    path = tmp_path / "state.json"

    StateFile(path).save(STATE, later(0))

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader of the time meanwhile has the old file, and nothing is left beside the new one."""
    path = tmp_path / "state.json"
    file = StateFile(path)
    file.save(STATE, later(0))
    with path.open("rb") as before:
        content = path.read_bytes()

        file.save(AlertingState(), later(1))

        assert content == before.read()
    assert [path] == list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    """A full disk must not fill the log too."""
    file = StateFile(tmp_path / "absent" / "state.json")

    with capture_logs() as logged:
        for seconds in range(3):
            file.save(STATE, later(seconds))

    assert ["alerts_not_saved"] == [entry["event"] for entry in logged]
