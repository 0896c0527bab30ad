"""BlazeMeter's replies about runs and private locations, without their envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exporter.simulator.blazemeter.account import ACCOUNT_ID, USER_ID


if TYPE_CHECKING:
    from exporter.simulator.blazemeter.account import Account, Location, Ship
    from exporter.simulator.blazemeter.runs import Run

Json = dict[str, Any]

LEVELS: Final = {
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 250,
    "WARNING": 300,
    "ERROR": 400,
    "CRITICAL": 500,
    "ALERT": 550,
    "EMERGENCY": 600,
}
_GROUPS: Final = (  # upper code, key of `statuses`
    (14, "pending"),
    (45, "booting"),
    (60, "downloading"),
    (136, "ready"),
    (150, "ended"),
)
_LOCATION: Final = "us-east4-a"


def master_row(account: Account, run: Run) -> Json:
    """Build a run as the list prints it."""
    timeline, moment, test = account.timeline, account.timeline.moment(), run.test
    ended, verdict = run.ended(moment), run.verdict(moment)
    engines = range(test.engines)
    newest = max(run.phase(moment, engine).at for engine in engines)
    row: Json = {
        "id": run.master_id,
        "name": test.name,
        "userId": USER_ID,
        "delayedStartReady": False,
        "runnerUserId": USER_ID,
        "charges": [],
        "created": int(timeline.unix(run.started)),
        "updated": int(timeline.unix(newest)),
        "parallelTestsInWorkspace": 1,
        "parallelTestsInAccount": 2,
        "isPrivateData": False,
        "creatorClientId": "gui",
        "executorClientId": "api",
        "secondsPerLabelDoc": 60,
        "isDebugRun": False,
        "locations": [_LOCATION],
        "testId": test.test_id,
        "projectId": 300_001,
        "sessionsId": [run.session_id(engine) for engine in engines],
    }
    if ended is None:
        if test.test_id % 2:  # the vendor prints null or leaves the key out
            row["ended"] = None
        return row
    row |= {
        "ended": int(timeline.unix(ended)),
        "lastUpdate": int(timeline.unix(ended)),
        "reportStatus": verdict,
    }
    if verdict in ("pass", "fail"):
        row["passed"] = verdict == "pass"
    if run.has_data:
        row["maxUsers"] = test.users
    return row


def master_detail(account: Account, run: Run) -> Json:
    """Build a run as its own page prints it: without keys that are null."""
    row = {key: value for key, value in master_row(account, run).items() if value is not None}
    ended = run.ended(account.timeline.moment()) is not None
    return {**row, "hasData": run.has_data and ended, "sessions": row["sessionsId"]}


def master_status(account: Account, run: Run, *, level: int | None) -> Json:
    """Build the status of a run, with its events from a level on, or without events."""
    moment, test = account.timeline.moment(), run.test
    least = run.least_phase(moment)
    phases = [run.phase(moment, engine) for engine in range(test.engines)]
    counts = dict.fromkeys((key for _, key in _GROUPS), 0.0)
    for phase in phases:
        key = next(key for most, key in _GROUPS if phase.code <= most)
        counts[key] += 100 / len(phases)
    status: Json = {
        "id": run.master_id,
        "progress": least.code,
        "status": least.name,
        "jmeterLogSummary": [],
        "jmeterLogTypeSummary": [],
        "sessions": [
            {
                "id": run.session_id(engine),
                "name": test.name,
                "fileName": "script.jmx",
                "status": phase.name,
                "progress": phase.code,
                "readyStatus": {
                    "servers": [
                        {"server_id": str(3 * 10**18 + run.master_id), "server_type": "console"}
                    ],
                    "plannedServersCount": 1,
                    "isDelayedStart": False,
                },
                "locationId": _LOCATION,
                "dedicatedIpsEnabled": False,
                "overrideLocationId": None,
            }
            for engine, phase in enumerate(phases)
        ],
        "statuses": {key: round(share) for key, share in counts.items()},
        "isDataAvailable": run.has_data and least.code >= 100,
    }
    if level is not None:
        status["events"] = [
            event for event in _events(account, run) if LEVELS[event["level"]] >= level
        ]
    return status


def _events(account: Account, run: Run) -> list[Json]:
    """List what has happened in a run, the newest first."""
    moment = account.timeline.moment()
    broken = run.test.verdict in ("error", "noData")
    events: list[tuple[float, str, str, str]] = []
    for engine in range(run.test.engines):
        session = run.session_id(engine)
        for phase in run.phases(engine):
            message = f"Status changed to {phase.name} ({phase.code})"
            events.append((phase.at, "INFO", message, session))
            if phase.code == 50:
                events.append((phase.at, "DEBUG", "Engine checks its set-up", session))
            if phase.code == 130:
                # A warning occurs in clean runs too.
                text = "File /tmp/artifacts/taurus_start.log not found on disk"
                events.append((phase.at + 1, "WARNING", text, session))
                if broken:
                    events.append((phase.at + 1, "ERROR", "Not enough resources", session))
            if phase.code == 136 and run.test.verdict != "abort":
                text = f"Taurus completed (Exit: {int(broken)})"
                events.append((phase.at, "INFO", text, session))
    return [
        {
            "t": int(account.timeline.unix(at)),
            "from": -6,
            "source": "system",
            "message": message,
            "level": level,
            "session_id": session,
        }
        for at, level, message, session in sorted(events, reverse=True)
        if at <= moment
    ]


def ci_status(account: Account, run: Run) -> Json:
    """Build a run's verdict as build servers get it."""
    moment = account.timeline.moment()
    verdict = run.verdict(moment)
    ended = run.ended(moment)
    failure = {
        "code": 61_000,
        "message": "Threshold violated",
        "details": "ALL: responseTime.percentile.90 gt 500 failed with: 812",
    }
    error = {
        "code": 70_404,
        "message": "Session ended without load report data",
        "details": None,
    }
    failed, broken = verdict == "fail", verdict in ("error", "abort", "noData")
    return {
        "masterId": run.master_id,
        "userId": USER_ID,
        "name": run.test.name,
        "created": int(account.timeline.unix(run.started)),
        "ended": None if ended is None else int(account.timeline.unix(ended)),
        "progress": run.least_phase(moment).code,
        "status": "failure" if failed else "error" if broken else "success",
        "failures": [failure] if failed else [],
        "errors": [error] if broken else [],
    }


def location_row(account: Account, location: Location) -> Json:
    """Build a private location with its agents."""
    ships = [ship for ship in account.ships.values() if ship.location_id == location.location_id]
    return {
        "id": location.location_id,
        "name": location.name,
        "userId": USER_ID,
        "consoleXms": 1024,
        "consoleXmx": 4096,
        "engineXms": 1024,
        "engineXmx": 4096,
        "threadsPerEngine": location.threads_per_engine,
        "slots": location.slots,
        "type": "small",
        "funcIds": ["performance"],
        "hidden": False,
        "disabled": False,
        "overrideCPU": None,
        "overrideMemory": None,
        "shipsId": [ship.ship_id for ship in ships],
        "ships": [ship_row(account, ship) for ship in ships],
        "workspacesId": location.workspaces,
        "accountId": ACCOUNT_ID,
    }


def ship_row(account: Account, ship: Ship) -> Json:
    """Build an agent of a private location; its `state` outlives it, as the vendor's does."""
    heartbeat = account.heartbeat(ship)
    if heartbeat is None:
        return {"id": ship.ship_id, "name": ship.name, "state": "idle"}
    created = 1_751_000_000
    never = heartbeat == 0
    row: Json = {
        "id": ship.ship_id,
        "name": ship.name,
        "address": None if never else "10.0.0.11",
        "publicIpAddress": None if never else "203.0.113.10",
        "state": "empty" if never else "running" if _is_busy(account, ship) else "idle",
        "lastHeartBeat": int(heartbeat),
        "lastCommandOutput": "",
        "isLocked": False,
        "created": created,
        "updated": created if never else int(heartbeat),
    }
    if never:
        return row
    disks = {
        "/": {"present": True, "freeSpace": 70_525_837_312, "freePercent": 68.4},
        "/tmp": {"present": True, "freeSpace": 70_525_837_312},  # noqa: S108 - a reply's text
        "/var/lib/docker": {"present": False},
    }
    info = {"operatingSystem": "Debian GNU/Linux 12", "memory": 16_777_216_000, "cpus": 8}
    host = {
        "diskSpace": disks,
        "platform": ["Linux", "linux-host", "6.1.0"],
        "containerManager": {"type": "DockerManager", "info": info},
    }
    return {**row, "installedVersion": ship.version, "hostInfo": host}


def _is_busy(account: Account, ship: Ship) -> bool:
    if not ship.busy:
        return False
    moment = account.timeline.moment()
    return any(run.ended(moment) is None for run in account.runs())
