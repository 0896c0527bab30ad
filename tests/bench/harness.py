"""Tools of all rows: programs whose CPU time and memory can be read, scrapes, and figures."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


ROOT = Path(__file__).parent.parent.parent

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1024.0

_LARGEST_PAGE = 512 * 1024 * 1024

#: The environment of programs that start as if installed, with their bytecode on disk.
ENVIRON = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

#: A state in memory: not even root can make a folder at this path.
NOWHERE = {"path": "/dev/null/state"}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the table.

    Attributes:
        row: The row it belongs to.
        what: Its description.
        value: A ratio, unless `what` says otherwise.
        goal: The bound of the value, `None` for a number that only explains another.
        at_least: Whether the goal is a lower bound.
        detail: The parts of the ratio, with units.
    """

    row: str
    what: str
    value: float
    goal: float | None = None
    at_least: bool = False
    detail: dict[str, float] = {}

    @property
    def met(self) -> bool | None:
        """True if the value reaches the goal; `None` without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


class Program:
    """A process of the benchmark, and its cost so far.

    Attributes:
        output: Its output, once it has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.output = ""
        self._proc = Path("/proc") / str(process.pid)

    def listens(self, port: int) -> None:
        """Wait until the program listens.

        Raises:
            AssertionError: The program has ended.
        """

        def listening() -> bool:
            assert self.process.poll() is None, "the program ended"
            return reachable(port)

        until(listening)

    @property
    def cpu_seconds(self) -> float:
        """Time on the processor, in user and kernel mode."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def memory_mib(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS")

    @property
    def peak_mib(self) -> float:
        """The highest resident memory."""
        return self._status("VmHWM")

    @property
    def held_ms(self) -> float:
        """The longest time the loop of a `watched` one was held, once it has ended: ms of CPU."""
        held = [line for line in self.output.splitlines() if line.startswith("held ")]
        return float(held[-1].split()[2]) * 1e3

    def _status(self, key: str) -> float:
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / _MIB
        raise AssertionError(f"the process has no {key}: it ended")


@contextmanager
def running(*command: str | Path) -> Iterator[Program]:
    """Run a program while the context lasts, and show its output after a failure."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stdout=output, stderr=output)
        program = Program(process)
        failed = True
        try:
            yield program
            failed = False
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            output.seek(0)
            program.output = output.read().decode(errors="replace")
            if failed:
                sys.stderr.write(program.output[-4000:])


@contextmanager
def module(name: str, *arguments: object) -> Iterator[Program]:
    """Run a module of this folder."""
    with running(sys.executable, "-m", f"tests.bench.{name}", *map(str, arguments)) as program:
        yield program


@contextmanager
def vendor(agents: int, *, delay: float = 0.0, hanging: int = 0) -> Iterator[tuple[str, Program]]:
    """Run a portal and yield its URL; see `vendor.Portal`."""
    port = free_port()
    flags = ("--port", port, "--agents", agents, "--delay", delay, "--hanging", hanging)
    with module("vendor", *flags) as program:
        url = f"http://127.0.0.1:{port}"
        program.listens(port)
        yield url, program


@contextmanager
def daemon(
    *sources: dict[str, Any],
    program: str = "exporter",
    state: dict[str, str] | None = None,
    alerting: dict[str, Any] | None = None,
) -> Iterator[tuple[int, Program]]:
    """Run the daemon as it is installed and yield its port.

    Args:
        sources: The sources of its configuration; see `source`.
        program: The module to run instead, with the same flags.
        state: Its section `state`; on the disk by default.
        alerting: Its section `alerting`; without one, no alerts are sent.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loadfleet.yml"
        place = state or {"path": str(Path(folder) / "state")}
        document = {"state": place, "sources": list(sources), "alerting": alerting or {}}
        path.write_text(yaml.safe_dump(document))
        flags = (f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}")
        with running(sys.executable, "-m", program, *flags) as running_program:
            running_program.listens(port)
            yield port, running_program


def source(
    url: str,
    *,
    name: str = "portal",
    interval: float,
    concurrency: int = 64,
    timeout: float = 10.0,
) -> dict[str, Any]:
    """Return the configuration of a portal of which only the agents are polled."""
    tasks = ("controllers", "clusters", "recorders", "suites", "versions")
    return {
        "provider": "realload",
        "name": name,
        "url": url,
        "auth_token": "a-token",
        "concurrency": concurrency,
        "timeout": f"{timeout * 1_000:g}ms",
        "tasks": {"agents": f"{interval:g}s", **dict.fromkeys(tasks, "off")},
    }


def rounds(url: str) -> list[dict[str, float]]:
    """Return a portal's polls: one entry per fetched list."""
    body = Scraper(int(url.rpartition(":")[2]), path="/rounds").get()
    answer: list[dict[str, float]] = json.loads(body.partition(b"\r\n\r\n")[2])
    return answer


class Scraper:
    """A connection to scrape by, kept if the server keeps it."""

    def __init__(self, port: int, *, path: str = "/metrics", gzip: bool = False) -> None:
        encoding = "gzip" if gzip else "identity"
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {encoding}\r\n\r\n"
        ).encode()
        # Unlike a bytearray, this takes neither time nor memory until it is written to.
        self._buffer = mmap.mmap(-1, _LARGEST_PAGE)
        self._port = port
        self._socket: socket.socket | None = None

    def get(self) -> bytes:
        """Return a whole reply with its head, and chunks as they are."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=120)
        self._socket.sendall(self._request)
        view = memoryview(self._buffer)
        got = self._receive(view)
        while (end := self._buffer.find(b"\r\n\r\n", 0, got)) < 0:
            got += self._receive(view[got:])
        head = bytes(self._buffer[:end]).lower()
        mark = head.find(b"content-length:")
        if mark >= 0:
            whole = end + 4 + int(head[mark + 15 :].split(b"\r\n", 1)[0])
            while got < whole:
                got += self._receive(view[got:])
        else:
            while not self._buffer[max(0, got - 7) : got].endswith(b"\r\n0\r\n\r\n"):
                got += self._receive(view[got:])
        if head.startswith(b"http/1.0"):
            self._socket.close()
            self._socket = None
        return bytes(view[:got])

    def _receive(self, view: memoryview) -> int:
        assert self._socket is not None
        got = self._socket.recv_into(view)
        assert got, "the server closed the connection"
        return got

    def seconds(self) -> float:
        """Measure one scrape."""
        started = time.perf_counter()
        self.get()
        return time.perf_counter() - started


def sample(page: bytes, name: str) -> float:
    """Add up the samples of a name on a page."""
    found = [
        float(line.rpartition(b" ")[2])
        for line in page.splitlines()
        if line.startswith((name.encode() + b"{", name.encode() + b" "))
    ]
    return sum(found)


def pings(url: str) -> float:
    """Return how many pings a portal has answered."""
    return sum(turn["pings"] for turn in rounds(url))


def until(
    condition: Callable[[], object],
    *,
    timeout_seconds: float = 300.0,
    every_seconds: float = 0.02,
) -> None:
    """Return as soon as a condition holds.

    Raises:
        TimeoutError: The condition never held.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(every_seconds)


def reachable(port: int) -> bool:
    """Return whether a server listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """Return the value that one of twenty exceeds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def p99(values: Sequence[float]) -> float:
    """Return the value that one of a hundred exceeds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]
