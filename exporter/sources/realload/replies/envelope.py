"""What all replies have in common.

Only wanted fields are declared. The decoder skips all others, so personal data never gets in. A
secret that is needed, or of which it matters only whether there is one, is kept as `msgspec.Raw`,
whose `repr` shows nothing. Every field has a default because any may be missing: `None`, or an
empty `Raw`, is what an absent one looks like. Numbers are `float` unless they are sent back.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec


#: The vendor prints one and the same flag as a boolean and as a number.
Flag: TypeAlias = bool | int | None

#: An id or the like. What does not fit into 64 bits is none, and nothing is asked about it.
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Port: TypeAlias = Whole | str | None

Hidden: TypeAlias = msgspec.Raw

ABSENT: Hidden = msgspec.Raw()


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of whatever stands inside a reply."""


class Envelope(Part, frozen=True, kw_only=True):
    """The base of all replies (section 1).

    Attributes:
        generic_error_text: Free text for people; for `explain` only, never for a label or a log.
    """

    is_error: Flag = None
    generic_error_text: str | None = None
