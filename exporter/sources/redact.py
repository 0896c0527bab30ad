"""A reply as people may see it: wanted fields as they are, all others by name only.

What a decoder picks is known to be free of secrets, or is typed as `msgspec.Raw` because it is
one. Whatever else a vendor sends may be anything.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from exporter.config.secret import HIDDEN
from exporter.sources.decode import well_formed


NOT_SHOWN = "<not shown>"


def redacted_reply(body: bytes | msgspec.Raw, type_: Any) -> Any:
    """Return a JSON body as plain data, with everything hidden that its type does not want.

    Args:
        body: JSON; what is none is not shown as a whole.
        type_: The type it is decoded as; see `decode`.
    """
    wanted = _without_none(type_)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if isinstance(body, bytes):  # the whole, not a part
        body = well_formed(body)
    try:
        if wanted is msgspec.Raw:
            return HIDDEN
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            types = {field.encode_name: field.type for field in msgspec.structs.fields(wanted)}
            return {
                name: redacted_reply(part, types[name]) if name in types else NOT_SHOWN
                for name, part in members.items()
            }
        if origin in (list, tuple):
            elements = msgspec.json.decode(body, type=list[msgspec.Raw])
            return [redacted_reply(element, arguments[0]) for element in elements]
        if origin is dict:
            members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            return {name: redacted_reply(part, arguments[1]) for name, part in members.items()}
        return msgspec.json.decode(body, type=type_)
    except (ValueError, RecursionError):  # not JSON, or not of the wanted type
        return NOT_SHOWN


def _without_none(type_: Any) -> Any:
    if get_origin(type_) in (Union, UnionType):
        rest = [part for part in get_args(type_) if part is not NoneType]
        return rest[0] if len(rest) == 1 else type_
    return type_
