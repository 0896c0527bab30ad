"""`preflight` in process: the flags, a daemon that is asked, and the waiting."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from exporter.cli import main
from exporter.commands.preflight import awaited
from exporter.commands.preflight_formats import Answer
from exporter.commands.progress import Waiting
from exporter.commands.remote import NotAskedError
from exporter.fleet.readings import Outcome, SuiteRun, Usual
from exporter.overview.preflight.report import (
    Capacity,
    Check,
    Report,
    Result,
    status_of,
)
from exporter.polling.poller import TaskStatus
from exporter.settings.preflights import PreflightSettings
from exporter.sharding import Shard
from exporter.simulator.server import serve
from exporter.web.app import create_app
from tests.support.clock import FakeClock
from tests.support.processes import free_port
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request


#: A suite that can be run, and took twice as long as usual.
SLOW = fakes.changed(
    fakes.suite(),
    suite_id="4",
    suite="slow",
    running=False,
    last_run=None,
    history=(SuiteRun(run_id="1", outcome=Outcome.PASSED, duration_seconds=1200.0),),
    usual=Usual(runs=20, duration_seconds=600.0),
)


async def run(*arguments: str, environ: dict[str, str] | None = None) -> int:
    return await asyncio.to_thread(main, ("preflight", *arguments), environ=environ or {})


@asynccontextmanager
async def daemon(view: fakes.FakeView, **options: Any) -> AsyncIterator[str]:
    """Yield the URL of a daemon's pages, whose clock is that of the fakes, years behind ours."""
    app = create_app(view, **options)

    async def dated(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", formatdate(fakes.NOW.unix, usegmt=True).encode())
                message["headers"] = [*message["headers"], date]
            await send(message)

        await app(scope, receive, sent)

    async with serve(dated) as url:
        yield url


@asynccontextmanager
async def answering(answer: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    """Yield the URL of what is no daemon of ours."""
    async with serve(Starlette(routes=[Route("/{rest:path}", answer)])) as url:
        yield url


def spelled(value: object) -> str | None:
    """Return the name of a case by its flags."""
    return " ".join(value) if isinstance(value, list) else None


def preflight(name: str, include: str) -> PreflightSettings:
    return PreflightSettings.model_validate({"name": name, "agents": {"include": include}})


def watched() -> fakes.FakeView:
    """Make a daemon with a preflight of each status."""
    return fakes.FakeView(
        fakes.agent("fit"),
        fakes.agent("ill", up=False),
        fakes.agent("dark", up=None),
        sources=[fakes.source()],
        preflights=[preflight(name, name) for name in ("fit", "ill", "dark")],
    )


#: Answers of a daemon with a time zone unknown on this machine, and of one without any.
ELSEWHERE, NOWHERE = (
    json.dumps(
        {
            "data": {
                "preflights": [
                    {
                        "name": "tonight",
                        "status": "fit",
                        "checks": [],
                        "agents_fit": 1,
                        "agents_unfit": 0,
                        "capacity": {"users": "+Inf"},
                        "begin_timestamp_seconds": 1.0,
                        "end_timestamp_seconds": 2.0,
                        "time_zone": time_zone,
                    }
                ]
            }
        }
    )
    for time_zone in ("Mars/Olympus", "")
)


class TestNamed:
    @pytest.mark.parametrize(
        ("names", "code", "title"),
        [
            (["fit"], 0, "fit: fit"),
            (["dark"], 3, "dark: not known to be fit"),
            (["ill"], 1, "ill: not fit"),
            (["dark", "ill"], 1, "dark: not known to be fit"),
            ([], 1, "fit: fit"),
        ],
    )
    async def test_the_code_is_that_of_the_worst(
        self, names: list[str], code: int, title: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A job has to read nothing else."""
        async with daemon(watched()) as url:
            ended = await run(*names, f"--url={url}")

        told = capsys.readouterr()
        assert (code, "") == (ended, told.err)
        assert title == told.out.splitlines()[0]

    async def test_its_json_is_what_the_daemon_says(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The printed JSON must be the daemon's answer, infinite limits included."""
        async with daemon(watched()) as url:
            await run("--format=json", f"--url={url}")
            async with fakes.browsing(watched()) as client:
                said = (await client.get("/api/v1/preflight")).json()["data"]

        printed = json.loads(capsys.readouterr().out)
        assert said == printed
        assert "+Inf" == printed["preflights"][0]["capacity"]["users"]

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("ftt", "preflight: NAME must be one of: fit, ill, dark; did you mean fit?\n"),
            ("", "preflight: a NAME has no value\n"),
            # A byte that is not UTF-8, as Python decodes it.
            ("\udcff", "preflight: NAME must be one of: fit, ill, dark\n"),
        ],
    )
    async def test_a_name_that_is_not_there(
        self, name: str, told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An unknown or empty name must be a usage error, with the nearest known name."""
        async with daemon(watched()) as url:
            code = await run(name, f"--url={url}")

        assert (2, ("", told)) == (code, capsys.readouterr())

    async def test_names_stand_anywhere(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A flag between two of them does not part them."""
        async with daemon(watched()) as url:
            code = await run("fit", f"--url={url}", "dark", "--format=json", "--", "ill")

        told = json.loads(capsys.readouterr().out)["preflights"]
        assert (1, ["fit", "dark", "ill"]) == (code, [each["name"] for each in told])

    async def test_none_is_configured(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a configured preflight, the error must name the remedies."""
        async with daemon(fakes.FakeView(sources=[fakes.source()])) as url:
            code = await run(f"--url={url}")

        told = capsys.readouterr().err
        assert 2 == code
        assert told.startswith("preflight: no preflight is configured; list one below")
        assert "such as --agents='ubuntu.*' --min-up=10" in told

    async def test_a_daemon_that_begins(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Before the first polls, a preflight must not be known."""
        settings = preflight("tonight", ".*")
        source = fakes.source(status=TaskStatus())
        view = fakes.FakeView(sources=[source], preflights=[settings])
        view.ready = False

        async with daemon(view) as url:
            code = await run(f"--url={url}")

        assert 3 == code
        assert "they were not polled yet" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("status", "body", "why"),
        [
            (200, "<html>Log in</html>", "is no loadfleet-exporter"),
            (200, ELSEWHERE, "is no loadfleet-exporter"),
            (200, NOWHERE, "is no loadfleet-exporter"),
            (503, "503 Service Unavailable: too many.\n", "it answers with 503: too many"),
            (404, "Not Found", "it has no such page"),
            (404, '{"error": "gone"}', "it has no such page"),
            (401, "", "it requires a password"),
            (500, "", "it answers with 500"),
        ],
    )
    async def test_what_is_no_answer_is_not_known(
        self, status: int, body: str, why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A proxy, an older daemon or a busy one has said nothing of the fleet."""

        async def answer(_: Request) -> Response:
            return PlainTextResponse(body, status)

        async with answering(answer) as url:
            code = await run("tonight", f"--url={url}")

        told = capsys.readouterr()
        assert (3, "") == (code, told.out)
        assert why in told.err

    async def test_an_answer_about_nothing_is_none(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No preflight at all must not look like none that is unfit."""

        async def answer(_: Request) -> Response:
            return PlainTextResponse('{"data": {"status": "fit", "preflights": []}}')

        async with answering(answer) as url:
            code = await run(f"--url={url}")

        assert 3 == code
        assert "is no loadfleet-exporter" in capsys.readouterr().err

    async def test_an_answer_about_another_is_none(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An answer about another preflight than the one asked for must not decide."""

        async def answer(_: Request) -> Response:
            async with fakes.browsing(watched()) as client:
                reply = await client.get("/api/v1/preflight?name=fit")
            return JSONResponse(reply.json())

        async with answering(answer) as url:
            code = await run("ill", f"--url={url}")

        assert 3 == code
        assert "is no loadfleet-exporter" in capsys.readouterr().err

    @pytest.mark.parametrize(("form", "sign"), [("junit", "<error "), ("github", "::warning ")])
    async def test_a_report_is_there_without_an_answer(
        self, form: str, sign: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A server that looks at the report alone must not find none."""
        code = await run(f"--url=http://127.0.0.1:{free_port()}", f"--format={form}")

        told = capsys.readouterr()
        assert 3 == code
        assert sign in told.out
        assert "is the daemon running there?" in told.out


class TestConditions:
    @pytest.mark.parametrize(
        ("flags", "code"),
        [
            (["--agents=fit"], 0),
            (["--agents=ill"], 1),
            (["--agents=dark"], 3),
            (["--min-up=1"], 0),
            (["--min-up=1", "--max-down=1"], 3),
            (["--min-up=3"], 1),
            (["--agents=fit", "--users=5000"], 0),
            (["--agents=fit", "--clock=100ms"], 1),
            (["--agents=fit", "--idle"], 3),
            (["--agents=fit", "--max-age=5m"], 0),
            (["--agents=fit", "--max-age=1s"], 3),
            (["--source=prod"], 1),
            (["--agents=fit", "--source=prod,lab"], 0),
            (["--suites=nightly"], 1),
            (["--suites=slow"], 0),
            (["--suites=slow", "--max-age=5m", "--source=prod"], 0),
            (["--suites=slow", "--slower-than-usual=1.5"], 1),
            (["--suites=slow", "--slower-than-usual=3"], 0),
            (["--clusters=alps"], 0),
        ],
        ids=spelled,
    )
    async def test_a_daemons_fleet_is_judged_here(self, flags: list[str], code: int) -> None:
        """Conditions need no configuration, and cost the daemon one page."""
        view = fakes.FakeView(
            *watched().snapshot.readings,
            fakes.cluster(fakes.member("fit", up=True)),
            SLOW,
            sources=[fakes.source(), fakes.source("lab")],
        )
        tasks = [fakes.changed(view.source_rows[0].tasks[0], name=name) for name in TASKS]
        view.source_rows = [fakes.changed(row, tasks=tuple(tasks)) for row in view.source_rows]

        async with daemon(view) as url:
            assert code == await run(*flags, f"--url={url}")

        assert [] == view.explained

    @pytest.mark.parametrize("flag", ["--agents", "--clusters", "--suites"])
    async def test_what_matches_nothing_names_its_flag(
        self, flag: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A condition that came from a flag must be corrected there, not in a file."""
        view = watched()
        tasks = [fakes.changed(view.source_rows[0].tasks[0], name=name) for name in TASKS]
        view.source_rows = [fakes.changed(view.source_rows[0], tasks=tuple(tasks))]

        async with daemon(view) as url:
            code = await run(f"{flag}=nothing", f"--url={url}")

        assert 1 == code
        assert f"matches; correct {flag} or --source, or check" in capsys.readouterr().out

    async def test_a_shard_knows_a_part_of_the_fleet(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A daemon that is a shard must be refused: it knows a part of the fleet only."""
        view = watched()
        view.shard = Shard(index=1, total=2)

        async with daemon(view) as url:
            code = await run("--agents=fit", f"--url={url}")

        assert 2 == code
        assert "polls only one of 2 shards; ask a daemon" in capsys.readouterr().err

    async def test_the_time_is_the_daemons(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The clock of the machine that a job runs on may be off, by years here."""
        view = fakes.FakeView(fakes.agent("fit"), sources=[fakes.source()])

        async with daemon(view) as url:
            code = await run("--max-age=31s", f"--url={url}")

        assert 0 == code
        assert "1 of 1 agent was read within 31 s" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("flags", "told"),
        [
            (["--agents=("], "--agents: is not a regular expression; escape literal characters"),
            (["--agents="], "--agents= has no value"),
            (["--source="], "--source= has no value"),
            (["--users=many"], "--users: must be a whole number"),
            (["--users=0"], "--users: must be at least 1"),
            (["--slower-than-usual=0.5"], "--slower-than-usual: must be at least 1"),
            (["--min-up=-1"], "--min-up: must be at least 0"),
            (["--clock=1"], "--clock: has no unit; write a duration such as 90s"),
            (["--max-age=0"], "--max-age: must be longer than 0"),
            (["--source=prd"], "--source: no source has this name; did you mean prod?"),
            (
                ["--source=prod", "--clusters=x"],
                "--source: prod lists no clusters; name another source",
            ),
            (["fit", "--idle", "--users=1"], "--users, --idle cannot change a preflight"),
        ],
        ids=spelled,
    )
    async def test_a_mistake_is_told_by_its_flag(
        self, flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A mistake must be reported by the flag that has it."""
        async with daemon(watched()) as url:
            code = await run(*flags, f"--url={url}")

        written = capsys.readouterr()
        assert (2, "") == (code, written.out)
        assert written.err.startswith(f"preflight: {told}")

    async def test_all_mistakes_at_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        """All mistakes in flags must be reported at once, one a line."""
        async with daemon(watched()) as url:
            await run("--users=x", "--clock=y", "--source=z", f"--url={url}")

        assert ["--clock", "--users", "--source"] == [
            line.split(": ")[1] for line in capsys.readouterr().err.splitlines()
        ]

    async def test_a_newer_daemon_is_not_judged(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A vendor that this version does not know could list what is asked for."""
        row = fakes.changed(fakes.source(), provider="spoon")

        async with daemon(fakes.FakeView(fakes.agent(), sources=[row])) as url:
            code = await run("--min-up=1", f"--url={url}")

        assert 3 == code
        assert "is no loadfleet-exporter" in capsys.readouterr().err


#: The tasks of a source that lists agents, clusters and suites.
TASKS = ("agents", "clusters", "suites")


#: A configuration whose source cannot be reached.
SOURCE = "sources: [{provider: realload, name: prod, url: 'http://127.0.0.1:9', auth_token: x}]"


class TestConfiguration:
    """Without a daemon, as far as nothing is polled."""

    @pytest.mark.parametrize(
        ("flags", "told"),
        [
            ([], "no preflight is configured; list one below `preflights` in the configuration;"),
            (["nightly"], "no preflight is configured"),
            (["--source=prd"], "--source: no source has this name; did you mean prod?"),
        ],
        ids=spelled,
    )
    def test_what_there_is_not(
        self, flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A mistake must be reported before any call is sent."""
        path = tmp_path / "loadfleet.yml"
        path.write_text(SOURCE)

        code = main(["preflight", f"--config.file={path}", *flags], environ={})

        assert 2 == code
        assert capsys.readouterr().err.startswith(f"preflight: {told}")

    def test_a_name_beside_others(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """An unknown name must be answered with the nearest one."""
        path = tmp_path / "loadfleet.yml"
        path.write_text(
            f"{SOURCE}\npreflights: [{{name: nightly, idle: true}}, {{name: weekly, idle: true}}]"
        )

        code = main(["preflight", f"--config.file={path}", "nihgtly"], environ={})

        assert (2, "preflight: NAME must be one of: nightly, weekly; did you mean nightly?\n") == (
            code,
            capsys.readouterr().err,
        )

    def test_flags_for_polling_do_not_go_with_a_url(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A configuration file beside `--url` must be refused: it would not be read."""
        code = main(["preflight", "--url=http://localhost", "--config.file=x.yml"], environ={})

        assert 2 == code
        assert "leave out --config.file\n" in capsys.readouterr().err

    def test_a_wait_without_a_unit(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A wait without a unit must be refused."""
        with pytest.raises(SystemExit) as ended:
            main(["preflight", "--wait=10"], environ={})

        assert 2 == ended.value.code
        assert "argument --wait: has no unit" in capsys.readouterr().err


def outcome(*results: Result, reason: str = "so") -> Answer:
    """Make an answer with a check of each result."""
    checks = tuple(
        Check(name=f"check-{number}", result=result, reason=reason)
        for number, result in enumerate(results)
    )
    report = Report(
        name="tonight",
        status=status_of(checks),
        checks=checks,
        agents_fit=0,
        agents_unfit=0,
        capacity=Capacity(users=0.0),
    )
    return Answer(reports=(report,), at=0.0)


FIT, ILL, DARK = outcome(Result.PASSED), outcome(Result.FAILED), outcome(Result.UNKNOWN)
BOTH = (Result.FAILED, Result.UNKNOWN)
LOST = NotAskedError("nobody listens")


class Daemon:
    """Gives answers in turn, the last one for ever, and notes when it was asked for them."""

    def __init__(self, *answers: Answer | NotAskedError) -> None:
        self._answers = list(answers)
        self.fake = FakeClock(monotonic=0.0)
        self.asked: list[float] = []
        self.left: list[float] = []
        self.told = io.StringIO()

    async def ask(self, left_seconds: float) -> Answer:
        self.asked.append(self.fake.monotonic)
        self.left.append(left_seconds)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait(self, seconds: float, *, pause: float = 5.0) -> Answer:
        """Wait for a fit fleet as long as it takes in simulated time."""
        task = asyncio.create_task(
            awaited(
                self.ask,
                wait_seconds=seconds,
                pause_seconds=pause,
                clock=self.fake.clock,
                waiting=Waiting(self.told, "preflight"),
            )
        )
        await self.fake.advance(seconds + 1)
        assert task.done()
        return await task


class TestAwaited:
    async def test_without_a_wait_it_asks_once(self) -> None:
        """Without a wait, the command must ask once and take that answer."""
        daemon = Daemon(ILL, FIT)

        assert (ILL, [0.0], "") == (await daemon.wait(0), daemon.asked, daemon.told.getvalue())

    async def test_it_ends_with_the_first_fit_answer(self) -> None:
        """The command must ask every five seconds, and end with the first fit answer."""
        daemon = Daemon(DARK, ILL, FIT, ILL)

        assert (FIT, [0.0, 5.0, 10.0]) == (await daemon.wait(60), daemon.asked)

    async def test_the_last_question_is_asked_at_the_end(self) -> None:
        """The pause is cut to the time that is left."""
        daemon = Daemon(ILL)

        answer = await daemon.wait(12)

        assert (ILL, [0.0, 5.0, 10.0, 12.0]) == (answer, daemon.asked)
        assert [12.0, 7.0, 2.0, 0.0] == daemon.left

    async def test_a_daemon_that_is_restarted_is_waited_for(self) -> None:
        """The wait must outlive questions that get no answer, the first one included."""
        daemon = Daemon(LOST, ILL, LOST, FIT)

        assert (FIT, 4) == (await daemon.wait(60), len(daemon.asked))

    async def test_the_last_answer_counts_and_what_followed_is_told(self) -> None:
        """An answer of before is no more than that, and no fit one."""
        daemon = Daemon(ILL, LOST)

        answer = await daemon.wait(7)

        assert (ILL.reports, "nobody listens") == (answer.reports, answer.lost)

    async def test_nobody_answers(self) -> None:
        """When no daemon answers until the deadline, the command must not judge the fleet."""
        daemon = Daemon(LOST)

        with pytest.raises(NotAskedError, match="nobody listens"):
            await daemon.wait(7)

        assert [0.0, 5.0, 7.0] == daemon.asked

    @pytest.mark.parametrize(("status", "asked"), [(401, 1), (302, 1), (502, 3), (429, 3), (0, 3)])
    async def test_what_will_not_change_is_not_waited_for(self, status: int, asked: int) -> None:
        """A password that is wanted will be wanted in ten minutes as well."""
        daemon = Daemon(NotAskedError("no", status=status))

        with pytest.raises(NotAskedError):
            await daemon.wait(7)

        assert asked == len(daemon.asked)

    async def test_a_proxys_page_later_on_is_waited_for(self) -> None:
        """Behind some proxies a daemon that is restarted is a 404 for a while."""
        daemon = Daemon(ILL, NotAskedError("no", status=404), FIT)

        assert FIT == await daemon.wait(60)

    async def test_a_log_gets_a_line_per_change(self) -> None:
        """While it waits, the command must log one line per change."""
        ageing, worse = outcome(Result.FAILED, reason="a second more"), outcome(*BOTH)
        daemon = Daemon(ILL, ageing, worse, LOST, LOST, FIT)

        await daemon.wait(60)

        told = "tonight is not fit (failed: check-0"
        assert [
            f"preflight: waiting 1 min more: {told})",
            f"preflight: waiting 50 s more: {told}; not known: check-1)",
            "preflight: waiting 45 s more: nobody listens",
        ] == daemon.told.getvalue().splitlines()

    async def test_a_terminal_gets_one_line_that_is_erased(self) -> None:
        """The terminal's line must show the time left, and be erased at the end."""
        ours, theirs = pty.openpty()

        with os.fdopen(theirs, "w") as out:
            waiting = Waiting(out, "preflight")
            waiting.tell("a", 60.0)
            waiting.tell("a", 55.0)
            waiting.end()
        seen = b""
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 4096):
                seen += chunk
        os.close(ours)

        assert b"\r\x1b[Kwaiting 1 min more: a\r\r\x1b[Kwaiting 55 s more: a\r\r\x1b[K" == seen
