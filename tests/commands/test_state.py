from __future__ import annotations

import asyncio
import json
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from exporter.cli import main
from exporter.clock import SYSTEM_CLOCK
from exporter.state.base import salt
from exporter.state.hostclock import HostClock
from exporter.state.place import Place
from exporter.state.sqlite import SqliteState
from tests.deploy.install import PAGE, commands
from tests.history.feed import Feed
from tests.support.redis import PROGRAMS, RedisServer


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


#: The actions that apply to the history too.
ACTIONS = ("check", "vacuum")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change into a folder without a configuration file."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def opened(folder: Path) -> SqliteState:
    return SqliteState(Place(folder), host=HostClock.of(SYSTEM_CLOCK))


async def fill(folder: Path) -> None:
    state = opened(folder)
    await state.put("a", b'{"b": [1, "\xc3\xa4"]}')
    await state.put("c", b"\xff")
    await state.aclose()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files' contents, without the index of readers."""
    files = (path for path in folder.iterdir() if path.suffix != ".db-shm")
    return {path.name: path.read_bytes() for path in files}


async def test_check_tells_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`state check` must report the whole state, change nothing, and end with 0."""
    await fill(folder)
    before = contents(folder)

    code = main(["state", "check", f"--state.path={folder}"], environ={})

    output = capsys.readouterr().out
    assert 0 == code
    assert f"{folder}/state.db" in output
    assert "version 1" in output
    assert "documents  2, 17 bytes\n" in output
    assert "written 0s ago" in output
    assert output.endswith("state: fine\n")
    assert before == contents(folder)


async def test_check_works_beside_a_daemon(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`state check` must count what is still in the write-ahead log, and not disturb the daemon."""
    state = opened(folder)
    await state.put("a", b"1")
    before = contents(folder)

    code = main(["state", "check", f"--state.path={folder}"], environ={})

    assert 0 == code
    assert "documents  1, 1 bytes\n" in capsys.readouterr().out
    assert before == contents(folder)
    await state.put("b", b"2")
    await state.aclose()


@pytest.mark.parametrize("action", ["check", "vacuum", "export"])
async def test_what_is_damaged_is_left_as_it_is(
    action: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 with the place; to set it aside is the exporter's."""
    await fill(folder)
    file = folder / "state.db"
    file.write_bytes(file.read_bytes()[:9000])
    before = contents(folder)

    code = main(["state", action, f"--state.path={folder}"], environ={})

    assert 1 == code
    assert f"state: {file} is damaged" in capsys.readouterr().err
    assert before == contents(folder)


@pytest.mark.parametrize("action", ["check", "vacuum", "export"])
def test_where_nothing_is_nothing_is_made(
    action: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without a state must be an error, and not be made."""
    code = main(["state", action, f"--state.path={folder}"], environ={})

    assert 1 == code
    assert f"state: there is no state in {folder}" in capsys.readouterr().err
    assert not folder.exists()


async def test_the_history_is_checked_and_made_small(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The history beside the state is read as well, with its rows."""
    await fill(folder)
    feed = await Feed(folder).begin()
    await feed.polls(True, False)
    await feed.history.aclose()

    codes = [main(["state", each, f"--state.path={folder}"], environ={}) for each in ACTIONS]

    output = capsys.readouterr().out
    assert [0, 0] == codes
    assert "rows       1 targets, 2 transitions, 1 hours, 0 runs\nhistory: fine\n" in output
    assert f"{folder}/history.db: " in output.splitlines()[-1]


async def test_a_damaged_history_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 with the place; it stays where it is, as it is."""
    await fill(folder)
    (folder / "history.db").write_bytes(b"damaged" * 1000)
    before = contents(folder)

    codes = [main(["state", each, f"--state.path={folder}"], environ={}) for each in ACTIONS]

    assert [1, 1] == codes
    assert f"state: {folder}/history.db is damaged" in capsys.readouterr().err
    assert before["history.db"] == contents(folder)["history.db"]


async def test_export_prints_a_line_per_document(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON as it is, anything else as base64; the salt of the hashes stays inside."""
    await fill(folder)
    state = opened(folder)
    await salt(state)
    await state.aclose()

    code = main(["state", "export", f"--state.path={folder}"], environ={})

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 0 == code
    assert all(0 <= line.pop("age_seconds") < 60 for line in lines)
    assert [
        {"key": "a", "value": {"b": [1, "ä"]}},
        {"key": "c", "base64": "/w=="},
    ] == lines


async def test_the_commands_of_the_page_on_pairs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new configuration is checked, its store is asked, and the old state is printed."""
    await fill(folder)
    source = "sources: [{provider: realload, url: 'http://localhost:1/x', auth_token: t}]\n"
    (tmp_path / "loadfleet.yml").write_text(f"{source}state: {{path: {folder}}}\n")
    new = "state: {url: 'redis://127.0.0.1:1/0', username: loadfleet, password_file: password}\n"
    (tmp_path / "loadfleet.new.yml").write_text(source + new)
    (tmp_path / "password").write_text("invented\n")
    (block,) = commands("Set up a pair", PAGE.with_name("high-availability.md"))[:1]
    check, ask, export = (shlex.split(line)[1:] for line in block.splitlines())

    checked = main(check, environ={})
    output = capsys.readouterr().out
    # A command has a loop of its own.
    asked = await asyncio.to_thread(main, ask, environ={})
    unreachable = capsys.readouterr().err
    exported = main(export[: export.index(">")], environ={})

    assert (0, 1, 0) == (checked, asked, exported), output
    assert "state: 127.0.0.1:1: it cannot be reached" in unreachable
    assert 2 == len(capsys.readouterr().out.splitlines())


async def test_vacuum_gives_room_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a daemon, which goes on with the same file."""
    state = opened(folder)
    await state.put("large", b"x" * 1_000_000)
    await state.put("small", b"x")
    await state.delete("large")

    code = main(["state", "vacuum", f"--state.path={folder}"], environ={})

    assert 0 == code
    assert "bytes before" in capsys.readouterr().out
    assert 100_000 > sum(map(len, contents(folder).values()))
    found = await state.get("small")
    assert found is not None
    await state.aclose()


@pytest.mark.parametrize("twin", ["LOADFLEET_STATE_PATH", "LOADFLEET_STATE__PATH"])
async def test_the_environment_names_the_folder_as_well(twin: str, folder: Path) -> None:
    """The folder must be taken from the environment, by the flag's or the setting's name."""
    await fill(folder)

    assert 0 == main(["state", "check"], environ={twin: str(folder)})


async def test_the_file_names_the_folder_as_well(folder: Path, tmp_path: Path) -> None:
    """The folder must be taken from the file, even if its sources are missing."""
    await fill(folder)
    (tmp_path / "loadfleet.yml").write_text("state: {path: state}\n")

    assert 0 == main(["state", "check"], environ={})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("state: 1\n", "state: must be a mapping"),
        ("state: {pth: state}\n", "state.pth: unknown key"),
    ],
)
def test_a_mistake_is_told(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, as for every mistake of the configuration."""
    (tmp_path / "loadfleet.yml").write_text(content)

    assert 2 == main(["state", "check"], environ={})
    assert message in capsys.readouterr().err


def test_without_any_folder_it_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a home there is no default folder, so the command must ask for one."""
    assert 2 == main(["state", "check"], environ={})
    assert "--state.path" in capsys.readouterr().err


def test_an_action_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing or unknown action must be a usage error."""
    with pytest.raises(SystemExit) as ended:
        main(["state", "chek"], environ={})

    assert 2 == ended.value.code
    assert "check" in capsys.readouterr().err


class TestServer:
    """The state in Redis or Valkey; a command has a loop of its own, so these tests have none."""

    pytestmark = pytest.mark.slow

    @pytest.fixture(params=PROGRAMS)
    def server(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
        server = RedisServer(request.param, tmp_path / "server")
        asyncio.run(self.fill(server))
        yield server
        server.stop()

    async def fill(self, server: RedisServer) -> None:
        state = server.state()
        await state.put("a", b'{"b": [1, "\xc3\xa4"]}')
        await state.put("c", b"\xff")
        await salt(state)
        await state.aclose()

    def test_check_tells_what_is_there(
        self, server: RedisServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The report must name the server, the age of the data and their size."""
        server.age(3 * 86_400)

        code = main(["state", "check", f"--state.url={server.url()}"], environ={})

        output = capsys.readouterr().out
        name = "Valkey" if "valkey" in server.program else "Redis"
        assert 0 == code
        assert f"server     127.0.0.1:{server.port}, {name} " in output
        assert "data       begun 3d ago, nothing is evicted\n" in output
        assert "documents  3, 49 bytes\n" in output
        assert "newest     written 0s ago\n" in output
        assert output.endswith("state: fine\n")

    def test_export_prints_a_line_per_document(
        self, server: RedisServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`state export` must print one line per document, without the salt."""
        code = main(["state", "export"], environ={"LOADFLEET_STATE_URL": server.url()})

        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert 0 == code
        assert all(0 <= line.pop("age_seconds") < 60 for line in lines)
        assert [{"key": "a", "value": {"b": [1, "ä"]}}, {"key": "c", "base64": "/w=="}] == lines

    def test_a_server_that_cannot_be_used_is_told(
        self, server: RedisServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Exit 1 with the place and the remedy."""
        server.stop()

        code = main(["state", "check", f"--state.url={server.url()}"], environ={})

        assert 1 == code
        assert f"state: 127.0.0.1:{server.port}: it cannot be reached" in capsys.readouterr().err


def test_a_server_is_not_made_smaller(capsys: pytest.CaptureFixture[str]) -> None:
    """`state vacuum` must refuse a server: it gives room back by itself."""
    code = main(["state", "vacuum", "--state.url=redis://127.0.0.1:1"], environ={})

    assert 2 == code
    assert "free unused space themselves" in capsys.readouterr().err


def test_folder_and_server_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder beside a server must be refused, also if they come from different layers."""
    code = main(
        ["state", "check", "--state.url=redis://127.0.0.1:1"],
        environ={"LOADFLEET_STATE_PATH": "/state"},
    )

    assert 2 == code
    assert "is given as well as path; remove one of the two" in capsys.readouterr().err


def test_a_configuration_may_be_a_pipe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """State and history are both in it, and it can be read once."""
    asyncio.run(fill(folder))
    read, write = os.pipe()
    os.write(write, f"state: {{path: {folder}}}".encode())
    os.close(write)

    code = main(["state", "check", f"--config.file=/dev/fd/{read}"], environ={})
    os.close(read)

    assert 0 == code
    assert "state: fine" in capsys.readouterr().out
