"""Join rendered lines to what is sent: plain or packed, in either format.

A packed page is one gzip member, since many clients read only the first. It is put together from
deflated groups of lines that each end with a full flush and therefore stand on their own: what did
not change is not deflated again, and the exporter's own metrics can follow as a last one.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from enum import Enum, unique
from functools import cache
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from exporter.metrics.catalogue import Family


_zlib: ModuleType
try:
    _zlib = importlib.import_module("isal.isal_zlib")
except ImportError:  # pragma: no cover  # only where the extra `speed` is not installed
    _zlib = zlib

T = TypeVar("T")

# Shorter lines are packed together, as single ones they would hardly shrink.
_WORTH_PACKING = 16 * 1024

# Shared by all lines, of which there are ten thousands; texts are rarely longer.
_NO_BLOCKS: Mapping[tuple[int, tuple[str, ...]], str] = MappingProxyType({})
_ZEROS = bytes(256 * 1024)
# How much is packed between two pauses: about a millisecond with isal.
_SLICE = 1024 * 1024

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# Raw deflate; the gzip header and trailer are ours.
_RAW = -zlib.MAX_WBITS


@unique
class Format(Enum):
    """A text format; what differs are the families' heads and the end of the page."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"

    @property
    def end(self) -> str:
        """Return the last line of a page."""
        return "" if self is Format.TEXT else "# EOF\n"


@cache
def head(form: Format, name: str, text: str, kind: str, unit: str = "") -> bytes:
    """Return what stands before a family's samples, as prometheus-client writes it."""
    generate: Callable[[Any], bytes] = (
        generate_latest if form is Format.TEXT else generate_openmetrics
    )
    empty = Metric(name, text, kind, unit)
    return generate(SimpleNamespace(collect=lambda: [empty])).removesuffix(b"# EOF\n")


class Lines:
    """Lines of one family.

    Attributes:
        size: Their length in bytes.
        samples: How many they are.
        made_of: The values they were rendered from; equal ones need no rendering.
        blocks: For a family with more labels than those of the target: all labels, rendered, by
            target and the values of the further ones.
    """

    __slots__ = ("_packed", "_text", "blocks", "made_of", "samples", "size")

    def __init__(self, text: bytes, *, samples: int = 0, made_of: object = None) -> None:
        self.size = len(text)
        self.samples = samples
        self.made_of = made_of
        self.blocks = _NO_BLOCKS
        self._text: bytes | None = text
        self._packed: tuple[bytes, int] | None = None

    @property
    def text(self) -> bytes:
        """The lines as they are, from now on kept so."""
        if self._text is None:
            self._text = bytes(_zlib.decompressobj(_RAW).decompress(self.packed()[0]))
        return self._text

    @property
    def is_long(self) -> bool:
        """True if they are worth packing by themselves."""
        return self.size >= _WORTH_PACKING

    def packed(self) -> tuple[bytes, int]:
        """Return the lines packed, which happens once, and the checksum of what they were."""
        if self._packed is None:
            self._packed = _deflate(self.text, zlib.Z_FULL_FLUSH), _zlib.crc32(self.text)
        return self._packed

    def keep_packed(self) -> None:
        """Keep long lines in their packed form alone, which takes a tenth of the memory."""
        if self.is_long:
            self.packed()
            self._text = None

    def renamed(self, name: str, new: str) -> Lines:
        """Return the same lines under another name."""
        # Each line begins with the name; a line break in a label is escaped.
        text = (b"\n" + self.text).replace(f"\n{name}".encode(), f"\n{new}".encode())
        return Lines(text[1:], samples=self.samples)


@cache
def _head_lines(form: Format, family: Family) -> Lines:
    return Lines(head(form, family.base, family.help, family.kind))


class Body:
    """All vendor families at one moment, in every form that was asked for.

    Attributes:
        packed_groups: Groups of short lines, joined, and the same deflated.
    """

    def __init__(
        self,
        families: Sequence[Family],
        lines: Mapping[str, Sequence[Lines]],
        before: Body | None = None,
    ) -> None:
        """Take all families in their order, and the lines of each by its name.

        Groups of lines that are the same in the body of the page before are not packed again.
        """
        self._families = families
        self._lines = lines
        self._known = before.packed_groups if before is not None else {}
        self._plain: dict[Format, bytes] = {}
        # The beginning of a gzip member; the checksum and the length of what is packed in it.
        self._packed: dict[Format, tuple[bytes, int, int]] = {}
        self.packed_groups: dict[bytes, bytes] = {}

    def texts(self, form: Format) -> tuple[bytes, ...]:
        """Return the families as they are, in parts."""
        return tuple(part.text for part in self._parts(form))

    def plain(self, form: Format) -> bytes:
        """Return the families as they are."""
        if form not in self._plain:
            self._plain[form] = b"".join(self.texts(form))
        return self._plain[form]

    def gzip(self, form: Format, last: bytes) -> tuple[bytes, bytes]:
        """Return the families packed, and the rest of the gzip member with the last lines in it."""
        finish(self.pack(form))
        data, crc, size = self._packed[form]
        trailer = struct.pack("<LL", _zlib.crc32(last, crc), (size + len(last)) & 0xFFFFFFFF)
        return data, _deflate(last, zlib.Z_FINISH) + trailer

    def pack(self, form: Format) -> Generator[None, None, None]:
        """Pack the families if they are not yet, yielding from time to time."""
        if form not in self._packed:
            data = [_GZIP_HEADER]
            crc = size = paused = 0
            for group in _groups(self._parts(form)):
                deflated, checksum = self._deflated(group)
                length = sum(part.size for part in group)
                data.append(deflated)
                crc = _joined_crc(crc, checksum, length)
                size += length
                if size - paused >= _SLICE:
                    paused = size
                    yield
            self._packed[form] = (b"".join(data), crc, size)
            # Those of the page before would be kept for nothing.
            self._known = self.packed_groups

    def size(self) -> int:
        """Compute the length of the text format."""
        return sum(part.size for part in self._parts(Format.TEXT))

    def _parts(self, form: Format) -> Iterable[Lines]:
        for family in self._families:
            lines = self._lines.get(family.name)
            if lines:
                yield _head_lines(form, family)
                yield from lines

    def _deflated(self, group: Sequence[Lines]) -> tuple[bytes, int]:
        """Return a group packed, and the checksum of what it was."""
        if len(group) == 1 and group[0].is_long:
            return group[0].packed()
        text = b"".join([part.text for part in group])
        deflated = self._known.get(text) or _deflate(text, zlib.Z_FULL_FLUSH)
        self.packed_groups[text] = deflated
        return deflated, _zlib.crc32(text)


def finish(generator: Generator[None, None, T]) -> T:
    """Run a generator to its end without a pause and return its value."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return cast("T", stop.value)


def _groups(parts: Iterable[Lines]) -> Generator[list[Lines], None, None]:
    """Yield long lines by themselves, and short ones together until they are long enough."""
    group: list[Lines] = []
    length = 0
    for part in parts:
        large = part.is_long
        if group and (large or length >= _WORTH_PACKING):
            yield group
            group, length = [], 0
        group.append(part)
        length += part.size
    if group:
        yield group


def _joined_crc(first: int, second: int, length: int) -> int:
    """Return the checksum of two texts, one after the other, from those of each.

    A checksum is linear: what the first one adds to that of both is what it adds to that of as many
    zeros as the second text is long.
    """
    zeros = memoryview(_ZEROS)[:length] if length <= len(_ZEROS) else bytes(length)
    found: int = _zlib.crc32(zeros, first) ^ _zlib.crc32(zeros) ^ second
    return found


def _deflate(text: bytes, flush: int) -> bytes:
    compressor = _zlib.compressobj(1, zlib.DEFLATED, _RAW)
    return bytes(compressor.compress(text) + compressor.flush(flush))
