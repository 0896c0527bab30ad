"""The calls of one poll: sent together, each free to fail on its own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from exporter.errors import PollError, Reason
from exporter.sources.base import Failure
from exporter.sources.blazemeter.client import BlazeMeterClient, NotFoundError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


A = TypeVar("A")
K = TypeVar("K", int, str)


def short_list(target: int | str, what: str, *, cuts_list: bool = False) -> Failure:
    """Return the failure that a short list is; it cuts the task's own list if it is that."""
    message = f"{what}: the vendor gives fewer items than its list has"
    return Failure(
        reason=Reason.API_ERROR, message=message, target=str(target), cuts_list=cuts_list
    )


async def fan_out(asks: Mapping[K, Callable[[], Awaitable[A]]]) -> dict[K, A | PollError]:
    """Make all calls and return what became of each, in the order of the calls.

    They are started in their order; how many are under way at once is the guard's business. Any
    error but a `PollError` ends all of them.
    """
    outcomes: dict[K, A | PollError] = {}

    async def one(key: K, ask: Callable[[], Awaitable[A]]) -> None:
        try:
            outcomes[key] = await ask()
        except PollError as error:
            outcomes[key] = error

    async with asyncio.TaskGroup() as group:
        for key, ask in asks.items():
            group.create_task(one(key, ask))
    return {key: outcomes[key] for key in asks}


class PollCalls:
    """The outcomes of the calls of one poll.

    Attributes:
        failures: The calls that failed, each with its target.
        answered: Whether any was answered; that an item does not exist any more is an answer.
    """

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.answered = False
        self._first_error: PollError | None = None

    async def by_workspace(
        self, workspaces: tuple[int, ...], read: Callable[[int], Awaitable[A]]
    ) -> dict[int, A]:
        """Read a task's list in some workspaces, and return the answers.

        The first workspace is read alone, and then the others.
        """
        answers: dict[int, A] = {}
        for chunk in (workspaces[:1], workspaces[1:]):
            outcomes = await fan_out({each: partial(read, each) for each in chunk})
            answers |= self.good(outcomes, cuts_list=True)
        return answers

    def good(self, outcomes: Mapping[K, A | PollError], *, cuts_list: bool = False) -> dict[K, A]:
        """Note all outcomes, by target, and return the answers.

        Args:
            outcomes: What became of the calls.
            cuts_list: Whether each was to read a part of the task's list.
        """
        answers: dict[K, A] = {}
        for target, outcome in outcomes.items():
            if not isinstance(outcome, PollError):
                self.answered = True
                answers[target] = outcome
                continue
            self.answered = self.answered or isinstance(outcome, NotFoundError)
            self._first_error = self._first_error or outcome
            self.failures.append(
                Failure(
                    reason=outcome.reason,
                    message=str(outcome),
                    target=str(target),
                    cuts_list=cuts_list,
                )
            )
        return answers

    def good_if_any(
        self, client: BlazeMeterClient, outcomes: Mapping[K, A | PollError]
    ) -> dict[K, A]:
        """Note all outcomes as `good` does, and return the answers.

        That something is not there or not for this key is an answer, too.
        """
        kept = {each: outcome for each, outcome in outcomes.items() if not client.lacks(outcome)}
        self.answered = self.answered or len(kept) < len(outcomes)
        return self.good(kept)

    def check(self) -> None:
        """Raise the first error if there were calls and not one was answered.

        Raises:
            PollError: Nothing could be learnt.
        """
        if self._first_error is not None and not self.answered:
            raise self._first_error
