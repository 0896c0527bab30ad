"""Pages as trees, so that tests check links and cells, and not their HTML text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator


_WITHOUT_END = frozenset({"br", "img", "input", "link", "meta"})


class Element:
    """A part of a page."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    @property
    def text(self) -> str:
        """The element's text in one line."""
        return " ".join(self.raw_text.split())

    @property
    def raw_text(self) -> str:
        """The element's text, with its blanks and line ends."""
        return "".join(
            child if isinstance(child, str) else child.raw_text for child in self.children
        )

    @property
    def classes(self) -> list[str]:
        """The element's CSS classes."""
        return self.attributes.get("class", "").split()

    def everything(self) -> Iterator[Element]:
        """Iterate over the elements within, in the order of the page."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.everything()

    def all(self, tag: str, *classes: str, **attributes: str) -> list[Element]:
        """Find elements within, in the order of the page.

        Args:
            tag: The tag's name.
            classes: CSS classes that an element must have.
            attributes: Attributes' values; an underscore stands for a hyphen.
        """
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [
            found
            for found in self.everything()
            if found.tag == tag
            and set(classes) <= set(found.classes)
            and wanted.items() <= found.attributes.items()
        ]

    def one(self, tag: str, *classes: str, **attributes: str) -> Element:
        """Find the only such element within."""
        (found,) = self.all(tag, *classes, **attributes)
        return found

    def cells(self, label: str) -> list[Element]:
        """Find the cells of a table's column by its label."""
        return self.all("td", data_label=label)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _WITHOUT_END:
            found = self.open[-1].children[-1]
            assert isinstance(found, Element)
            self.open.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        assert len(attrs) == len(attributes), f"an attribute of <{tag}> is given twice"
        self.open[-1].children.append(Element(tag, attributes))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop().tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(page: str) -> Element:
    """Read a page in which every element is closed."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    (whole,) = reader.open
    return whole
