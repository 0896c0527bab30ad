"""The body of the page, joined from rendered lines: plain or gzip, in either text format.

A compressed page is a single gzip member, since many clients read only the first. It consists of
groups of lines that are deflated separately and end with a full flush. So unchanged groups are not
deflated again, and the exporter's own metrics can be appended as the last group.
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

# Lines shorter than this are compressed together, since alone they would hardly shrink.
_WORTH_PACKING = 16 * 1024

# Shared by tens of thousands of `Lines`.
_NO_BLOCKS: Mapping[tuple[int, tuple[str, ...]], str] = MappingProxyType({})
# For `_joined_crc`; the texts are rarely longer.
_ZEROS = bytes(256 * 1024)
# Bytes compressed between two pauses: about a millisecond with isal.
_SLICE = 1024 * 1024

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# Raw deflate without header and trailer, which this module writes itself.
_RAW = -zlib.MAX_WBITS


@unique
class Format(Enum):
    """A text format. The formats differ in the families' heads and in the end of the page."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"

    @property
    def end(self) -> str:
        """The last line of a page."""
        return "" if self is Format.TEXT else "# EOF\n"


@cache
def head(form: Format, name: str, text: str, kind: str, unit: str = "") -> bytes:
    """Return the comment lines before a family's samples, as prometheus-client writes them."""
    generate: Callable[[Any], bytes] = (
        generate_latest if form is Format.TEXT else generate_openmetrics
    )
    empty = Metric(name, text, kind, unit)
    return generate(SimpleNamespace(collect=lambda: [empty])).removesuffix(b"# EOF\n")


class Lines:
    """Rendered lines of one family.

    Attributes:
        size: The length in bytes.
        samples: The number of lines.
        made_of: The values they were rendered from; for equal values the lines are reused.
        blocks: For a family with additional labels: the rendered labels, by the target's index and
            the values of the additional labels.
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
        """The lines uncompressed, which are kept from now on."""
        if self._text is None:
            self._text = bytes(_zlib.decompressobj(_RAW).decompress(self.packed()[0]))
        return self._text

    @property
    def is_long(self) -> bool:
        """True if the lines are long enough to be compressed as a group of their own."""
        return self.size >= _WORTH_PACKING

    def packed(self) -> tuple[bytes, int]:
        """Return the lines compressed (only once), and the checksum of the uncompressed lines."""
        if self._packed is None:
            self._packed = _deflate(self.text, zlib.Z_FULL_FLUSH), _zlib.crc32(self.text)
        return self._packed

    def keep_packed(self) -> None:
        """Keep only the compressed form of long lines, which takes a tenth of the memory."""
        if self.is_long:
            self.packed()
            self._text = None

    def renamed(self, name: str, new: str) -> Lines:
        """Return the same lines under another name."""
        # Each line begins with the name, and line breaks in labels are escaped.
        text = (b"\n" + self.text).replace(f"\n{name}".encode(), f"\n{new}".encode())
        return Lines(text[1:], samples=self.samples)


@cache
def _head_lines(form: Format, family: Family) -> Lines:
    return Lines(head(form, family.base, family.help, family.kind))


class Body:
    """All vendor families at one moment, in every requested format and encoding.

    Attributes:
        packed_groups: The deflated form of each group of short lines, by its text.
    """

    def __init__(
        self,
        families: Sequence[Family],
        lines: Mapping[str, Sequence[Lines]],
        before: Body | None = None,
    ) -> None:
        """Take the families in their order, and the lines by the family's name.

        Groups of lines that are also in the previous body are not compressed again.
        """
        self._families = families
        self._lines = lines
        self._known = before.packed_groups if before is not None else {}
        self._plain: dict[Format, bytes] = {}
        # The beginning of a gzip member; checksum and length of its uncompressed content.
        self._packed: dict[Format, tuple[bytes, int, int]] = {}
        self.packed_groups: dict[bytes, bytes] = {}

    def texts(self, form: Format) -> tuple[bytes, ...]:
        """Return the families uncompressed, in parts."""
        return tuple(part.text for part in self._parts(form))

    def plain(self, form: Format) -> bytes:
        """Return the families uncompressed."""
        if form not in self._plain:
            self._plain[form] = b"".join(self.texts(form))
        return self._plain[form]

    def gzip(self, form: Format, last: bytes) -> tuple[bytes, bytes]:
        """Return the families compressed, and the rest of the gzip member with the last lines."""
        finish(self.pack(form))
        data, crc, size = self._packed[form]
        trailer = struct.pack("<LL", _zlib.crc32(last, crc), (size + len(last)) & 0xFFFFFFFF)
        return data, _deflate(last, zlib.Z_FINISH) + trailer

    def pack(self, form: Format) -> Generator[None, None, None]:
        """Return a generator that compresses the families once and yields at each pause."""
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
            # The groups of the previous page are no longer needed.
            self._known = self.packed_groups

    def size(self) -> int:
        """Return the length of the text format in bytes."""
        return sum(part.size for part in self._parts(Format.TEXT))

    def _parts(self, form: Format) -> Iterable[Lines]:
        for family in self._families:
            lines = self._lines.get(family.name)
            if lines:
                yield _head_lines(form, family)
                yield from lines

    def _deflated(self, group: Sequence[Lines]) -> tuple[bytes, int]:
        """Return a group compressed, and the checksum of its text."""
        if len(group) == 1 and group[0].is_long:
            return group[0].packed()
        text = b"".join([part.text for part in group])
        deflated = self._known.get(text) or _deflate(text, zlib.Z_FULL_FLUSH)
        self.packed_groups[text] = deflated
        return deflated, _zlib.crc32(text)


def finish(generator: Generator[None, None, T]) -> T:
    """Return the value of a generator, after running it to its end without a pause."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return cast("T", stop.value)


def _groups(parts: Iterable[Lines]) -> Generator[list[Lines], None, None]:
    """Yield groups: each of long lines alone, short lines together until they are long enough."""
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
    """Return the CRC-32 of two joined texts, from the CRC-32 of each and the second's length.

    CRC-32 is linear: the first text contributes as much to the result as if it were followed by
    the same number of zeros instead of the second text.
    """
    zeros = memoryview(_ZEROS)[:length] if length <= len(_ZEROS) else bytes(length)
    found: int = _zlib.crc32(zeros, first) ^ _zlib.crc32(zeros) ^ second
    return found


def _deflate(text: bytes, flush: int) -> bytes:
    compressor = _zlib.compressobj(1, zlib.DEFLATED, _RAW)
    return bytes(compressor.compress(text) + compressor.flush(flush))
