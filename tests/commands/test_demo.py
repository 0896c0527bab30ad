"""`demo` as a process: what it says must be true."""

from __future__ import annotations

import json
import shlex
import socket
from typing import TYPE_CHECKING

from exporter.cli import main
from tests.support.processes import EXPORTER, answers, fetch, free_port, running
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_taken_port_is_told_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo reads no file in which `web.listen_address` could be set."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code = main(["demo", f"--web.listen-address=127.0.0.1:{port}"], environ={})

    assert 1 == code
    assert capsys.readouterr().err.endswith(
        f"cannot start: cannot listen on 127.0.0.1:{port}: the port is in use;"
        " stop what uses it or set another --web.listen-address\n"
    )


async def test_says_in_three_lines_where_to_look(tmp_path: Path) -> None:
    """The board and the metrics are where it says, and its command takes an agent down."""
    address = f"127.0.0.1:{free_port()}"
    async with running(
        *EXPORTER,
        "demo",
        "--still",
        f"--web.listen-address={address}",
        folder=tmp_path,
        name="demo",
    ) as process:
        await until(lambda: process.output.count("\n") >= 3)
        board, metrics, change = (line.split(maxsplit=1) for line in process.output.splitlines())
        await answers(f"{board[1]}-/ready", process)

        assert (["board", f"http://{address}/"], ["metrics", f"http://{address}/metrics"]) == (
            board,
            metrics,
        )
        assert "<title>loadfleet-exporter" in await fetch(board[1])
        assert "loadfleet_agent_up{" in await fetch(metrics[1])

        _, curl, _, body, url = shlex.split(" ".join(change))
        command = json.loads(body)
        (agent_id,) = command["change"]["agents"]
        assert "curl" == curl
        await fetch(url, data=command)

        async def down() -> bool:
            found = await fetch(f"{board[1]}api/v1/targets?state=down&kind=agent")
            return [agent_id] == [each["id"] for each in json.loads(found)["data"]["targets"]]

        await until(down)
