"""Metrics that only Locust has, and the readings that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from exporter.sources.api import Kind, Reading, TargetMapping, by_key, family, mapped, number


class WorkerLoad(Reading, frozen=True, kw_only=True):
    """The load of a connected worker.

    Attributes:
        cpu_ratio: CPU use as a ratio of one core; a worker cannot use more than 1.
    """

    agent_id: str
    agent: str
    users: float | None = None
    cpu_ratio: float | None = None
    memory_bytes: float | None = None


class RunLoad(Reading, frozen=True, kw_only=True):
    """The load of a test, over all workers; counts start at 0 with each test.

    Attributes:
        response_seconds: Response times of the whole test in seconds, by percentile.
    """

    run_id: str
    run: str
    users: float | None = None
    requests: float | None = None
    failures: float | None = None
    requests_per_second: float | None = None
    failures_per_second: float | None = None
    response_mean_seconds: float | None = None
    response_seconds: Mapping[str, float] = {}


_worker = partial(family, "locust", of=Kind.AGENT)
_run = partial(family, "locust", of=Kind.RUN)

AGENT_USERS = _worker("agent_users", "Virtual users that the worker simulates now.")
AGENT_CPU = _worker(
    "agent_cpu_ratio",
    "CPU that the worker uses, as a ratio of the one core that it can use.",
)
AGENT_MEMORY = _worker("agent_memory_bytes", "Memory that the worker's process uses.")

RUN_USERS = _run("run_users", "Virtual users of the test now, over all workers.")
RUN_REQUESTS = _run("run_requests", "Requests of the test so far, failed ones included.")
RUN_FAILURES = _run("run_failures", "Requests of the test so far that failed.")
RUN_REQUEST_RATE = _run(
    "run_requests_per_second", "Requests per second over the newest ten seconds."
)
RUN_FAILURE_RATE = _run(
    "run_failures_per_second", "Failed requests per second over the newest ten seconds."
)
RUN_RESPONSE_MEAN = _run("run_response_mean_seconds", "Mean response time of the whole test.")
RUN_RESPONSE = _run(
    "run_response_seconds", "Response times of the whole test, by percentile.", "percentile"
)

#: The families that each type of reading fills.
MAPPINGS: Mapping[type[Reading], tuple[TargetMapping, ...]] = {
    WorkerLoad: (
        mapped(
            ("agent_id", "agent"),
            number(AGENT_USERS, "users"),
            number(AGENT_CPU, "cpu_ratio"),
            number(AGENT_MEMORY, "memory_bytes"),
        ),
    ),
    RunLoad: (
        mapped(
            ("run_id", "run"),
            number(RUN_USERS, "users"),
            number(RUN_REQUESTS, "requests"),
            number(RUN_FAILURES, "failures"),
            number(RUN_REQUEST_RATE, "requests_per_second"),
            number(RUN_FAILURE_RATE, "failures_per_second"),
            number(RUN_RESPONSE_MEAN, "response_mean_seconds"),
            by_key(RUN_RESPONSE, "response_seconds"),
        ),
    ),
}
