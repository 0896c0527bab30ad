"""The process: loop, garbage collection, descriptors, signals, and whether another has ended."""

from __future__ import annotations

import asyncio
import gc
import importlib
import math
import os
import resource
import signal
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


#: Threshold of the youngest generation of the garbage collector. Python's 700 is reached every
#: third call and costs a quarter of the CPU time with 10,000 readings alive. It must exceed what
#: 256 calls in flight allocate, or each collection finds most of them alive.
YOUNG_OBJECTS = 100_000

_PROC = Path("/proc")


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine that is the process's life, on uvloop where that is installed."""
    # What was imported stays: collections that go through it would hold the loop each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    raise_descriptor_limit()
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one.

    The usual 1024 are for programs that call `select`, which cannot take more; nothing here does.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems say there is no limit and yet refuse to set none.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_descriptors() -> float:
    """Return how many more files can be opened; infinite where nothing limits that."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return math.inf
    try:
        used = len(list((_PROC / "self/fd").iterdir()))
    except OSError:
        used = 0  # the caller's reserve has to do
    return soft - used


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Set the event on SIGTERM and SIGINT instead of dying of them."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def identity(pid: int | None = None, *, proc: Path = _PROC) -> str:
    """Return what tells a process from all others, empty where the system does not say.

    It is made of the boot, the namespace of process numbers, the number and the start time.

    Args:
        pid: The process; this one if not given.
        proc: Where the system tells of processes.
    """
    pid = os.getpid() if pid is None else pid
    try:
        boot, space = _host(proc)
        # The name of the program, in brackets, may hold anything.
        state, *fields = (
            (proc / str(pid) / "stat").read_text(errors="replace").rpartition(") ")[2].split()
        )
        if state in "ZX":
            return ""
        return f"{boot} {space} {pid} {fields[18]}"
    except (OSError, UnicodeError, ValueError, IndexError):
        return ""


@lru_cache(maxsize=1)
def _host(proc: Path) -> tuple[str, str]:
    """Return the boot and the namespace of process numbers, which stay as long as this process."""
    boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return boot, str((proc / "self/ns/pid").readlink())


def has_ended(known: str, *, proc: Path = _PROC) -> bool:
    """Return whether a process is known to have ended; false where that cannot be told.

    Args:
        known: Its `identity`.
        proc: Where the system tells of processes.
    """
    parts = known.split()
    try:
        here = len(parts) == 4 and _host(proc) == (parts[0], parts[1]) and parts[2].isdigit()
    except (OSError, UnicodeError):
        here = False
    if not here:
        return False
    pid = int(parts[2])
    # The processes of other users can be hidden, as systemd's `ProtectProc=invisible` does.
    if not (proc / parts[2]).exists() and _exists(pid):
        return False
    return identity(pid, proc=proc) != known


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True
