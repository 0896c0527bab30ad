"""The runbooks as pages. What they say is judged in tests/rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx
import pytest

from exporter.alerts.settings import AlertingSettings
from exporter.alerts.thresholds import RUNBOOK_URL
from exporter.web.app import create_app
from exporter.web.endpoints.runbooks import Block, Runbooks, Span
from tests.support.markup import parse
from tests.web import fakes


if TYPE_CHECKING:
    from tests.support.markup import Element


FILES = sorted((Path(__file__).parents[3] / "deploy" / "runbooks").glob("*.md"))
TEXTS = {path.stem: path.read_text() for path in FILES}
NAMES = list(TEXTS)


#: One application for all tests: runbooks do not depend on the view.
APP = create_app(fakes.FakeView())

each = pytest.mark.parametrize("name", NAMES)


async def ask(path: str) -> httpx.Response:
    transport = httpx.ASGITransport(APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        return await client.get(path)


async def get(path: str) -> Element:
    """Return a page that is there."""
    answer = await ask(path)
    assert 200 == answer.status_code
    return parse(answer.text)


@each
async def test_a_runbook_is_a_page(name: str) -> None:
    """A runbook's page must have its title, sections and code, and need no script."""
    text = TEXTS[name]
    fences = re.findall(r"^```\w+\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)

    page = await get(f"/runbooks/{name}")

    article = page.one("article")
    assert f"{name}: runbook" == page.one("title").text
    assert name == page.one("h1").text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [h2.text for h2 in page.all("h2")]
    assert fences == [block.raw_text for block in article.all("pre")]
    assert len(re.findall(r"^- ", text, re.MULTILINE)) == len(article.all("li"))
    assert [] == page.all("script")


@each
async def test_no_markdown_is_left_over(name: str) -> None:
    """No Markdown syntax may be left over in the page."""
    page = await get(f"/runbooks/{name}")

    for element in page.one("article").everything():
        if element.tag in {"p", "li", "h1", "h2"}:
            text = "".join(child for child in element.children if isinstance(child, str))
            assert not re.search(r"`|\]\(|\*\*|^#|^- |^\|", text)


async def test_the_file_s_name_works_as_well() -> None:
    """An alert's address ends in `.md`, as that of a file in the repository does."""
    with_suffix, without = [await ask(f"/runbooks/{NAMES[0]}{end}") for end in (".md", "")]

    assert (200, without.content) == (with_suffix.status_code, with_suffix.content)


async def test_all_of_them_are_listed() -> None:
    """The index must link to every runbook."""
    page = await get("/runbooks/")

    assert NAMES == [link.attributes["href"] for item in page.all("li") for link in item.all("a")]


@pytest.mark.parametrize(
    "name", ["LoadFleetAgentUnreachabel", "AgentUnreachable", "agentunreachable.md"]
)
async def test_an_unknown_one_leads_to_the_nearest(name: str) -> None:
    """An unknown name must be 404 with a link to the nearest one."""
    answer = await ask(f"/runbooks/{name}")

    link = parse(answer.text).one("p", "headline").one("a")
    assert (404, "LoadFleetAgentUnreachable") == (answer.status_code, link.attributes["href"])


async def test_what_was_asked_for_is_not_repeated() -> None:
    """An unknown address must not be repeated in the page."""
    answer = await ask("/runbooks/<script>zzzzzz")

    assert 404 == answer.status_code
    assert "zzzzzz" not in answer.text
    assert [] == parse(answer.text).one("p", "headline").all("a")


@pytest.mark.parametrize("path", ["runbooks/", "runbooks/LoadFleetSourceDown", "runbooks/unknown"])
@pytest.mark.parametrize("prefix", ["", "/team/fleet"])
async def test_every_link_holds(prefix: str, path: str) -> None:
    """All that the page links to or loads is there, wherever it is mounted."""
    here = f"{prefix}/{path}"

    async with fakes.browsing(fakes.FakeView(), route_prefix=prefix) as client:
        page = parse((await client.get(here)).text)
        links = {
            value
            for element in page.everything()
            for name, value in element.attributes.items()
            if name in {"href", "src"} and not value.startswith("#")
        }
        found = {link: (await client.get(urljoin(here, link))).status_code for link in links}

    assert dict.fromkeys(links, 200) == found
    assert {"../", "../metrics", "../static/style.css"} <= {
        link.partition("?")[0] for link in links
    }


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("https://wiki/", "https://wiki/LoadFleetAgentUnreachable.md"),
        (RUNBOOK_URL, "runbooks/LoadFleetAgentUnreachable"),
    ],
    ids=["configured", "default"],
)
async def test_the_board_leads_there(folder: str, expected: str) -> None:
    """An alert on the board must link to its runbook, by default the exporter's own."""
    view = fakes.FakeView(fakes.agent(up=False), alerting=AlertingSettings(runbook_url=folder))

    async with fakes.browsing(view) as client:
        page = parse((await client.get("/")).text)

    (cell,) = page.cells("Alert")
    assert expected == cell.one("a").attributes["href"]


def test_each_form_is_understood(tmp_path: Path) -> None:
    """Headings, paragraphs, lists, code and links must be parsed, and tags stay text."""
    (tmp_path / "LoadFleetX.md").write_text(
        "# LoadFleetX\n\n## Part\n\nA `b` and\n[c](d.md) <b>.\n\n- one\n  more\n- two\n\n"
        "```sh\na `b`  # - c\n\nd\n```\n"
    )

    blocks = Runbooks(tmp_path).blocks("LoadFleetX")

    assert (
        Block("title", ((Span("LoadFleetX"),),)),
        Block("heading", ((Span("Part"),),)),
        Block(
            "paragraph",
            (
                (
                    Span("A "),
                    Span("b", code=True),
                    Span(" and "),
                    Span("c", address="d.md"),
                    Span(" <b>."),
                ),
            ),
        ),
        Block("list", ((Span("one more"),), (Span("two"),))),
        Block("code", ((Span("a `b`  # - c\n\nd", code=True),),)),
    ) == blocks
