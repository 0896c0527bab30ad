"""From the layers' joined raw data to checked settings, with every mistake in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.alerts.settings import AlertingSettings
from exporter.config.validation import Mistake, Section, checked, dotted, nearest
from exporter.settings.sections import LogSettings, ShardingSettings, WebSettings
from exporter.sources.registry import PROVIDERS
from exporter.sources.settings import SourceDefaults, SourceSettings


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.config.validation import Checked, KeyPath


SECTIONS: dict[str, type[Section]] = {
    "defaults": SourceDefaults,
    "web": WebSettings,
    "alerting": AlertingSettings,
    "log": LogSettings,
    "sharding": ShardingSettings,
}
SOURCES = "sources"

_NO_SOURCES = (
    "none is given; list one in the configuration file, or set"
    " LOADFLEET_REALLOAD_URL and LOADFLEET_REALLOAD_AUTH_TOKEN,"
    " or look around with `loadfleet-exporter demo`"
)


def assemble(raw: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Mistake, ...]]:
    """Check all parts, hand the defaults down to the sources and check these.

    Returns:
        The parts by their keys, made from what is right, and every mistake.
    """
    known = {*SECTIONS, SOURCES}
    found = [
        Mistake((key,), f"unknown key; {nearest(key, known)}") for key in raw if key not in known
    ]
    outcomes = {name: checked(model, raw.get(name, {})) for name, model in SECTIONS.items()}
    parts: dict[str, Any] = {name: outcome.settings for name, outcome in outcomes.items()}
    for name, outcome in outcomes.items():
        found += (Mistake((name, *mistake.path), mistake.text) for mistake in outcome.mistakes)
    sources = raw.get(SOURCES, [])
    if not isinstance(sources, list | tuple):
        found.append(Mistake((SOURCES,), "must be a list; begin each source with a dash"))
        sources = []
    elif not sources:
        found.append(Mistake((SOURCES,), _NO_SOURCES))
    parts[SOURCES] = []
    names: dict[str, int] = {}
    for index, source in enumerate(sources):
        settings, mistakes = _source(index, source, outcomes["defaults"])
        found += mistakes
        if settings is None:
            continue
        parts[SOURCES].append(settings)
        first = names.setdefault(settings.name, index)
        if first != index and not any(m.path == (SOURCES, index, "name") for m in mistakes):
            text = f"is already the name of {dotted((SOURCES, first))}; give each its own"
            found.append(Mistake((SOURCES, index, "name"), text))
    parts[SOURCES] = tuple(parts[SOURCES])
    # A mistake that several sources inherit is one.
    return parts, tuple({(mistake.path, mistake.text): mistake for mistake in found}.values())


def _source(
    index: int, raw: Any, defaults: Checked[Any]
) -> tuple[SourceSettings | None, list[Mistake]]:
    place: KeyPath = (SOURCES, index)
    if not isinstance(raw, dict):
        return None, [Mistake(place, "must be a mapping with a provider and its keys")]
    provider = raw.get("provider")
    if not isinstance(provider, str) or provider not in PROVIDERS:
        what = "is missing" if provider is None else "unknown provider"
        remedy = nearest(provider, PROVIDERS, otherwise=f"write one of {', '.join(PROVIDERS)}")
        return None, [Mistake((*place, "provider"), f"{what}; {remedy}")]
    wrong = [m.path for m in defaults.mistakes if m.path and m.path[0] not in raw]
    outcome = checked(
        PROVIDERS[provider].settings,
        {"name": provider} | dict(_inherited(defaults.raw, raw)) | raw | _labels(defaults.raw, raw),
        wrong=wrong,
    )
    mistakes = []
    for mistake in outcome.mistakes:
        inherited = mistake.path and mistake.path[0] not in raw and mistake.path[0] in defaults.raw
        where = ("defaults",) if inherited else place
        mistakes.append(Mistake((*where, *mistake.path), mistake.text))
    return outcome.settings, mistakes


def _inherited(defaults: dict[str, Any], own: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a source does not say itself, by value or by file."""
    for key, value in defaults.items():
        if own.keys().isdisjoint({key, f"{key}_file", key.removesuffix("_file")}):
            yield key, value


def _labels(defaults: dict[str, Any], own: dict[Any, Any]) -> dict[str, Any]:
    """Return the joined labels: a source adds to the inherited ones."""
    inherited, added = defaults.get("labels", {}), own.get("labels")
    return {"labels": inherited | added} if isinstance(added, dict) else {}
