"""What went well and what did not in the calls of one poll."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from exporter.errors import PollError
from exporter.sources.base import Failure
from exporter.sources.blazemeter.client import NotFoundError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.blazemeter.client import BlazeMeterClient


A = TypeVar("A")


class Cycle:
    """The outcomes of a poll's calls.

    Args:
        client: Told when not one of them was answered.

    Attributes:
        failures: The calls that failed, each with its target.
    """

    def __init__(self, client: BlazeMeterClient) -> None:
        self._client = client
        self.failures: list[Failure] = []
        self._answered = False
        self._first_error: PollError | None = None

    def good(self, outcomes: Mapping[str, A | PollError]) -> dict[str, A]:
        """Note all outcomes, by target, and return the good ones."""
        good: dict[str, A] = {}
        for target, outcome in outcomes.items():
            if isinstance(outcome, PollError):
                self._fail(target, outcome)
            else:
                self._answered = True
                good[target] = outcome
        return good

    def gone(self) -> None:
        """Note an answer that is none of a failure: an item does not exist any more."""
        self._answered = True

    def check(self) -> None:
        """Raise the first error if there were calls and not one was answered.

        Raises:
            PollError: Nothing could be learnt.
        """
        if self._first_error is not None and not self._answered:
            self._client.up = False
            raise self._first_error

    def _fail(self, target: str, error: PollError) -> None:
        self.failures.append(Failure(reason=error.reason, message=str(error), target=target))
        self._first_error = self._first_error or error
        if isinstance(error, NotFoundError):
            self._answered = True
