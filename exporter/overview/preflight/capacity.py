"""The capacity of the fit agents, the load of the suites, and how many agents may still fail."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from exporter.overview.preflight.report import Capacity, Result, Wanted
from exporter.settings.preflights import ALL


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.overview.preflight.fitness import AgentFitness, Found, Work
    from exporter.overview.rows import AgentRow, ClusterRow, SuiteRow
    from exporter.settings.preflights import Machines, PreflightSettings


def capacity(  # noqa: PLR0913 - all but the first by keyword
    settings: PreflightSettings,
    *,
    agents: Sequence[AgentFitness],
    clusters: Sequence[tuple[ClusterRow, Found]],
    suites: Sequence[SuiteRow],
    work: Work,
    all_agents: Sequence[AgentRow],
    passed: bool,
) -> Capacity:
    """Return the capacity for the targets that a preflight has chosen.

    Args:
        settings: The preflight.
        agents: The chosen agents.
        clusters: The chosen clusters.
        suites: The chosen suites.
        work: The agents on which suites run.
        all_agents: All agents, for their names.
        passed: Whether all checks pass.
    """
    users, users_unknown = users_of([each for each in agents if _is_fit(each.all)])
    took = [row.last_run_max_users for row in suites]
    known = [each for each in took if each is not None]
    return Capacity(
        users=users,
        users_unknown=users_unknown,
        suites_users=sum(known) if known else None,
        suites_unknown=len(took) - len(known),
        agents_may_fail=_may_fail(settings, agents, clusters) if passed else None,
        wanted_twice=tuple(_wanted_twice(suites, work, all_agents)),
    )


def users_of(agents: Iterable[AgentFitness]) -> tuple[float, int]:
    """Return the users that agents can carry together, and the number of agents without a limit."""
    limits = [each.users for each in agents]
    known = [each for each in limits if each is not None]
    return float(sum(known)), len(limits) - len(known)


def _is_fit(found: Found) -> bool:
    return found.result is Result.PASSED


def _may_fail(
    settings: PreflightSettings,
    agents: Sequence[AgentFitness],
    clusters: Sequence[tuple[ClusterRow, Found]],
) -> int | None:
    """Return how many fit agents may fail, whichever they are, before a check fails.

    Return `None` if no check is about agents.
    """
    fit = [each for each in agents if _is_fit(each.all)]
    limits: list[float] = []
    demand = settings.agents
    if demand is None and (settings.clock is not None or settings.idle):
        demand = ALL
    if demand is not None:
        limits.append(_spare(demand, len(fit), len(agents) - len(fit)))
    if settings.users is not None:
        limits.append(_may_fail_for_users(settings.users, [each.users or 0.0 for each in fit]))
    if settings.clusters is not None:
        limits.append(_may_fail_for_clusters(settings.clusters, clusters))
    return max(0, int(min(limits))) if limits else None


def _spare(demand: Machines, fit: int, unfit: int) -> float:
    """Return how many of the fit machines may become unfit."""
    return min(fit - demand.needed, demand.tolerated - unfit)


def _may_fail_for_users(needed: float, limits: Iterable[float]) -> int:
    """Return how many agents may fail, the largest first, before capacity is too small."""
    smallest_first = sorted(limits)
    for number, total in enumerate(accumulate(smallest_first), start=1):
        if total >= needed:
            return len(smallest_first) - number
    return 0


def _may_fail_for_clusters(demand: Machines, clusters: Sequence[tuple[ClusterRow, Found]]) -> int:
    """Return how many agents may fail if each makes all its clusters unfit.

    If clusters share agents, the real number may be greater.
    """
    fit = [row for row, found in clusters if _is_fit(found)]
    spare = _spare(demand, len(fit), len(clusters) - len(fit))
    members = Counter((row.source, each.agent_id) for row in fit for each in row.members)
    if spare >= len(fit):
        return len(members)
    number = 0
    for taken in sorted(members.values(), reverse=True):
        spare -= taken
        if spare < 0:
            break
        number += 1
    return number


def _wanted_twice(
    suites: Iterable[SuiteRow], work: Work, agents: Iterable[AgentRow]
) -> Iterator[Wanted]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for suite in suites:
        for agent_id in work.agents_of(suite):
            found[suite.source, agent_id].append(suite.name)
    wanted = {key: each for key, each in found.items() if len(each) > 1}
    names = {key: row.name for row in agents if (key := (row.source, row.id)) in wanted}
    for (source, agent_id), of_suites in sorted(wanted.items()):
        name = names.get((source, agent_id), agent_id)
        yield Wanted(source=source, id=agent_id, name=name, suites=tuple(sorted(of_suites)))
