"""Suggestions for mistyped words."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def nearest(
    word: object, known: Iterable[str], *, prefix: str = "", otherwise: str = "remove it"
) -> str:
    """Return a remedy for an unknown word: the most similar known word, if there is one.

    Args:
        word: The unknown word.
        known: All known words.
        prefix: The common prefix, left out of the comparison.
        otherwise: The remedy if no known word is similar.
    """
    close = closest(word, known, prefix=prefix)
    return f"did you mean {close}?" if close else otherwise


def one_of(word: object, known: Collection[str]) -> str:
    """Return the error text for an unknown word: the known words, and the most similar one."""
    if not known:
        return "cannot be given: there is nothing to choose from"
    return f"must be one of: {', '.join(known)}{hint(word, known)}"


def hint(word: object, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the end of a sentence that names the most similar known word; empty if there is none.

    Args:
        word: The unknown word.
        known: All known words.
        prefix: Text before the known word.
    """
    close = closest(word, known)
    return f"; did you mean {prefix}{close}?" if close else ""


def closest(word: object, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the known word that is most similar to an unknown one; empty if there is none.

    Args:
        word: The unknown word; its case is ignored.
        known: All known words.
        prefix: The common prefix, left out of the comparison.
    """
    rests = {other.removeprefix(prefix).casefold(): other for other in sorted(known)}
    wanted = str(word).removeprefix(prefix).casefold()
    close = difflib.get_close_matches(wanted, sorted(rests), n=1)
    return rests[close[0]] if close else ""
