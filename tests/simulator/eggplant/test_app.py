from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator.eggplant import app as eggplant
from exporter.simulator.eggplant.app import (
    ACCESS_TOKEN,
    PROGRESS_PATH,
    REALM_PATH,
    SCHEMES,
    STATUS_PATH,
)
from exporter.simulator.eggplant.lab import Lab
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.vendor import Command, Portal
from tests.simulator.callers import client
from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    import httpx

    from tests.support.clock import FakeClock


REPLIES = {
    "/auth": "token.eai",
    "/ai/auth": "token.eai_rest",
    REALM_PATH: "token.dai",
    "/api/v1/auth": "token.dai_public_api",
    "/api/v2/auth": "token.dai_public_api",
}


class Dai:
    """An Eggplant server and a caller in front of it."""

    def __init__(self, time: FakeClock, **options: Any) -> None:
        self.lab = Lab(SimulatorOptions(**options), time.clock)
        self.app = eggplant.app(self.lab, SimulatorOptions(**options), time.clock)
        self.portal: Portal = self.app.state.portal

    async def status(self, token: str = ACCESS_TOKEN) -> httpx.Response:
        """Ask for the connections."""
        headers = {
            "Authorization": f"bearer {token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with client(self.app) as caller:
            return await caller.post(STATUS_PATH, headers=headers)

    async def progress(self, *, token: str = ACCESS_TOKEN, **form: str) -> httpx.Response:
        """Ask for runs."""
        headers = {"Authorization": f"bearer {token}"}
        async with client(self.app) as caller:
            return await caller.post(PROGRESS_PATH, headers=headers, data=form)

    async def log_in(self, path: str, **changes: str | None) -> httpx.Response:
        """Log in, with some of the credentials changed or, for `None`, left out."""
        given = {
            key: value
            for key, value in (SCHEMES[path].wanted | changes).items()
            if value is not None
        }
        async with client(self.app) as caller:
            if SCHEMES[path].form:
                return await caller.post(path, data=given)
            return await caller.post(path, json=given)

    async def token(self, path: str = REALM_PATH) -> str:
        """Log in and return the token."""
        return str((await self.log_in(path)).json()["access_token"])

    async def names(self) -> list[str]:
        """Return the names of the agents that are connected."""
        return [row["agent_name"] for row in (await self.status()).json()]


@pytest.fixture
def dai(time: FakeClock) -> Dai:
    """A server that begins now."""
    return Dai(time)


async def test_connections_have_the_fixture_s_shape(dai: Dai, time: FakeClock) -> None:
    """Every connection must have the keys and types of the vendor's examples, at any time."""
    examples = [
        row
        for case in ("mixed", "idle", "no_port", "zombie")
        for row in fixture("eggplant", f"sut_status.{case}")
    ]

    statuses = set()
    for _ in range(10):
        for row in (await dai.status()).json():
            assert [] == differences(row, *examples)
            statuses.add(row.get("process_status"))
        time.shift(40)

    assert {"Running", "Passed", "Failed", "Incomplete", None} == statuses


async def test_busy_agents_have_a_process(dai: Dai) -> None:
    """The process id must be 0 exactly when nothing runs, but for the stuck run."""
    rows = (await dai.status()).json()

    running = [row.get("process_status") == "Running" for row in rows]
    busy = [row["process_id"] != 0 for row in rows]
    assert [*running[:-1], False] == busy
    assert any(busy)
    assert running[-1]


async def test_a_run_is_stuck(dai: Dai, time: FakeClock) -> None:
    """The stuck run must have begun ten hours ago, and never change."""
    row = (await dai.status()).json()[-1]
    time.shift(3600)
    later = (await dai.status()).json()[-1]

    assert [] == differences(row, *fixture("eggplant", "sut_status.zombie"))
    assert row == later
    started = dt.datetime.fromisoformat(row["execution_status"]["starttime"])
    assert 11 * 3600 == pytest.approx(time.unix - started.timestamp(), abs=1)


async def test_two_agents_have_one_name(dai: Dai, time: FakeClock) -> None:
    """Two agents must have one name and different ports."""
    time.shift(30)
    rows = [row for row in (await dai.status()).json() if row["agent_name"] == "10.0.0.5"]

    assert [] == differences(rows, fixture("eggplant", "sut_status.two_of_a_name"))
    assert [5400, 5401] == [row["port"] for row in rows]
    assert ["10.0.0.5:5400", "10.0.0.5:5401"] == [k for k in dai.lab.agents if k.startswith("10.")]
    assert 1 == dai.lab.names().count("10.0.0.5")


async def test_a_log_line_can_tell_of_an_internal_error(dai: Dai) -> None:
    """Only the log line does, the status does not."""
    (row,) = [row for row in (await dai.status()).json() if row["agent_name"] == "lab-lin-01"]

    assert row["last_log"].startswith("Internal Error:")


async def test_states_can_be_in_upper_case(dai: Dai) -> None:
    """Words are the vendor's, their case is not documented."""
    dai.lab.change("agents", "lab-lin-01", loud=True)

    (row,) = [row for row in (await dai.status()).json() if row["agent_name"] == "lab-lin-01"]

    assert row["process_status"] in {"FAILED", "RUNNING"}
    assert row["execution_status"]["status"] == row["process_status"]


async def test_an_ended_run_vanishes_and_can_be_asked_for(dai: Dai, time: FakeClock) -> None:
    """An ended run must vanish from the status, and be found by its id."""
    seen: dict[str, Any] = {}
    states = set()
    for _ in range(18):
        (row,) = [row for row in (await dai.status()).json() if row["agent_name"] == "lab-mac-01"]
        states.add(row.get("process_status"))
        if "execution_status" in row:
            seen[row["execution_status"]["id"]] = row
        time.shift(10)
    assert {"Running", None} == states
    first, *_ = seen

    ended = await dai.progress(id=first)

    assert [] == differences(ended.json(), fixture("eggplant", "run_progress.passed"))
    assert (first, "Passed") == (ended.json()["id"], ended.json()["status"])
    assert ended.json()["endtime"] is not None


async def test_a_run_in_flight_can_be_asked_for(dai: Dai) -> None:
    """A run in flight must be found by its id, without an end."""
    row = (await dai.status()).json()[-1]

    reply = await dai.progress(id=row["execution_status"]["id"])

    assert [] == differences(reply.json(), fixture("eggplant", "run_progress.running"))
    assert ("Running", None) == (reply.json()["status"], reply.json()["endtime"])


async def test_runs_of_a_model_can_be_asked_for(dai: Dai) -> None:
    """Several are an array."""
    reply = await dai.progress(modelName="Search")

    assert [] == differences(reply.json(), fixture("eggplant", "run_progress.by_model"))
    assert {"Search"} == {run["modelname"] for run in reply.json()}


async def test_what_cannot_be_asked_for(dai: Dai) -> None:
    """A question without id or model must be 400, an unknown id empty, a bad token 401."""
    missing, unknown = await dai.progress(), await dai.progress(id="nobody")
    refused = await dai.progress(token="wrong", id="nobody")

    assert (400, 401) == (missing.status_code, refused.status_code)
    assert fixture("eggplant", "run_progress.unknown") == unknown.json()
    assert [] == dai.portal.violations


async def test_times_are_the_vendor_s(dai: Dai) -> None:
    """Offsets have hours only where that suffices, and the text can be read."""
    times = [
        row["execution_status"]["starttime"]
        for row in (await dai.status()).json()
        if "execution_status" in row
    ]

    assert all(dt.datetime.fromisoformat(text).tzinfo for text in times)
    assert {"+00", ":30"} == {text[-3:] for text in times}


async def test_an_agent_vanishes_and_comes_back(dai: Dai, time: FakeClock) -> None:
    """An agent that is not connected is absent, and returns by itself."""
    seen = []
    for _ in range(3):
        seen.append("lab-win-02" in await dai.names())
        time.shift(115)

    assert [True, False, True] == seen


async def test_an_agent_can_be_disconnected(dai: Dai) -> None:
    """A test takes an agent away by name."""
    dai.portal.obey(Command(change={"agents": {"lab-win-01": {"up": False}}}))

    assert "lab-win-01" not in await dai.names()


@pytest.mark.parametrize("path", SCHEMES)
async def test_each_scheme_gives_a_token(dai: Dai, path: str) -> None:
    """Replies have the printed keys and lifetimes, and the token works."""
    reply = (await dai.log_in(path)).json()

    example = fixture("eggplant", REPLIES[path])
    assert [] == differences(reply, example)
    assert example["expires_in"] == reply["expires_in"]
    assert 200 == (await dai.status(reply["access_token"])).status_code


@pytest.mark.parametrize("path", SCHEMES)
async def test_bad_logins_are_refused(dai: Dai, path: str) -> None:
    """A wrong credential gets 401, a missing one 400."""
    last = list(SCHEMES[path].wanted)[-1]

    wrong = await dai.log_in(path, **{last: "wrong"})
    missing = await dai.log_in(path, **{last: None})

    assert (401, 400) == (wrong.status_code, missing.status_code)
    assert 1 == len(dai.portal.refused)


async def test_a_form_is_not_json(dai: Dai) -> None:
    """A body of the wrong kind is a bad request."""
    async with client(dai.app) as caller:
        reply = await caller.post(REALM_PATH, json=SCHEMES[REALM_PATH].wanted)

    assert 400 == reply.status_code


async def test_tokens_expire(dai: Dai, time: FakeClock) -> None:
    """A realm token lives for five minutes."""
    token = await dai.token()
    time.shift(299)
    before = await dai.status(token)
    time.shift(2)

    after = await dai.status(token)

    assert (200, 401) == (before.status_code, after.status_code)
    assert fixture("eggplant", "sut_status.401") == after.json()


async def test_licences_run_out_and_come_back(dai: Dai, time: FakeClock) -> None:
    """Each login must take a licence until its token expires."""
    dai.lab.change("servers", "main", licences=1)
    await dai.token()

    full = await dai.log_in(REALM_PATH)
    time.shift(301)
    free = await dai.log_in(REALM_PATH)

    assert (403, 200) == (full.status_code, free.status_code)
    assert fixture("eggplant", "token.403") == full.json()


async def test_revoked_tokens_can_be_renewed(dai: Dai) -> None:
    """Replacing the server's token revokes all logins; a new login works."""
    token = await dai.token()
    dai.portal.obey(Command(token="other"))

    old, new = await dai.status(token), await dai.status(await dai.token())

    assert (401, 200) == (old.status_code, new.status_code)


async def test_nobody_logs_in_without_a_server_token(dai: Dai) -> None:
    """With null nothing is valid, neither token nor credentials."""
    dai.portal.obey(Command(token=None))

    assert 401 == (await dai.log_in(REALM_PATH)).status_code
    assert 401 == (await dai.status()).status_code


async def test_the_endpoint_can_be_missing(dai: Dai) -> None:
    """Newer servers may not offer the status."""
    dai.lab.change("servers", "main", status_offered=False)

    assert 404 == (await dai.status()).status_code


async def test_agents_are_listed(dai: Dai) -> None:
    """The list names connected and unconnected agents."""
    async with client(dai.app) as caller:
        reply = await caller.get("/ai/agents", headers={"Authorization": f"Bearer {ACCESS_TOKEN}"})

    assert [] == differences(reply.json(), fixture("eggplant", "agents_list"))


async def test_other_calls_are_violations(dai: Dai) -> None:
    """A call that could change something is noted."""
    async with client(dai.app) as caller:
        await caller.post("/api/run/execute")

    assert ["POST /api/run/execute"] == dai.portal.violations


async def test_equal_seeds_give_equal_labs(time: FakeClock) -> None:
    """Equal seeds must give equal labs."""
    one, two, other = (
        Lab(SimulatorOptions(seed=seed), time.clock).connections() for seed in (5, 5, 6)
    )

    assert one == two
    assert one != other
