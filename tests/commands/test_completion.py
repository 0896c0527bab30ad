"""Completion, as a real bash does it; of other shells, that all is said that the parsers know."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from exporter.cli import COMMANDS, main
from exporter.commands.parser import Parser


@pytest.fixture
def script(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> str:
    assert 0 == main(["completion", request.param], environ={})
    return capsys.readouterr().out


def bash(script: str, commands: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{commands}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "" == done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("script", ["bash"], indirect=True)
class TestBash:
    def test_it_registers_for_the_program(self, script: str) -> None:
        """Sourcing it is all there is to do."""
        assert ["complete -F _loadfleet_exporter loadfleet-exporter"] == bash(
            script, "complete -p loadfleet-exporter"
        )

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["stat"], ["state", "status"]),
            (["status", "--form"], ["--format"]),
            (["status", "--format", "pr"], ["prom"]),
            (["status", "--format", "=", "j"], ["json"]),
            (["status", "--format", "="], ["json", "prom", "table"]),
            (["status", "--kind", "re"], ["recorder"]),
            (["status", "--url", "h"], []),
            (["preflight", "--format", "ju"], ["junit"]),
            (["preflight", "nightly", "--wa"], ["--wait"]),
            (["--log.level", "=", "w"], ["warn"]),
            (["--web.enable"], ["--web.enable-lifecycle"]),
            (["state", "v"], ["vacuum"]),
            (["completion", "z"], ["zsh"]),
            (["dashboards", "loadfleet-o"], ["loadfleet-overview"]),
            (["nonsense", "--f"], []),
        ],
    )
    def test_it_completes(self, script: str, words: list[str], expected: list[str]) -> None:
        """Bash parts words at `=`, so a value has the flag two words before it."""
        given = " ".join(f"'{word}'" for word in ["loadfleet-exporter", *words])
        found = bash(
            script,
            f"COMP_WORDS=({given}); COMP_CWORD={len(words)}; _loadfleet_exporter;"
            ' for word in "${COMPREPLY[@]}"; do echo "$word"; done',
        )

        assert expected == sorted(found)

    def test_files_are_completed_by_their_names(
        self, script: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """The value of a flag that takes a file must be completed, also with blanks in the name."""
        folder = tmp_path_factory.mktemp("files")
        (folder / "fleet of bern.yml").touch()

        found = bash(
            script,
            f"COMP_WORDS=(loadfleet-exporter status --config.file {folder}/fl); COMP_CWORD=3;"
            ' compopt() { :; }; _loadfleet_exporter; echo "${COMPREPLY[0]}"',
        )

        assert [f"{folder}/fleet of bern.yml"] == found


@pytest.mark.parametrize("script", ["bash", "zsh", "fish"], indirect=True)
def test_every_command_flag_and_choice_is_there(script: str) -> None:
    """A shell must not know less than `--help`."""
    words = set(re.findall(r"[\w.-]+", script))

    for name, command in COMMANDS.items():
        parser = Parser()
        command.load().add_arguments(parser)
        flags = {flag.lstrip("-") if "complete -c" in script else flag for flag in parser.flags}
        choices = {str(each) for action in parser.arguments for each in action.choices or ()}
        assert set() == {name, *flags, *choices} - words


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_reads_each_argument_as_one_word(script: str) -> None:
    """A quote or a bracket in a text about a flag ends nothing."""
    lines = [line for line in script.splitlines() if " _arguments " in line]

    assert len(COMMANDS) == len(lines)
    for line in lines:
        _, _, *arguments, _ = shlex.split(line)
        assert [] == [
            each for each in arguments if not re.match(r"\*--?[\w.-]+=?\[|\*?:[A-Z]", each)
        ]


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_takes_names_one_after_another(script: str) -> None:
    """Behind the first name there may be more."""
    (line,) = [line for line in script.splitlines() if " preflight) _arguments " in line]

    assert "*:NAME:" in shlex.split(line)


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_reads_no_text_as_code(script: str) -> None:
    """A dollar or a bracket in a text about a flag is no variable and no command."""
    for line in script.splitlines()[1:]:
        assert not set("$[]();|&") & set(re.sub(r"'(\\.|[^'\\])*'", "", line))
