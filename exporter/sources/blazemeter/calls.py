"""The calls of one poll: sent concurrently, so that each can fail without stopping the others."""

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
    """Return a failure for a list that is shorter than the vendor says.

    Args:
        target: The id of the workspace or the suite.
        what: The list, as named in the message.
        cuts_list: Whether it is the task's own list, so that targets may be missing.
    """
    message = f"{what}: the vendor gives fewer items than its list has"
    return Failure(
        reason=Reason.API_ERROR, message=message, target=str(target), cuts_list=cuts_list
    )


async def fan_out(asks: Mapping[K, Callable[[], Awaitable[A]]]) -> dict[K, A | PollError]:
    """Return the outcomes of some calls, made concurrently, in the order of the calls.

    The calls start in their order; the guard limits how many are in flight at once. An error that
    is not a `PollError` cancels all of them.
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
        answered: Whether any call was answered; "no such item" counts as an answer.
    """

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.answered = False
        self._first_error: PollError | None = None

    async def by_workspace(
        self, workspaces: tuple[int, ...], read: Callable[[int], Awaitable[A]]
    ) -> dict[int, A]:
        """Return the lists of a task by workspace, without the workspaces that could not be read.

        The first workspace is read alone, so that a bad key costs one refused call only.
        """
        answers: dict[int, A] = {}
        for chunk in (workspaces[:1], workspaces[1:]):
            outcomes = await fan_out({each: partial(read, each) for each in chunk})
            answers |= self.good(outcomes, cuts_list=True)
        return answers

    def good(self, outcomes: Mapping[K, A | PollError], *, cuts_list: bool = False) -> dict[K, A]:
        """Return the answers by target, after recording all outcomes.

        Args:
            outcomes: The outcomes of the calls by target.
            cuts_list: Whether each call reads a part of the task's list.
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
        """Return the answers by target, after recording all outcomes like `good`.

        An item that does not exist, or that this key may not read, is not a failure here.
        """
        kept = {each: outcome for each, outcome in outcomes.items() if not client.lacks(outcome)}
        self.answered = self.answered or len(kept) < len(outcomes)
        return self.good(kept)

    def check(self) -> None:
        """Raise the first error if no call was answered.

        Raises:
            PollError: The first call that failed.
        """
        if self._first_error is not None and not self.answered:
            raise self._first_error
