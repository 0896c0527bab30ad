"""A source never leaks a secret of its settings, of a login or of a reply."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.conformance.front import changed_json, instead
from exporter.conformance.trial import Trial
from exporter.conformance.vendor import Step, reply
from exporter.errors import PollError
from exporter.overview.document import plain
from exporter.settings.load import from_data, redacted


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


CANARY = "canary-7f3a"


def planted(value: Any, fields: frozenset[str]) -> Any:
    """Return a reply with the canary in every field that can hold a secret."""
    if isinstance(value, list):
        return [planted(part, fields) for part in value]
    if not isinstance(value, dict):
        return value
    return {key: CANARY if key in fields else planted(part, fields) for key, part in value.items()}


class Collector:
    """Collects all output of a trial.

    Attributes:
        trial: The trial.
        output: The output.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.output: list[str] = []

    async def collect(self) -> None:
        """Poll twice, explain all targets, and collect all output."""
        trial = self.trial
        poller = trial.engine.pollers[trial.only.name]
        for _ in range(2):
            await trial.poll()
            trial.time.shift(61.0)
        for kind, target in trial.targets().items():
            try:
                found = await poller.source.explain(kind, target)
                self.output += [repr(found), json.dumps(plain(found.reply), default=str)]
            except (LookupError, PollError) as error:
                self.output.append(repr(error))
        settings = from_data(trial.data)
        self.output += [
            trial.engine.exposition.metrics().body.decode(),
            repr(trial.engine.store.snapshots()),
            repr([poller.status(task) for task in trial.only.candidate.provider.settings.TASKS]),
            repr(settings),
            repr(redacted(settings)),
            repr([*vars(poller.source).values()]),
        ]

    def secrets(self) -> set[str]:
        """Return all texts that must not be in the output."""
        (settings,) = from_data(self.trial.data).sources
        configured = {secret.reveal() for secret in settings.secrets()}
        subject = self.trial.only
        accepted = {*(subject.portal.token or CANARY).split(":")[-1:]}
        return {CANARY} | configured | accepted | subject.candidate.secrets

    def check(self) -> None:
        """Check that no secret is in the output."""
        text = "\n".join(self.output)
        assert [] == [secret for secret in self.secrets() if secret in text]


@pytest.fixture
def collector(trial: Trial, caplog: pytest.LogCaptureFixture) -> Collector:
    """Return a collector of the trial's output, with the log at its most detailed level."""
    caplog.set_level(logging.DEBUG)
    return Collector(trial)


async def test_secrets_in_replies_stay_there(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Secret fields of replies appear neither on pages nor in logs or explanations."""
    subject = collector.trial.only
    fields = subject.candidate.secret_fields
    subject.front.treatment = changed_json(
        lambda value: json.dumps(planted(value, fields)).encode()
    )

    with capture_logs() as logs:
        await collector.collect()

    collector.output += [repr(logs), caplog.text]
    assert collector.trial.readings()
    collector.check()


@pytest.mark.parametrize(
    "answer",
    [
        reply(CANARY.encode()),
        reply(json.dumps([{CANARY: CANARY}]).encode()),
        *(
            reply(
                json.dumps({"isError": True, "error": {"message": CANARY}, "x": CANARY}).encode(),
                status=status,
                headers={"Location": f"http://{CANARY}/", "WWW-Authenticate": CANARY},
            )
            for status in (200, 301, 401, 403, 404, 429, 500)
        ),
    ],
    ids=["no JSON", "odd", "200", "301", "401", "403", "404", "429", "500"],
)
async def test_secrets_in_errors_stay_there(
    collector: Collector, answer: Step, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither logs nor messages quote a refusal, which may quote the request."""
    await collector.trial.poll()
    collector.trial.only.front.treatment = instead(answer)

    with capture_logs() as logs:
        await collector.collect()

    collector.output += [repr(logs), caplog.text]
    collector.check()


async def test_secrets_of_the_proxy_stay_there(
    candidate: Candidate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The proxy's password is sent to the proxy only, and it leaks nowhere if the proxy fails."""
    caplog.set_level(logging.DEBUG)
    trial = Trial({candidate.name: candidate}, tmp_path, domain="vendor.example", timeout="4s")
    front = trial.only.front
    trial.data["defaults"]["proxy_url"] = f"http://user:{CANARY}@127.0.0.1:{front.port}"
    collector = Collector(trial)

    with capture_logs() as logs:
        async with trial:
            await collector.collect()
            known = trial.readings()
            await front.refuse()
            await collector.collect()

    collector.output += [repr(logs), caplog.text]
    assert known
    assert all("proxy-authorization" in seen.headers for seen in front.seen)
    collector.check()
