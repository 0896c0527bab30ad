"""The trial of a pair is followed from its beginning to its end, as a reader would."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.deploy.install import PAGE, commands
from tests.support.processes import free_port
from tests.support.servers import require


async def test_the_trial(tmp_path: Path) -> None:
    """The second exporter is the standby, leads after the first was killed, and all ends."""
    require("curl")
    require("redis-server")
    page = PAGE.with_name("high-availability.md")
    section = page.read_text(encoding="utf-8").partition("## Try it on one machine")[2]
    both, one = re.findall(r"```text\n(.*?)```", section, re.DOTALL)[:2]
    start, pair, ask, kill, ask_again, end = commands("Try it on one machine", page)
    steps = [
        f"{start}{pair}",
        f"{ask.strip()} > {tmp_path}/both",
        kill,
        f"until {ask_again.strip()} | grep 1.0 > {tmp_path}/one; do sleep 0.1; done",
        f"{end}wait",
    ]
    script = "\n".join(steps)
    for port in ("6390", "8990", "10871", "10872"):
        script = script.replace(port, str(free_port()))

    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script),
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    try:
        # The session ends when all its programs have ended.
        code = await asyncio.wait_for(process.wait(), 60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    assert 0 == code
    assert both == (tmp_path / "both").read_text()
    assert one == (tmp_path / "one").read_text()
