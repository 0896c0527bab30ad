from __future__ import annotations

import argparse

import pytest

from exporter.simulator.options import SimulatorOptions, add_arguments, options_from


def parse(*arguments: str) -> SimulatorOptions:
    """Parse flags to options."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_from(parser.parse_args(arguments))


def test_no_flags_give_the_defaults() -> None:
    """Flags and options share one set of defaults."""
    assert SimulatorOptions() == parse()


def test_flags_set_options() -> None:
    """Each kind of flag arrives in its option with its type."""
    options = parse("--agents=3", "--delay=0.5", "--realload-port=9", "--still", "--token=t")

    assert (
        SimulatorOptions(agents=3, delay_seconds=0.5, realload_port=9, still=True, token="t")
        == options
    )


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--agents=-1", "-1 is not between 0 and 1000000"),
        ("--agents=1e3", "'1e3' is not a whole number"),
        ("--delay=x", "'x' is not a number"),
        ("--fault-rate=2", "2 is not between 0 and 1"),
        ("--pace=0", "0 is not between 0.001 and 100000"),
        ("--realload-port=70000", "70000 is not between 0 and 65535"),
        ("--seed=x", "'x' is not a whole number"),
        ("--token=", "must be one line of ASCII characters, not empty"),
        ("--token=a\nb", "must be one line of ASCII characters, not empty"),
    ],
)
def test_impossible_values_are_refused(
    flag: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wish that cannot be simulated is a usage error that says what could be."""
    with pytest.raises(SystemExit):
        parse(flag)

    assert capsys.readouterr().err.endswith(f": error: argument {flag.partition('=')[0]}: {why}\n")


def test_every_option_has_a_flag() -> None:
    """A new option cannot be forgotten."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    flags = vars(parser.parse_args([]))

    assert set(SimulatorOptions.__struct_fields__) == set(flags)
