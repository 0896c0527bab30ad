"""The Debian package: its contents, and its installation, upgrade and removal on a machine."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from importlib.metadata import distributions
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from exporter import __version__
from exporter.sources.plugins import GROUP
from tests.deploy.debian import inside, run
from tests.deploy.install import commands
from tests.deploy.locks import ROOT
from tests.support.processes import running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Iterator


#: The first tests build, and install on a base system.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "loadfleet-exporter"
UNIT = f"{NAME}.service"
LIBRARY = f"usr/lib/{NAME}"
SHARED = f"usr/share/{NAME}"
CONFIGURATION = "etc/loadfleet/loadfleet.yml"
TOKEN = "etc/loadfleet/secrets/realload_token"

#: The address of the release's files.
RELEASE = f"https://github.com/loadfleet/{NAME}/releases/download/v{__version__}"

#: Stand-ins for programs that the page's commands use: the download takes the package built here,
#: and the editor sets a URL.
PROGRAMS = {
    "sudo": 'exec "$@"',
    "curl": f'cp "/srv/${{2#{RELEASE}/}}" .',
    "sudoedit": "sed -i s/portal.realload.com/portal.example.com/ $1",
}

#: Folders in which removed packages leave files.
KEPT = ("root/", "run/", "srv/", "var/cache/", "var/lib/apt/", "var/lib/dpkg/", "var/log/")

#: apt's setting to install no recommended packages.
LEAN = 'APT::Install-Recommends "false";'

#: The file that records requests to systemd.
ASKED = "srv/asked"

#: Puts modules named like the exporter's into Python's user and system folders while the command
#: lasts.
OTHERS = f"""
export PYTHONPATH=/root/.local/lib/python3.13/site-packages
for folder in /root /usr/lib/python3/dist-packages; do mount -t tmpfs tmpfs $folder; done
mkdir -p $PYTHONPATH
for folder in $PYTHONPATH /usr/lib/python3/dist-packages; do
    echo 'raise SystemExit("the wrong one")' >$folder/exporter.py
    echo 'import exporter' >$folder/other.pth
done
cd $PYTHONPATH
{NAME} --version
"""

#: Runs a program without privileges, with a folder as its read-only root and its own network.
CONFINED = """
set -eu
root=$1
shift
ip link set lo up
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
exec chroot --userspec=65534:65534 "$root" /usr/bin/env --ignore-environment "$@"
"""

FETCH = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:10871/metrics').read().decode())"
)


def build(dist: Path, folder: Path, *targets: str, umask: str = "022") -> list[Path]:
    """Build packages of the wheel of `just build`, and return them in order."""
    folder.mkdir(exist_ok=True)
    shutil.copy(next(dist.glob("*.whl")), folder)
    run("bash", "-c", f"umask {umask}; exec .ci/deb {folder} {' '.join(targets)}")
    return [
        folder / f"{NAME}_{__version__}-{'_'.join(target.split('/'))}.deb" for target in targets
    ]


@pytest.fixture(scope="module")
def package(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package for Debian 13 on amd64."""
    for program in ("dpkg-deb", "gzip", "nsenter", "ip"):
        require(program)
    return build(dist, tmp_path_factory.mktemp("deb"), "debian13/amd64")[0]


@pytest.fixture(scope="module")
def files(package: Path) -> dict[str, tarfile.TarInfo]:
    """Return the package's entries by path."""
    with contents(package) as archive:
        return {each.name.removeprefix("./").rstrip("/"): each for each in archive}


def contents(package: Path) -> tarfile.TarFile:
    packed = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True
    )
    return tarfile.open(fileobj=BytesIO(packed.stdout))


def field(package: Path, name: str) -> str:
    return run("dpkg-deb", "--field", package, name).strip()


# -- The package --------------------------------------------------------------------------------


def test_it_says_what_it_is(package: Path) -> None:
    """The version must be the project's, and the Python that of the release."""
    assert f"{__version__}-1~debian13" == field(package, "Version")
    assert "amd64" == field(package, "Architecture")
    assert "net" == field(package, "Section")
    assert {"python3 (>= 3.13~)", "python3 (<< 3.14~)", "ca-certificates"} <= set(
        field(package, "Depends").split(", ")
    )


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("0.1.0-1~debian12", "0.1.0-1~debian13"),
        ("0.1.0-1~debian13", "0.1.0-1"),
        ("0.1.0-1~debian13", "0.2.0-1~debian12"),
        ("0.2.0~rc1-1~debian13", "0.2.0-1~debian13"),
    ],
)
def test_its_versions_sort(lower: str, higher: str) -> None:
    """A later release of the exporter, and the same of a later Debian, must be an upgrade."""
    run(require("dpkg"), "--compare-versions", lower, "lt", higher)


def test_its_files_are_roots(files: dict[str, tarfile.TarInfo]) -> None:
    """Only root may change the installed files, or look into the folder of secrets."""
    secrets = files.pop("etc/loadfleet/secrets")
    modes = {name: each.mode for name, each in files.items()}

    assert {(0, 0, "root", "root")} == {
        (each.uid, each.gid, each.uname, each.gname) for each in [*files.values(), secrets]
    }
    assert (True, 0o700) == (secrets.isdir(), secrets.mode)
    assert {0o755} == {modes.pop(name) for name, each in files.items() if each.isdir()}
    assert 0o755 == modes.pop(f"usr/bin/{NAME}")
    assert {0o644} == set(modes.values())


def test_nothing_tells_of_the_build_machine(package: Path) -> None:
    """No file may name the folders that it was built in."""
    by_mktemp = Path(tempfile.gettempdir(), r"tmp\.\w")
    folders = re.compile(rf"{ROOT}|{package.parent}|{by_mktemp}".encode())
    with contents(package) as archive:
        texts = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        found = [name for name, text in texts.items() if text and folders.search(text.read())]

    assert [] == found


def test_the_configuration_is_a_conffile(package: Path) -> None:
    """Dpkg must know what people edit."""
    assert f"/{CONFIGURATION}\n" == run("dpkg-deb", "--info", package, "conffiles")


def test_its_sbom_lists_the_packages_inside(package: Path, tmp_path: Path) -> None:
    """A scanner must find every package, with its licence beside it, and no other in the list."""
    run("dpkg-deb", "--extract", package, tmp_path)
    sbom = json.loads((tmp_path / SHARED / f"{NAME}.cdx.json").read_text())
    listed = [*sbom["components"], sbom["metadata"]["component"]]
    installed = list(distributions(path=[str(tmp_path / LIBRARY)]))

    assert {(canonicalize_name(each.name), each.version) for each in installed} == {
        (canonicalize_name(each["name"]), each["version"]) for each in listed
    }
    assert [] == [
        folder.name
        for folder in (tmp_path / LIBRARY).glob("*.dist-info")
        if not any(
            re.search("licen[cs]e|copying", path.name, re.IGNORECASE) for path in folder.rglob("*")
        )
    ]


def test_it_is_built_the_same_again_and_for_others(
    package: Path, dist: Path, tmp_path: Path
) -> None:
    """A rebuild must be the same bytes, and another target's modules for its Python and machine."""
    again, other = build(dist, tmp_path / "deb", "debian13/amd64", "debian12/arm64", umask="077")
    with contents(other) as archive:
        modules = [each.name for each in archive if each.name.endswith(".so")]

    # Not by `==`: pytest would take hours to show the difference of large bytes.
    assert filecmp.cmp(package, again, shallow=False)
    assert ("arm64", f"{__version__}-1~debian12") == (
        field(other, "Architecture"),
        field(other, "Version"),
    )
    assert "python3 (>= 3.11~), python3 (<< 3.12~)" in field(other, "Depends")
    assert any("cpython-311-aarch64-linux-gnu" in name for name in modules)
    assert [] == [name for name in modules if "cpython-313" in name or "x86_64" in name]


# -- A machine with it --------------------------------------------------------------------------


class Machine:
    """A base system with the programs that the page on installing assumes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, given: str = "") -> str:
        """Run a command as root, which must succeed, and return its output."""
        ended = inside(self.root, *command, given=given)
        assert 0 == ended.returncode, ended.stdout[-4000:]
        return ended.stdout

    def follow(self, number: int, *, given: str = "y\n") -> str:
        """Run a block of the page."""
        # Without a running systemd, no unit can be started.
        block = commands("Debian package")[number].replace(" --now", "")
        return self.run("bash", "-euc", f"cd /root\n{block}", given=given)

    def program(self, name: str, text: str, *, folder: str = "usr/local/bin") -> None:
        path = self.root / folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def paths(self) -> set[str]:
        """Return the paths of all files, without those that packages leave."""
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return {path for path in found if not path.startswith(KEPT)}

    @contextmanager
    def copy(self) -> Iterator[Machine]:
        """Yield another machine like this one, in a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            run("cp", "--archive", self.root, folder)
            yield Machine(Path(folder) / self.root.name)

    @contextmanager
    def systemd(self) -> Iterator[None]:
        """Make maintainer scripts believe that systemd runs, and record their requests."""
        running = self.root / "run/systemd/system"
        running.mkdir(parents=True)
        (self.root / ASKED).write_text("")
        # In /usr/bin, because apt's maintainer scripts look for programs in system folders only.
        program = self.root / "usr/bin/systemctl"
        real = program.rename(self.root / "srv/systemctl")
        self.program(program.name, f'echo "$*" >>/{ASKED}', folder="usr/bin")
        yield
        real.rename(program)
        running.rmdir()

    @property
    def asked(self) -> list[str]:
        """The requests to systemd that name the unit."""
        lines = (self.root / ASKED).read_text().splitlines()
        assert "--system daemon-reload" in lines
        return [line for line in lines if UNIT in line]


@pytest.fixture(scope="module")
def bare(base: Path, package: Path) -> Iterator[Machine]:
    """Return a machine without the package."""
    with Machine(base).copy() as machine:
        for name, text in PROGRAMS.items():
            machine.program(name, text)
        # Fewer packages, and no waiting for the disk.
        for folder, line in (("apt/apt.conf.d", LEAN), ("dpkg/dpkg.cfg.d", "force-unsafe-io")):
            (machine.root / "etc" / folder / "test").write_text(f"{line}\n")
        machine.run("apt-get", "update")
        # Python's dependency `netbase` leaves /etc/hosts behind.
        machine.run("apt-get", "install", "--yes", "systemd", "netbase")
        shutil.copy(package, machine.root / "srv")
        yield machine


@pytest.fixture(scope="module")
def before(bare: Machine) -> set[str]:
    """Return the paths on a machine without the package."""
    return bare.paths()


@pytest.fixture(scope="module")
def installed(bare: Machine, before: set[str]) -> Machine:
    """Return a machine with the package, installed as the page says."""
    with bare.systemd():
        bare.follow(0)
    return bare


@pytest.fixture
def configured(installed: Machine) -> Iterator[Machine]:
    """Return a machine on which the unit is configured and enabled as the page says."""
    with installed.copy() as machine:
        machine.follow(1, given="a token\n")
        machine.follow(2)
        yield machine


def test_the_command_is_there(installed: Machine) -> None:
    """Everybody must find it, and its modules compiled, since nobody else can do that later."""
    library = installed.root / LIBRARY

    assert f"{NAME} {__version__}\n" == installed.run(NAME, "--version")
    assert len([*library.rglob("*.py")]) == len([*library.rglob("*.cpython-313.pyc")])


def test_an_installation_starts_nothing(installed: Machine) -> None:
    """Before a token is there the daemon could but fail."""
    assert [] == installed.asked


def test_no_other_packages_are_seen(installed: Machine) -> None:
    """A module of the user, or of this Python, must not be taken in the place of ours."""
    seen = installed.run("sh", "-euc", OTHERS)

    assert f"{NAME} {__version__}\n" == seen


def test_plug_ins_have_a_place(installed: Machine) -> None:
    """A plug-in in root's folder must be found, here a broken one."""
    folder = installed.root / "usr/local/lib" / NAME / "extra-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\nextra = missing:EXTRA\n")

    ended = inside(installed.root, NAME, "providers")
    shutil.rmtree(folder.parent)

    assert 1 == ended.returncode
    assert "the provider 'extra' of extra 1.0 is left out: missing:EXTRA" in ended.stdout


def test_the_missing_token_is_named(installed: Machine) -> None:
    """With the shipped configuration, `check-config` must name the secret that is missing."""
    ended = inside(installed.root, NAME, "check-config", f"--config.file=/{CONFIGURATION}")

    assert 2 == ended.returncode
    assert f"/run/credentials/{UNIT}/realload_token: No such file" in ended.stdout


async def test_it_serves_a_fleet(installed: Machine, tmp_path: Path) -> None:
    """The demo must serve metrics and answer `status` as `nobody` on a read-only system."""
    own = ("--mount", "--net", "--pid", "--fork", "--kill-child")
    (status,) = (block for block in commands("Debian package") if " status " in block)

    async with running(
        *("unshare", *own, "sh", "-c", CONFINED, "sh", installed.root),
        *(f"/usr/bin/{NAME}", "demo"),
        folder=tmp_path,
        name="demo",
    ) as process:
        inner = ("nsenter", "--target", str(process.process.pid), "--mount", "--net")
        enter = (*inner, "chroot", installed.root)
        pages: list[str] = []

        def served() -> bool:
            assert not process.ended, process.errors
            pages.append(run(*enter, "/usr/bin/python3", "-c", FETCH, check=False))
            return "loadfleet_agent_up{" in pages[-1]

        await until(served)
        # The command exits 1, because the demo's fleet has problems.
        table = run(*enter, "sh", "-c", status, check=False)

    assert f'version="{__version__}"' in pages[-1]
    assert "Needs attention" in table


def test_systemd_understands_the_unit(installed: Machine) -> None:
    """The unit must be valid, and name programs that exist."""
    unit = (installed.root / "usr/lib/systemd/system" / UNIT).read_text()
    ours = (ROOT / "deploy/systemd" / UNIT).read_text()

    assert "" == installed.run("systemd-analyze", "verify", UNIT)
    assert ours.replace("/opt/loadfleet/bin/", "/usr/bin/") == unit


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", f"bash-completion/completions/{NAME}"),
        ("zsh", f"zsh/vendor-completions/_{NAME}"),
        ("fish", f"fish/vendor_completions.d/{NAME}.fish"),
    ],
)
def test_shells_complete_it(installed: Machine, shell: str, place: str) -> None:
    """The script must be that of the installed version, where the shell looks for it."""
    script = installed.root / "usr/share" / place

    assert installed.run(NAME, "completion", shell) == script.read_text()


def test_bash_takes_the_completion(installed: Machine) -> None:
    """The system's own bash must load the file without a complaint."""
    script = f"/usr/share/bash-completion/completions/{NAME}"

    assert f"complete -F _loadfleet_exporter {NAME}\n" == installed.run(
        "bash", "-euc", f". {script}; complete -p {NAME}"
    )


def test_the_manual_names_files_that_are_there(installed: Machine) -> None:
    """Every file the manual page names must exist, but for the state, which systemd makes."""
    packed = installed.root / f"usr/share/man/man1/{NAME}.1.gz"
    named = re.findall(r"^\.It Pa /(.*)$", run("gzip", "-dc", packed), re.MULTILINE)

    assert ["var/lib/loadfleet"] == [path for path in named if not (installed.root / path).exists()]


def test_its_rules_and_dashboards_are_those_of_the_version(installed: Machine) -> None:
    """Prometheus and Grafana beside it must find what the installed command would print."""
    shared = installed.root / SHARED
    installed.run(NAME, "dashboards", "--folder=/root/dashboards")
    printed = installed.root / "root/dashboards"

    assert installed.run(NAME, "rules") == (shared / "alerts.yml").read_text()
    assert {path.name: path.read_text() for path in printed.iterdir()} == {
        path.name: path.read_text() for path in (shared / "dashboards").iterdir()
    }


def test_an_upgrade_keeps_what_was_edited(
    configured: Machine, package: Path, tmp_path: Path
) -> None:
    """The configuration and the token must stay, and the daemon be restarted if it runs."""
    later(package, tmp_path / "later", configured.root / "srv/later.deb")
    keep = ("-o", "Dpkg::Options::=--force-confold")

    with configured.systemd():
        configured.run("apt-get", "install", "--yes", *keep, "/srv/later.deb")

    assert "portal.example.com" in (configured.root / CONFIGURATION).read_text()
    assert "# later" in (configured.root / f"{CONFIGURATION}.dpkg-dist").read_text()
    assert "a token\n" == (configured.root / TOKEN).read_text()
    assert 0o100600 == (configured.root / TOKEN).stat().st_mode
    assert [f"try-restart {UNIT}"] == configured.asked


def later(package: Path, folder: Path, made: Path) -> None:
    """Make the package of a later version with another configuration."""
    run("dpkg-deb", "--raw-extract", package, folder)
    control = folder / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}", "Version: 999"))
    with (folder / CONFIGURATION).open("a") as file:
        file.write("# later\n")
    run("dpkg-deb", "--build", "-Znone", folder, made)
    shutil.rmtree(folder)


def test_a_purge_leaves_nothing(before: set[str], configured: Machine) -> None:
    """A removal must stop the daemon and keep what it needs, and a purge forget it all."""
    state = "var/lib/private/loadfleet"
    (configured.root / state).mkdir(parents=True)
    (configured.root / "var/lib/loadfleet").symlink_to("private/loadfleet")

    with configured.systemd():
        configured.follow(4)
        kept = configured.paths()
        configured.follow(5)
    configured.run("apt-get", "autoremove", "--yes", "--purge")

    assert {CONFIGURATION, TOKEN, state} <= kept
    assert [] == [path for path in kept if path.startswith((LIBRARY, SHARED))]
    assert [f"stop {UNIT}"] == configured.asked
    assert before == configured.paths()
