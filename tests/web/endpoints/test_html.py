from __future__ import annotations

import asyncio
import gc
import gzip
import html
from typing import TYPE_CHECKING, Any

import jinja2.runtime
import pytest

from exporter import __version__
from exporter.errors import Reason
from exporter.fleet.readings import Agent, MinVersion, Outcome, Run, SourceHealth, SuiteRun, Usual
from exporter.overview.rows import AlertView
from exporter.polling.poller import TaskStatus
from tests.support.markup import Element, parse
from tests.web import fakes


if TYPE_CHECKING:
    import httpx

    from exporter.fleet.readings import Reading
    from exporter.overview.picture import Picture


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "\N{PILE OF POO} & \N{ROCKET}",
)


async def ask(view: fakes.FakeView, path: str = "/", **query: str) -> httpx.Response:
    await view.recent.catch_up()
    async with fakes.browsing(view) as client:
        return await client.get(path, params=query or None)


async def get(view: fakes.FakeView, path: str = "/", **query: str) -> Element:
    """Return a page that is there."""
    answer = await ask(view, path, **query)
    assert 200 == answer.status_code
    return parse(answer.text)


def text_of(page: Element) -> str:
    """Return what is read of a page, in one line."""
    return page.one("body").text


def names(page: Element) -> list[str]:
    """Return the names in the rows, from top to bottom."""
    return [cell.one("a").one("bdi").text for cell in page.cells("Name")]


def links(page: Element) -> dict[str, str]:
    """Return what the links of a page lead to, by their texts."""
    return {link.text: link.attributes["href"] for link in page.all("a")}


KINDS = ("agents", "recorders")

PROVIDER = "?source=lab&source=prod"


def rows_of(part: Element) -> list[Element]:
    return [row for body in part.all("tbody") for row in body.all("tr")]


class SlowView(fakes.FakeView):
    """A view whose pictures take as long as a test wants."""

    def __init__(self, *readings: Reading, **facts: Any) -> None:
        super().__init__(*readings, **facts)
        self.made = asyncio.Event()
        self.made.set()

    async def picture(self) -> Picture:
        await self.made.wait()
        return await super().picture()


def skewed(name: str) -> Agent:
    """Make an agent that is up, and whose clock is off."""
    state = fakes.agent().state
    assert state is not None
    return fakes.agent(name, state=fakes.changed(state, clock_delta_seconds=7.5))


class TestFleet:
    async def test_answers_the_first_question(self) -> None:
        """The page begins with whether the fleet is well, also in its title."""
        page = await get(fakes.FakeView(fakes.agent(), sources=[fakes.source()]))

        shown = "The fleet is well: 1 target up."
        assert f"loadfleet-exporter: {shown}" == page.one("title").text
        assert shown == page.one("div", "headline").one("strong").text

    async def test_shows_that_not_all_could_be_read(self) -> None:
        """An empty board has the colour of what is not known, and says what it lacks."""
        page = await get(fakes.FakeView(sources=[fakes.source(unread=True)]))

        shown = "The fleet is not fully known: agents of prod could not be read."
        assert f"loadfleet-exporter: {shown}" == page.one("title").text
        assert shown == page.one("div", "headline", "unsure").one("strong").text

    async def test_shows_every_kind(self) -> None:
        """Agents, controllers, clusters with members, recorders and suites are all there."""
        page = await get(
            fakes.FakeView(
                fakes.agent("agent-one"),
                fakes.controller(),
                fakes.cluster(fakes.member("member-one", up=False)),
                fakes.location(agents=3.0, agents_up=2.0, slots=4.0, threads_per_engine=500.0),
                fakes.recorder(),
                fakes.suite(passed=False),
            )
        )

        assert ["agent-one", "ctl.example:8080", "alps", "cellar", "rec", "nightly"] == names(page)
        assert "2 of 3 agents up" == page.cells("Agents")[0].text
        assert "4 engines per agent, 500 users per engine" == page.cells("Capacity")[0].text
        (members,) = page.cells("Members")
        assert members.text.startswith("1 of 1 members down")
        assert ["member-one"] == [name.text for name in members.all("bdi")]
        assert "newest run failed" == page.cells("Newest runs")[0].one("span", "failed").text
        assert "1 runnable" in page.one("h2", id="suites").text

    async def test_tells_agents_of_one_name_apart(self) -> None:
        """Agents of one name must be shown with their ports, and others without."""
        page = await get(
            fakes.FakeView(
                fakes.agent("10.0.0.5", agent_id="10.0.0.5:5400", port="5400"),
                fakes.agent("10.0.0.5", agent_id="10.0.0.5:5401", port="5401"),
                fakes.agent("lab-1", agent_id="lab-1", port="5400"),
            )
        )

        told = [[each.text for each in name.all("span", "quiet")] for name in page.cells("Name")]
        assert [["port 5400"], ["port 5401"], []] == told

    @pytest.mark.parametrize("outcome", Outcome)
    async def test_says_what_the_newest_run_was(self, outcome: Outcome) -> None:
        """The word is the outcome's, and only what did not pass is said to be bad."""
        run = SuiteRun(run_id="10", outcome=outcome)
        page = await get(fakes.FakeView(fakes.changed(fakes.suite(), last_run=run)))

        (cell,) = page.cells("Newest runs")

        assert f"newest run {outcome.replace('_', ' ')}" in cell.text
        assert (outcome.passed is False) == bool(cell.all("span", "failed"))

    async def test_an_abort_does_not_hide_a_failure(self) -> None:
        """The verdict that still holds stands beside the newest run."""
        run = SuiteRun(run_id="10", outcome=Outcome.ABORTED)
        page = await get(fakes.FakeView(fakes.changed(fakes.suite(passed=False), last_run=run)))

        (cell,) = page.cells("Newest runs")

        assert "newest verdict not passed" == cell.one("span", "failed").text

    async def test_a_cluster_that_cannot_be_used_says_why(self) -> None:
        """Reason and age of its controller stand in its own row."""
        cluster = fakes.cluster(reason=Reason.OUTDATED)
        assert cluster.state is not None
        state = fakes.changed(cluster.state, outdated=True)
        page = await get(fakes.FakeView(fakes.changed(cluster, state=state)))

        cell = page.one("table", "clusters").cells("State")[0]

        assert ("down", "outdated", "outdated") == (
            cell.one("span", "state").text,
            cell.one("span", "reason").text,
            cell.one("span", "outdated").text,
        )

    async def test_a_managed_agent_says_so(self) -> None:
        """An agent that the vendor manages must be marked: nobody need care that it is down."""
        page = await get(fakes.FakeView(fakes.agent(up=False, managed="vendor")))

        assert "managed by the vendor" in page.cells("State")[0].text

    async def test_a_slow_vendor_is_told(self) -> None:
        """A slow vendor must be shown at its source."""
        page = await get(fakes.FakeView(sources=[fakes.changed(fakes.source(), vendor_slow=True)]))

        assert "the vendor is slow" in page.cells("State")[0].text

    async def test_a_run_says_what_is_the_matter(self) -> None:
        """Phase, engines and complaints of a run in flight are in its row."""
        run = Run(
            run_id="9",
            run="soak",
            phase="stuck",
            internal_error=True,
            delayed_start=True,
            engines=2.0,
            engines_planned=5.0,
        )
        page = await get(fakes.FakeView(run))

        assert "stuck waits to be started internal error" == page.cells("Phase")[0].text
        assert "2 of 5 engines" == page.cells("Where")[0].text

    async def test_shows_what_is_known_of_a_target(self) -> None:
        """State, reason, version, clock, ping and age are in the row."""
        page = await get(fakes.FakeView(fakes.agent(up=False)))

        (state,) = page.one("table", "agents").cells("State")
        assert "down" == state.one("span", "state", "down", "critical").text
        assert "not reachable" == state.one("span", "reason").text
        known = {label: page.cells(label)[0].text for label in ("Version", "Clock", "Ping", "Read")}
        assert {
            "Version": "4.8.24",
            "Clock": "\N{MINUS SIGN}250 ms",
            "Ping": "12 ms",
            "Read": "2023-11-14 22:12:50 UTC",
        } == known

    async def test_marks_what_is_from_before_a_restart(self) -> None:
        """Values restored after a restart must be marked as such until they are read again."""
        status = TaskStatus(last_attempt=fakes.ago(30), last_success=fakes.ago(30), restored=True)
        view = fakes.FakeView(fakes.agent(), sources=[fakes.source(up=False, status=status)])
        view.snapshot = fakes.changed(view.snapshot, restored=True)

        page = await get(view)

        read = "2023-11-14 22:12:50 UTC"
        assert [f"{read} restored"] == [cell.text for cell in page.cells("Read")]
        (tasks,) = page.cells("Tasks")
        assert f"agents {read}, restored" == tasks.text
        target = await get(view, "/target", source="prod", kind="agent", id="id-agent-1")
        assert "Restored, read 30 s ago." in text_of(target)

    async def test_says_what_an_outdated_target_needs(self) -> None:
        """An outdated agent is shown with the oldest version that is accepted."""
        state = fakes.agent().state
        assert state is not None
        reading = fakes.agent(state=fakes.changed(state, outdated=True))
        minimum = MinVersion(component="measuring_agent", version="4.9.1")

        page = await get(fakes.FakeView(reading, minimum))

        assert "4.8.24 outdated, needs 4.9.1" in text_of(page)

    async def test_remembers_the_newest_failure(self) -> None:
        """A target that is well again says when it was not, and why."""
        view = fakes.FakeView(fakes.agent(up=True))
        down = fakes.agent(up=False)
        assert down.state is not None
        earlier = fakes.changed(down, state=fakes.changed(down.state, read_at=fakes.ago(90)))
        view.recent.take(fakes.changed(view.snapshot, readings=(earlier,)))
        await view.recent.catch_up()
        view.recent.take(view.snapshot)

        page = await get(view)

        (cell,) = page.cells("Newest failure")
        assert "2023-11-14T22:11:50Z" == cell.one("time").attributes["datetime"]
        assert "not reachable" == cell.one("span", "quiet").text

    async def test_draws_the_ping_times(self) -> None:
        """The newest ping times are a line beside their number, hidden from screen readers."""
        view = fakes.FakeView(fakes.agent())
        view.recent.take(view.snapshot)

        page = await get(view)

        (ping,) = page.cells("Ping")
        assert 1 == len(ping.one("svg", "trend", aria_hidden="true").all("path", "line"))

    async def test_shows_the_newest_runs(self) -> None:
        """A suite's newest runs must be a strip with the verdicts in words."""
        page = await get(fakes.FakeView(fakes.suite(passed=False)))

        (runs,) = page.cells("Newest runs")
        run = runs.one("li", "down", title="failed, 2023-11-14 22:03:20 UTC")
        assert "failed" == run.text

    @pytest.mark.parametrize(
        ("seconds", "told"), [(1260.0, ["1.8 times the usual 12 min"]), (1080.0, [])]
    )
    async def test_shows_that_a_run_was_slower_than_usual(
        self, seconds: float, told: list[str]
    ) -> None:
        """A run that took as long as always needs no words."""
        run = SuiteRun(run_id="9", outcome=Outcome.PASSED, duration_seconds=seconds)
        usual = Usual(runs=12, duration_seconds=720.0)
        suite = fakes.changed(fakes.suite(), last_run=run, usual=usual)

        page = await get(fakes.FakeView(suite))

        (runs,) = page.cells("Newest runs")
        (*_, state) = page.cells("State")
        assert told == [each.text for each in runs.all("span", "quiet") if "usual" in each.text]
        assert ["slower"] * len(told) == [each.text for each in state.all("span", "wrong")]

    async def test_shows_runs_in_flight(self) -> None:
        """Runs in flight must be shown with their phase, and ended ones not."""
        going = Run(run_id="1", run="soak", phase="booting", suite_id="3")
        ended = Run(run_id="2", run="smoke", phase="ended")

        page = await get(fakes.FakeView(fakes.suite(), going, ended))

        assert ["booting"] == [cell.one("span", "phase").text for cell in page.cells("Phase")]
        assert ["soak"] == [cell.all("bdi")[0].text for cell in page.cells("Run")]

    async def test_shows_the_sources(self) -> None:
        """A source says its state and what went wrong last."""
        sources = [
            fakes.source("prod", status=fakes.failed("no reply within 15 s")),
            fakes.source("lab", up=False, auth_failed=True),
            fakes.source("new", up=False, status=TaskStatus()),
        ]

        page = await get(fakes.FakeView(sources=sources))

        failing, refused, new = page.one("section", data_key="sources").one("tbody").all("tr")
        (tasks,) = failing.cells("Tasks")
        assert "2023-11-14 22:13:10 UTC: no reply within 15 s" in tasks.text
        assert "no reply within 15 s" == tasks.one("bdi").text
        assert "the credentials were refused" in refused.cells("State")[0].text
        assert "no success yet" in new.cells("Tasks")[0].text

    async def test_is_complete_without_script(self) -> None:
        """The page must need one script of its own, no inline style and nothing from outside."""
        page = await get(fakes.FakeView(fakes.agent(), sources=[fakes.source()]))

        script = page.one("script")
        assert f"static/board.js?v={__version__}" == script.attributes["src"]
        assert "defer" in script.attributes
        assert "" == script.raw_text
        assert [] == page.all("style")
        for each in page.everything():
            assert not [name for name in each.attributes if name == "style" or name[:2] == "on"]
            assert not [value for value in each.attributes.values() if "//" in value]

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_hostile_names_stay_text(self, name: str) -> None:
        """Names and failures must be shown as text, and never be interpreted as markup."""
        view = fakes.FakeView(
            fakes.agent(name, version=name, agent_id=name),
            fakes.cluster(fakes.member(name, up=True)),
            Run(run_id=name, run=name, phase=name),
            sources=[fakes.source(name, status=fakes.failed(name))],
        )

        page = (await ask(view)).text

        escaped = str(html.escape(name)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        assert 8 <= page.count(escaped)
        assert name == html.unescape(escaped)
        if escaped != name:
            assert name not in page

    async def test_a_name_that_is_missing_is_the_id(self) -> None:
        """A target without a name is shown by its id."""
        page = await get(fakes.FakeView(fakes.agent("", agent_id="4711")))

        assert ["4711"] == names(page)

    async def test_a_large_page_is_packed(self) -> None:
        """A large page must be sent as gzip to clients that accept it."""
        view = fakes.FakeView(*(fakes.agent(f"agent-{number}") for number in range(100)))

        async with fakes.browsing(view) as client:
            packed = await client.get("/", headers={"Accept-Encoding": "gzip"})
            plain = await client.get("/", headers={"Accept-Encoding": "identity"})
            refused = await client.get("/", headers={"Accept-Encoding": "gzip;q=0"})

        assert ["gzip", None, None] == [
            each.headers.get("content-encoding") for each in (packed, plain, refused)
        ]
        assert packed.text == plain.text
        assert len(gzip.compress(plain.content, 1)) < len(plain.content) / 5


def attention(page: Element) -> list[dict[str, str]]:
    """Return the table of what is wrong, row by row, as its cells are read."""
    return [
        {cell.attributes["data-label"]: cell.text for cell in row.all("td")}
        for row in page.one("section", data_key="attention").one("tbody").all("tr")
    ]


def sections(page: Element) -> list[str]:
    return [section.attributes["data-key"] for section in page.all("section")]


class TestNeedsAttention:
    async def test_tells_what_is_wrong(self) -> None:
        """The worst is first, with name, kind, severity, reason, since, alert and source."""
        view = fakes.FakeView(
            skewed("late"),
            fakes.agent("gone", up=False),
            fakes.agent("well"),
            sources=[fakes.source()],
        )

        first, second = attention(await get(view))

        assert {
            "What": "gone agent",
            "State": "critical",
            "Reason": "not reachable",
            "Since": "2023-11-14 22:13:20 UTC",
            "Alert": "AgentUnreachable",
            "Source": "prod",
        } == first
        assert ("late agent", "warning", "clock +7.5 s") == (
            second["What"],
            second["State"],
            second["Reason"],
        )

    async def test_is_the_first_that_follows_the_headline(self) -> None:
        """Problems must follow directly after the headline."""
        page = await get(fakes.FakeView(fakes.agent(up=False), sources=[fakes.source()]))

        assert ["attention", "sources", "targets", "agents"] == sections(page)
        assert "Needs attention 1" == page.one("h2", id="attention").text

    async def test_is_absent_where_nothing_is_wrong(self) -> None:
        """Without problems, there must be no section for them."""
        view = fakes.FakeView(fakes.agent(up=False, managed="vendor"), sources=[fakes.source()])

        page = await get(view)

        assert "attention" not in sections(page)
        assert "down" == page.one("span", "state", "down", "calm").text

    async def test_leads_to_the_target_and_to_the_runbook(self) -> None:
        """A problem must link to its target and to its runbook."""
        page = await get(fakes.FakeView(fakes.agent("a", up=False), sources=[fakes.source()]))

        assert {
            "a": "target?source=prod&kind=agent&id=id-a",
            "AgentUnreachable": "runbooks/LoadFleetAgentUnreachable",
        } == links(page.one("section", data_key="attention"))

    async def test_a_source_leads_to_its_targets(self) -> None:
        """The trouble of a whole source has no page of a target."""
        view = fakes.FakeView(SourceHealth(), sources=[fakes.source(up=False)])

        page = await get(view)

        (row,) = attention(page)
        assert ("prod source", "No poll returns readings") == (row["What"], row["Reason"])
        assert "?source=prod" == links(page.one("section", data_key="attention"))["prod"]

    async def test_a_member_is_named_with_its_reason(self) -> None:
        """A member's problem must name its cluster, with the member's own reason."""
        view = fakes.FakeView(
            fakes.cluster(fakes.member("one", up=False)), sources=[fakes.source()]
        )

        (row,) = attention(await get(view))

        assert ("alps/one cluster", "not reachable") == (row["What"], row["Reason"])

    async def test_marks_what_fires(self) -> None:
        """A problem whose alert fires must be marked, if the exporter judges alerts itself."""
        view = fakes.FakeView(fakes.agent(up=False), sources=[fakes.source()])
        (problem,) = (await view.picture()).problems
        view.found_alerts = [
            AlertView(
                name=problem.alert,
                severity=problem.severity,
                state="firing",
                labels=problem.labels,
                annotations={},
                since_timestamp_seconds=fakes.NOW.unix,
            )
        ]

        (row,) = attention(await get(view))

        assert "AgentUnreachable firing" == row["Alert"]

    async def test_has_ten_rows_and_a_way_to_all(self) -> None:
        """A page of a broken fleet still fits on a screen, and the rest is one click away."""
        down = [fakes.agent(f"agent-{number:03}", up=False) for number in range(120)]
        view = fakes.FakeView(*down, sources=[fakes.source()])

        page = await get(view)
        whole = await get(view, "/" + links(page)["all 121 problems"])
        rest = await get(view, "/" + links(whole)["next"])

        assert (10, 100, 21) == (
            len(attention(page)),
            len(attention(whole)),
            len(attention(rest)),
        )
        assert ["attention"] == sections(whole)
        assert "101 to 121 of 121" in text_of(rest)
        assert "?limit=" not in links(rest)["previous"]

    async def test_follows_the_source(self) -> None:
        """Problems must be shown for the chosen source, but not for searches or kinds."""
        view = fakes.FakeView(fakes.agent(up=False), sources=[fakes.source(), fakes.source("lab")])

        shown = [
            "attention" in sections(await get(view, f"/?{query}"))
            for query in ("source=prod", "source=lab", "q=agent", "kind=agent")
        ]

        assert [True, False, False, False] == shown


class TestSources:
    async def test_those_that_answer_are_one_line(self) -> None:
        """Sources that answer must be folded into one line."""
        sources = [fakes.source("a"), fakes.source("b", up=False), fakes.source("c")]

        page = await get(fakes.FakeView(sources=sources))

        section = page.one("section", data_key="sources")
        folded = section.one("details")
        assert "2 sources answer a, c" == folded.one("summary").text
        assert ["a", "c"] == [row.attributes["data-key"] for row in rows_of(folded)]
        assert ["b"] == [row.attributes["data-key"] for row in rows_of(section)][:1]

    async def test_those_that_fail_in_part_are_open(self) -> None:
        """A source with a failing task must not be folded."""
        page = await get(fakes.FakeView(sources=[fakes.source(status=fakes.failed())]))

        assert [] == page.one("section", data_key="sources").all("details")


class TestPaging:
    async def test_a_page_has_a_hundred_rows(self) -> None:
        """The first kind has what the others leave, and each says how to see all of it."""
        agents = [fakes.agent(f"agent-{number:03}") for number in range(250)]
        recorders = [
            fakes.changed(fakes.recorder(), recorder_id=f"{number}") for number in range(20)
        ]

        page = await get(fakes.FakeView(*agents, *recorders))

        assert [90, 10] == [len(rows_of(page.one("table", name))) for name in KINDS]
        assert "?kind=agent" == links(page)["all 250 agents"]
        assert "?kind=recorder" == links(page)["all 20 recorders"]

    async def test_a_kind_has_pages(self) -> None:
        """A hundred rows lead to the next hundred and back."""
        agents = [fakes.agent(f"agent-{number:03}") for number in range(250)]
        view = fakes.FakeView(*agents)

        first = await get(view, "/?kind=agent")
        last = await get(view, "/?kind=agent&offset=200")

        assert ("?kind=agent&offset=100", "?kind=agent&offset=100") == (
            links(first)["next"],
            links(last)["previous"],
        )
        assert ("agent-099", "agent-200") == (names(first)[-1], names(last)[0])
        assert "201 to 250 of 250" in text_of(last)

    async def test_past_the_end(self) -> None:
        """An offset past the end must show how many rows there are, and a link back."""
        page = await get(fakes.FakeView(fakes.agent()), "/?kind=agent&offset=500")

        assert [] == names(page)
        assert "no rows from 501 on; there are 1" in text_of(page)
        assert "?kind=agent" == links(page)["previous"]

    @pytest.mark.parametrize("query", ["limit=5000", "offset=10"])
    async def test_what_a_page_cannot_do_is_told(self, query: str) -> None:
        """A row that is left out is never left out in silence."""
        page = await get(fakes.FakeView(fakes.agent()), f"/?{query}")

        assert query.partition("=")[0] in page.one("ul", "notice").text
        assert 1 == len(names(page))

    async def test_ten_members_of_a_cluster(self) -> None:
        """The worst members are there, the others on the cluster's page."""
        members = [fakes.member(f"m-{number:02}", up=number != 11) for number in range(12)]

        page = await get(fakes.FakeView(fakes.cluster(*members)))

        (cell,) = page.cells("Members")
        assert ("m-11", 10) == (cell.all("bdi")[0].text, len(cell.all("li")))
        assert "target?source=prod&kind=cluster&id=7#members" == links(cell)["all 12"]


class TestGroups:
    def fleet(self) -> fakes.FakeView:
        return fakes.FakeView(
            fakes.agent("a", up=False),
            fakes.agent("b"),
            fakes.agent("c"),
            sources=[fakes.changed(fakes.source(), labels={"site": "bern"}), fakes.source("lab")],
        )

    async def test_by_a_label(self) -> None:
        """Each value has its targets, what is wrong with them, and a link to them."""
        page = await get(self.fleet(), group="site")

        groups = page.one("table", "groups")
        cells = {name: groups.cells(name)[0].text for name in ("Group", "Targets", "Problems")}
        assert {"Group": "bern", "Targets": "3", "Problems": "1 critical"} == cells
        assert "1 down, 2 up" == groups.cells("States")[0].text
        assert {"bern": "?label.site=bern"} == links(groups)

    @pytest.mark.parametrize(
        ("group", "expected"),
        [("source", {"prod": "?source=prod"}), ("provider", {"realload": PROVIDER})],
    )
    async def test_lead_to_their_targets(self, group: str, expected: dict[str, str]) -> None:
        """Sources and providers are filtered by as labels are."""
        page = await get(self.fleet(), group=group)

        assert expected == links(page.one("table", "groups"))

    async def test_can_be_chosen(self) -> None:
        """The form has what targets are grouped by, and a field for each label."""
        page = await get(self.fleet(), "/?group=site&label.site=bern")

        form = page.one("form")
        chosen = [option.attributes["value"] for option in form.all("option", selected="")]
        assert ["bern", "site"] == chosen
        assert ["", "bern"] == [
            each.attributes["value"] for each in form.one("select", name="label.site").all("option")
        ]

    async def test_a_value_that_is_mistaken_is_told(self) -> None:
        """The notice names the values there are."""
        page = await get(self.fleet(), "/?label.site=brn")

        assert (
            "label.site must be one of: bern; did you mean bern?" in page.one("ul", "notice").text
        )


class TestMarks:
    async def test_a_clock_that_is_off(self) -> None:
        """The cell carries the severity, the state is not green, and words say so too."""
        page = await get(fakes.FakeView(skewed("late")))

        (clock,), (state,) = page.cells("Clock"), page.one("table", "agents").cells("State")
        assert "+7.5 s" == clock.one("span", "wrong", "warning").text
        assert "up" == state.one("span", "state", "warning").text
        assert "up clock skew" == state.text

    async def test_the_headline_is_amber_over_a_warning(self) -> None:
        """Over a warning, the headline must be amber."""
        page = await get(fakes.FakeView(skewed("late"), sources=[fakes.source()]))

        headline = page.one("div", "headline", "warn").one("strong").text
        assert "The fleet needs attention: 1 agent with clock skew." == headline


class TestSharing:
    async def test_does_not_depend_on_the_moment(self) -> None:
        """Times are written as they are; the viewer's script says how long ago that is."""
        view = fakes.FakeView(fakes.agent(up=False), fakes.suite(), sources=[fakes.source()])

        answer = await ask(view)

        assert " ago" not in answer.text
        assert "just now" not in answer.text
        read = parse(answer.text).one("table", "agents").cells("Read")[0].one("time")
        assert {"datetime": "2023-11-14T22:12:50Z", "data-ago": ""} == read.attributes

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    async def test_what_the_viewer_has_is_not_sent_again(self, encoding: str) -> None:
        """A page that did not change is answered without a body, until it changes."""
        view = fakes.FakeView(
            *(fakes.agent(f"agent-{number}") for number in range(50)), sources=[fakes.source()]
        )
        async with fakes.browsing(view) as client:
            client.headers["Accept-Encoding"] = encoding
            first = await client.get("/")
            client.headers["If-None-Match"] = f'"other", {first.headers["etag"]}'
            same = await client.get("/?")
            view.snapshot = fakes.changed(view.snapshot, readings=(fakes.agent(up=False),))
            changed = await client.get("/")

        assert ("no-cache", "no-cache") == (
            first.headers["cache-control"],
            same.headers["cache-control"],
        )
        assert (304, b"", first.headers["etag"]) == (
            same.status_code,
            same.content,
            same.headers["etag"],
        )
        assert 200 == changed.status_code
        assert first.headers["etag"] != changed.headers["etag"]

    async def test_a_filter_does_not_wait_for_news(self) -> None:
        """A filter must be answered from the present picture, while a new one is being made."""
        view = SlowView(fakes.agent("old"), sources=[fakes.source()])
        async with fakes.browsing(view) as client:
            await client.get("/")
            view.made.clear()
            view.snapshot = fakes.changed(view.snapshot, readings=(fakes.agent("new"),))

            filtered = await client.get("/?q=a")
            whole = asyncio.create_task(client.get("/"))
            view.made.set()

            assert ["old"] == names(parse(filtered.text))
            assert ["new"] == names(parse((await whole).text))

    async def test_encodings_have_tags_of_their_own(self) -> None:
        """A strong tag stands for the bytes, which differ."""
        view = fakes.FakeView(*(fakes.agent(f"agent-{number}") for number in range(50)))
        tags = set()
        async with fakes.browsing(view) as client:
            for encoding in ("identity", "gzip"):
                answer = await client.get("/", headers={"Accept-Encoding": encoding})
                tags.add(answer.headers["etag"])

        assert 2 == len(tags)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("path", ["/", "/target", "/runbooks/", "/runbooks/LoadFleetSourceDown"])
async def test_a_page_leaves_nothing_behind(path: str) -> None:
    """A rendered page must leave nothing in memory."""
    view = fakes.FakeView(fakes.agent("one", agent_id="1"), sources=[fakes.source()])

    await get(view, path, source="prod", kind="agent", id="1")

    left = [each.name for each in gc.get_objects() if isinstance(each, jinja2.runtime.Context)]
    # Imported templates have one context for all pages.
    assert {"history.html", "parts.html"} >= set(left)


class TestChoosing:
    def fleet(self) -> fakes.FakeView:
        return fakes.FakeView(
            fakes.agent("b-well", version="4.10.0"),
            fakes.agent("a-well", version="4.9.0"),
            fakes.agent("c-down", up=False),
            fakes.recorder(),
            sources=[fakes.source()],
        )

    async def test_by_words(self) -> None:
        """Only rows that say all the words are shown, wherever they say them."""
        page = await get(self.fleet(), q="WELL 4.10")

        assert ["b-well"] == names(page)

    async def test_by_state(self) -> None:
        """Several states can be chosen at once; any of them will do."""
        one = await get(self.fleet(), "/?state=down")
        two = await get(self.fleet(), "/?state=down&state=up&kind=agent")

        assert (["c-down"], ["c-down", "a-well", "b-well"]) == (names(one), names(two))

    async def test_says_how_many_are_shown(self) -> None:
        """A filtered page must say how many rows it shows."""
        page = await get(self.fleet(), kind="agent")

        assert "3 of 4 Clear" in text_of(page)

    async def test_keeps_the_answer_whole(self) -> None:
        """The first line is about the whole fleet, whatever is chosen."""
        page = await get(self.fleet(), q="well")

        headline = page.one("div", "headline", "bad").one("strong").text
        assert "The fleet is not well: 1 agent unreachable." == headline

    async def test_sorts(self) -> None:
        """Versions are sorted by their numbers, in either direction."""
        up = await get(self.fleet(), sort="version", q="well")
        down = await get(self.fleet(), sort="-version", q="well")

        assert (["a-well", "b-well"], ["b-well", "a-well"]) == (names(up), names(down))

    async def test_shows_the_order(self) -> None:
        """The column that is sorted by says so, and its link turns it around."""
        page = await get(self.fleet(), sort="name", q="well")

        heading = page.one("th", aria_sort="ascending")
        assert {"Name": "?q=well&sort=-name"} == links(heading)

    async def test_the_form_holds_the_choice(self) -> None:
        """The form must hold the present filters, so that the next one is added to them."""
        page = await get(
            self.fleet(), q='a"b', state="down", kind="agent", source="prod", sort="-ping"
        )

        form = page.one("form")
        assert 'a"b' == form.one("input", name="q").attributes["value"]
        assert "-ping" == form.one("input", name="sort").attributes["value"]
        ticked = form.all("input", name="state", checked="")
        assert ["down"] == [box.attributes["value"] for box in ticked]
        chosen = form.all("option", selected="")
        assert ["agent", "prod"] == [option.attributes["value"] for option in chosen]

    @pytest.mark.parametrize(
        "query", ["state=burning", "kind=toaster", "sort=colour", "sort=--name"]
    )
    async def test_what_is_not_known_is_told(self, query: str) -> None:
        """An address of another release, or a mistyped one, shows the fleet and what it lacks."""
        page = await get(self.fleet(), f"/?{query}")

        name = query.partition("=")[0]
        (notice,) = page.one("ul", "notice").all("li")
        assert f"This part of the address is ignored: {name} must be one of: " in notice.text
        assert 4 == len(names(page))

    async def test_nothing_found(self) -> None:
        """An empty page says that it is meant to be empty."""
        page = await get(self.fleet(), q="nowhere")

        assert "No target matches." == page.one("p", "empty").text


class TestTarget:
    async def test_links_lead_to_it(self) -> None:
        """The link in a row leads to the page of the target, whatever its id is made of."""
        view = fakes.FakeView(fakes.agent("odd", agent_id='a b/?&"<ü>'), sources=[fakes.source()])
        link = links(await get(view))["odd"]

        page = await get(view, f"/{link}")

        assert link.startswith("target?")
        assert "agent odd" == page.one("h1").text
        assert "odd" == page.one("h1").one("bdi").text

    async def test_shows_history_and_failures_apart(self) -> None:
        """The failures have a table of their own, above the readings."""
        view = fakes.FakeView(fakes.agent("a", up=False), sources=[fakes.source()])
        view.recent.take(view.snapshot)

        page = await get(view, "/target", source="prod", kind="agent", id="id-a")

        headings = [heading.attributes["id"] for heading in page.all("h2")]
        assert headings.index("failures") < headings.index("readings")
        assert 2 * ["not reachable"] == [cell.text for cell in page.cells("Reason")]

    async def test_says_since_when_it_is_so(self) -> None:
        """A target's page must tell since when its state holds."""
        reading = fakes.agent(up=False, changed_timestamp_seconds=1_699_999_000.0)

        page = await get(
            fakes.FakeView(reading), "/target", source="prod", kind="agent", id="id-agent-1"
        )

        since = "Since 2023-11-14 21:56:40 UTC, 16 min 40 s ago at the latest."
        assert since in [line.text for line in page.all("p")]

    async def test_shows_the_samples(self) -> None:
        """The samples are those of the metrics page, with the source's own labels."""
        view = fakes.FakeView(fakes.agent("a"), fakes.agent("b"), sources=[fakes.source()])

        answer = await ask(view, "/target", source="prod", kind="agent", id="id-a")

        samples = parse(answer.text).one("section", data_key="samples").one("code").raw_text
        line = (
            'loadfleet_agent_up{agent="a",agent_id="id-a",provider="realload",'
            'site="bern",source="prod"} 1.0\n'
        )
        assert line in samples
        assert "id-b" not in answer.text

    async def test_says_how_to_look_now(self) -> None:
        """A target's page must have the probe's address and the command for an explanation."""
        view = fakes.FakeView(fakes.agent("a", agent_id="it's"), sources=[fakes.source()])

        page = await get(view, "/target", source="prod", kind="agent", id="it's")

        now = page.one("section", data_key="explain")
        command = """loadfleet-exporter explain prod agent 'it'"'"'s'"""
        assert now.one("code").text.startswith(command)
        probe = "probe?source=prod&kind=agent&id=it%27s&debug=true"
        assert {"A probe of this target": probe} == links(now)

    @pytest.mark.parametrize(
        ("kind", "target_id", "shown"),
        [
            ("controller", "ctl.example:8080", "ctl.example:8080"),
            ("cluster", "7", "one"),
            ("recorder", "5", "rec.example"),
            ("suite", "3", "Finished runs"),
            ("run", "21", "booting"),
        ],
    )
    async def test_every_kind_has_one(self, kind: str, target_id: str, shown: str) -> None:
        """Every target that has a row must have a page."""
        view = fakes.FakeView(
            fakes.controller(),
            fakes.cluster(fakes.member("one", up=True)),
            fakes.recorder(),
            fakes.suite(),
            Run(run_id="21", run="soak", phase="booting"),
            sources=[fakes.source()],
        )

        page = await get(view, "/target", source="prod", kind=kind, id=target_id)

        assert shown in text_of(page)

    async def test_an_agent_names_its_clusters(self) -> None:
        """An agent's page must list its clusters."""
        view = fakes.FakeView(
            fakes.agent("one"),
            fakes.cluster(fakes.member("one", up=True)),
            sources=[fakes.source()],
        )

        page = await get(view, "/target", source="prod", kind="agent", id="id-one")

        clusters = page.one("section", data_key="clusters")
        assert ["alps"] == [name.text for name in clusters.all("bdi")]

    async def test_what_expired_is_remembered(self) -> None:
        """A target without a reading now still shows what it was."""
        view = fakes.FakeView(fakes.agent("a", up=False), sources=[fakes.source()])
        view.recent.take(view.snapshot)
        await view.recent.catch_up()
        view.snapshot = fakes.changed(view.snapshot, readings=())

        page = await get(view, "/target", source="prod", kind="agent", id="id-a")

        assert "There is no current reading of this target." == page.one("div", "headline").text
        assert "not reachable" in [cell.text for cell in page.cells("Reason")]

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_unknown_targets_are_not_found(self, name: str) -> None:
        """A target that is not in the inventory must be 404, with its name as text."""
        answer = await ask(fakes.FakeView(), "/target", source=name, kind=name, id=name)

        assert 404 == answer.status_code
        assert html.escape(name) == name or name not in answer.text

    async def test_nothing_named(self) -> None:
        """Without a target named the page is not found either."""
        answer = await ask(fakes.FakeView(), "/target")

        assert 404 == answer.status_code
