"""The programs that the exporter is compared with, from Debian."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.bench.harness import free_port, running
from tests.support.redis import RedisServer


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.harness import Program


#: Programs by the Debian package they come in.
PACKAGES = {
    "prometheus-pushgateway": "prometheus-pushgateway",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "nginx": "nginx-light",
    "redis-server": "redis-server",
}

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ }}
http {{
    access_log off;
    sendfile on;
    default_type text/plain;
    keepalive_requests 1000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {folder}; gzip_static on; }}
}}
"""


def missing() -> list[str]:
    """Return the packages whose program is not installed."""
    return [package for program, package in PACKAGES.items() if _path(program) is None]


@contextmanager
def pushgateway() -> Iterator[tuple[int, Program]]:
    """Run a pushgateway and yield its port."""
    port = free_port()
    with running(_found("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{port}") as it:
        it.listens(port)
        yield port, it


def push(port: int, page: bytes) -> None:
    """Push samples to a pushgateway."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics/job/bench", data=page, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310 - loopback
        reply.read()


@contextmanager
def nginx(page: bytes, packed: bytes) -> Iterator[int]:
    """Run an nginx that serves a page from files, plain and packed, and yield its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "metrics").write_bytes(page)
        (folder / "metrics.gz").write_bytes(packed)
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
        with running(_found("nginx"), "-e", "stderr", "-c", folder / "nginx.conf") as it:
            it.listens(port)
            yield port


@contextmanager
def blackbox(call: dict[str, object]) -> Iterator[tuple[int, Program]]:
    """Run a blackbox exporter whose module `post` sends a call; yield its port."""
    port = free_port()
    headers = {"Content-Type": "application/json"}
    http = {
        "method": "POST",
        "headers": headers,
        "body": json.dumps(call),
        "ip_protocol_fallback": True,
    }
    modules = {"modules": {"post": {"prober": "http", "timeout": "10s", "http": http}}}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "blackbox.yml"
        path.write_text(yaml.safe_dump(modules))
        program = _found("prometheus-blackbox-exporter")
        flags = (f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}")
        with running(program, *flags, "--log.level=error") as it:
            it.listens(port)
            yield port, it


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis with data old enough to be trusted, and yield its URL."""
    with tempfile.TemporaryDirectory() as name:
        server = RedisServer("redis-server", Path(name))
        try:
            asyncio.run(server.begin())
            yield server.url()
        finally:
            server.stop()


def _path(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def _found(program: str) -> str:
    path = _path(program)
    assert path is not None, f"apt-get install {PACKAGES[program]}"
    return path
