"""Damage done to bytes: parts lost, doubled, swapped or overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st


if TYPE_CHECKING:
    from collections.abc import Callable


#: Bytes that are known to break readers of JSON and YAML.
_SHARDS = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\ud800",
    b'"',
    b"{",
    b"}",
    b"[" * 2000,
    b'{"a":' * 600,
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 400,
    b"-0",
    b"0x10",
    b"true",
    b"&a [*a]",
    b"<<: *a",
    b"!!python/object:os.system ",
    b"!!binary x",
    b"!!timestamp 2001-99-99",
    b"---\n",
    b"%YAML 9.9\n",
    b": ",
    b"- ",
    b"\t",
    b"\r\n",
    b"\xc2\x85",
    b"\xef\xbb\xbf",
)


@st.composite
def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], original: bytes) -> bytes:
    """Draw what may have become of some bytes."""
    content = original
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        by = draw(
            st.sampled_from(_SHARDS)
            | st.binary(max_size=8)
            | st.just(content[start:end] * 2)
            | st.just(content[start:end][::-1])
        )
        content = content[:start] + by + content[end:]
        if draw(st.integers(0, 9)) == 0:
            content = content[: draw(st.integers(0, len(content)))]
    return content
