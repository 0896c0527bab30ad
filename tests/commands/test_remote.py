from __future__ import annotations

import asyncio
import io
import json
import ssl
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.cli import main
from exporter.commands import remote
from exporter.commands.remote import NotAskedError, get
from exporter.errors import BlockedError
from exporter.fleet.readings import AgentState
from exporter.simulator.server import serve
from exporter.web.app import create_app
from tests.support.certificates import Authority
from tests.support.processes import free_port
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request


async def asked(url: str) -> str:
    """Return why a daemon cannot be asked."""
    with pytest.raises(NotAskedError) as caught:
        await get(url, "/config")
    return str(caught.value).removeprefix(f"cannot read {url}/config: ")


@asynccontextmanager
async def listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Yield the address of a server that answers on the wire."""
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"


class TestGet:
    async def test_a_daemon_that_is_not_there_is_a_clear_error(self) -> None:
        """No traceback, and what to look at."""
        port = free_port()

        told = await asked(f"http://127.0.0.1:{port}")

        refused = f"the connection was refused by 127.0.0.1:{port}"
        assert told.startswith(f"{refused}; is the daemon running there?")

    @pytest.mark.parametrize(
        ("status", "body", "why"),
        [
            (401, "", "it requires a password, which this command cannot send"),
            (404, "", "check that this is the daemon's URL with its prefix"),
            (302, "", "it answers with a redirect; give the URL to which it redirects"),
            (500, "", "it answers with 500"),
            (500, "500 Internal Server Error: \x1b[2Jgone.\n", "it answers with 500"),
            (503, "503 Service Unavailable: too many.\n", "it answers with 503: too many"),
        ],
    )
    async def test_an_answer_of_another_kind_gets_its_remedy(
        self, status: int, body: str, why: str
    ) -> None:
        """A prefix or a password is behind most of them."""

        async def answer(_: Request) -> Response:
            return PlainTextResponse(body, status)

        async with serve(Starlette(routes=[Route("/config", answer)])) as url:
            told = await asked(url)

        assert why in told
        assert told.isprintable()

    async def test_a_certificate_that_is_not_trusted_gets_its_remedy(self, tmp_path: Path) -> None:
        """An authority of one's own can be named, and not as in the daemon's configuration."""
        authority = Authority(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue("127.0.0.1").configure_cert(context)

        async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with listening(end, context) as address:
            told = await asked(f"https://{address}")

        assert "SSL_CERT_FILE" in told
        assert "ca_file" not in told

    async def test_what_speaks_no_http_is_a_clear_error(self) -> None:
        """A server that does not speak HTTP must be answered with a hint at https."""

        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x15\x03\x03\n")
            writer.close()

        async with listening(babble) as address:
            assert "begins with https:// if the daemon uses TLS" in await asked(f"http://{address}")

    async def test_an_endless_answer_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer larger than the limit must be cut off, or it would fill the memory."""
        monkeypatch.setattr(remote, "MAX_REPLY_BYTES", 1 << 20)

        async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with suppress(ConnectionError):
                while True:
                    writer.write(bytes(1 << 16))
                    await writer.drain()
            writer.close()

        async with listening(pour) as address:
            told = await asked(f"http://{address}")

        assert "the reply is larger than 1048576 bytes" in told

    async def test_a_dripping_answer_is_given_up(self) -> None:
        """Bytes that keep coming must not hold the command for ever."""
        dripping = asyncio.Event()

        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n ")
            await dripping.wait()
            writer.close()

        async with listening(drip) as address:
            with pytest.raises(NotAskedError, match="no reply in time"):
                await get(f"http://{address}", "/config", timeout_seconds=0.2)
            dripping.set()


async def run(*arguments: str, environ: dict[str, str] | None = None) -> int:
    return await asyncio.to_thread(main, arguments, environ=environ or {})


@asynccontextmanager
async def daemon(view: fakes.FakeView, **options: Any) -> AsyncIterator[str]:
    """Yield the URL of a daemon's pages."""
    async with serve(create_app(view, **options)) as url:
        yield url


class TestFlag:
    @pytest.mark.parametrize("command", [["status"], ["explain", "prod", "agent", "1"]])
    def test_credentials_are_refused_and_not_repeated(
        self, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Credentials in `--url` must be refused: a command line is visible to other users."""
        with pytest.raises(SystemExit) as ended:
            main([*command, "--url=http://user:CANARY@localhost"], environ={})

        told = capsys.readouterr()
        assert 2 == ended.value.code
        assert "argument --url: holds a user or password" in told.err
        assert "CANARY" not in told.err + told.out

    @pytest.mark.parametrize("command", [["status"], ["explain", "prod", "agent", "1"]])
    def test_flags_for_polling_do_not_go_with_it(
        self, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A configuration file beside `--url` must be refused: it would not be read."""
        code = main([*command, "--url=http://localhost", "--config.file=x.yml"], environ={})

        assert 2 == code
        assert "leave out --config.file\n" in capsys.readouterr().err

    async def test_a_variable_of_the_daemons_is_no_mistake(self) -> None:
        """A daemon's environment variable beside `--url` must be ignored: containers set it."""
        async with daemon(fakes.FakeView(fakes.agent(), sources=[fakes.source()])) as url:
            code = await run("status", f"--url={url}", environ={"LOADFLEET_CONFIG_FILE": "gone"})

        assert 0 == code


#: The answer of a newer daemon, with a kind of targets that this version does not know.
NEWER = """{"data": {"ready": true, "headline": {"level": "good", "text": "x"}, "sources": [],
  "targets": [{"kind": "spoon"}], "runs": []}}"""


class TestStatus:
    async def test_it_prints_the_daemons_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The table and the exit code must be the same as when the command polls itself."""
        view = fakes.FakeView(
            fakes.agent("a", up=False),
            fakes.cluster(fakes.member("a", up=True), fakes.member("b", up=False)),
            fakes.recorder(),
            fakes.suite(),
            sources=[fakes.source(status=fakes.failed())],
        )

        async with daemon(view) as url:
            code = await run("status", f"--url={url}")

        told = capsys.readouterr()
        assert (1, "") == (code, told.err)
        lines = told.out.splitlines()
        assert "The fleet is not well: 1 agent unreachable, 1 member unreachable." == lines[0]
        assert "prod: agents: timeout: pingMeasuringAgent: no reply within 15 s" in lines
        assert any("1 of 2 members up" in line for line in lines)
        assert any("recording" in line for line in lines)
        assert any("last run passed" in line for line in lines)

    @pytest.mark.parametrize(("form", "name"), [("table", "Z?rich"), ("json", "Zürich")])
    async def test_a_terminal_without_all_letters(
        self, form: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A name it cannot show is shown in part; programs get UTF-8 wherever they run."""
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        view = fakes.FakeView(fakes.agent("Zürich"), sources=[fakes.source()])

        async with daemon(view) as url:
            code = await run("status", f"--url={url}", f"--format={form}")

        assert 0 == code
        assert name in written.getvalue().decode()

    async def test_a_fleet_that_is_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A slash at the end of the URL and a prefix do no harm."""
        view = fakes.FakeView(fakes.agent(), sources=[fakes.source()])

        async with daemon(view, route_prefix="/fleet") as url:
            code = await run("status", f"--url={url}/fleet/")

        assert 0 == code
        assert capsys.readouterr().out.startswith("The fleet is well: 1 target up.\n")

    async def test_a_daemon_that_begins_is_not_well(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A script must not take for well what is not known yet."""
        view = fakes.FakeView(sources=[fakes.source(status=None)])
        view.ready = False

        async with daemon(view) as url:
            code = await run("status", f"--url={url}")

        assert 1 == code
        assert capsys.readouterr().out.startswith("Starting:")

    async def test_its_json_is_what_the_daemon_says(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The printed JSON must be the daemon's answer, infinite limits included."""
        view = fakes.FakeView(
            fakes.agent("+Inf"),
            fakes.cluster(fakes.member("a", up=True)),
            fakes.recorder(),
            fakes.suite(),
            sources=[fakes.source()],
        )

        async with daemon(view) as url:
            said = json.loads((await get(url, "/api/v1/status")).body)["data"]
            code = await run("status", f"--url={url}", "--format=json")

        printed = json.loads(capsys.readouterr().out)
        assert 0 == code
        assert {key: said[key] for key in said.keys() - {"ready", "total_shards"}} == printed
        assert ("+Inf", "+Inf") == (
            printed["targets"][0]["name"],
            printed["targets"][0]["users_limit"],
        )

    @pytest.mark.parametrize(("source", "expected"), [("prod", 0), ("lab", 1), ("prod,lab", 1)])
    async def test_only_what_is_asked_about_is_judged(
        self, source: str, expected: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A job about one source does not fail for another."""
        view = fakes.FakeView(
            fakes.agent(),
            sources=[fakes.source(), fakes.source("lab", up=False, status=fakes.failed())],
        )

        async with daemon(view) as url:
            code = await run("status", f"--url={url}", f"--source={source}", "--format=json")

        printed = json.loads(capsys.readouterr().out)
        assert expected == code
        assert source.split(",") == [each["name"] for each in printed["sources"]]

    async def test_rows_that_are_left_out_are_judged(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Kinds and states choose what is shown and change neither answer nor code."""
        view = fakes.FakeView(
            fakes.agent("a", up=False), fakes.agent("b"), fakes.recorder(), sources=[fakes.source()]
        )

        async with daemon(view) as url:
            code = await run("status", f"--url={url}", "--kind=recorder,suite", "--state=up")

        told = capsys.readouterr().out
        assert 1 == code
        assert told.startswith("The fleet is not well: half of agents down, 1 agent unreachable.")
        assert "Only --kind=recorder --kind=suite --state=up: 1 target\n" in told
        assert "agent unreachable  " not in told

    async def test_what_is_wrong_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`--down` takes also what is up and has a problem."""
        state = AgentState(read_at=fakes.ago(30), up=True, clock_delta_seconds=7.5)
        view = fakes.FakeView(
            fakes.agent("a", up=False),
            fakes.agent("b"),
            fakes.agent("c", state=state),
            sources=[fakes.source()],
        )

        async with daemon(view) as url:
            await run("status", f"--url={url}", "--down", "--format=json")

        printed = json.loads(capsys.readouterr().out)
        assert ["a", "c"] == [target["name"] for target in printed["targets"]]

    async def test_groups_are_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Programs get the counts beside the rows that are counted."""
        view = fakes.FakeView(fakes.agent("a", up=False), sources=[fakes.source()])

        async with daemon(view) as url:
            await run("status", f"--url={url}", "--group-by=provider", "--format=json")

        groups = json.loads(capsys.readouterr().out)["groups"]
        none = dict.fromkeys(("warning", "up", "unknown", "inactive"), 0)
        assert [{"value": "realload", "targets": 1, "critical": 1, "down": 1, **none}] == groups

    @pytest.mark.parametrize(
        ("flags", "sentence"),
        [
            (["--source=prd"], "--source must be one of: prod; did you mean prod?"),
            (["--group-by=sorce"], "--group-by must be one of: source, provider; did you mean"),
            (["--format=prom", "--down"], "--format prom prints all metrics of a source"),
        ],
    )
    async def test_what_there_is_not_is_a_usage_error(
        self, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The words that there are stand in the message."""
        async with daemon(fakes.FakeView(sources=[fakes.source()])) as url:
            code = await run("status", f"--url={url}", *flags)

        told = capsys.readouterr()
        assert (2, "") == (code, told.out)
        assert told.err.startswith(f"status: {sentence}")

    async def test_metrics_of_a_source(self) -> None:
        """The daemon is asked for those alone."""
        view = fakes.FakeView(sources=[fakes.source()])

        async with daemon(view) as url:
            await run("status", f"--url={url}", "--format=prom", "--source=prod")

        assert [["prod"]] == [asked["sources"] for asked in view.asked]

    async def test_its_metrics_are_the_daemons(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The metrics must be the daemon's page, and the exit code that of the verdict."""
        view = fakes.FakeView(fakes.agent(up=False), sources=[fakes.source()])

        async with daemon(view) as url:
            code = await run("status", f"--url={url}", "--format=prom")

        assert (1, "up 1\n") == (code, capsys.readouterr().out)

    @pytest.mark.parametrize(
        "body",
        [
            "<html>Log in</html>",
            "{}",
            '{"data": []}',
            NEWER,
        ],
    )
    async def test_another_answer_is_a_failure(
        self, body: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A page to log in, or a daemon of another version, is not taken for a fleet."""

        async def answer(_: Request) -> Response:
            return PlainTextResponse(body)

        async with serve(Starlette(routes=[Route("/api/v1/status", answer)])) as url:
            code = await run("status", f"--url={url}")

        told = capsys.readouterr().err
        assert 1 == code
        assert f"status: {url} is no loadfleet-exporter of version" in told

    async def test_an_older_daemon_is_named_as_such(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A daemon that has the page not yet says only that it has none."""
        async with serve(Starlette(routes=[])) as url:
            code = await run("status", f"--url={url}")

        told = capsys.readouterr().err
        assert 1 == code
        assert f"status: cannot read {url}/api/v1/status: it has no such page" in told
        assert "the daemon has version" in told


class TestExplain:
    async def test_it_prints_what_the_daemon_found(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An id of any characters must reach the daemon unchanged."""
        target = fakes.agent(agent_id="a&kind=b c")
        view = fakes.FakeView(target, sources=[fakes.source()])

        async with daemon(view) as url:
            code = await run("explain", f"--url={url}", "prod", "agent", "a&kind=b c")

        document = yaml.safe_load(capsys.readouterr().out)
        assert 0 == code
        assert [("prod", "agent", "a&kind=b c")] == view.explained
        assert {"known": 1} == document["reply"]

    @pytest.mark.parametrize(
        ("kind", "sentence"),
        [("agent", "no such target is known now"), ("spoon", "kind must be one of: ")],
    )
    async def test_what_is_unknown_is_a_usage_error(
        self, kind: str, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The daemon's own sentence, and where to look."""
        async with daemon(fakes.FakeView(fakes.agent())) as url:
            code = await run("explain", f"--url={url}", "prod", kind, "4711")

        told = capsys.readouterr().err
        assert 2 == code
        assert told.startswith(f"explain: {sentence}")
        assert f"; `status --url={url}` lists sources, kinds and ids\n" in told

    async def test_a_call_that_failed_is_a_failure(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The daemon's guard may hold calls back; it says why."""
        view = fakes.FakeView(fakes.agent())
        view.explain_error = BlockedError("held back", retry_at=1.0)

        async with daemon(view) as url:
            code = await run("explain", f"--url={url}", "prod", "agent", "id-agent-1")

        assert 1 == code
        assert "it answers with 503: blocked: held back" in capsys.readouterr().err

    @pytest.mark.parametrize(("path", "body"), [("/probe", "<html>"), ("/elsewhere", "")])
    async def test_another_server_is_a_failure(
        self, path: str, body: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A wrong URL is not a wrong id."""

        async def answer(_: Request) -> Response:
            return PlainTextResponse(body)

        async with serve(Starlette(routes=[Route(path, answer)])) as url:
            code = await run("explain", f"--url={url}", "prod", "agent", "1")

        told = capsys.readouterr()
        assert (1, "") == (code, told.out)
        assert told.err.startswith("explain: ")
