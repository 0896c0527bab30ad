"""The image, built from the Dockerfile without a registry of images and run without an engine.

Debian's buildah builds on a base that debootstrap made, and namespaces run the result as an
orchestrator does: unprivileged, as pid 1, on a read-only root, in a network of its own.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.deploy.debian import AUTHORITIES, SUITE, run
from tests.support.processes import running
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.processes import Process


ROOT = Path(__file__).parent.parent.parent

#: What pip must know of the machine to find packages.
_PIP_KEYS = frozenset({"index-url", "extra-index-url", "trusted-host", "proxy"})

#: Makes a folder the root of the process, read-only but for a volume, and runs a command there
#: without privileges.
_ENTER = """
set -eu
root=$1 user=$2 folder=$3
shift 3
ip link set lo up
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
# As an engine does with a new volume: it belongs to whom the folder of the image belongs.
owner=$(stat --format=uid=%u,gid=%g,mode=%a "$root/var/lib/loadfleet")
mount -t tmpfs -o "$owner" tmpfs "$root/var/lib/loadfleet"
exec chroot --userspec="$user" "$root" /usr/bin/env --ignore-environment --chdir="$folder" "$@"
"""


class Container:
    """A running image.

    Attributes:
        process: What holds the namespaces; it ends with what runs in them.
        pid: The pid of what runs, as seen from outside.
    """

    def __init__(self, process: Process, pid: int, user: str) -> None:
        self.process = process
        self.pid = pid
        self._user, self._group = user.split(":")

    async def execute(self, *command: str) -> tuple[int, str]:
        """Run a command inside and return its exit code and output."""
        inside = await asyncio.create_subprocess_exec(
            *("nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--root"),
            *("--wd=/", "--setuid", self._user, "--setgid", self._group, "--", *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(inside.communicate(), 30)
        return inside.returncode or 0, output.decode()

    @property
    def status(self) -> str:
        """What the kernel says about it."""
        return Path(f"/proc/{self.pid}/status").read_text()

    async def stop(self, number: int) -> int:
        """Send a signal to what runs and return its exit code."""
        os.kill(self.pid, number)
        return await asyncio.wait_for(self.process.process.wait(), 20)


class Image:
    """A built image with its root mounted.

    Attributes:
        root: Where its files are.
        config: How it is run, in Docker's words.
    """

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root = root
        self.config = config

    @asynccontextmanager
    async def run(self, *arguments: str, folder: Path) -> AsyncIterator[Container]:
        """Run the entry point while the context lasts."""
        user = self.config["User"]
        async with running(
            *("unshare", "--mount", "--net", "--pid", "--fork"),
            *("sh", "-c", _ENTER, "sh", self.root, user, self.config["WorkingDir"]),
            *(*self.config["Env"], *self.config["Entrypoint"], *arguments),
            folder=folder,
            name="container",
        ) as process:
            outer = process.process.pid
            await until(lambda: process.ended or _children(outer))
            assert not process.ended, process.errors
            container = Container(process, int(_children(outer)), user)
            try:
                yield container
            finally:
                # What holds the namespaces ends with it, but not the other way round.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(container.pid, signal.SIGKILL)
                await process.process.wait()


class Builder:
    """Buildah with a store of its own, so that the machine's images stay as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        policy = {"default": [{"type": "insecureAcceptAnything"}]}
        (folder / "policy.json").write_text(json.dumps(policy))
        (folder / "registries.conf").write_text("[registries.search]\n")

    def build(self, base: Path) -> Image:
        """Build the Dockerfile.

        Args:
            base: The files of the base that it names.
        """
        dockerfile = (ROOT / "Dockerfile").read_text()
        names = set(re.findall(r"^FROM ([a-z]+:[a-z-]+)", dockerfile, re.MULTILINE))
        assert {f"debian:{SUITE}-slim"} == names
        self._import(base, *names)
        secret = self._folder / "pip.conf"
        secret.write_text(_pip_configuration())
        self._buildah(
            *("build", "--isolation", "chroot", "--network", "host", "--pull-never"),
            *("--layers=false", "--format", "docker", "--secret", f"id=pip_conf,src={secret}"),
            *(*self._unsigned, "--tag", "built", str(ROOT)),
        )
        described = json.loads(self._buildah("inspect", "--type", "image", "built"))
        container = self._buildah("from", "--pull-never", *self._unsigned, "built")
        root = Path(self._buildah("mount", container))
        return Image(root, described["Docker"]["config"])

    def _import(self, base: Path, name: str) -> None:
        container = self._buildah("from", "scratch")
        run("cp", "--archive", f"{base}/.", self._buildah("mount", container))
        self._buildah("commit", *self._unsigned, "--rm", container, name)

    @property
    def _unsigned(self) -> tuple[str, str]:
        return "--signature-policy", str(self._folder / "policy.json")

    def _buildah(self, command: str, *arguments: str) -> str:
        return run(
            "buildah",
            *("--root", self._folder / "store", "--runroot", self._folder / "run"),
            *("--storage-driver", "vfs", "--registries-conf", self._folder / "registries.conf"),
            *(command, *arguments),
        ).strip()


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def _pip_configuration() -> str:
    """Return what decides from where this machine's pip takes packages, as its file has it."""
    listed = run(sys.executable, "-m", "pip", "config", "list", check=False)
    found = re.findall(r"^(?:global|install|:env:)\.\.?([\w-]+)=(.+)$", listed, re.MULTILINE)
    values = {key: ast.literal_eval(value) for key, value in found if key in _PIP_KEYS}
    # Folders of this machine are not there in the build.
    lines = (f"{key} = {value}" for key, value in values.items() if "file:" not in value)
    return "\n".join(["[global]", f"cert = /{AUTHORITIES}", *lines, ""])
