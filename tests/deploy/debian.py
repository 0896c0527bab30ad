"""A Debian base system in a folder, and programs run in it."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


#: The release of Debian that the image and the Debian package are tested with.
SUITE = "trixie"

#: The file of the authorities that Debian's programs trust.
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"

#: Runs a program as root with a folder as its root.
_ENTER = """
set -eu
root=$1
shift
mount -t proc proc "$root/proc"
exec chroot "$root" /usr/bin/env --ignore-environment HOME=/root LC_ALL=C.UTF-8 \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    DEBIAN_FRONTEND=noninteractive "$@"
"""


def bootstrap(root: Path) -> None:
    """Make a base system with the authorities that this machine trusts."""
    options = ("--variant=minbase", "--include=ca-certificates")
    run("debootstrap", *options, SUITE, root, *_mirror())
    for folder in ("proc", "sys"):
        if (root / folder).is_mount():
            run("umount", "--recursive", root / folder)
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / folder)
    if authorities := _authorities():
        shutil.copyfile(authorities, root / AUTHORITIES)


def inside(root: Path, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as root in the base system, and return its exit code and output.

    Args:
        root: The base system.
        command: The program and its arguments.
        given: Its input.
    """
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", _ENTER, "sh", root, *command],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def run(*command: str | Path, check: bool = True) -> str:
    """Run a command of this machine and return its output."""
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=600
    )
    if check:
        assert 0 == ended.returncode, ended.stdout[-4000:] + ended.stderr[-4000:]
    return ended.stdout


def _mirror() -> list[str]:
    """Return the machine's Debian archive, since debootstrap's default is another one."""
    sites = run(
        *("apt-get", "indextargets", "--format", "$(REPO_URI)"),
        *("Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"),
    )
    return sites.split()[:1]


def _authorities() -> str | None:
    """Return the file of authorities that this machine's programs trust."""
    return os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
