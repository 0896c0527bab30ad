"""The operating system process: event loop, garbage collection, descriptors, signals, identity."""

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
    """Run the program's main coroutine, on uvloop if that is installed."""
    # Imported objects stay alive; frozen, they do not prolong each collection.
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
    """Raise the soft limit of open files to the hard limit.

    The usual soft limit of 1024 exists for programs that call `select`, which this one does not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems report an unlimited hard limit but refuse to set it.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_descriptors() -> float:
    """Return how many more files can be opened; infinite if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return math.inf
    try:
        used = len(list((_PROC / "self/fd").iterdir()))
    except OSError:
        used = 0  # no /proc; the caller keeps a reserve
    return soft - used


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Set the event on SIGTERM and SIGINT instead of ending the process."""
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
    """Return an identifier that no other process has or had.

    Args:
        pid: The process; this process by default.
        proc: The proc file system.

    Returns:
        The boot id, the PID namespace, the PID and the start time, separated by spaces; empty if
        the process has ended or the system does not say.
    """
    pid = os.getpid() if pid is None else pid
    try:
        boot, space = _host(proc)
        # The program's name, in parentheses, may itself contain spaces and parentheses.
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
    """Return the boot id and the PID namespace, neither of which changes during a process."""
    boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return boot, str((proc / "self/ns/pid").readlink())


def has_ended(known: str, *, proc: Path = _PROC) -> bool:
    """Return whether a process has certainly ended; false if that is unknown.

    Args:
        known: The process's `identity`.
        proc: The proc file system.
    """
    parts = known.split()
    try:
        here = len(parts) == 4 and _host(proc) == (parts[0], parts[1]) and parts[2].isdigit()
    except (OSError, UnicodeError):
        here = False
    if not here:
        return False
    pid = int(parts[2])
    # /proc can hide processes of other users, as with systemd's `ProtectProc=invisible`.
    if not (proc / parts[2]).exists() and _exists(pid):
        return False
    return identity(pid, proc=proc) != known


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or no valid PID
        return True
    return True
