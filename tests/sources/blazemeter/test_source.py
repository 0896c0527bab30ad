from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import CallError, PollError
from exporter.fleet.readings import Agent, Run, Suite
from exporter.metrics.mapping import samples
from exporter.sources.decode import NOT_SHOWN
from tests.sources.blazemeter.support import Account, Bench, document, exposed, ok


if TYPE_CHECKING:
    from collections.abc import Iterator


LIST, LOCATIONS = "masters?workspaceId=200001", "private-locations?workspaceId=200001"

#: Each fixture with the call that is answered with it.
CALLS = {
    "masters_list": LIST,
    "masters_list.total_na": LIST,
    "masters_list.empty": LIST,
    "master_detail": "masters/82000000",
    "master_status.booting": "masters/82000001/status",
    "master_status.running.no_events": "masters/82000001/status",
    "master_status.terminating": "masters/82000001/status",
    "master_status.unlisted_status": "masters/82000001/status",
    "master_status.ended": "masters/82000001/status+events",
    "master_status.ended.error_events": "masters/82000001/status+events",
    "master_status.ended.no_data": "masters/82000001/status+events",
    "private_locations": LOCATIONS,
    "private_locations.no_heartbeat": LOCATIONS,
    "private_locations.disabled": LOCATIONS,
    "error.200_with_error": LIST,
    "masters_list.multi_test": LIST,
    "master_detail.functional_failed": "masters/82000000",
    "master_status.delayed_start": "masters/82000001/status",
    "ci_status.error": "masters/82000002/ci-status",
    "summary.full": "masters/82000000/reports/default/summary",
    "test": "tests/14000001",
    "test.array": "tests/14000001",
    "multi_test": "multi-tests/77",
}


def whole_account() -> Account:
    """Make an account in which every call of a poll is answered with a fixture."""
    account = Account()
    account.fixture(LIST, "masters_list")
    account.fixture(LOCATIONS, "private_locations")
    account.fixture("masters/82000000", "master_detail")
    account.status(82000001, "master_status.running")
    account.status(82000002, "master_status.ended")
    account.fixture("masters/82000002/ci-status", "ci_status.error")
    account.fixture("masters/82000000/reports/default/summary", "summary.full")
    account.fixture("tests/14000001", "test")
    ships = "private-locations/64f0c2a1b7e3d90012ab34cd/servers"
    account.fixture(ships, "private_location_servers")
    return account


def bench(account: Account) -> Bench:
    """Make a source that uses every call."""
    return Bench(account, workspaces=[200001], masters=[82000000], min_agent_version="3.7.50")


async def everything(it: Bench) -> list[Any]:
    """Poll all tasks twice and return what came of it, errors included."""
    found: list[Any] = []
    for task in ("agents", "runs", "runs"):
        try:
            found.append(await it.poll(task))
        except PollError as error:
            found.append(error)
        it.time.shift(60)
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within a document, the whole included."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from places(part, (*path, index))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """Return a document with another value at a place."""
    if not path:
        return by
    head, *rest = path
    part = replaced(value[head], tuple(rest), by)
    if isinstance(value, dict):
        return {**value, head: part}
    return [*value[:head], part, *value[head + 1 :]]


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["ENDED", "pass", "1e999", "-1", 140, 100, -1, 1e300, 1760000000000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)

PLACES = [(name, path) for name in CALLS for path in places(document(name))]


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), value=ANY_JSON)
async def test_no_value_breaks_a_poll(place: tuple[str, tuple[Any, ...]], value: Any) -> None:
    """Any JSON in place of any value of any reply costs that value, or fails as a poll does."""
    name, path = place
    account = whole_account()
    changed = json.dumps(replaced(document(name), path, value)).encode()
    account.answers[CALLS[name]] = httpx.Response(200, content=changed)
    if "master_status" in name:
        account.answers[CALLS[name].removesuffix("+events")] = account.answers[CALLS[name]]
        account.answers[CALLS[name].removesuffix("+events") + "+events"] = account.answers[
            CALLS[name]
        ]

    for poll in await everything(bench(account)):
        for reading in () if isinstance(poll, PollError) else poll.readings:
            assert all(isinstance(sample.value, float) for sample in samples(reading))


class TestExplain:
    async def test_an_agent(self) -> None:
        """An agent must be read through its location's list, without its address."""
        explanation = await bench(whole_account()).source.explain(
            "agent", "64f0c2a1b7e3d90012ab3502"
        )

        assert isinstance(explanation.reading, Agent)
        assert ("dc1-agent-2", "Datacentre 1") == (
            explanation.reading.agent,
            explanation.reading.location,
        )
        shown = explanation.reply["result"][1]
        assert ("3.7.41", NOT_SHOWN) == (shown["installedVersion"], shown["address"])

    async def test_a_run(self) -> None:
        """A run's explanation must have its reply and the values of its end."""
        account = whole_account()
        account.status(82000001, "master_status.ended.error_events")
        account.answers["masters/82000001"] = ok(document("masters_list")["result"][0])

        explanation = await bench(account).source.explain("run", "82000001")

        assert isinstance(explanation.reading, Run)
        assert exposed(explanation.reading)["run_exit_code"] == 1
        messages = [each["message"] for each in explanation.reply["status"]["result"]["events"]]
        assert "Taurus completed (Exit: 1)" in messages
        assert NOT_SHOWN in messages
        assert not any("taurus_start.log" in message for message in messages)

    async def test_a_suite(self) -> None:
        """A test is read from its own runs."""
        account = whole_account()
        rows = [row for row in document("masters_list")["result"] if row["testId"] == 14000003]
        account.answers["masters?testId=14000003"] = ok(rows)

        explanation = await bench(account).source.explain("suite", "14000003")

        assert isinstance(explanation.reading, Suite)
        assert explanation.reading.last_run is not None
        assert ("82000004", False) == (
            explanation.reading.last_run.run_id,
            explanation.reading.last_run.passed,
        )

    @pytest.mark.parametrize(
        ("kind", "target"),
        [
            ("controller", "1"),
            ("agent", "nobody"),
            ("location", "nobody"),
            ("location", "../user"),
            ("run", "77"),
            ("suite", "77"),
            ("run", "../user"),
        ],
    )
    async def test_reaches_nothing_beside_the_inventory(self, kind: str, target: str) -> None:
        """An unknown kind or target is a lookup error, and nothing is asked about it."""
        it = bench(whole_account())

        with pytest.raises(LookupError):
            await it.source.explain(kind, target)

        assert not any(f"/{target}" in key for key in it.account.sent)

    async def test_goes_through_the_guard(self) -> None:
        """While the key is refused, explain sends nothing."""
        it = bench(whole_account())
        it.account.answers = dict.fromkeys(it.account.answers, httpx.Response(401, json={}))
        with pytest.raises(PollError):
            await it.poll("runs")
        it.account.sent.clear()

        with pytest.raises(PollError):
            await it.source.explain("run", "82000000")

        assert [] == it.account.sent


class TestSecrets:
    async def test_are_nowhere(self) -> None:
        """No reading, failure, error or explanation may contain a secret of a reply."""
        account = whole_account()
        for key, answer in account.answers.items():
            assert isinstance(answer, httpx.Response)
            account.answers[key] = ok(_salted(answer.json()["result"]))
        it = Bench(
            account,
            workspaces=[200001],
            masters=[82000000],
            api_key_id="canary-id",
            api_key_secret="canary-secret",
        )

        found = await everything(it)
        found.append(await it.source.explain("agent", "64f0c2a1b7e3d90012ab3501"))
        account.answers["masters/82000001"] = account.answers["masters/82000000"]
        found.append(await it.source.explain("run", "82000001"))
        found.append(it.source)

        assert "canary" not in repr(found)
        assert "canary" not in str([msgspec.to_builtins(each.reply) for each in found[3:5]])
        assert not any(isinstance(each, PollError) for each in found)

    async def test_are_in_no_error(self) -> None:
        """Errors quote neither bodies nor headers."""
        it = bench(Account())
        canary = httpx.Response(
            200, json={"error": {"code": 402, "message": "canary"}, "result": "canary"}
        )
        it.account.answers |= {LIST: canary, "masters/82000000": canary, LOCATIONS: canary}

        found = await everything(it)

        assert all(isinstance(each, CallError) for each in found)
        assert "canary" not in repr(
            [(error, error.__cause__, error.__context__) for error in found]
        )


def _salted(value: Any) -> Any:
    """Add what must not be exported wherever an object stands."""
    if isinstance(value, dict):
        salt = {
            "email": "canary@example.com",
            "publicToken": "canary-token",
            "address": "canary-address",
            "publicIpAddress": "canary-ip",
            "AUTH_TOKEN": "canary-auth",
            "dataUrl": "https://canary",
        }
        event = {"message": "canary https://x/?token=canary"} if "session_id" in value else {}
        return {**{key: _salted(part) for key, part in value.items()}, **salt, **event}
    return [_salted(part) for part in value] if isinstance(value, list) else value


async def test_closes_while_calls_are_out() -> None:
    """Closing twice, or before anything was sent, is no error."""
    it = bench(whole_account())

    await it.source.aclose()
    with suppress(PollError):
        await it.poll("runs")
    await it.source.aclose()

    assert [] == it.account.sent
