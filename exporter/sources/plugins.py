"""Providers of other packages, found by the entry-point group `loadfleet_exporter.providers`.

The name of the entry point is the name of the provider, its value the `Provider` record. One that
cannot be loaded, or that would take the name or the metrics of another, is left out and named: it
must never keep the exporter from watching everything else.
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

#: Labels that the catalogue's families have; a plug-in's families have no others, so that none can
#: meet a label that a user has added.
_LABELS = frozenset(COMMON_LABELS).union(*(family.labels for family in FAMILIES))

#: First words of the catalogue's families, which no provider can be called: their names would meet.
_WORDS = {family.name.removeprefix(PREFIX).split("_")[0] for family in FAMILIES} | {"exporter"}

#: Where the readings are that are mapped already.
_OURS = "exporter."

_NAME = re.compile(r"[a-z][a-z0-9]*")
_FAMILY = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")


class Installed(NamedTuple):
    """A plug-in that can be used.

    Attributes:
        package: The distribution that brings it, with its version; empty where that is not known.
    """

    provider: Provider
    package: str


class Broken(msgspec.Struct, frozen=True):
    """A plug-in that is left out.

    Attributes:
        name: The provider's name, as the entry point has it.
        package: As `Installed` has it.
        problem: One sentence.
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
    """Load what is installed.

    Args:
        taken: Names of the providers that the exporter has itself.
        points: In place of the entry points of this environment.

    Returns:
        The usable ones by name, and those that are left out.
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
    """Return the distribution of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""


def check(poll: Poll) -> None:
    """Find out whether everything that a plug-in's poll learnt can be shown.

    Raises:
        PollError: It cannot, and would take the pages of all sources with it.
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
        # Outside the handler: the cause would quote what the plug-in has read.
        raise PollError(Reason.DECODE, problem)


def families(mappings: Mapping[Any, Iterable[Any]]) -> Iterator[Family]:
    """Yield the families that a provider's mappings fill, in their order."""
    for each in mappings.values():
        for mapping in each:
            for _, columns in mapping.parts:
                yield from (column.family for column in columns)


class _UnusableError(Exception):
    """A plug-in cannot be used; the message says why."""


def _checked(point: EntryPoint, taken: Collection[str]) -> Provider:
    found: Any = None
    try:
        found = point.load()
        problem = next(_problems(found, point.name, taken), "")
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a plug-in can raise anything
        # Of the error its type alone: the text may hold whatever the plug-in has read.
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
        yield "what the entry point names is no Provider"
        return
    settings: Any = provider.settings
    if provider.name != name:
        yield f"it calls itself {provider.name!r}; entry point and record must have one name"
    if not _NAME.fullmatch(name) or name in _WORDS:
        yield "its name must be small letters and digits, and none that metrics begin with"
    if name in taken:
        yield "the name is taken; two providers cannot share one"
    if not (isinstance(settings, type) and issubclass(settings, SourceSettings)):
        yield "its settings are no subclass of SourceSettings"
    elif settings.model_fields["provider"].default != name:
        yield f"the default of `provider` in its settings must be {name!r}"
    unknown = set(provider.kinds) - set(EXPLAINED)
    if unknown:
        yield f"kinds are the exporter's, and it has {', '.join(sorted(unknown))}"
    yield from _family_problems(provider)
    yield from _mapping_problems(provider)


def _mapping_problems(provider: Provider) -> Iterator[str]:
    """Yield what would only come to light when a reading is shown, and then for everybody."""
    for reading, mappings in provider.mappings.items():
        if reading.__module__.startswith(_OURS):
            yield f"it maps {reading.__name__}, which is no reading of its own"
            continue
        fields = msgspec.structs.fields(reading)
        blank = reading(**{field.name: "" for field in fields if field.required})
        for mapping in mappings:
            # A name that the reading does not have is an error here.
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
            yield f"the help of {family.name} is no sentence"
        foreign = sorted(set(family.labels) - _LABELS)
        if foreign:
            yield f"{family.name} has labels that no other family has: {', '.join(foreign)}"
        seen.add(family.name)
