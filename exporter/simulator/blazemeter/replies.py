"""BlazeMeter's replies about tests, runs and private locations, without envelope."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from exporter.simulator.blazemeter.account import ACCOUNT_ID, USER_ID


if TYPE_CHECKING:
    from exporter.simulator.blazemeter.account import Account, Location, Ship
    from exporter.simulator.blazemeter.runs import LoadTest, Run

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
_GROUPS: Final = (  # highest code of a group of phases, and its key in `statuses`
    (14, "pending"),
    (45, "booting"),
    (60, "downloading"),
    (136, "ready"),
    (150, "ended"),
)
_LOCATION: Final = "us-east4-a"
_PROJECT_ID: Final = 300_001
_BOOTED_CODE: Final = 45


def run_name(account: Account, run: Run) -> str:
    """Return a run's own name, which is that of its report, not of its test."""
    if run.test.renamed:
        return f"{run.test.name.lower()} #{run.number}"
    began = dt.datetime.fromtimestamp(account.timeline.unix(run.started), dt.UTC)
    what = "Multi-Test" if run.test.multi else run.test.name
    return f"{began:%B_%d}_{began.hour % 12 or 12}:{began:%M %p} - {what}"


def master_row(account: Account, run: Run) -> Json:
    """Return a run as in the vendor's list."""
    timeline, moment, test = account.timeline, account.timeline.moment(), run.test
    ended = run.ended(moment)
    engines = range(test.engines)
    newest = max(run.phase(moment, engine).at for engine in engines)
    row: Json = {
        "id": run.master_id,
        "name": run_name(account, run),
        "userId": USER_ID,
        "delayedStartReady": run.waits(moment),
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
        "projectId": _PROJECT_ID,
        "sessionsId": [run.session_id(engine) for engine in engines],
    }
    if not test.multi:
        row["testId"] = test.test_id
    elif test.named_by:
        row[test.named_by] = test.test_id
    if ended is None:
        if test.test_id % 2:  # the vendor's replies have null or no key
            row["ended"] = None
        elif test.told_by == "reportStatus":
            row["reportStatus"] = "unset"
        return row
    row |= {
        "ended": int(timeline.unix(ended)),
        "lastUpdate": int(timeline.unix(ended)),
        **_verdict(run, moment),
    }
    if run.has_data:
        row["maxUsers"] = test.users
    return row


def _verdict(run: Run, moment: float) -> Json:
    """Return the fields with the verdict of an ended run."""
    verdict = run.verdict(moment)
    passed = verdict == "pass"
    is_known = verdict in ("pass", "fail")
    if run.test.told_by == "reportStatus" or run.result not in ("pass", "fail"):
        return {"reportStatus": verdict, **({"passed": passed} if is_known else {})}
    if not is_known:
        return {"executionMode": "functional", "passed": None, "functionalSummary": None}
    failed = 0 if passed else 1
    return {
        "executionMode": "functional",
        "passed": passed if run.test.told_by == "passed" else None,
        "functionalSummary": {
            "testsCount": 1,
            "requestsCount": 4,
            "errorsCount": failed,
            "assertions": {"count": 4, "passed": 4 - failed},
            "responseTime": {"sum": 1691},
            "isFailed": not passed,
            "failedCount": failed,
            # As in a recorded reply of the vendor about a passed run.
            "failedPercentage": 100 if passed else 25,
        },
    }


def master_detail(account: Account, run: Run) -> Json:
    """Return a run as in the reply about this run alone: without keys that are null."""
    row = {key: value for key, value in master_row(account, run).items() if value is not None}
    ended = run.ended(account.timeline.moment()) is not None
    return {**row, "hasData": run.has_data and ended, "sessions": row["sessionsId"]}


def master_status(account: Account, run: Run, *, level: int | None) -> Json:
    """Return the status of a run, with events of at least `level`; without events for `None`."""
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
                    "servers": _servers(run, phase.code),
                    "plannedServersCount": test.servers,
                    "isDelayedStart": run.waits(moment),
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


def _servers(run: Run, code: int) -> list[Json]:
    """Return the existing engines of a session."""
    count = run.test.servers - run.test.missing_servers if code >= _BOOTED_CODE else 0
    return [
        {
            "server_id": str(3 * 10**18 + 100 * run.master_id + index),
            "server_type": "engine" if index else "console",
        }
        for index in range(count)
    ]


def _events(account: Account, run: Run) -> list[Json]:
    """Return the events of a run so far, newest first."""
    moment = account.timeline.moment()
    broken = run.result in ("error", "noData")
    events: list[tuple[float, str, str, str]] = []
    for engine in range(run.test.engines):
        session = run.session_id(engine)
        for phase in run.phases(engine):
            message = f"Status changed to {phase.name} ({phase.code})"
            events.append((phase.at, "INFO", message, session))
            if phase.code == 50:
                events.append((phase.at, "DEBUG", "Engine checks its set-up", session))
            if phase.code == 130:
                # Faultless runs have this warning too.
                text = "File /tmp/artifacts/taurus_start.log not found on disk"
                events.append((phase.at + 1, "WARNING", text, session))
                if broken:
                    events.append((phase.at + 1, "ERROR", "Not enough resources", session))
            if phase.code == 136 and run.result != "abort":
                code = int(broken) or (0 if engine else run.test.exit_code)
                text = f"Taurus completed (Exit: {code})"
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


def test_row(test: LoadTest) -> Json:
    """Return a test."""
    execution = {"concurrency": test.users, "holdFor": "59m", "rampUp": "1m", "steps": 0}
    return {
        "id": test.test_id,
        "name": test.name,
        "description": "",
        "isNewTest": True,
        "userId": USER_ID,
        "created": 1_750_000_000,
        "updated": 1_759_000_000,
        "creatorClientId": "gui",
        "executions": [
            {**execution, "locations": {_LOCATION: test.users}, "executor": "jmeter"}
            | {"scenario": f"default-scenario-{test.test_id}"}
        ],
        "overrideExecutions": [],
        "hasThreadGroupsToOverride": False,
        "shouldSendReportEmail": False,
        "dependencies": [],
        "tags": [],
        "projectId": _PROJECT_ID,
        "lastUpdatedById": USER_ID,
        "configuration": {
            "type": "taurus",
            "dedicatedIpsEnabled": False,
            "canControlRampup": False,
            "targetThreads": 500,
            "executionType": "taurusCloud",
            "enableFailureCriteria": True,
            "enableMockServices": False,
            "enableLoadConfiguration": True,
            "scriptType": "jmeter",
            "threads": test.users,
            "filename": "script.jmx",
            "testMode": "script",
            "plugins": {},
        },
    }


def multi_test_row(account: Account, test: LoadTest) -> Json:
    """Return a multi-test."""
    newest = test.runs(account.timeline.moment())[-1]
    return {
        "id": test.test_id,
        "name": test.name,
        "description": "",
        "collectionType": "multiV4",
        "userId": USER_ID,
        "items": [],
        "created": 1_750_000_000,
        "updated": 1_759_000_000,
        "lastRunTime": int(account.timeline.unix(newest.started)),
        "draftId": None,
        "filesToSplit": [],
        "dataFiles": [],
        "creatorClientId": "gui",
        "testsForExecutions": [],
        "shouldSendReportEmail": False,
        "projectId": _PROJECT_ID,
    }


def location_row(account: Account, location: Location) -> Json:
    """Return a private location with its agents."""
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
        "disabled": location.disabled,
        "overrideCPU": None,
        "overrideMemory": None,
        "shipsId": [ship.ship_id for ship in ships],
        "ships": [ship_row(account, ship) for ship in ships],
        "workspacesId": location.workspaces,
        "accountId": ACCOUNT_ID,
    }


def ship_row(account: Account, ship: Ship) -> Json:
    """Return an agent of a private location. As at the vendor, a dead agent keeps its `state`."""
    heartbeat = account.heartbeat(ship)
    if heartbeat is None:
        return {"id": ship.ship_id, "name": ship.name, "state": ship.state or "idle"}
    created = 1_751_000_000
    never = heartbeat == 0
    state = "empty" if never else "running" if _is_busy(account, ship) else "idle"
    row: Json = {
        "id": ship.ship_id,
        "name": ship.name,
        "address": None if never else "10.0.0.11",
        "publicIpAddress": None if never else "203.0.113.10",
        "state": ship.state or state,
        "lastHeartBeat": int(heartbeat),
        "lastCommandOutput": "",
        "isLocked": False,
        "created": created,
        "updated": created if never else int(heartbeat),
    }
    if never:
        return row
    row["installedVersion"] = ship.version
    free = ship.disk_free_bytes
    if free is None:
        return row
    disks = {
        "/": {"present": True, "freeSpace": free, "freePercent": 68.4},
        "/tmp": {"present": True, "freeSpace": 2 * free},  # noqa: S108 - a reply's text
        "/var/lib/docker": {"present": False},
    }
    info = {"operatingSystem": "Debian GNU/Linux 12", "memory": 16_777_216_000, "cpus": 8}
    host = {
        "diskSpace": disks,
        "platform": ["Linux", "linux-host", "6.1.0"],
        "containerManager": {"type": "DockerManager", "info": info},
    }
    return {**row, "hostInfo": host}


def _is_busy(account: Account, ship: Ship) -> bool:
    if not ship.busy:
        return False
    moment = account.timeline.moment()
    return any(run.ended(moment) is None for run in account.runs())
