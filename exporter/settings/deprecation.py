"""Old names of settings and flags. They work for two more minor releases, with a warning."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.config.environment import NEST, PREFIX, source_variable
from exporter.config.validation import dotted
from exporter.settings.sections import SOURCES
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exporter.config.validation import KeyPath


class Renamed(msgspec.Struct, frozen=True):
    """A setting that got another name.

    Names are dotted paths as in the file. They begin with a section, or with a provider for a
    setting of its sources. A setting of `defaults` is renamed in every source as well.

    Attributes:
        since: The version that brought the new name, such as `0.2`.
    """

    old: str
    new: str
    since: str


#: Removed settings as dotted paths, each with the remedy.
REMOVED: Mapping[str, str] = {
    "alerting.state_file": (
        "no longer exists; remove it: alerts are now stored in the folder of `state.path`"
    ),
}

#: All settings that still work under an old name. For flags see `Flag.former`.
RENAMED: tuple[Renamed, ...] = ()


class OldNames:
    """Replaces old names by the new ones.

    Attributes:
        warnings: One sentence per old name in use.
        problems: Error texts for old names given together with new ones, and for removed names.
    """

    def __init__(self, renamed: Iterable[Renamed]) -> None:
        self.warnings: list[str] = []
        self.problems: list[str] = []
        self._renamed = [every for each in renamed for every in _with_sources(each)]
        self._locations: dict[str, str] = {}

    def in_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with old variable names replaced."""
        result = {name: text for name, text in environ.items() if text}
        for each in self._renamed:
            old, new = _variable(each.old), _variable(each.new)
            for name in [name for name in result if name == old or name.startswith(old + NEST)]:
                current = new + name.removeprefix(old)
                text = result.pop(name)
                if self._is_alone(name, current, each.since, doubled=current in result):
                    result[current] = text
        for removed, remedy in REMOVED.items():
            if result.pop(_variable(removed), None) is not None:
                self.problems.append(f"{_variable(removed)}: {remedy}")
        return result

    def in_file(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the file's data with old keys replaced."""
        result = copy.deepcopy(dict(data)) if self._renamed else dict(data)
        sources = result.get(SOURCES)
        for each in self._renamed:
            old, new = each.old.split("."), each.new.split(".")
            self._move(result, old, new, each.since, ())
            for index, source in enumerate(sources if isinstance(sources, list) else ()):
                if isinstance(source, dict) and source.get("provider") == old[0]:
                    self._move(source, old[1:], new[1:], each.since, (SOURCES, index))
        for removed, remedy in REMOVED.items():
            section, key = removed.split(".")
            given = result.get(section)
            if isinstance(given, dict) and key in given:
                result[section] = {name: value for name, value in given.items() if name != key}
                self.problems.append(f"{removed}: {remedy}")
        return result

    def location(self, text: str) -> str:
        """Return a path or variable with the new names replaced by the old names in use."""
        for new, old in self._locations.items():
            text = re.sub(rf"^{re.escape(new)}(?=$|\.|\[|{NEST})", old, text)
        return text

    def _move(
        self, data: Any, old: Sequence[str], new: Sequence[str], since: str, within: KeyPath
    ) -> None:
        holder, target = data, data
        for key in old[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or old[-1] not in holder:
            return
        for key in new[:-1]:
            target = target.setdefault(key, {}) if isinstance(target, dict) else None
        if isinstance(target, dict):
            value = holder.pop(old[-1])
            names = dotted((*within, *old)), dotted((*within, *new))
            if self._is_alone(*names, since, doubled=new[-1] in target):
                target[new[-1]] = value

    def _is_alone(self, old: str, new: str, since: str, *, doubled: bool) -> bool:
        """Record the use of an old name, and return whether the new one is absent."""
        if doubled:
            self.problems.append(f"{old}: {beside(new)}")
        else:
            self.warnings.append(warning(old, new, since))
            self._locations[new] = old
        return not doubled


def warning(old: str, new: str, since: str) -> str:
    """Return the warning for the use of an old name."""
    major, minor = since.split(".")[:2]
    return (
        f"`{old}` is deprecated since {since} and will be removed in {major}.{int(minor) + 2};"
        f" write `{new}`"
    )


def beside(new: str) -> str:
    """Return the error text for an old name given together with the new one."""
    return f"is the old name of {new}, which is given as well; remove one of the two"


def _with_sources(renamed: Renamed) -> Iterator[Renamed]:
    yield renamed
    if renamed.old.startswith("defaults."):
        old, new = (name.removeprefix("defaults.") for name in (renamed.old, renamed.new))
        for provider in PROVIDERS:
            yield Renamed(f"{provider}.{old}", f"{provider}.{new}", renamed.since)


def _variable(name: str) -> str:
    first, *path = name.split(".")
    if first in PROVIDERS:
        return source_variable(first, tuple(path))
    return f"{PREFIX}{first}{NEST}{NEST.join(path)}".upper()
