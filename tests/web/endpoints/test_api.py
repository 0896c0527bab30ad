from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from exporter.alerts.evaluate import Phase
from exporter.fleet.readings import SuiteRun, Usual
from exporter.overview.document import plain
from exporter.overview.rows import AlertView
from exporter.web.app import create_app
from exporter.web.endpoints.answers import Answers, preferred
from tests.support.alerts import START, alert
from tests.web import fakes


async def fetched(view: fakes.FakeView, path: str, accept: str) -> httpx.Response:
    """Return the answer to a client that likes some form best."""
    async with fakes.browsing(view) as client:
        return await client.get(f"/api/v1/{path}", headers={"accept": accept})


def lines(answer: httpx.Response) -> list[dict[str, str]]:
    """Return the lines of a CSV file by their columns."""
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


async def get(view: fakes.FakeView, path: str) -> Any:
    """Return the decoded answer."""
    async with fakes.browsing(view) as client:
        answer = await client.get(path)
    assert "application/json" == answer.headers["content-type"]
    return answer.json()


FLEET = (
    fakes.agent("a"),
    fakes.agent("b", up=False),
    fakes.controller(),
    fakes.cluster(fakes.member("a", up=True)),
    fakes.recorder(),
    fakes.suite(passed=False),
)


def known(view: type[fakes.FakeView] = fakes.FakeView) -> fakes.FakeView:
    """Make a view of the fleet with its source and another one, both with a label."""
    prod, lab = (
        fakes.changed(fakes.source(name), labels={"site": site})
        for name, site in (("prod", "bern"), ("lab", "ulm"))
    )
    return view(*FLEET, sources=[prod, lab])


STILL = create_app(known(fakes.StillView))


async def test_a_target_has_all_its_fields() -> None:
    """A target must have all its fields, unknown ones as null, infinite ones as +Inf."""
    document = await get(fakes.FakeView(fakes.agent("a", host="10.0.0.1")), "/api/v1/targets")

    assert {
        "status": "success",
        "data": {
            "targets": [
                {
                    "kind": "agent",
                    "provider": "realload",
                    "source": "prod",
                    "id": "id-a",
                    "name": "a",
                    "state": "up",
                    "reason": None,
                    "outdated": None,
                    "active": None,
                    "protected": None,
                    "host": "10.0.0.1",
                    "port": None,
                    "location": None,
                    "version": "4.8.24",
                    "minimum_version": None,
                    "clock_delta_seconds": -0.25,
                    "ping_duration_seconds": 0.012,
                    "read_timestamp_seconds": fakes.NOW.unix - 30,
                    "last_up_timestamp_seconds": None,
                    "changed_timestamp_seconds": None,
                    "restored": False,
                    "labels": {"site": "bern"},
                    "severity": None,
                    "problems": [],
                    "managed": None,
                    "disk_free_bytes": None,
                    "busy": None,
                    "jobs_running": None,
                    "jobs_read_timestamp_seconds": None,
                    "users_limit": "+Inf",
                    "job_duration_limit_seconds": None,
                    "heartbeat_timestamp_seconds": None,
                    "usual_ping_seconds": None,
                }
            ],
            "total": 1,
        },
    } == document


async def test_what_is_usual_is_told() -> None:
    """A suite's row has what its newest run, which it has too, is compared with."""
    run = SuiteRun(
        run_id="9",
        duration_seconds=1260.0,
        samples={"passed": 3.0, "failed": 1.0},
        boot_seconds=9.0,
    )
    usual = Usual(runs=12, duration_seconds=720.0, error_ratio=0.125, boot_seconds=6.0)
    suite = fakes.changed(fakes.suite(), last_run=run, usual=usual)
    agent = fakes.changed(fakes.agent("a"), usual_ping_seconds=0.5)

    found = (await get(fakes.FakeView(suite, agent), "/api/v1/targets"))["data"]["targets"]

    (told,) = [each for each in found if each["kind"] == "suite"]
    assert [0.5] == [each["usual_ping_seconds"] for each in found if each["kind"] == "agent"]
    assert (12, 720.0, 0.125, 6.0) == (
        told["usual_runs"],
        told["usual_duration_seconds"],
        told["usual_error_ratio"],
        told["usual_boot_seconds"],
    )
    assert [(1260.0, 0.25, 9.0)] == [
        (each["duration_seconds"], each["error_ratio"], each["boot_seconds"])
        for each in told["finished_runs"]
    ]


async def test_the_status_has_the_verdict_and_all_it_is_about() -> None:
    """The status must have the board's headline, and the rows that it was judged by."""
    view = fakes.FakeView(*FLEET, sources=[fakes.source()])
    view.ready = False

    data = (await get(view, "/api/v1/status"))["data"]

    rows = ["headline", "problems", "sources", "targets", "runs"]
    assert ["ready", "total_shards", *rows] == list(data)
    assert (False, 1) == (data["ready"], data["total_shards"])
    assert ("bad", "The fleet is not well: half of agents down, 1 agent unreachable.", True) == (
        data["headline"]["level"],
        data["headline"]["text"],
        data["headline"]["alarming"],
    )
    assert len(FLEET) == len(data["targets"])
    assert ["prod"] == [source["name"] for source in data["sources"]]


async def test_a_cluster_tells_its_members() -> None:
    """A cluster holds its members with their own states."""
    view = fakes.FakeView(fakes.cluster(fakes.member("a", up=False)))

    document = await get(view, "/api/v1/targets")

    assert [("a", "down", "not_reachable")] == [
        (member["name"], member["state"], member["reason"])
        for member in document["data"]["targets"][0]["members"]
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["b", "a", "ctl.example:8080", "alps", "rec", "nightly"]),
        ("?kind=agent", ["b", "a"]),
        ("?kind=agent&kind=suite", ["b", "a", "nightly"]),
        ("?state=down", ["b"]),
        ("?kind=agent&state=up", ["a"]),
        ("?source=prod&kind=suite", ["nightly"]),
        ("?source=lab", []),
        ("?state=outdated&state=failed", ["nightly"]),
        ("?q=ctl", ["ctl.example:8080", "alps"]),
        ("?q=id-b+reach", ["b"]),
        ("?label.site=bern&kind=agent", ["b", "a"]),
        ("?label.site=ulm", []),
        ("?kind=agent&sort=name", ["a", "b"]),
        ("?kind=agent&sort=-name", ["b", "a"]),
        ("?kind=&state=down", ["b"]),
        ("?limit=2", ["b", "a"]),
        ("?limit=2&offset=1", ["a", "ctl.example:8080"]),
        ("?offset=5", ["nightly"]),
        ("?offset=99", []),
    ],
)
async def test_targets_are_filtered(query: str, expected: list[str]) -> None:
    """Values of a filter are alternatives, different filters narrow each other."""
    document = await get(known(), f"/api/v1/targets{query}")

    assert expected == [target["name"] for target in document["data"]["targets"]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("targets?kind=tank", "kind must be one of: agent, "),
        ("targets?state=dwon", "did you mean down?"),
        ("targets?source=prdo", "source must be one of: prod, lab; did you mean prod?"),
        ("targets?label.site=Bern", "did you mean bern?"),
        ("targets?label.sit=bern", "there are: label.site; did you mean label.site?"),
        ("targets?stat=down", "stat is no parameter here; there are: q, state, "),
        ("targets?stat=down", "; did you mean state?"),
        ("targets?sort=pnig", "did you mean ping?"),
        ("targets?limit=all", "limit must be a whole number from 1 on"),
        ("sources?state=inactive", "state must be one of: down, unknown, up"),
        ("sources?kind=agent", "kind is no parameter here"),
        ("alerts?state=frining", "did you mean firing?"),
        ("alerts?severity=page", "severity must be one of: critical, warning, info, none"),
        ("problems?sorce=prod", "did you mean source?"),
        ("problems?kind=tank", "kind must be one of: agent, "),
    ],
)
async def test_mistyped_words_are_refused(path: str, expected: str) -> None:
    """A mistyped word is an error that names what there is, not a list that looks like news."""
    async with fakes.browsing(known()) as client:
        answer = await client.get(f"/api/v1/{path}", headers={"accept": "text/csv"})

    document = answer.json()
    assert (400, "error", "bad_data") == (
        answer.status_code,
        document["status"],
        document["errorType"],
    )
    assert expected in document["error"]


@pytest.mark.parametrize("name", ["targets", "sources", "problems", "alerts"])
async def test_the_documents_tell_all_parameters(name: str) -> None:
    """The page `api.md` must list every parameter of every list."""
    page = (Path(__file__).parents[3] / "deploy/docs/reference/api.md").read_text(encoding="utf-8")
    async with fakes.browsing(known()) as client:
        answer = await client.get(f"/api/v1/{name}?colour=red")

    told = answer.json()["error"].partition("there are: ")[2].split(", ")
    assert "limit" in told
    assert [] == [parameter for parameter in told if f"| `{parameter}` |" not in page]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("source=prod", "source cannot be given: there is nothing to choose from"),
        ("label.site=bern", "label.site is no label of a source; there are none"),
    ],
)
async def test_where_there_is_nothing_to_choose_that_is_told(query: str, expected: str) -> None:
    """An exporter without sources and labels says so."""
    document = await get(fakes.FakeView(), f"/api/v1/targets?{query}")

    assert expected == document["error"]


async def test_all_mistakes_are_told_at_once() -> None:
    """All mistakes of a query must be reported at once."""
    async with fakes.browsing(known()) as client:
        answer = await client.get("/api/v1/targets?stat=down&kind=tank&limit=0")

    told = answer.json()["error"]
    assert [True] * 3 == [
        mistake in told
        for mistake in ("stat is no parameter", "kind must be one of", "limit must be a whole")
    ]


async def test_a_cut_list_tells_how_long_it_is() -> None:
    """A list must have the number of all its rows, whichever page of it is asked for."""
    cut = await get(known(), "/api/v1/targets?kind=agent&limit=1")
    beyond = await get(known(), "/api/v1/targets?kind=agent&limit=1&offset=2")

    assert (1, 2) == (len(cut["data"]["targets"]), cut["data"]["total"])
    assert {"targets": [], "total": 2} == beyond["data"]


async def test_a_source_has_all_its_fields() -> None:
    """A source must have all its fields, and its URL no user."""
    url = "https://user:canary@portal.example/api"
    view = fakes.FakeView(sources=[fakes.source(url=url, status=fakes.failed("no reply"))])

    document = await get(view, "/api/v1/sources")

    assert [
        {
            "provider": "realload",
            "name": "prod",
            "url": "https://portal.example/api",
            "state": "up",
            "up": True,
            "auth_failed": False,
            "blocked": False,
            "vendor_slow": False,
            "standby": False,
            "labels": {},
            "tasks": [
                {
                    "name": "agents",
                    "interval_seconds": 60.0,
                    "failing": True,
                    "unread": False,
                    "up": None,
                    "last_attempt_timestamp_seconds": fakes.NOW.unix - 10,
                    "last_success_timestamp_seconds": fakes.NOW.unix - 70,
                    "last_failure": {
                        "timestamp_seconds": fakes.NOW.unix - 10,
                        "reason": "timeout",
                        "message": "no reply",
                    },
                    "restored": False,
                }
            ],
        }
    ] == document["data"]["sources"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b"]),
        ("?source=b", ["b"]),
        ("?state=down", ["b"]),
        ("?state=unknown", []),
        ("?q=agents", ["a", "b"]),
        ("?q=b+down", ["b"]),
        ("?sort=-name", ["b", "a"]),
        ("?sort=state&limit=1", ["b"]),
    ],
)
async def test_sources_are_filtered(query: str, expected: list[str]) -> None:
    """Sources are filtered like targets."""
    view = fakes.FakeView(sources=[fakes.source("a"), fakes.source("b", up=False)])

    document = await get(view, f"/api/v1/sources{query}")

    assert expected == [found["name"] for found in document["data"]["sources"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), None),
        ({"a": [1.5, float("inf")]}, {"a": [1.5, "+Inf"]}),
    ],
)
def test_no_value_outside_of_json(value: object, expected: object) -> None:
    """Infinity must be written as Prometheus writes it, and NaN never."""
    assert expected == plain(value)


async def test_hostile_names_stay_data() -> None:
    """A name with quotes, tags and control characters comes back as it was."""
    name = '"</script>\u202e\x00\N{PILE OF POO}\\'
    document = await get(fakes.FakeView(fakes.agent(name)), "/api/v1/targets")

    assert name == document["data"]["targets"][0]["name"]


async def test_five_thousand_targets_are_valid() -> None:
    """A large fleet must be returned whole."""
    view = fakes.FakeView(*(fakes.agent(f"agent-{number}") for number in range(5_000)))

    async with fakes.browsing(view) as client:
        answer = await client.get("/api/v1/targets")

    assert 5_000 == len(msgspec.json.decode(answer.content)["data"]["targets"])


async def test_an_alert_is_told_whole() -> None:
    """With its labels, its texts and since when it holds."""
    view = fakes.FakeView()
    view.found_alerts = [
        AlertView.of(alert("a", fired=300)),
        AlertView.of(alert(phase=Phase.PENDING)),
    ]

    document = await get(view, "/api/v1/alerts")

    fires, waits = document["data"]["alerts"]
    assert {
        "name": "Down",
        "severity": "critical",
        "state": "firing",
        "labels": {"alertname": "Down", "severity": "critical", "agent": "a", "source": "prod"},
        "annotations": {"summary": "Something is down."},
        "since_timestamp_seconds": START.unix,
    } == fires
    assert "pending" == waits["state"]


async def test_where_alerts_are_off_there_are_none() -> None:
    """Without built-in alerts, the list of alerts must be empty, not an error."""
    document = await get(fakes.FakeView(), "/api/v1/alerts")

    assert {"status": "success", "data": {"alerts": [], "total": 0}} == document


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", ""]),
        ("?state=firing", ["a"]),
        ("?state=pending&sort=-name", ["b", ""]),
        ("?severity=warning", []),
        ("?source=prod&limit=1", ["a"]),
        ("?q=something+pending", ["b", ""]),
        ("?sort=source", ["", "a", "b"]),
    ],
)
async def test_alerts_are_filtered(query: str, expected: list[str]) -> None:
    """Alerts can be narrowed like targets, also by a source that the configuration has no more."""
    view = fakes.FakeView()
    bare = AlertView.of(alert(phase=Phase.PENDING))
    view.found_alerts = [
        AlertView.of(alert("a", fired=300)),
        AlertView.of(alert("b", phase=Phase.PENDING)),
        fakes.changed(bare, labels={"alertname": "Down", "severity": "critical"}),
    ]

    document = await get(view, f"/api/v1/alerts{query}")

    assert expected == [each["labels"].get("agent", "") for each in document["data"]["alerts"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["b"]),
        ("?severity=critical&kind=agent", ["b"]),
        ("?severity=info", []),
        ("?kind=suite", []),
        ("?source=lab", []),
        ("?q=reach&label.site=bern", ["b"]),
        ("?label.site=ulm", []),
        ("?sort=-since", ["b"]),
    ],
)
async def test_problems_are_filtered(query: str, expected: list[str]) -> None:
    """Problems must be filtered by the query."""
    document = await get(known(), f"/api/v1/problems{query}")

    found = [each["name"] for each in document["data"]["problems"] if each["kind"] == "agent"]
    assert expected == found


class TestCsv:
    async def test_is_what_the_client_likes_best(self) -> None:
        """A spreadsheet gets a file with a name, in the encoding that it says."""
        answer = await fetched(known(), "targets?kind=agent", "text/csv")

        assert (
            "text/csv; charset=utf-8; header=present",
            'attachment; filename="targets.csv"',
            "Accept",
        ) == (
            answer.headers["content-type"],
            answer.headers["content-disposition"],
            answer.headers["vary"],
        )
        assert answer.content.endswith(b"\r\n")

    async def test_has_a_column_for_each_fact(self) -> None:
        """Unknown is empty, lists are numbers or words, labels and units are in the names."""
        member = fakes.member("one", up=True)
        view = fakes.FakeView(fakes.agent("b", up=False), fakes.cluster(member))
        view.source_rows = known().source_rows

        agent, cluster = lines(await fetched(view, "targets", "text/csv"))

        assert {
            "kind": "agent",
            "id": "id-b",
            "state": "down",
            "reason": "not_reachable",
            "outdated": "",
            "restored": "false",
            "clock_delta_seconds": "-0.25",
            "users_limit": "Inf",
            "read_timestamp_seconds": str(int(fakes.NOW.unix - 30)),
            "label_site": "bern",
            "severity": "critical",
            "problems": "AgentUnreachable",
            "members": "",
        }.items() <= agent.items()
        assert ("1", "") == (cluster["members"], cluster["problems"])
        assert "labels" not in agent

    @pytest.mark.parametrize("name", ["sources", "alerts", "problems"])
    async def test_of_every_list(self, name: str) -> None:
        """Each list has as many lines as rows, and the same columns when it is empty."""
        view = known()
        view.found_alerts = [AlertView.of(alert("a", fired=300))]

        rows = await get(view, f"/api/v1/{name}")
        answer = await fetched(view, name, "text/csv")
        empty = await fetched(view, f"{name}?q=nothing-says-this", "text/csv")

        assert len(rows["data"][name]) == len(lines(answer)) > 0
        assert answer.text.splitlines()[0] == empty.text.splitlines()[0]

    async def test_of_no_alerts_has_its_columns(self) -> None:
        """A script that reads a column finds it on a quiet day, too."""
        answer = await fetched(fakes.FakeView(), "alerts", "text/csv")

        assert (
            "name,severity,state,description,runbook_url,summary,since_timestamp_seconds\r\n"
            == answer.text
        )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
            ("+1", "'+1"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("  =1", "'  =1"),
            ("\uff1d1", "'\uff1d1"),
            ('a,"b"\r\nc', 'a,"b"\r\nc'),
            ("Z\u00fcrich <b>", "Z\u00fcrich <b>"),
        ],
    )
    async def test_calculates_nothing(self, name: str, expected: str) -> None:
        """A name that is a formula must be text in a spreadsheet."""
        answer = await fetched(fakes.FakeView(fakes.agent(name)), "targets", "text/csv")

        assert [expected] == [line["name"] for line in lines(answer)]

    async def test_of_ten_thousand_targets(self) -> None:
        """A large fleet must be returned whole."""
        view = fakes.FakeView(*(fakes.agent(f"agent-{number}") for number in range(10_000)))

        answer = await fetched(view, "targets", "text/csv")

        assert 10_000 == len({line["id"] for line in lines(answer)})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV; charset=utf-8", "csv"),
        ("text/*", "csv"),
        ("text/csv, */*", "csv"),
        ("text/csv, application/json", "json"),
        ("text/csv;q=0.5, application/json;q=0.4", "csv"),
        ("text/csv;q=0.5, application/json", "json"),
        ("text/csv;q=0.5, */*;q=0.8", "json"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=many", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("image/png", "json"),
        (";;,q=,/", "json"),
    ],
)
def test_the_form_is_what_the_client_likes_best(accept: str, expected: str) -> None:
    """The form must be the one the client prefers, and JSON by default."""
    assert expected == preferred(accept, ("application/json", "text/csv")).rpartition("/")[2]


class TestSharing:
    async def test_nothing_is_sent_twice(self) -> None:
        """A client whose tag is current must get 304 without a body."""
        async with fakes.browsing(known()) as client:
            first = await client.get("/api/v1/targets?kind=agent")
            etag = first.headers["etag"]
            again = await client.get(
                "/api/v1/targets?kind=agent", headers={"if-none-match": f'"x", W/{etag}'}
            )

        assert (304, b"", etag, "Accept", "no-cache") == (
            again.status_code,
            again.content,
            again.headers["etag"],
            again.headers["vary"],
            again.headers["cache-control"],
        )

    async def test_a_tag_is_of_one_answer(self) -> None:
        """Another list, query, form or picture has another tag."""
        view = known()
        paths = ["targets", "sources", "status", "targets?kind=agent", "targets?kind=suite"]
        answers = [await fetched(view, path, "application/json") for path in paths]
        answers.append(await fetched(view, "targets", "text/csv"))
        view.tag = "next"
        answers.append(await fetched(view, "targets", "application/json"))

        assert len(answers) == len({answer.headers["etag"] for answer in answers})

    async def test_an_answer_is_made_once_for_all(self) -> None:
        """Clients that ask at once must share one answer until there is a new picture."""
        answers, made = Answers(), []

        def make() -> bytes:
            made.append(1)
            return b"body"

        async def ask(tag: str, path: str = "/") -> bytes:
            request = Request(
                {"type": "http", "path": path, "query_string": b"", "headers": [], "server": None}
            )
            answer = await answers.answer(
                request, tag=tag, headers={"Content-Type": "text/csv"}, make=make
            )
            return bytes(answer.body)

        bodies = await asyncio.gather(*(ask("1") for _ in range(5)))
        once = len(made)
        await ask("2")

        assert ([b"body"] * 5, 1, 2) == (bodies, once, len(made))

    async def test_no_more_is_kept_than_was_said(self) -> None:
        """The answers kept must stay within the limit: the oldest goes, a long one is not kept."""
        answers, made = Answers(kept_bytes=10), []

        async def ask(path: str, size: int) -> None:
            def make() -> bytes:
                made.append(path)
                return b"x" * size

            request = Request(
                {"type": "http", "path": path, "query_string": b"", "headers": [], "server": None}
            )
            await answers.answer(request, tag="1", headers={"Content-Type": "text/csv"}, make=make)

        for path, size in (("/a", 6), ("/b", 4), ("/long", 11), ("/c", 6), ("/b", 4), ("/a", 6)):
            await ask(path, size)

        assert ["/a", "/b", "/long", "/c", "/a"] == made


words = st.sampled_from(
    [
        "prod",
        "down",
        "agent",
        "-name",
        "",
        "-",
        "1",
        "0",
        "99999999999",
        "critical",
        "firing",
        "\x00",
    ]
)
names = st.sampled_from(
    ["q", "state", "kind", "source", "sort", "limit", "offset", "severity", "label.site", "label."]
)


@settings(deadline=None, max_examples=60)
@given(
    path=st.sampled_from(["targets", "sources", "alerts", "problems"]),
    pairs=st.lists(st.tuples(names | st.text(max_size=5), words | st.text(max_size=5)), max_size=5),
    accept=st.sampled_from(["text/csv", "*/*"]) | st.text(st.characters(codec="ascii"), max_size=9),
)
def test_nonsense_is_answered(path: str, pairs: list[tuple[str, str]], accept: str) -> None:
    """Any query must be answered with a list, or with 400 and the mistake."""

    async def ask() -> httpx.Response:
        query = urlencode(pairs, errors="replace")
        transport = httpx.ASGITransport(STILL)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            headers = {"accept": accept.replace("\r", "").replace("\n", "")}
            return await client.get(f"/api/v1/{path}?{query}", headers=headers)

    answer = asyncio.run(ask())

    assert answer.status_code in {200, 400}, answer.text
    assert answer.status_code == 200 or answer.json()["error"]
