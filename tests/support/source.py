"""A source with scripted answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.base import Source
from exporter.sources.realload.settings import RealLoadSettings


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.sources.base import Explanation, Poll
    from exporter.sources.settings import SourceSettings


class FakeSource(Source):
    """A source whose polls end as scripted.

    Attributes:
        answers: The results of the next polls; the last one is repeated.
        polled: The tasks polled so far.
    """

    auth_failed = False
    blocked = False
    refusals = 0

    def __init__(
        self,
        *answers: Poll | Exception,
        name: str = "prod",
        settings: SourceSettings | None = None,
    ) -> None:
        self.settings = settings or RealLoadSettings(
            name=name, url="http://portal.example/RemoteUserAPI", labels={"site": "bern"}
        )
        self.answers = list(answers)
        self.polled: list[str] = []
        self.on_poll: Callable[[], None] = lambda: None

    async def poll(self, task: str) -> Poll:
        self.polled.append(task)
        self.on_poll()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def explain(self, kind: str, target_id: str) -> Explanation:
        raise LookupError(f"no {kind} {target_id}")

    async def aclose(self) -> None:
        pass
