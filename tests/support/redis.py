"""Redis and Valkey servers for tests: on free ports of this machine, ended by their process ids."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from exporter.clock import SYSTEM_CLOCK
from exporter.state.redis import CLOCK, RedisState
from exporter.state.settings import StateSettings
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.clock import Clock


#: The supported server programs.
PROGRAMS = ("redis-server", "valkey-server")

_READY = re.compile(b"Ready to accept connections|Sentinel ID is")
_READY_SECONDS = 30.0

#: The primary's name at the Sentinels.
SERVICE = "myMaster"


class RedisServer:
    """A running server.

    Attributes:
        program: The server's program.
        port: Its port.
        log: The file of its log.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        *options: str,
        tls: Path | None = None,
        configuration: Path | None = None,
    ) -> None:
        """Start the server, and wait until it answers.

        Args:
            program: One of `PROGRAMS`.
            folder: The folder of its data.
            options: Further settings, as on its command line.
            tls: The folder of the certificates, for a server with TLS only.
            configuration: Its configuration file, if it has one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.program = program
        self.folder = folder
        self.log = folder / "server.log"
        self.port = _free_port()
        ports = ["--port", str(self.port)]
        if tls is not None:
            ports = ["--port", "0", "--tls-port", str(self.port)]
            ports += ["--tls-cert-file", str(tls / "server.crt")]
            ports += ["--tls-key-file", str(tls / "server.key")]
            ports += ["--tls-ca-cert-file", str(tls / "ca.pem")]
        file = [] if configuration is None else [str(configuration)]
        self._command = [require(program), *file, *ports, "--bind", "127.0.0.1"]
        self._command += ["--dir", str(folder), "--save", ""]
        # There is one replica, so the server need not wait for others.
        self._command += ["--repl-diskless-sync-delay", "0", *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @classmethod
    def sentinel(cls, program: str, folder: Path, primary: RedisServer) -> RedisServer:
        """Start a Sentinel that promotes a replica a second after the primary was lost."""
        folder.mkdir(parents=True)
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        file = folder / "sentinel.conf"
        file.write_text("\n".join(lines))
        return cls(program, folder, "--sentinel", configuration=file)

    def url(self, database: int = 0, scheme: str = "redis") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{database}"

    def settings(self, **rest: Any) -> StateSettings:
        return StateSettings(**{"url": self.url(), **rest})

    def state(self, clock: Clock = SYSTEM_CLOCK, **rest: Any) -> RedisState:
        """Open a state on the server."""
        return RedisState(self.settings(**rest), clock=clock)

    def command(self, *words: str | bytes, login: tuple[str, str] | None = None) -> Any:
        """Send a command to the server directly, logged in or not.

        Returns:
            The answer: bytes, a number, `None` or a list of them.

        Raises:
            ValueError: The server answers with an error.
        """
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection,
            connection.makefile("rwb") as file,
        ):
            if login is not None:
                _send(file, "AUTH", *login)
            return _send(file, *words)

    async def begin(self) -> None:
        """Begin data on the server that are old enough to be trusted."""
        state = self.state()
        await state.get("anything")
        await state.aclose()
        self.age()

    def age(self, seconds: float = 62.0) -> None:
        """Date the beginning of its data back by some seconds."""
        born = int(self.command("HGET", CLOCK, "born")) - int(seconds * 1e6)
        self.command("HSET", CLOCK, "born", str(born))

    def start(self) -> None:
        """Start the server again, at its port and with its data."""
        with self.log.open("ab") as log:
            start = self.log.stat().st_size
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = SYSTEM_CLOCK.monotonic() + _READY_SECONDS
        while not _READY.search(self.log.read_bytes()[start:]):
            if self._process.poll() is not None or SYSTEM_CLOCK.monotonic() > deadline:
                self.stop()
                raise RuntimeError(self.log.read_text(errors="replace"))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _send(file: Any, *words: str | bytes) -> Any:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    file.write(b"*%d\r\n" % len(parts))
    for part in parts:
        file.write(b"$%d\r\n%b\r\n" % (len(part), part))
    file.flush()
    return _read(file)


def _read(file: Any) -> Any:
    line = file.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise ValueError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [_read(file) for _ in range(int(rest))]
    return rest
