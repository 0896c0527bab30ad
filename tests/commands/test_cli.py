from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter import __version__
from exporter.cli import COMMANDS, main, parse
from exporter.commands.configuration import auto_reload_seconds, warn_of_own_ledger
from exporter.polling.engine import Engine
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.sources.registry import FAMILIES


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    async with Simulation(SimulatorOptions(still=True)) as simulation:
        yield simulation


@pytest.fixture
def configuration(simulation: Simulation, tmp_path: Path) -> str:
    path = tmp_path / "loadfleet.yml"
    path.write_text(yaml.safe_dump(simulation.configuration()))
    return f"--config.file={path}"


#: Interrupts the program when it loads the command line.
INTERRUPT = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "exporter.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from exporter.__main__ import main
sys.exit(main())
"""


#: Runs a command and tells whether the process searches for garbage afterwards.
GARBAGE = """
import gc
gc.disable()
from exporter.cli import main
main(["metrics"])
print(gc.isenabled())
"""


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(main, arguments, environ={})


class TestParse:
    @pytest.mark.parametrize("arguments", [[], ["--log.level=debug"]])
    def test_no_command_is_the_daemon(self, arguments: list[str]) -> None:
        """The bare call must do what the thing is for."""
        assert "run" == parse(arguments).command

    @pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["run", "--log.level=x"]])
    def test_nonsense_is_a_usage_error(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A script must be able to tell a typing error from a failure."""
        with pytest.raises(SystemExit) as ended:
            parse(arguments)

        assert 2 == ended.value.code
        assert "usage:" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments", [["--dif=http://user:CANARY@host"], ["--dif", "http://user:CANARY@host"]]
    )
    def test_a_mistyped_flag_gets_its_commands_usage_and_the_nearest_flag(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A mistyped flag must be answered with the command's nearest flag, without the value."""
        with pytest.raises(SystemExit) as ended:
            parse(["check-config", *arguments])

        told = capsys.readouterr().err
        assert 2 == ended.value.code
        assert told.startswith("usage: loadfleet-exporter check-config ")
        assert told.endswith("unrecognized arguments: --dif; did you mean --diff?\n")
        assert "CANARY" not in told

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["staus"], "did you mean status?"),
            (["--verison"], "did you mean --version?"),
            (["--confg.file=x"], "did you mean --config.file?"),
            (["-config.file=x"], "did you mean --config.file?"),
            (["run", "--log.level=inf"], "did you mean info?"),
            (["rules", "--format=grafan"], "did you mean grafana?"),
            (["status", "--kind=agnet"], "did you mean agent?"),
            (["status", "--kind=suite,agnet"], "did you mean agent?"),
            (["state", "chek"], "did you mean check?"),
            (["dashboards", "loadfleet-agent"], "did you mean loadfleet-agents?"),
            (["simulate", "--agnets=2"], "did you mean --agents?"),
            (["completion", "bsh"], "did you mean bash?"),
            (["status", "--quite-another"], "; remove it"),
            (["status", "--format=xyz"], "; it must be one of: table, json, prom"),
        ],
    )
    def test_whatever_is_mistyped_gets_the_nearest_that_there_is(
        self, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Commands, flags and choices, of all commands alike."""
        with pytest.raises(SystemExit) as ended:
            parse(arguments)

        told = capsys.readouterr()
        assert (2, "") == (ended.value.code, told.out)
        assert expected in told.err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["simulate", "--token", "-CANARY"],
            ["state", "--state.ulr", "CANARY", "check"],
            ["explain", "--ulr", "CANARY", "a", "b", "c", "d"],
        ],
    )
    def test_a_value_is_not_repeated(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An error message must not repeat a value: it may be a secret."""
        with pytest.raises(SystemExit):
            parse(arguments)

        assert "CANARY" not in capsys.readouterr().err

    def test_a_negative_number_is_no_flag(self) -> None:
        """Seeds may have a sign."""
        assert -7 == parse(["simulate", "--seed", "-7"]).seed

    def test_help_tells_where_the_daemons_flags_are(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The command that is not typed has the most flags."""
        with pytest.raises(SystemExit):
            parse(["--help"])

        told = " ".join(capsys.readouterr().out.split())
        assert "Without a command the daemon runs; for its flags see `run --help`." in told

    def test_flags_are_not_abbreviated(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An abbreviation that works today is ambiguous after the next release."""
        with pytest.raises(SystemExit):
            parse(["run", "--log.lev=debug"])

        assert "unrecognized arguments" in capsys.readouterr().err

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_has_help(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Every command must have help."""
        with pytest.raises(SystemExit) as ended:
            parse([command, "--help"])

        assert 0 == ended.value.code
        assert COMMANDS[command].summary in " ".join(capsys.readouterr().out.split())

    def test_the_module_is_the_command(self) -> None:
        """`python -m exporter` must work where the script is not on the path."""
        told = subprocess.run(
            [sys.executable, "-m", "exporter", "--version"],
            capture_output=True,
            text=True,
            check=True,
        )

        assert f"loadfleet-exporter {__version__}\n" == told.stdout


@pytest.mark.parametrize(("make", "expected"), [(Path.touch, 30.0), (os.mkfifo, 0.0)])
def test_a_pipe_is_not_looked_at_for_changes(
    tmp_path: Path, make: Callable[[Path], object], expected: float
) -> None:
    """A pipe must not be watched for changes, since it can be read only once."""
    path = tmp_path / "loadfleet.yml"
    make(path)

    assert expected == auto_reload_seconds(parse([f"--config.file={path}"]), {})


@pytest.mark.parametrize("arguments", [("rules",), ("check-config",)], ids=["long", "short"])
async def test_a_reader_that_has_gone_is_no_crash(
    arguments: tuple[str, ...], configuration: str
) -> None:
    """`| head` must bring up no traceback, however little there was to say."""
    reader, writer = os.pipe()
    os.close(reader)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "exporter", *arguments, configuration),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # as it is for users
    )
    os.close(writer)
    _, errors = await process.communicate()

    assert (1, b"") == (process.returncode, errors)


class TestCheckConfig:
    async def test_it_says_what_would_be_watched(
        self, configuration: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`check-config` must list the polled tasks of each source."""
        code = await run("check-config", configuration)

        output = capsys.readouterr().out
        assert 0 == code
        assert (
            "realload simulated-portal: agents, controllers, clusters, recorders, suites, versions"
            in output
        )
        assert output.endswith("configuration: fine\n")

    async def test_it_warns_of_what_may_do_harm(
        self, simulation: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A setting that may do harm must cause a warning, and not fail."""
        document = simulation.configuration()
        document["sources"][0]["concurrency"] = 8
        path = tmp_path / "loadfleet.yml"
        path.write_text(yaml.safe_dump(document))

        code = await run("check-config", f"--config.file={path}")

        told = capsys.readouterr()
        assert 0 == code
        assert "warning: concurrency of simulated-portal is 8: " in told.err
        assert told.out.endswith("configuration: fine\n")

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ([], 2),
            (["--accept-lockout-risk"], 0),
        ],
    )
    async def test_many_shards_want_the_risk_to_be_accepted(
        self,
        more: list[str],
        expected: int,
        configuration: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The daemon must not start where a wrong token would cost its address."""
        code = await run(
            "run", configuration, "--config.check", "--shard=0", "--total-shards=4", *more
        )

        told = capsys.readouterr().err
        assert expected == code
        assert (expected == 2) is (
            "--total-shards or LOADFLEET_TOTAL_SHARDS: with a wrong token" in told
        )

    async def test_the_daemon_can_check_too(
        self, configuration: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`--config.check` on the very command line of the daemon checks what it would use."""
        code = await run("run", configuration, "--config.check")

        assert 0 == code
        assert capsys.readouterr().out.endswith("configuration: fine\n")

    @pytest.mark.parametrize("command", ["check-config", "run"])
    async def test_what_only_the_daemon_reads_is_checked_too(
        self,
        command: str,
        configuration: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Settings that only the daemon uses must be checked by every command that takes them."""
        environ = {
            "LOADFLEET_CONFIG_AUTO_RELOAD_INTERVAL": "5",
            "LOADFLEET_CONFIG_CHECK": "true",
        }

        code = await asyncio.to_thread(main, [command, configuration], environ=environ)

        assert 2 == code
        assert (
            "configuration: --config.auto-reload-interval or LOADFLEET_CONFIG_AUTO_RELOAD_INTERVAL:"
            " has no unit; write a duration such as 90s, 5m or 1h30m\n"
        ) == capsys.readouterr().err

    async def test_no_configuration_at_all_is_a_mistake_with_a_remedy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The first thing a newcomer types must tell what to do next."""
        monkeypatch.chdir(tmp_path)

        code = await run("check-config")

        assert 2 == code
        assert (
            "sources: none is given, and this folder has no loadfleet.yml; name one with"
            " --config.file, or set LOADFLEET_REALLOAD_URL and LOADFLEET_REALLOAD_AUTH_TOKEN,"
            " or try `loadfleet-exporter demo`"
        ) in capsys.readouterr().err


class TestExplain:
    async def test_it_shows_reply_reading_and_samples(
        self, configuration: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The command must print the vendor's reply, the reading and the samples together."""
        code = await run("explain", configuration, "simulated-portal", "agent", "43")

        document = yaml.safe_load(capsys.readouterr().out)
        assert 0 == code
        assert document["reply"]["agentVersionOutdatedError"] is True
        assert document["reading"]["state"]["up"] is True
        assert (
            'loadfleet_agent_outdated{agent="geneva-01",agent_id="43",provider="realload",'
            'source="simulated-portal"} 1.0' in document["samples"]
        )

    @pytest.mark.parametrize(
        ("target", "named"),
        [
            (("nowhere", "agent", "43"), "simulated-portal"),
            (("simulated-portal", "agent", "4711"), "4711"),
            (("simulated-portal", "spoon", "43"), "agent"),
        ],
    )
    async def test_what_is_unknown_is_a_usage_error(
        self,
        configuration: str,
        target: tuple[str, ...],
        named: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The message names what there is instead."""
        code = await run("explain", configuration, *target)

        assert 2 == code
        assert named in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("target", "listing"),
        [
            (("simulated-portal", "agent", "zurich-01"), "status"),
            (("simulated-account", "run", "nightly"), "status --format=json"),
        ],
    )
    async def test_a_name_is_no_id(
        self,
        configuration: str,
        target: tuple[str, ...],
        listing: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A name given as an id must be answered with a hint at the command that lists ids."""
        await run("explain", configuration, *target)

        told = capsys.readouterr().err
        assert f"there is no {target[-1]!r}; give the id, as `{listing}` lists it\n" in told

    @pytest.mark.parametrize(
        "target", [("nowhere", "agent", "43"), ("simulated-portal", "x", "43")]
    )
    async def test_an_id_is_not_blamed_for_another_mistake(
        self, configuration: str, target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """When the source or the kind is wrong, the message must not blame the id."""
        await run("explain", configuration, *target)

        assert "give the id" not in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("target", "near"),
        [
            (("simulated-protal", "agent", "43"), "simulated-portal"),
            (("simulated-portal", "agnet", "43"), "agent"),
        ],
    )
    async def test_what_is_mistyped_gets_the_nearest_that_there_is(
        self,
        configuration: str,
        target: tuple[str, ...],
        near: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Sources and kinds, as flags do."""
        await run("explain", configuration, *target)

        assert f"; did you mean {near}?\n" in capsys.readouterr().err

    async def test_a_vendor_that_fails_is_a_failure_with_its_reason(
        self, configuration: str, simulation: Simulation, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The same reason as in the metric."""
        simulation.realload.token = "another"

        code = await run("explain", configuration, "simulated-portal", "agent", "43")

        assert 1 == code
        assert "explain: auth: " in capsys.readouterr().err


class TestOwnLedger:
    def test_who_polls_without_the_daemons_ledger_is_told(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A command that polls without the daemon's ledger must say so."""
        warn_of_own_ledger("status", Engine())

        told = capsys.readouterr().err
        assert told.startswith("status: polled without the daemon's ledger, ")
        assert told.endswith("; --url asks the daemon instead\n")

    def test_who_shares_it_is_told_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A command that shares the daemon's ledger must print no warning."""
        engine = Engine()
        engine.state.backend = "sqlite"

        warn_of_own_ledger("status", engine)

        assert "" == capsys.readouterr().err


class TestMetrics:
    async def test_it_lists_every_family(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The command must list every family of the catalogue."""
        code = await run("metrics")

        lines = capsys.readouterr().out.splitlines()
        assert 0 == code
        assert [family.name for family in FAMILIES] == [line.partition("{")[0] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (("--version",), ("asyncio", "pydantic", "structlog", "exporter.commands.run")),
        (("metrics",), ("aiohttp", "httpx", "redis", "exporter.daemon")),
        (("rules",), ("aiohttp", "httpx", "redis", "exporter.daemon")),
        (("check-config", "--help"), ("aiohttp", "httpx", "redis", "exporter.daemon")),
        (("run", "--help"), ("redis", "exporter.simulator", "exporter.dashboards")),
    ],
    ids=" ".join,
)
def test_only_what_a_command_needs_is_imported(
    arguments: tuple[str, ...], unneeded: tuple[str, ...]
) -> None:
    """A command must not import modules that only other commands need: they slow its start."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "exporter", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )

    imported = set(re.findall(r"^import time:.*\| +(\S+)$", told.stderr, re.MULTILINE))
    assert "exporter.commands.parser" in imported
    assert set() == imported.intersection(unneeded)


def test_a_command_searches_for_its_garbage() -> None:
    """The searches stop while the program is loaded, and no longer."""
    told = subprocess.run(
        [sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=True
    )

    assert "True" == told.stdout.splitlines()[-1]


def test_an_interrupt_of_the_start_leaves_no_traceback() -> None:
    """An interrupt during the start must end the program with code 130 and no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT], capture_output=True, text=True, check=False
    )

    assert (130, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("redirected", "expected"),
    [
        ("> /dev/full", (1, "cannot write the output: No space left on device\n")),
        (">&-", (0, "")),
        (">&- 2>&-", (0, "")),
    ],
)
def test_output_that_goes_nowhere(redirected: str, expected: tuple[int, str]) -> None:
    """A full disk must be reported in one sentence, and a closed output be left alone."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m exporter metrics {redirected}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )

    assert expected == (done.returncode, done.stderr)
