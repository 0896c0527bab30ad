"""The command line's flags, each with its environment variable.

Flags are settings of the process; settings of sources are in the configuration file. Flags take
precedence over the environment, and the environment over the file.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.config.environment import PREFIX
from exporter.config.types import WrongValueError, parse_boolean
from exporter.errors import ConfigurationError
from exporter.logging import FORMATS, LEVELS
from exporter.settings.deprecation import beside, warning


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


#: The configuration file if none is named, provided that it exists.
DEFAULT_CONFIG_FILE = "loadfleet.yml"


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag.

    Attributes:
        name: The name without dashes, with dots as in Prometheus' own flags.
        setting: The section and key of the setting; empty if the flag is not a setting.
        boolean: Whether the flag takes no value and has the opposite `--no-…`.
        repeatable: Whether each use adds a value; its variable separates values by commas.
        former: The old name, and the version that deprecated it.
    """

    name: str
    help: str
    metavar: str = ""
    setting: tuple[str, str] | tuple[()] = ()
    choices: tuple[str, ...] = ()
    boolean: bool = False
    repeatable: bool = False
    former: tuple[str, str] | None = None

    @property
    def old(self) -> Flag | None:
        """The same flag under its old name."""
        if self.former is None:
            return None
        return msgspec.structs.replace(self, name=self.former[0], former=None, help="")

    @property
    def environment(self) -> str:
        """The environment variable with the same meaning."""
        return PREFIX + self.name.upper().replace(".", "_").replace("-", "_")

    @property
    def spelled(self) -> str:
        """All names of the flag, for error texts, since the name in use is not known there."""
        old = f", formerly --{self.former[0]}" if self.former else ""
        return f"--{self.name} or {self.environment}{old}"

    @property
    def destination(self) -> str:
        """The attribute of the parsed arguments."""
        return self.name.replace(".", "_").replace("-", "_")

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flag to a parser; its default is `None`."""
        options: dict[str, Any] = {
            "dest": self.destination,
            "default": None,
            "help": f"{self.help} [${self.environment}]" if self.help else argparse.SUPPRESS,
        }
        if self.boolean:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = self.metavar or None
            options["choices"] = self.choices or None
            if self.repeatable:
                options["action"] = "append"
        parser.add_argument(f"--{self.name}", **options)
        if self.old is not None:
            self.old.add_to(parser)

    def value(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> Any:
        """Return the value of the flag, else of its variable, else `None`.

        Raises:
            ConfigurationError: The variable of a boolean flag is neither true nor false, or the
                flag is given under both its names.
        """
        given = self._value(arguments, environ)
        old = self.old.value(arguments, environ) if self.old is not None else None
        if self.old is not None and None not in (given, old):
            raise ConfigurationError([f"{self.old.spelled}: {beside(f'--{self.name}')}"])
        return old if given is None else given

    def _value(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> Any:
        given = getattr(arguments, self.destination, None)
        if given is not None:
            return given
        text = environ.get(self.environment)
        if not text:
            return None
        if self.boolean:
            try:
                return parse_boolean(text)
            except WrongValueError as error:
                raise ConfigurationError([f"{self.environment}: {error}"]) from None
        if self.repeatable:
            return [part.strip() for part in text.split(",") if part.strip()]
        return text


CONFIG_FILE = Flag(
    name="config.file",
    metavar="FILE",
    help=f"configuration file; default {DEFAULT_CONFIG_FILE} if it exists",
)
LOG_LEVEL = Flag(
    name="log.level", help="lowest level to log", setting=("log", "level"), choices=LEVELS
)
LOG_FORMAT = Flag(
    name="log.format", help="format of log lines", setting=("log", "format"), choices=FORMATS
)
STATE_PATH = Flag(
    name="state.path",
    metavar="FOLDER",
    help="folder for the state, on a local file system",
    setting=("state", "path"),
)
STATE_URL = Flag(
    name="state.url",
    metavar="URL",
    help="Redis or Valkey server for the state instead, for exporters on several hosts",
    setting=("state", "url"),
)
RUNBOOK_URL = Flag(
    name="runbook-url",
    metavar="URL",
    help="URL of the runbooks, for links in alerts",
    setting=("alerting", "runbook_url"),
)
ACCEPT_LOCKOUT_RISK = Flag(
    name="accept-lockout-risk",
    help="allow more than 3 shards although a vendor may then block their IP address",
    setting=("sharding", "accept_lockout_risk"),
    boolean=True,
)
AUTO_RELOAD = Flag(
    name="config.auto-reload-interval",
    metavar="DURATION",
    help="interval at which to check the configuration's files for changes; default 30s, 0 for"
    " never",
)
CONFIG_CHECK = Flag(name="config.check", help="check the configuration and exit", boolean=True)

#: The flags of every command that reads a configuration.
COMMON = (CONFIG_FILE, LOG_LEVEL, LOG_FORMAT, STATE_PATH, STATE_URL, ACCEPT_LOCKOUT_RISK)

#: The flags of the daemon only.
DAEMON = (
    Flag(
        name="web.listen-address",
        metavar="HOST:PORT",
        help="address to listen on, repeatable",
        setting=("web", "listen_address"),
        repeatable=True,
    ),
    Flag(
        name="web.systemd-socket",
        help="listen on the sockets of a systemd socket unit instead of the addresses",
        setting=("web", "systemd_socket"),
        boolean=True,
    ),
    Flag(
        name="web.config.file",
        metavar="FILE",
        help="file with TLS, users, headers and rate limit of the web server",
        setting=("web", "config_file"),
    ),
    Flag(
        name="web.external-url",
        metavar="URL",
        help="URL under which the exporter is reachable; its path is the default route prefix",
        setting=("web", "external_url"),
    ),
    Flag(
        name="web.route-prefix",
        metavar="PATH",
        help="path prefix of all pages",
        setting=("web", "route_prefix"),
    ),
    Flag(
        name="web.enable-lifecycle",
        help="reload on POST to /-/reload",
        setting=("web", "enable_lifecycle"),
        boolean=True,
    ),
    Flag(
        name="shard",
        metavar="N",
        help="index of this shard, from 0; default: the number at the end of the host's name",
        setting=("sharding", "shard"),
    ),
    Flag(
        name="total-shards",
        metavar="N",
        help="number of shards that divide the targets between them",
        setting=("sharding", "total_shards"),
    ),
    RUNBOOK_URL,
)

ALL = (*COMMON, *DAEMON, AUTO_RELOAD, CONFIG_CHECK)

#: Variables of flags, which are not read as settings.
ENVIRONMENT = frozenset(each.environment for flag in ALL for each in (flag, flag.old) if each)


def warnings(
    flags: Iterable[Flag], arguments: argparse.Namespace, environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield a warning for each flag that is given under its old name."""
    for flag in flags:
        if flag.old is None or flag.former is None:
            continue
        if getattr(arguments, flag.old.destination, None) is not None:
            yield warning(f"--{flag.old.name}", f"--{flag.name}", flag.former[1])
        elif environ.get(flag.old.environment):
            yield warning(flag.old.environment, flag.environment, flag.former[1])


def spelled(setting: tuple[str | int, ...]) -> str:
    """Return the names of a setting's flag for error texts; empty if it has none."""
    return next((flag.spelled for flag in ALL if flag.setting == setting), "")


def by_flags(text: str) -> str:
    """Return a text with settings replaced by their flags, for commands without a file."""
    for flag in ALL:
        if flag.setting:
            text = text.replace(".".join(flag.setting), f"--{flag.name}")
    return text


def overrides(
    flags: Iterable[Flag], arguments: argparse.Namespace, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return the settings from flags and their variables, nested as in the file.

    Raises:
        ConfigurationError: With every variable that cannot be read.
    """
    result: dict[str, Any] = {}
    problems: list[str] = []
    for flag in flags:
        try:
            value = flag.value(arguments, environ)
        except ConfigurationError as error:
            problems += error.problems
            continue
        if value is not None and flag.setting:
            section, key = flag.setting
            result.setdefault(section, {})[key] = value
    if problems:
        raise ConfigurationError(problems)
    return result
