"""The client of Locust masters: its requests, its error messages, and its secrets."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent, Controller, Run
from exporter.overview.document import plain
from tests.sources.locust.support import PAGE, STATS, Master, own, stats
from tests.support.generators import HTML, raw, recorded
from tests.support.realload import exposed


LOGIN = (
    "stats: Locust was started with --web-login, whose page only a person can pass;"
    " put a proxy with basic authentication in front of it instead"
)
NO_ANSWER = (
    "stats: the reply is {}; check the url, and on Locust's page whether --web-login lacks its"
    " set-up in the locustfile"
)
HOUR = 3_600.0


async def failure(master: Master, task: str = "agents") -> PollError:
    """Poll, which must fail, and return why."""
    with pytest.raises(PollError) as caught:
        await master.poll(task)
    return caught.value


def told(error: PollError) -> str:
    """Return what is said of a call, without that it was the first, to check the credentials."""
    return str(error).removeprefix("the credentials could not be checked: ")


class TestCalls:
    async def test_sends_two_calls_and_no_others(self) -> None:
        """Only two GET requests may be sent: in older versions, others act on the test."""
        master = Master("running")
        (run,) = await master.readings(Run)
        await master.poll("controllers")
        await master.explain("agent", "lg1")
        await master.explain("controller", "master.example:8089")
        await master.explain("run", run.run_id)
        await master.source._client.prove()

        assert {("GET", STATS, b""), ("GET", PAGE, b"")} == set(master.server.calls)

    async def test_reads_the_page_once_an_hour(self) -> None:
        """The page must be read once an hour."""
        master = Master()
        for _ in range(3):
            await master.poll()
            await master.poll("controllers")
        pages = [path for _, path, _ in master.server.calls if path == PAGE]

        await master.states(after=HOUR)

        assert [PAGE] == pages
        assert 2 == [path for _, path, _ in master.server.calls].count(PAGE)

    async def test_keeps_the_prefix_of_the_url(self) -> None:
        """`--web-base-path` puts one before every path."""
        master = Master(url="https://proxy.example/locust/")
        for path in (STATS, PAGE):
            master.server.answers[f"/locust{path}"] = master.server.answers.pop(path)

        await master.poll()

        assert {"/locust/", "/locust/stats/requests"} == {
            path for _, path, _ in master.server.calls
        }

    async def test_sends_a_password_if_it_has_one(self) -> None:
        """A proxy in front may ask for basic authentication."""
        alone, behind = Master(), Master(username="watcher", password="secret")

        await alone.poll()
        await behind.poll()

        assert {None} == {each.headers.get("authorization") for each in alone.server.asked}
        assert {"Basic d2F0Y2hlcjpzZWNyZXQ="} == {
            each.headers.get("authorization") for each in behind.server.asked
        }


class TestMaster:
    async def test_is_a_controller_with_its_version(self) -> None:
        """A master that answers must be a controller that is up, with its version."""
        (master,) = await Master().readings(Controller, "controllers")

        assert ("master.example:8089", "master.example", "8089") == (
            master.controller,
            master.host,
            master.port,
        )
        assert (True, "2.47.0") == (master.state.up, master.state.version)

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://master.example", "master.example:443"),
            ("http://master.example/x", "master.example:80"),
            ("http://[::1]:8089", "::1:8089"),
        ],
    )
    async def test_has_the_port_of_its_url(self, url: str, name: str) -> None:
        """A controller's port must be that of its URL, or the default of its scheme."""
        master = Master(url=url)
        prefix = "/x" if url.endswith("/x") else ""
        for path in (STATS, PAGE):
            master.server.answers[f"{prefix}{path}"] = master.server.answers[path]

        (controller,) = await master.readings(Controller, "controllers")

        assert name == controller.controller

    @pytest.mark.parametrize(
        ("page", "version", "name"),
        [
            (raw("locust", "root.html"), "2.47.0", "locustfile.py"),
            (
                b'<a href="https://github.com/locustio/locust/releases/tag/1.6.0">',
                "1.6.0",
                "locust",
            ),
            (b"<html></html>", "", "locust"),
            (b"window.templateArgs = {not json}", "", "locust"),
            (b'window.templateArgs = {"version": 5}', "", "locust"),
        ],
    )
    async def test_finds_the_version_in_pages_of_all_ages(
        self, page: bytes, version: str, name: str
    ) -> None:
        """A version that is not found is absent, and no error."""
        master = Master("running")
        master.page(page)

        (run,) = await master.readings(Run)
        (controller,) = await master.readings(Controller, "controllers")

        assert (version, name) == (controller.state.version, run.run)

    async def test_without_its_page_everything_else_is_there(self) -> None:
        """A proxy may let the one path through and not the other."""
        master = Master("running")
        master.page(b"", status=404)

        poll = await master.poll()

        assert 2 == len([each for each in poll.readings if isinstance(each, Agent)])
        assert [(Reason.HTTP_4XX, False)] == [(e.reason, e.cuts_list) for e in poll.failures]
        assert not poll.cut

    async def test_asks_a_master_that_was_away_for_its_version_again(self) -> None:
        """The version must be read again from a master that was away."""
        master = Master()
        await master.poll()
        here = dict(master.server.answers)
        master.server.is_away()
        await failure(master)
        master.server.answers = here
        master.page(raw("locust", "root.html").replace(b"2.47.0", b"2.48.1"))

        (controller,) = await master.readings(Controller, "controllers")

        assert "2.48.1" == controller.state.version


class TestNoAnswer:
    @pytest.mark.parametrize("task", ["agents", "controllers"])
    async def test_names_a_login_page(self, task: str) -> None:
        """A redirect to the login page must be named as such, and be no refused password."""
        master = Master()
        location = "/login?next=%2Fstats%2Frequests"
        for path in (STATS, PAGE):
            master.server.says(
                path, b"", status=302, content_type=HTML, headers={"location": location}
            )

        error = await failure(master, task)

        assert (Reason.HTTP_4XX, LOGIN) == (error.reason, told(error))
        assert not master.source.auth_failed

    async def test_names_the_recorded_login_page(self) -> None:
        """The recorded head of a reply is such a redirect."""
        head = raw("locust", "login_redirect.txt").decode().splitlines()
        fields = dict(line.split(": ", 1) for line in head[1:])
        master = Master()
        master.server.says(
            STATS,
            b"",
            status=int(head[0].split()[1]),
            content_type=fields["Content-Type"],
            headers={"location": fields["Location"]},
        )

        assert LOGIN == told(await failure(master))

    async def test_names_a_login_that_is_not_set_up(self) -> None:
        """A login that is not set up must be named: it answers every path with a page."""
        master = Master()
        for path in (STATS, PAGE):
            master.server.says(path, raw("locust", "login_broken.html"), content_type=HTML)

        error = await failure(master)

        assert (Reason.DECODE, NO_ANSWER.format("an HTML page")) == (error.reason, told(error))

    async def test_learns_the_version_as_soon_as_the_login_is_mended(self) -> None:
        """The version must be read again once the broken login page is mended."""
        master = Master()
        broken = raw("locust", "login_broken.html")
        for path in (STATS, PAGE):
            master.server.says(path, broken, content_type=HTML)
        await failure(master)
        master.page(raw("locust", "root.html"))
        master.shows("two_idle")

        (controller,) = await master.readings(Controller, "controllers")

        assert "2.47.0" == controller.state.version

    async def test_names_another_answer(self) -> None:
        """Text that is neither JSON nor a page must be called something else."""
        master = Master()
        master.server.says(STATS, b"hello", content_type="text/plain")

        assert NO_ANSWER.format("of an unexpected type") == told(await failure(master))

    async def test_names_another_redirect(self) -> None:
        """The error must not quote the redirect's target, which may be a secret."""
        master = Master()
        master.server.says(STATS, b"", status=301, headers={"location": "/canary"})

        error = await failure(master)

        assert "stats: the vendor answered with a redirect (301); check the url" == told(error)

    async def test_names_json_that_is_none(self) -> None:
        """A reply that is cut off is no reply."""
        master = Master()
        master.server.says(STATS, b'{"state": "runn')

        assert Reason.DECODE == (await failure(master)).reason

    async def test_takes_401_for_a_refusal(self) -> None:
        """No call is sent for a while then, and the source says why."""
        master = Master(username="watcher", password="secret")
        for path in (STATS, PAGE):
            master.server.says(path, b"", status=401)

        error = await failure(master)

        assert Reason.AUTH == error.reason
        assert master.source.auth_failed


class TestExplain:
    async def test_explains_an_agent(self) -> None:
        """The reply is shown beside what was read of it."""
        explanation = await Master("running").explain("agent", "lg1/2")

        assert isinstance(explanation.reading, Agent)
        assert "lg1/2" == explanation.reading.agent
        assert 2 == exposed(*explanation.more)['locust_agent_users{agent_id="lg1/2",agent="lg1/2"}']
        assert ["running", "running"] == [row["state"] for row in explanation.reply["workers"]]
        assert 20 == explanation.reply["stats"]["num_requests"]

    async def test_explains_the_run(self) -> None:
        """A run is found by its id."""
        master = Master("running")
        (run,) = await master.readings(Run)

        explanation = await master.explain("run", run.run_id)

        assert run == explanation.reading
        assert [20] == list(own(exposed(*explanation.more), "locust_run_requests{").values())

    @pytest.mark.parametrize("kind", ["agent", "controller", "run"])
    async def test_knows_no_others(self, kind: str) -> None:
        """A target that does not exist must not be explained."""
        with pytest.raises(LookupError, match=f"there is no {kind} 'nobody'"):
            await Master("running").explain(kind, "nobody")


CANARY = "canary"


def with_canaries() -> Any:
    """Make a reply with something secret in all places where people write."""
    data = stats("running")
    for row in data["stats"][:-1]:
        row |= {"name": f"/users/{CANARY}", "method": CANARY}
    data["stats"][-1]["note"] = CANARY
    for error in data["errors"]:
        error |= {"name": CANARY, "error": f"https://user:{CANARY}@host", "method": CANARY}
    return data | {"host": CANARY, "extra_options": {CANARY: CANARY}}


async def test_shows_no_text_of_people(caplog: pytest.LogCaptureFixture) -> None:
    """Names of requests, errors and options stay out of readings, memory, log and `explain`."""
    page = raw("locust", "root.html").replace(
        b'"extra_options": {}', b'"extra_options": {"token": "canary"}'
    )
    master = Master(with_canaries())
    master.page(page.replace(b"http://127.0.0.1:8089", b"http://canary"))

    polls = [await master.poll(task) for task in ("agents", "controllers")]
    targets = [
        ("agent", "lg1"),
        ("controller", "master.example:8089"),
        ("run", next(each.run_id for each in polls[0].readings if isinstance(each, Run))),
    ]
    explained = [plain(await master.explain(*target)) for target in targets]

    assert "num_requests" in str(explained)
    everything = [*polls, *explained, exposed(*chain(*(poll.readings for poll in polls)))]
    assert CANARY not in repr(everything)
    assert CANARY not in caplog.text


async def test_messages_quote_no_body() -> None:
    """A page in place of an answer may hold anything."""
    for body, content_type in (
        (b"<p>canary", HTML),
        (b'{"canary": ', "application/json"),
        (json.dumps([CANARY]).encode(), "application/json"),
        (b"", f"text/{CANARY}"),
    ):
        master = Master()
        master.server.says(STATS, body, content_type=content_type)

        assert CANARY not in str(await failure(master))


def test_recorded_exceptions_are_asked_for_by_nobody() -> None:
    """The exceptions, whose tracebacks hold paths, must never be asked for."""
    assert "traceback" in recorded("locust", "exceptions")["exceptions"][0]
