"""Words that people mistype: what is wrong with one, and the nearest that there is."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def nearest(
    word: object, known: Iterable[str], *, prefix: str = "", otherwise: str = "remove it"
) -> str:
    """Return a remedy for an unknown word: the nearest known one, if one is near.

    Args:
        word: The unknown word.
        known: All that are known.
        prefix: The beginning of all, left out of the comparison.
        otherwise: The remedy if none is near.
    """
    close = closest(word, known, prefix=prefix)
    return f"did you mean {close}?" if close else otherwise


def one_of(word: object, known: Collection[str]) -> str:
    """Return what is wrong with an unknown word: what it must be, and the nearest of that."""
    if not known:
        return "cannot be given: there is nothing to choose from"
    return f"must be one of: {', '.join(known)}{hint(word, known)}"


def hint(word: object, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the end of a sentence that names the nearest known word, empty if none is near.

    Args:
        word: The unknown word.
        known: All that are known.
        prefix: Put before the known word.
    """
    close = closest(word, known)
    return f"; did you mean {prefix}{close}?" if close else ""


def closest(word: object, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the known word that an unknown one is most like, empty if none is like it.

    Args:
        word: The unknown word, in any case.
        known: All that are known.
        prefix: The beginning of all, left out of the comparison.
    """
    rests = {other.removeprefix(prefix).casefold(): other for other in sorted(known)}
    wanted = str(word).removeprefix(prefix).casefold()
    close = difflib.get_close_matches(wanted, sorted(rests), n=1)
    return rests[close[0]] if close else ""
