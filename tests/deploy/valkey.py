"""The manifests' store, started as their containers start it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from exporter.clock import Clock
from exporter.state.redis import PREFIX, RedisState
from exporter.state.settings import StateSettings
from tests.support.processes import free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


#: A password that a shell or a configuration file would alter.
PASSWORD = 'it\'s "$HOME" \\n #'


class Started:
    """A running store, and the means to query it.

    Attributes:
        port: Its port.
        password: The file with the password.
    """

    def __init__(self, client: str, check: str, folder: Path, *, port: int) -> None:
        self.port = port
        self.password = folder / "password"
        self._client = client
        self._check = check
        self._folder = folder

    async def ask(self, *words: str, password: str = "") -> str:
        """Return the answer to a command, given with or without a password."""
        program, *options = self._client.split()
        process = await asyncio.create_subprocess_exec(
            program,
            *options,
            *words,
            env={"REDISCLI_AUTH": password} if password else {},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode().strip()

    async def healthy(self) -> bool:
        """Return the result of the manifest's health check."""
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            self._check.replace("valkey-cli", self._client),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await process.wait() == 0

    def written(self) -> bytes:
        """Return the store's output and files."""
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files if path.name != "password")


async def check(store: Started) -> None:
    """Check that the store serves a state, keeps its data, and demands the password."""
    state = RedisState(
        StateSettings(url=f"redis://127.0.0.1:{store.port}/0", password_file=store.password),
        clock=Clock(),
    )
    try:
        assert await state.put("key", b"value")
        assert "changed" == await state.update("key", lambda *_: (b"other", "changed"))
        assert ["key"] == list(await state.documents("k"))
        await state.delete("key")
    finally:
        await state.aclose()
    information = await store.ask("info", password=PASSWORD)

    assert re.search("^aof_enabled:1", information, re.MULTILINE)
    assert re.search("^maxmemory:[1-9]", information, re.MULTILINE)
    assert re.search("^maxmemory_policy:noeviction", information, re.MULTILINE)
    for words, password in [
        (["hget", f"{PREFIX}x", "value"], ""),
        (["hget", f"{PREFIX}x", "value"], "wrong"),
        (["hget", "other", "value"], PASSWORD),
        (["flushall"], PASSWORD),
        (["config", "get", "*"], PASSWORD),
        (["--user", "health", "--pass", "none", "info"], ""),
    ]:
        answer = await store.ask(*words, password=password)
        assert re.search("NOAUTH|NOPERM", answer), (words, answer)
    assert PASSWORD.encode() not in store.written()


@asynccontextmanager
async def started(program: str, script: str, check: str, folder: Path) -> AsyncIterator[Started]:
    """Run the script of a manifest's container with a server of this machine.

    Args:
        program: The server, which has Valkey's flags.
        script: The script of its shell.
        check: The script of its health check.
        folder: The folder of all files.
    """
    port = free_port()
    server = f"{require(program)} --bind 127.0.0.1 --port {port}"
    script = script.replace("valkey-server", server)
    (folder / "password").write_text(f"{PASSWORD}\n")
    script = re.sub(r"/run/secrets/\S+", f"{folder}/password", script)
    (folder / "data").mkdir()
    script = script.replace("--dir /data", f"--dir {folder}/data")
    client = f"{require('redis-cli')} -h 127.0.0.1 -p {port}"
    async with running("sh", "-euc", script, folder=folder, name="valkey") as process:
        store = Started(client, check, folder, port=port)

        async def ready() -> bool:
            assert not process.ended, process.output + process.errors
            return await store.healthy()

        await until(ready)
        yield store
