"""Providers from other packages, found by the entry-point group `loadfleet_exporter.providers`.

The name of the entry point is the provider's name, its value the `Provider` record. A plug-in that
cannot be loaded, or that claims the name or the metrics of another provider, is left out and
reported. A broken plug-in must not keep the exporter from watching the other sources.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from exporter.errors import PollError, Reason
from exporter.fleet.kinds import EXPLAINED
from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES, PREFIX, Family
from exporter.metrics.mapping import samples
from exporter.sources.base import Provider
from exporter.sources.settings import SourceSettings


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from exporter.sources.base import Poll


GROUP = "loadfleet_exporter.providers"

#: The labels of the catalogue's families. A plug-in's families may have no others, because another
#: label could collide with a label that a user has added.
_LABELS = frozenset(COMMON_LABELS).union(*(family.labels for family in FAMILIES))

#: The first words of the catalogue's families. A provider with such a name could declare a family
#: that the catalogue already has.
_WORDS = {family.name.removeprefix(PREFIX).split("_")[0] for family in FAMILIES} | {"exporter"}

#: The module prefix of the exporter's own readings, which have mappings already.
_OURS = "exporter."

_NAME = re.compile(r"[a-z][a-z0-9]*")
_FAMILY = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")


class Installed(NamedTuple):
    """A usable plug-in.

    Attributes:
        package: The name and version of the plug-in's distribution; empty if unknown.
    """

    provider: Provider
    package: str


class Broken(msgspec.Struct, frozen=True):
    """A plug-in that is left out.

    Attributes:
        name: The name of the entry point.
        package: The name and version of the plug-in's distribution; empty if unknown.
        problem: The reason as a clause without a full stop.
    """

    name: str
    package: str
    problem: str

    def __str__(self) -> str:
        package = f" of {self.package}" if self.package else ""
        return f"the provider {self.name!r}{package} is left out: {self.problem}"


def load(
    taken: Collection[str], points: Iterable[EntryPoint] | None = None
) -> tuple[dict[str, Installed], tuple[Broken, ...]]:
    """Load the installed plug-ins.

    Args:
        taken: Names of the built-in providers.
        points: Entry points to load, in place of those of this environment.

    Returns:
        The usable plug-ins by name, and the broken ones.
    """
    found: dict[str, Installed] = {}
    broken: list[Broken] = []
    for point in sorted(entry_points(group=GROUP) if points is None else points):
        try:
            provider = _checked(point, (*taken, *found))
        except _UnusableError as error:
            broken.append(Broken(point.name, package_of(point), str(error)))
        else:
            found[provider.name] = Installed(provider, package_of(point))
    return found, tuple(broken)


def package_of(point: EntryPoint) -> str:
    """Return the name and version of an entry point's distribution; empty if unknown."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""


def check(poll: Poll) -> None:
    """Check that all readings of a plug-in's poll can be rendered.

    Raises:
        PollError: A reading cannot be rendered; it would break the pages of all sources.
    """
    for reading in poll.readings:
        try:
            for sample in samples(reading):
                for label in sample.labels:
                    label.encode()
        except Exception as error:  # noqa: BLE001 - a plug-in can give anything
            what = type(reading).__name__
            problem = f"the plug-in's {what} cannot be shown ({type(error).__name__})"
        else:
            continue
        # Raised outside the handler, because a chained cause would quote data of the plug-in.
        raise PollError(Reason.DECODE, problem)


def families(mappings: Mapping[Any, Iterable[Any]]) -> Iterator[Family]:
    """Yield the families that a provider's mappings fill, in the order of the mappings."""
    for each in mappings.values():
        for mapping in each:
            for _, columns in mapping.parts:
                yield from (column.family for column in columns)


class _UnusableError(Exception):
    """A plug-in cannot be used; the message gives the reason."""


def _checked(point: EntryPoint, taken: Collection[str]) -> Provider:
    found: Any = None
    try:
        found = point.load()
        problem = next(_problems(found, point.name, taken), "")
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a plug-in can raise anything
        # Name only the error's type: its text may quote data that the plug-in has read.
        problem = (
            f"{point.value} cannot be loaded ({type(error).__name__}); install a version that fits"
            " this exporter, or remove it"
        )
    if problem:
        raise _UnusableError(problem)
    provider: Provider = found
    return provider


def _problems(provider: Any, name: str, taken: Collection[str]) -> Iterator[str]:
    if not isinstance(provider, Provider):
        yield "the entry point does not refer to a Provider"
        return
    settings: Any = provider.settings
    if provider.name != name:
        yield f"its record has the name {provider.name!r}; entry point and record must agree"
    if not _NAME.fullmatch(name) or name in _WORDS:
        yield "its name must be lower-case letters and digits, not a metric's first word"
    if name in taken:
        yield "the name is taken; two providers cannot share one"
    if not (isinstance(settings, type) and issubclass(settings, SourceSettings)):
        yield "its settings are not a subclass of SourceSettings"
    elif settings.model_fields["provider"].default != name:
        yield f"the default of `provider` in its settings must be {name!r}"
    unknown = set(provider.kinds) - set(EXPLAINED)
    if unknown:
        yield f"these kinds are unknown: {', '.join(sorted(unknown))}"
    yield from _family_problems(provider)
    yield from _mapping_problems(provider)


def _mapping_problems(provider: Provider) -> Iterator[str]:
    """Yield the mistakes that would otherwise break the metrics of all sources at a scrape."""
    for reading, mappings in provider.mappings.items():
        if reading.__module__.startswith(_OURS):
            yield f"it maps {reading.__name__}, which is a reading of the exporter"
            continue
        fields = msgspec.structs.fields(reading)
        blank = reading(**{field.name: "" for field in fields if field.required})
        for mapping in mappings:
            # Reading a blank instance raises if a column names a field that does not exist.
            for target in mapping.targets(blank):
                mapping.identity(target)
                for part, columns in mapping.parts:
                    row = part(target)
                    for column in columns:
                        column.read(row)
            for _, columns in mapping.parts:
                for column in columns:
                    shared = len(mapping.labels)
                    whole = column.spread is not None or len(column.family.labels) == shared
                    if column.family.labels[:shared] != mapping.labels or not whole:
                        yield f"the labels of {column.family.name} are not those of its mapping"


def _family_problems(provider: Provider) -> Iterator[str]:
    prefix = f"{PREFIX}{provider.name}_"
    seen: set[str] = set()
    for family in families(provider.mappings):
        rest = family.name.removeprefix(prefix)
        if rest == family.name or not _FAMILY.fullmatch(rest):
            yield f"the family {family.name} must begin with {prefix}"
        if family.name in seen:
            yield f"the family {family.name} is filled twice"
        if not family.help.endswith("."):
            yield f"the help of {family.name} is not a sentence"
        foreign = sorted(set(family.labels) - _LABELS)
        if foreign:
            yield f"{family.name} has labels that no other family has: {', '.join(foreign)}"
        seen.add(family.name)
