from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.simulator.vendor import Command, Fault
from tests.simulator.callers import BlazeMeter, client
from tests.simulator.shapes import differences, fixture


if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_lists_are_paged(api: BlazeMeter) -> None:
    """The pages must join to the whole list, the newest run first."""
    pages = [await api.get(f"/masters?limit=1000&skip={skip}") for skip in (0, 50)]

    whole = [row for page in pages for row in page["result"]]
    assert [(50, 0, 96), (50, 50, 96)] == [
        (page["limit"], page["skip"], page["total"]) for page in pages
    ]
    assert [50, 46] == [len(page["result"]) for page in pages]
    assert whole == await api.masters()
    assert whole == sorted(whole, key=lambda row: -row["created"])


async def test_ten_rows_are_the_default(api: BlazeMeter) -> None:
    """Without a limit a page has ten rows."""
    assert 10 == len((await api.get("/masters"))["result"])


async def test_the_total_can_be_unknown(api: BlazeMeter) -> None:
    """The total must be unknown for account-wide lists, and for all lists of runs on demand."""
    assert "n/a" == (await api.get("/masters?accountId=100001"))["total"]
    assert 96 > (await api.get("/masters?workspaceId=200001"))["total"]

    api.account.change("services", "main", totals_told=False)

    assert "n/a" == (await api.get("/masters?workspaceId=200001"))["total"]
    assert 4 == (await api.get("/private-locations?workspaceId=200001"))["total"]


async def test_pages_can_all_be_the_first_one(api: BlazeMeter) -> None:
    """A server that ignores what is to be skipped repeats its rows."""
    api.account.change("services", "main", skip_ignored=True)

    pages = [(await api.get(f"/masters?limit=50&skip={skip}"))["result"] for skip in (0, 50)]

    assert pages[0] == pages[1]


async def test_a_list_can_be_shorter_than_its_total(api: BlazeMeter) -> None:
    """The last row is missing, the total counts it."""
    api.account.change("services", "main", lost_rows=1)

    reply = await api.get("/private-locations?workspaceId=200001&limit=50")

    assert (4, 3) == (reply["total"], len(reply["result"]))


async def test_workspaces_have_the_fixture_s_shape(api: BlazeMeter) -> None:
    """Two workspaces are listed."""
    reply = await api.get("/workspaces?accountId=100001")

    assert [] == differences(reply, fixture("blazemeter", "workspaces"))


async def test_a_bad_key_is_refused(api: BlazeMeter) -> None:
    """A bad key must be refused and counted, without a block."""
    for _ in range(5):
        await api.send("/user", secret="wrong")

    reply = await api.send("/user", secret="wrong")

    assert 401 == reply.status_code
    assert fixture("blazemeter", "error.401") == reply.json()
    assert 6 == len(api.portal.refused)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/masters?workspaceId=200002", 403),
        ("/masters?workspaceId=1", 404),
        ("/masters/1/status", 404),
        ("/private-locations", 400),
        ("/nothing/there", 404),
    ],
)
async def test_errors(api: BlazeMeter, path: str, status: int) -> None:
    """Forbidden, missing and malformed requests get their status and the vendor's error body."""
    api.account.change("workspaces", 200002, forbidden=True)

    reply = await api.send(path)

    assert status == reply.status_code
    assert [] == differences(reply.json(), fixture("blazemeter", "error.404"))


async def test_a_forbidden_run(api: BlazeMeter) -> None:
    """A single run can be out of the key's reach."""
    api.account.change("tests", 14_000_001, forbidden=True)
    row = next(row for row in await api.masters() if row.get("testId") == 14_000_001)

    assert 403 == (await api.send(f"/masters/{row['id']}/status")).status_code


async def test_a_rate_limit(api: BlazeMeter) -> None:
    """The fault has the vendor's body and a Retry-After."""
    api.portal.obey(Command(fault=Fault.RATE_LIMITED))

    reply = await api.send("/user")

    assert fixture("blazemeter", "error.429") == reply.json()
    assert "30" == reply.headers["Retry-After"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_changes_are_violations(api: BlazeMeter, method: str) -> None:
    """Anything but a GET is refused and noted."""
    reply = await api.send("/masters", method=method)

    assert 403 == reply.status_code
    assert [f"{method} /api/v4/masters"] == api.portal.violations


async def test_equal_seeds_give_equal_accounts(time: FakeClock) -> None:
    """Equal seeds must give equal accounts."""
    one, two, other = [await BlazeMeter(time, seed=seed).masters() for seed in (5, 5, 6)]

    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/masters?limit=-1", 400),
        ("/masters?skip=x", 400),
        ("/masters?accountId=1", 404),
        ("/masters?workspaceId=1", 404),
        ("/masters/1", 404),
        ("/masters/{run}/status?level=LOUD", 400),
        ("/private-locations", 400),
        ("/private-locations/none", 404),
        ("/private-locations/{location}/servers/none", 404),
    ],
)
async def test_wrong_questions_are_refused(api: BlazeMeter, path: str, status: int) -> None:
    """A client that asks for what does not exist must see it as it would at the vendor."""
    run = (await api.masters())[0]["id"]
    location = next(iter(api.account.locations))

    reply = await api.send(path.format(run=run, location=location))

    assert status == reply.status_code
    assert status == reply.json()["error"]["code"]


async def test_a_login_that_is_no_base64_is_refused(api: BlazeMeter) -> None:
    """Any nonsense in place of the key is a refusal, not a crash."""
    async with client(api.app) as caller:
        reply = await caller.get("/api/v4/user", headers={"Authorization": "Basic ?"})

    assert 401 == reply.status_code
