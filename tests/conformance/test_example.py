"""The example plug-in: built, installed, polled, tried, and caught with each planted fault."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.candidate import SMALL
from exporter.simulator.server import serve
from tests.conformance.example.loadfleet_farm.candidate import CANDIDATE
from tests.deploy.tools import tool
from tests.support.processes import EXPORTER, daemon, fetch
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Mapping


EXAMPLE = Path(__file__).parent / "example"

#: The longest time of a run of the whole suite on a busy machine, seconds.
LONG_SECONDS = 400


class Plugin(msgspec.Struct, frozen=True):
    """The example plug-in, in a folder of Python's search path."""

    folder: Path

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment in which the plug-in is installed."""
        # An option that pytest does not know without its terminal.
        return {**os.environ, "PYTHONPATH": str(self.folder), "PYTEST_ADDOPTS": "--color=no"}

    def with_fault(self, module: str, old: str, new: str, folder: Path) -> Plugin:
        """Install the plug-in with a mistake of its author."""
        shutil.copytree(self.folder, folder)
        path = folder / "loadfleet_farm" / f"{module}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return Plugin(folder)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the exporter."""
        return subprocess.run(
            [*EXPORTER, *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LONG_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """Build the example's wheel, without a network, and install it."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    _called(tool("hatchling"), "build", "-t", "wheel", "-d", folder, folder=folder / "source")
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    _called(
        *(tool("uv"), "pip", "install", "--no-deps", "--no-index", "--target", site, wheel),
        folder=folder,
    )
    return Plugin(site)


def _called(*command: str | Path, folder: Path) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stderr


def test_it_is_listed(plugin: Plugin) -> None:
    """A provider that is installed stands beside the built-in ones, with its package."""
    listed = plugin.run("providers")

    assert (0, "") == (listed.returncode, listed.stderr)
    assert ["farm", "agent,", "run", "loadfleet-farm", "1.0"] in [
        row.split() for row in listed.stdout.splitlines()
    ]


async def test_the_daemon_polls_it(plugin: Plugin, tmp_path: Path) -> None:
    """The daemon must poll the plug-in's source and expose its own family."""
    app = CANDIDATE.vendor(SMALL, SYSTEM_CLOCK)
    secret = tmp_path / "secret"
    CANDIDATE.written(app.state.portal, secret)
    installed = ("env", f"PYTHONPATH={plugin.folder}", *EXPORTER)
    async with serve(app) as url:
        source = CANDIDATE.connected(url, secret)
        async with daemon(tmp_path, {"sources": [source]}, command=installed) as (address, _):
            page = ""

            async def polled() -> bool:
                nonlocal page
                page = await fetch(f"{address}/metrics")
                return "loadfleet_farm_agent_users{" in page

            await until(polled)

    assert 3 == page.count("\nloadfleet_agent_up{")
    assert 3 == page.count("\nloadfleet_farm_agent_users{")


def test_it_conforms(plugin: Plugin, tmp_path: Path) -> None:
    """The example must pass all checks, when called by its distribution's name."""
    cases = tmp_path / "cases.xml"

    found = plugin.run("conformance", "loadfleet_farm", "--junit", str(cases))

    assert (0, "") == (found.returncode, found.stderr), found.stdout
    assert "FAILED" not in found.stdout
    assert ", 0 failed" in found.stdout
    assert "<testcase" in cases.read_text()


#: Mistakes of an author: the module, the text replaced, and the check that must fail.
FAULTS = {
    "changes something": (
        *("client", 'method="GET"', 'method="POST"'),
        "test_only_what_is_allowed_is_sent",
    ),
    "shows a reply in its error": (
        "client",
        'Reason.DECODE, f"{task}: the answer is not the farm\'s"',
        'Reason.DECODE, f"{task}: {reply.body!r}"',
        "test_secrets_in_errors_stay_there",
    ),
    "shows a field that nobody needs": (
        *("replies", 'name: str = ""', 'name: str = ""\n    owner: str = ""'),
        "test_secrets_in_replies_stay_there",
    ),
    "takes an abort for a pass": (
        *("client", "Outcome.ABORTED", "Outcome.PASSED"),
        "test_an_abort_is_no_pass",
    ),
    "drops what an emptied list had": (
        *("client", ", inventory=(Kind.AGENT,)", ""),
        "test_an_emptied_inventory_is_a_failure",
    ),
    "asks on and on after a refusal": (
        "client",
        "self.guard.call(lambda: self._ask(AGENTS, Generators))",
        "self._ask(AGENTS, Generators)",
        "test_bad_credentials_are_shown_and_hardly_sent",
    ),
    "takes a login page for an answer": (
        *("client", "if found == type_():", "if not reply.body:"),
        "test_no_shape_of_a_refusal_leads_to_a_lock_out and other",
    ),
    "breaks on an odd value": (
        *("client", "measured(row.users)", "7 / row.users"),
        "test_odd_values_never_break_a_poll",
    ),
    "trusts any server": (
        "client",
        "http_client(settings,",
        'http_client(settings.model_copy(update={"insecure_skip_verify": True}),',
        "test_nothing_is_sent_to_an_untrusted_server",
    ),
    "takes a vendor's silence for a machine's end": (
        "client",
        "        readings, _ = await self._agents()\n        return Poll",
        """        try:
            readings, _ = await self._agents()
        except Exception:
            dead = AgentState(read_at=self.context.clock.now(), up=False)
            readings = (Agent(agent_id="g0", agent="generator 0", state=dead),)
        return Poll""",
        "test_a_vendor_that_hangs_accuses_nobody",
    ),
    "never fills a family that it declares": (
        *("client", "measured(row.users)", "None"),
        "test_families_of_its_own_are_those_declared",
    ),
    "does not say what a setting is": (
        *("settings", "min_agent_version: A generator", "A generator"),
        "test_settings_are_described_and_have_defaults",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found(plugin: Plugin, tmp_path: Path, fault: tuple[str, str, str, str]) -> None:
    """The check that is meant for it fails, and says what must hold and what was seen."""
    module, old, new, only = fault
    faulty = plugin.with_fault(module, old, new, tmp_path / "site")

    found = faulty.run("conformance", "farm", "--only", only)

    assert 1 == found.returncode, found.stdout + found.stderr
    (failed,) = (line for line in found.stdout.splitlines() if line.startswith("  FAILED  "))
    following = found.stdout.partition(failed)[2].splitlines()
    assert only.partition(" ")[0] == following[1].strip()
    assert following[2].strip().startswith("in [farm")
    assert following[3].strip()
    assert "Traceback" not in found.stderr


#: Mistakes that make a plug-in unusable, and the error messages.
BREAKS = {
    "family outside its prefix": (
        *("families", 'family("farm"', 'family("barn"'),
        "the family loadfleet_barn_agent_users must begin with loadfleet_farm_",
    ),
    "an import that fails": (
        *("settings", "import BasicSettings", "import Bascisettings"),
        "cannot be loaded (ImportError)",
    ),
    "an end of the program": (
        *("settings", "import ClassVar, Literal", "import ClassVar, Literal\n\nraise SystemExit"),
        "cannot be loaded (SystemExit)",
    ),
}


@pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS.keys())
def test_what_cannot_be_used_is_named_and_skipped(
    plugin: Plugin, tmp_path: Path, fault: tuple[str, str, str, str]
) -> None:
    """A plug-in that cannot be used must be named and fail both commands; the others stay."""
    module, old, new, said = fault
    faulty = plugin.with_fault(module, old, new, tmp_path / "site")

    found, listed = faulty.run("conformance", "loadfleet-farm"), faulty.run("providers")

    assert (1, 1) == (found.returncode, listed.returncode)
    assert said in found.stdout
    assert said in listed.stderr
    assert "selenium" in listed.stdout
    assert "Traceback" not in found.stderr + listed.stderr


def test_a_vendor_that_asks_for_no_credentials(plugin: Plugin, tmp_path: Path) -> None:
    """Checks of refusals must be skipped for a vendor without credentials."""
    guarded = plugin.with_fault(
        *("candidate", 'name="farm",', 'name="farm", guarded=False,'), tmp_path / "guarded"
    )
    candidate = guarded.with_fault(
        *("candidate", "authorization=lambda", "authorization=None if farm else lambda"),
        tmp_path / "open",
    )

    found = candidate.run("conformance", "farm", "--only", "lockout or learns")

    assert 0 == found.returncode, found.stdout
    assert 6 == found.stdout.count("applies to no candidate")
    assert 1 == found.stdout.count("  ok ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "installed providers: farm"),
        (("locust",), "locust is built in"),
        (("farm", "--only", "nonsense"), "no check matches --only 'nonsense'"),
    ],
)
def test_a_mistake_is_told(plugin: Plugin, arguments: tuple[str, ...], said: str) -> None:
    """A command that tries nothing must not look as if all had held."""
    found = plugin.run("conformance", *arguments)

    assert 2 == found.returncode
    assert said in found.stderr


def test_a_plugin_without_a_candidate(plugin: Plugin, tmp_path: Path) -> None:
    """A plug-in without a simulated vendor must be refused with the entry point to declare."""
    shutil.copytree(plugin.folder, tmp_path / "site")
    (points,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    points.write_text("[loadfleet_exporter.providers]\nfarm = loadfleet_farm:FARM\n")

    found = Plugin(tmp_path / "site").run("conformance", "farm")

    assert 2 == found.returncode
    assert "has no candidate for farm" in found.stderr
    assert "loadfleet_exporter.candidates" in found.stderr


def test_without_pytest_the_extra_is_named(plugin: Plugin, tmp_path: Path) -> None:
    """An installation without the extra must say what to install."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pytest'] = None\n")
    environ = {**plugin.environ, "PYTHONPATH": f"{plugin.folder}{os.pathsep}{tmp_path}"}
    found = subprocess.run(
        [*EXPORTER, "conformance", "farm"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == found.returncode
    assert "pip install 'loadfleet-exporter[conformance]'" in found.stderr
