"""The unit for systemd, as far as it can be checked without booting."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from exporter import cli
from exporter.config.types import parse_duration
from exporter.daemon import STOP_GRACE_SECONDS
from exporter.settings.load import load
from exporter.systemd import ALIVE_SECONDS
from tests.deploy.install import PAGE, commands
from tests.support.servers import require


FOLDER = Path(__file__).parent.parent.parent / "deploy" / "systemd"
UNIT = FOLDER / "loadfleet-exporter.service"

#: The highest exposure, in tenths. systemd 252 reports 1.2, mostly for the network; other versions
#: weigh a little differently.
EXPOSURE = 15


def directives(name: str) -> list[str]:
    """Return the values of a directive in the unit."""
    lines = UNIT.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def analyze(*arguments: str | Path) -> str:
    """Run systemd-analyze, which must succeed without a message on stderr."""
    ended = subprocess.run(
        [require("systemd-analyze"), *arguments], capture_output=True, text=True, check=False
    )
    assert (0, "") == (ended.returncode, ended.stderr), ended.stdout
    return ended.stdout


def system_calls(group: str) -> set[str]:
    """Return the system calls of one of systemd's groups, with those of nested groups."""
    lines = [line.strip() for line in analyze("syscall-filter", group).splitlines()]
    found = {line for line in lines if line and line[0] not in "#@"}
    return found.union(*(system_calls(line) for line in lines[1:] if line.startswith("@")))


def test_systemd_understands_it(tmp_path: Path) -> None:
    """Each directive must be known, with a value that systemd takes."""
    copy = tmp_path / UNIT.name
    program = directives("ExecStart")[0].split()[0]
    # The unit's program is replaced by one of this machine.
    copy.write_text(UNIT.read_text().replace(program, sys.executable))

    analyze("verify", copy)


def test_little_is_exposed() -> None:
    """The unit must stay as closed as it is."""
    analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", UNIT)


def test_its_command_line_is_ours() -> None:
    """The flags in the unit must be flags of the command."""
    program, *arguments = shlex.split(directives("ExecStart")[0])

    assert "loadfleet-exporter" == Path(program).name
    assert "/etc/loadfleet/loadfleet.yml" == cli.parse(arguments).config_file


def test_the_watchdog_is_fed_often_enough() -> None:
    """The watchdog's time must allow for one late message."""
    (watchdog,) = directives("WatchdogSec")

    assert parse_duration(watchdog) > 2 * ALIVE_SECONDS


def test_the_end_may_take_its_time() -> None:
    """The manager must wait for the polls that are given time to end."""
    (limit,) = directives("TimeoutStopSec")

    assert parse_duration(limit) > STOP_GRACE_SECONDS + 1


def test_a_wrong_configuration_is_not_tried_again() -> None:
    """The exit code that ends the restarts must be that of a wrong configuration."""
    assert [str(cli.USAGE)] == directives("RestartPreventExitStatus")


def test_the_example_goes_with_it(tmp_path: Path) -> None:
    """The configuration beside the unit must be valid and name the credentials that it loads."""
    folder = f"/run/credentials/{UNIT.name}"
    (credential,) = directives("LoadCredential")
    text = (FOLDER / "loadfleet.yml").read_text()
    (tmp_path / credential.partition(":")[0]).write_text("invented")
    configuration = tmp_path / "loadfleet.yml"
    configuration.write_text(text.replace(folder, str(tmp_path)))

    loaded = load(configuration, environ={})

    assert f"{folder}/{credential.partition(':')[0]}" in text
    assert ["prod"] == [source.name for source in loaded.settings.sources]


def test_the_page_installs_what_the_unit_names(tmp_path: Path) -> None:
    """The commands must put program, configuration, secret and unit into their places."""
    block = commands("Without the package", PAGE.with_name("systemd.md"))[0]
    named = [
        directives("ExecStart")[0].split()[0],
        directives("ExecStart")[0].partition("--config.file=")[2],
        directives("LoadCredential")[0].partition(":")[2],
        f"/etc/systemd/system/{UNIT.name}",
    ]
    # Below another root, without rights, and without pip, which would download.
    script = re.sub(r" (/opt|/etc)/", rf" {tmp_path}\1/", block)
    script = script.replace("-m venv", "-m venv --without-pip")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)

    subprocess.run(
        ["bash", "-euc", f'sudo() {{ [[ $1 == */bin/pip ]] || "$@"; }}\n{script}'],
        cwd=FOLDER.parent.parent,
        input="a token\n",
        text=True,
        check=True,
    )

    program, *files = (tmp_path / path[1:] for path in named)
    assert program.with_name("python3").exists()
    assert [] == [path for path in files if not path.exists()]
    assert 0o600 == (tmp_path / named[2][1:]).stat().st_mode & 0o777


def test_the_state_is_where_the_unit_may_write() -> None:
    """The path of the configuration must be in the folder that systemd makes for the daemon."""
    (folder,) = directives("StateDirectory")

    configuration = yaml.safe_load((FOLDER / "loadfleet.yml").read_text())

    assert Path("/var/lib") / folder == Path(configuration["state"]["path"])


def test_the_state_is_no_forbidden_work() -> None:
    """The system calls of SQLite must pass the unit's filter."""
    allowed, denied = (set(value.lstrip("~").split()) for value in directives("SystemCallFilter"))
    calls = {"fcntl", "fdatasync", "fsync", "ftruncate", "mmap", "pread64", "pwrite64", "rename"}
    calls |= {"flock", "mkdir", "openat", "unlink"}

    assert calls <= set().union(*map(system_calls, allowed))
    assert set() == calls & set().union(*map(system_calls, denied))
