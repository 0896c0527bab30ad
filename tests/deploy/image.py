"""The image, built from the Dockerfile without an image registry, and run by a real engine.

Debian's buildah builds on a base that debootstrap made, and Debian's podman, which takes Docker's
commands, runs the result.
"""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import subprocess
import sys
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import __version__
from tests.deploy.debian import AUTHORITIES, SUITE, run
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


ROOT = Path(__file__).parent.parent.parent

#: The name under which the image is published.
NAME = f"ghcr.io/loadfleet/loadfleet-exporter:{__version__}"

#: Build arguments of a release, beside the version.
REVISION = "0123456789abcdef0123456789abcdef01234567"
CREATED = "2026-01-02T03:04:05Z"

#: pip's settings of this machine, without which it finds no packages.
_PIP_KEYS = frozenset({"index-url", "extra-index-url", "trusted-host", "proxy"})

#: Makes a separate host: without the machine's state and systemd, with an empty network, and with
#: one hierarchy of control groups, since crun cannot work with two. Like any init, it reaps
#: processes that end.
_HOST = """
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /var/lib/cni
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
echo ready
exec env --ignore-signal=CHLD sleep infinity
"""

#: A stand-in for `docker`: podman with buildah's store. As in Docker, a read-only container has no
#: writable folders. podman's log is dropped: it complains that there is no systemd.
_DOCKER = """#!/bin/bash
[ "$1" != run ] || set -- run --read-only-tmpfs=false "${@:2}"
exec podman --log-level fatal PLACES "$@"
"""


class Container:
    """A running container."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def execute(self, *command: str) -> tuple[int, str]:
        """Run a command inside and return its exit code and output."""
        ended = self._engine.docker("exec", self._name, *command, check=False)
        return ended.returncode, ended.stdout

    @property
    def log(self) -> str:
        return self._engine.docker("logs", self._name).stdout

    @property
    def address(self) -> str:
        """The container's address for other containers."""
        form = "{{.NetworkSettings.IPAddress}}"
        return self._engine.docker("inspect", "--format", form, self._name).stdout.strip()

    @property
    def healthy(self) -> bool:
        """True if the image's own health check succeeds now."""
        checked = self._engine.docker("healthcheck", "run", self._name, check=False)
        return 0 == checked.returncode

    def kill(self, signal: str) -> int:
        """Send a signal that ends the container, and return its exit code."""
        self._engine.docker("kill", "--signal", signal, self._name)
        return int(self._engine.docker("wait", self._name).stdout)


class Engine:
    """A separate host on which `docker` runs containers, and which ends with them."""

    def __init__(self, folder: Path, places: tuple[str, ...]) -> None:
        self._folder = folder
        # Podman would raise the limits, for which rights may be missing.
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
        (folder / "containers.conf").write_text(
            f"""
            [containers]
            cgroups = "disabled"
            default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            runtime = "crun"
            [network]
            network_config_dir = "{folder}/networks"
            """
        )
        docker = folder / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(_DOCKER.replace("PLACES", " ".join(places)))
        docker.chmod(0o755)
        own = ("--mount", "--net", "--pid", "--mount-proc")
        self._host = subprocess.Popen(
            ["unshare", *own, "--fork", "--kill-child", "sh", "-c", _HOST],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._host.stdout is not None
        assert "ready\n" == self._host.stdout.readline()
        self._pid = Path(f"/proc/{self._host.pid}/task/{self._host.pid}/children").read_text()

    def command(self, *command: str) -> tuple[str, ...]:
        """Return a command that runs a command on the engine's host."""
        enter = ("nsenter", "--target", self._pid.strip(), "--mount", "--net", "--pid")
        path = f"PATH={self._folder / 'bin'}:{os.environ['PATH']}"
        conf = f"CONTAINERS_CONF={self._folder / 'containers.conf'}"
        return (*enter, "--", "env", path, conf, *command)

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a Docker command, with the output of both streams."""
        return self._run("docker", *arguments, check=check)

    def shell(self, script: str, *, folder: Path, stdin: str = "", check: bool = True) -> str:
        """Run a page's commands in a folder, which is also the home, and return the output."""
        prepared = f'cd {folder}; export HOME={folder}; sudo() {{ "$@"; }}\n{script}'
        bash = ("bash", "-euo", "pipefail", "-c", prepared)
        return self._run(*bash, stdin=stdin, check=check).stdout

    @contextmanager
    def run(self, *arguments: str, options: Sequence[str] = ()) -> Iterator[Container]:
        """Run the image with a read-only root while the context lasts."""
        started = self.docker("run", "--detach", "--read-only", *options, NAME, *arguments)
        name = started.stdout.split()[-1]
        try:
            yield Container(self, name)
        finally:
            sys.stdout.write(self.docker("logs", name).stdout)  # for a test that fails
            self.docker("rm", "--force", "--volumes", name)

    @asynccontextmanager
    async def portal(self) -> AsyncIterator[str]:
        """Run a simulated Real Load portal while the context lasts, and yield its address."""
        with self.run("simulate", "--host=0.0.0.0", "--realload-port=8080") as container:
            await until(lambda: "provider: realload" in container.log)
            yield f"http://{container.address}:8080"

    def close(self) -> None:
        """End the host with everything on it."""
        self._host.kill()
        self._host.communicate()

    def _run(
        self, *command: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            self.command(*command),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or 0 == ended.returncode, ended.stdout
        return ended


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image with its root mounted.

    Attributes:
        engine: The engine that runs it.
        root: The folder of its files.
        config: Docker's configuration of the image.
        base_digest: The digest of its base.
        added_bytes: Its size beyond the base, unpacked.
        layer_bytes: The transferred sizes of the layers on its base.
    """

    engine: Engine
    root: Path
    config: dict[str, Any]
    base_digest: str
    added_bytes: int
    layer_bytes: list[int]


class Builder:
    """Buildah with a store of its own, so that the machine's images stay as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        policy = {"default": [{"type": "insecureAcceptAnything"}]}
        (folder / "policy.json").write_text(json.dumps(policy))
        (folder / "registries.conf").write_text("[registries.search]\n")

    @contextmanager
    def build(self, base: Path) -> Iterator[Image]:
        """Build the Dockerfile on a base, and yield the image with an engine."""
        try:
            base_bytes, arguments = self._import(base)
            secret = self._folder / "pip.conf"
            secret.write_text(_pip_configuration())
            self._buildah(
                *("build", "--isolation", "chroot", "--network", "host", "--pull-never"),
                *("--layers=false", "--format", "docker", "--secret", f"id=pip_conf,src={secret}"),
                *(f"--build-arg={name}={value}" for name, value in arguments.items()),
                *(*self._unsigned, "--tag", NAME, str(ROOT)),
            )
            described = json.loads(self._buildah("inspect", "--type", "image", NAME))
            root = self._mounted(NAME)
            with closing(Engine(self._folder, self._places)) as engine:
                yield Image(
                    engine=engine,
                    root=root,
                    config=described["Docker"]["config"],
                    base_digest=arguments["BASE_DIGEST"],
                    added_bytes=_size(root) - base_bytes,
                    layer_bytes=self._layers()[1:],
                )
        finally:
            self._buildah("umount", "--all")
            for folder in (self._folder / "store").iterdir():
                if folder.is_mount():
                    run("umount", folder)

    def _import(self, base: Path) -> tuple[int, dict[str, str]]:
        """Import the base, and return its size and the build's arguments."""
        dockerfile = (ROOT / "Dockerfile").read_text()
        (name,) = re.findall(r"^ARG BASE=(.+)$", dockerfile, re.MULTILINE)
        assert f"debian:{SUITE}-slim" == name.rpartition("/")[2]
        root = self._mounted("scratch")
        run("cp", "--archive", f"{base}/.", root)
        size = _size(root)
        self._buildah("commit", *self._unsigned, "--rm", self._container, name)
        (made,) = json.loads(self._buildah("images", "--digests", "--json", name))
        release = {"VERSION": __version__, "REVISION": REVISION, "CREATED": CREATED}
        return size, {"BASE_DIGEST": made["digest"], **release}

    def _layers(self) -> list[int]:
        """Return the sizes of the layers as a registry would get them."""
        folder = self._folder / "pushed"
        self._buildah("push", *self._unsigned, NAME, f"oci:{folder}")
        (listed,) = json.loads((folder / "index.json").read_text())["manifests"]
        blob = folder / "blobs" / listed["digest"].replace(":", "/")
        return [layer["size"] for layer in json.loads(blob.read_text())["layers"]]

    def _mounted(self, name: str) -> Path:
        self._container = self._buildah("from", "--pull-never", *self._unsigned, name)
        return Path(self._buildah("mount", self._container))

    @property
    def _unsigned(self) -> tuple[str, str]:
        return "--signature-policy", str(self._folder / "policy.json")

    @property
    def _places(self) -> tuple[str, ...]:
        return "--root", str(self._folder / "store"), "--runroot", str(self._folder / "run")

    def _buildah(self, command: str, *arguments: str) -> str:
        registries = ("--registries-conf", str(self._folder / "registries.conf"))
        return run("buildah", *self._places, *registries, command, *arguments).strip()


def _size(root: Path) -> int:
    """Return the size of the files below a folder, in bytes."""
    return sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir())


def _pip_configuration() -> str:
    """Return pip's settings of package indexes on this machine, in its file's form."""
    listed = run(sys.executable, "-m", "pip", "config", "list", check=False)
    found = re.findall(r"^(?:global|install|:env:)\.\.?([\w-]+)=(.+)$", listed, re.MULTILINE)
    values = {key: ast.literal_eval(value) for key, value in found if key in _PIP_KEYS}
    # The machine's folders do not exist in the build.
    lines = (f"{key} = {value}" for key, value in values.items() if "file:" not in value)
    return "\n".join(["[global]", f"cert = /{AUTHORITIES}", *lines, ""])
