from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from exporter.errors import BlockedError, CallError, PollError, Reason
from exporter.sources.blazemeter.operations import MASTERS, STATUS, USER, Operation, target_of
from tests.sources.blazemeter.support import BASE, Account, Bench, error, ok, status_of


if TYPE_CHECKING:
    from pathlib import Path


LIST = "masters?workspaceId=200001"


def bench(answer: httpx.Response | None = None, **settings: Any) -> Bench:
    """Make a source with one workspace whose list is answered as given."""
    account = Account()
    account.answers[LIST] = answer or ok([])
    return Bench(account, **{"workspaces": [200001], **settings})


async def failing(bench: Bench) -> PollError:
    """Poll the runs and return the error."""
    with pytest.raises(PollError) as raised:
        await bench.poll("runs")
    return raised.value


class TestReadOnly:
    async def test_sends_gets_only(self) -> None:
        """Polls and explanations must send GET requests of the allowed paths only."""
        rows = [{"id": 1, "testId": 7, "ended": BASE}, {"id": 3, "ended": BASE - 9000}]
        it = bench(ok(rows), masters=[2])
        it.account.answers |= {
            "masters/1/status": ok(status_of(140)),
            "masters/1/status+events": ok(status_of(140, events=[])),
            "masters/1": ok({"id": 1}),
            "masters?testId=7": ok([{"id": 1}]),
            "private-locations?workspaceId=200001": ok([{"id": "aa", "ships": [{"id": "s"}]}]),
            "private-locations/aa/servers": ok([{"id": "s"}]),
            "private-locations/aa": ok({"id": "aa"}),
        }

        await it.poll("runs")
        await it.poll("agents")
        for kind, target in (("run", "1"), ("suite", "7"), ("agent", "s"), ("location", "aa")):
            await it.source.explain(kind, target)

        requests = it.account.requests
        assert {"GET"} == {request.method for request in requests}
        assert {
            "/api/v4/user",
            "/api/v4/masters",
            "/api/v4/masters/1",
            "/api/v4/masters/2",
            "/api/v4/masters/1/status",
            "/api/v4/masters/1/ci-status",
            "/api/v4/masters/1/reports/default/summary",
            "/api/v4/tests/7",
            "/api/v4/multi-tests/7",
            "/api/v4/multi-tests",
            "/api/v4/private-locations",
            "/api/v4/private-locations/aa",
            "/api/v4/private-locations/aa/servers",
        } == {request.url.path for request in requests}
        assert all(request.content == b"" for request in requests)

    def test_refuses_other_operations(self) -> None:
        """A call that is not on the list cannot be made up."""
        stop = Operation(name="stop", path="/api/v4/masters/{id}/stop", reply=USER.reply)

        with pytest.raises(ValueError, match="not a call of this client"):
            target_of(stop, "1", {})

    @pytest.mark.parametrize("item", ["", "../user", "1/stop", "1?x=1", "1#", "a" * 65, "1\n"])
    def test_refuses_what_is_no_id(self, item: str) -> None:
        """An id cannot lead to another path."""
        with pytest.raises(ValueError, match="not an id"):
            target_of(STATUS, item, {})

    def test_refuses_other_parameters(self) -> None:
        """A call must not have parameters beyond the allowed ones."""
        with pytest.raises(ValueError, match="parameters"):
            target_of(MASTERS, "", {"regenerateAuthToken": "true"})


class TestKey:
    async def test_is_sent_as_basic_authentication(self) -> None:
        """Id and secret are user and password."""
        it = bench()

        await it.poll("runs")

        expected = "Basic " + base64.b64encode(b"key-id:key-secret").decode()
        assert {expected} == {request.headers["authorization"] for request in it.account.requests}

    async def test_is_read_from_the_key_file(self, tmp_path: Path) -> None:
        """The key must be read from the key file, and again when it changes."""
        path = tmp_path / "key.json"
        path.write_text('{"id": "a", "secret": "b"}')
        it = bench(api_key_id=None, api_key_secret=None, api_key_file=path)
        await it.poll("runs")

        path.write_text('{"id": "a", "secret": "changed"}')
        await it.poll("runs")

        first, last = it.account.requests[0], it.account.requests[-1]
        assert "Basic " + base64.b64encode(b"a:b").decode() == first.headers["authorization"]
        assert "Basic " + base64.b64encode(b"a:changed").decode() == last.headers["authorization"]

    async def test_that_cannot_be_read_fails_the_poll(self, tmp_path: Path) -> None:
        """A key file that cannot be read must fail the poll unsent, and be named."""
        path = tmp_path / "gone.json"

        found = await failing(bench(api_key_id=None, api_key_secret=None, api_key_file=path))

        assert found.reason is Reason.AUTH
        assert str(path) in str(found)


class TestRefusal:
    @pytest.mark.parametrize(("status", "fixture"), [(401, "401"), (403, "403")])
    async def test_opens_the_breaker(self, status: int, fixture: str) -> None:
        """A refused key stops all calls until auth_retry has passed, then there is one."""
        it = bench()
        it.account.answers = {"user": error(fixture, status), LIST: error(fixture, status)}
        await failing(it)
        assert it.source.auth_failed
        assert it.source.blocked

        found = await failing(it)
        assert isinstance(found, BlockedError)
        assert [] == it.account.sent
        await it.time.advance(301)
        await failing(it)

        assert ["user"] == it.account.sent

    async def test_in_mid_poll_costs_few_calls(self) -> None:
        """A key that is revoked while many runs are asked about is refused four times at most."""
        it = bench(ok([{"id": n, "created": n} for n in range(1, 41)]))
        account = it.account
        revoked = False

        def answer(_: httpx.Request) -> httpx.Response:
            nonlocal revoked
            revoked = revoked or account.sent[-1] == "masters/20/status"
            return error("401", 401) if revoked else ok(status_of(100))

        account.answers |= {f"masters/{n}/status": answer for n in range(1, 41)}
        account.answers["user"] = answer

        poll = await it.poll("runs")

        assert it.source.auth_failed
        assert {Reason.AUTH, Reason.BLOCKED} >= {failure.reason for failure in poll.failures}
        refused = len(account.sent) - account.sent.index("masters/20/status")
        assert refused <= 4

    async def test_of_one_item_is_its_own(self) -> None:
        """A 403 on one run, with a key that is accepted, is that call's own error."""
        it = bench(ok([{"id": 1}, {"id": 2}]))
        it.account.answers["masters/1/status"] = error("403", 403)
        it.account.answers["masters/2/status"] = ok(status_of(100))

        poll = await it.poll("runs")

        assert [("1", Reason.ACCESS_DENIED)] == [(f.target, f.reason) for f in poll.failures]
        assert ["2"] == [getattr(each, "run_id", None) for each in poll.readings]
        assert not it.source.auth_failed

    async def test_of_one_item_is_not_asked_for_at_every_poll(self) -> None:
        """A forbidden workspace must be tried again after `auth_retry`, and reported meanwhile."""
        it = bench(workspaces=[200001, 1, 2, 3, 4])
        it.account.answers |= {f"masters?workspaceId={n}": error("403", 403) for n in range(1, 5)}
        denied = await it.poll("runs")
        await it.time.advance(120)
        await it.poll("runs")
        await it.time.advance(120)

        poll = await it.poll("runs")

        assert [LIST] == it.account.sent
        assert ["1", "2", "3", "4"] == [failure.target for failure in poll.failures]
        assert {Reason.ACCESS_DENIED} == {failure.reason for failure in poll.failures}
        assert len(denied.failures) == 4
        it.account.answers["masters?workspaceId=1"] = ok([])
        await it.time.advance(300)
        await it.poll("runs")
        assert "masters?workspaceId=1" in it.account.sent

    async def test_within_a_good_status_is_one(self) -> None:
        """An error 401 in a reply with status 200 must count as a refusal."""
        it = bench()
        refusal = httpx.Response(200, json={"error": {"code": 401}, "result": None})
        it.account.answers = {"user": refusal, LIST: refusal}

        await failing(it)

        assert it.source.auth_failed


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (error("200_with_error", 200), Reason.API_ERROR),
            (httpx.Response(200, json={"error": "text", "result": []}), Reason.API_ERROR),
            (httpx.Response(200, json={"error": {"code": "x"}, "result": []}), Reason.API_ERROR),
            (httpx.Response(200, content=b"<html>"), Reason.DECODE),
            (httpx.Response(200, json=[]), Reason.DECODE),
            (httpx.Response(200, json={"result": {"id": 1}}), Reason.DECODE),
            (httpx.Response(400, json={}), Reason.HTTP_4XX),
            (httpx.Response(302, headers={"location": "https://x/secret"}), Reason.HTTP_4XX),
            (httpx.Response(503, content=b""), Reason.HTTP_5XX),
        ],
    )
    async def test_have_their_reason(self, answer: httpx.Response, reason: Reason) -> None:
        """An answer that is no good reply must fail with its reason."""
        it = bench(answer)

        found = await failing(it)

        assert isinstance(found, CallError)
        assert reason is found.reason

    async def test_are_counted_with_their_operation(self) -> None:
        """Calls are counted by operation and outcome, the proof as well."""
        it = bench(error("200_with_error", 200))

        await failing(it)

        counted = {
            (sample.labels["operation"], sample.labels["outcome"])
            for family in it.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == "loadfleet_exporter_http_requests_total" and sample.value
        }
        assert {("user", "ok"), ("masters", "api_error")} == counted

    async def test_of_a_vanished_item_is_a_valid_answer(self) -> None:
        """After an outage a 404 shows that the API answers again."""
        it = bench(httpx.Response(503))
        await failing(it)
        it.account.answers[LIST] = error("404", 404)

        poll = await it.poll("runs")

        assert [("200001", Reason.HTTP_4XX)] == [(f.target, f.reason) for f in poll.failures]

    async def test_of_a_missing_api_is_none(self) -> None:
        """A 404 to the proof must be a wrong URL, not a refusal."""
        it = bench(error("404", 404))
        it.account.answers["user"] = error("404", 404)

        assert (await failing(it)).reason is Reason.HTTP_4XX


class TestProof:
    @pytest.mark.parametrize("user", [{"id": 7}, {"result": {"id": 7}, "error": None}])
    async def test_takes_a_user_wrapped_or_not(self, user: dict[str, Any]) -> None:
        """The shape of the reply is not documented; the vendor's own client expects both."""
        it = bench(ok([]))
        it.account.answers["user"] = httpx.Response(200, json=user)

        poll = await it.poll("runs")

        assert () == poll.failures

    async def test_takes_nothing_else(self) -> None:
        """A reply to the proof without a user must not be accepted, whatever its status."""
        it = bench(ok([]))
        it.account.answers["user"] = httpx.Response(200, json={"message": "invalid key"})

        assert (await failing(it)).reason is Reason.DECODE


class TestRateLimit:
    async def test_with_retry_after_is_obeyed(self) -> None:
        """While the asked-for pause runs nothing is sent."""
        it = bench(error("429", 429, {"Retry-After": "120"}))
        assert (await failing(it)).reason is Reason.RATE_LIMITED
        it.account.answers[LIST] = ok([])

        found = await failing(it)
        sent = list(it.account.sent)
        await it.time.advance(121)
        await it.poll("runs")

        assert found.reason is Reason.RATE_LIMITED
        assert [] == sent
        assert [LIST] == it.account.sent

    async def test_without_retry_after_fails_the_call_only(self) -> None:
        """A bare 429 is a failure under its reason; the source is not locked."""
        it = bench(error("429", 429))

        found = await failing(it)

        assert found.reason is Reason.RATE_LIMITED
        assert not it.source.auth_failed


@pytest.mark.parametrize("url", ["https://a.example/", "https://a.example/api/v4"])
async def test_url_may_be_written_in_several_ways(url: str) -> None:
    """The address may end with a slash or with the API's own path."""
    it = bench(url=url)

    await it.poll("runs")

    assert {"https://a.example/api/v4/user", "https://a.example/api/v4/masters"} == {
        str(request.url.copy_with(query=None)) for request in it.account.requests
    }
