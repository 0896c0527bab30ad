"""The documentation is complete, its examples work, its links lead somewhere, and it is true."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from starlette.routing import Mount, Route

from deploy.reference.commands import arguments_of
from deploy.reference.pages import filled
from deploy.reference.site import HOME
from exporter import __version__, cli
from exporter.alerts import table
from exporter.alerts.thresholds import Thresholds
from exporter.config.validation import Section, model_of
from exporter.errors import Reason
from exporter.metrics.own import OWN_FAMILIES
from exporter.settings import flags
from exporter.settings.load import from_data
from exporter.settings.preflights import PREFLIGHTS, PreflightSettings
from exporter.settings.sections import SECTIONS, SOURCES
from exporter.sources.realload import actions
from exporter.sources.registry import FAMILIES, PROVIDERS
from exporter.web.access import config as web_config
from exporter.web.access.config import CURVES
from exporter.web.app import create_app
from tests.deploy.tools import tool
from tests.support.certificates import Authority
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.routing import BaseRoute


ROOT = Path(__file__).parent.parent
DOCS = ROOT / "deploy" / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *sorted((ROOT / "tests").rglob("README.md")),
]
CONFIGURATION = DOCS / "reference" / "configuration.md"
VENDORS = DOCS / "reference" / "fields.md"
REFERENCES = sorted(DOCS.rglob("*.md"))
CHARTS = sorted((ROOT / "deploy" / "helm").glob("*/README.md"))

#: The routes do not depend on the view.
_NO_VIEW: Any = None

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"<!-- begin: .*?<!-- end -->", re.DOTALL)
_PROMISE = re.compile(
    r"\b(?:never|always|at most|survives?|guaranteed?|nothing is lost)\b", re.IGNORECASE
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def documentation() -> str:
    """Return the text of all documents, in which each name has to occur."""
    return "\n".join(map(text_of, REFERENCES))


def undocumented(names: Iterable[str]) -> list[str]:
    """Return the names that no document has as code, alone or followed by a value."""
    code = documentation()
    return [name for name in names if not re.search(rf"`{re.escape(name)}(?=[`=?])", code)]


def blocks(language: str, path: Path) -> list[str]:
    return [content for name, content in _FENCE.findall(text_of(path)) if name == language]


def blocks_with(key: str) -> list[Any]:
    """Return the YAML blocks of README and documents that have a key at their top."""
    pages = [ROOT / "README.md", *REFERENCES]
    found = [yaml.safe_load(block) for path in pages for block in blocks("yaml", path)]
    return [content for content in found if isinstance(content, dict) and key in content]


def models() -> Iterator[tuple[str, type[Section]]]:
    """Yield every model of the configuration and of the web configuration file, with its place."""
    providers = {name: provider.settings for name, provider in PROVIDERS.items()}
    waiting: list[tuple[str, type[Section]]] = [
        *SECTIONS.items(),
        (PREFLIGHTS, PreflightSettings),
        *providers.items(),
        *web_config.SECTIONS.items(),
    ]
    while waiting:
        place, model = waiting.pop()
        yield place, model
        for key, field in model.model_fields.items():
            inner = model_of(field.annotation)
            if inner is not None and issubclass(inner, Section):
                waiting.append((f"{place}.{key}", inner))


# -- It is complete -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        # Other versions than the locked ones, on which the fast lane runs too, state licences
        # in other words.
        pytest.param(path, marks=[pytest.mark.slow] * (path.name == "dependencies.md"))
        for path in [*REFERENCES, *CHARTS]
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_generated_parts_are_up_to_date(path: Path) -> None:
    """A page's generated parts must be as `just docs` would write them."""
    assert filled(text_of(path)) == text_of(path)


@pytest.mark.parametrize(("place", "model"), [pytest.param(*each, id=each[0]) for each in models()])
def test_every_setting_occurs(place: str, model: type[Section]) -> None:
    """Each setting has a row in the table of its section."""
    reference = text_of(CONFIGURATION)

    assert [] == [key for key in model.model_fields if f"| `{key}` |" not in reference]
    assert f"<!-- begin: settings {place} -->" in reference


def test_every_task_kind_and_closed_value_occurs() -> None:
    """Each value of a closed list of a setting is documented."""
    providers = PROVIDERS.values()
    tasks = [task for provider in providers for task in provider.settings.TASKS]
    kinds = [kind for provider in providers for kind in provider.settings.FILTERS]
    closed = [*web_config.CLIENT_AUTH_TYPES, *web_config.TLS_VERSIONS, *web_config.HEADERS]

    assert [] == undocumented([*PROVIDERS, *tasks, *kinds, *closed, *CURVES])


def test_every_flag_occurs() -> None:
    """Each flag is documented, and its environment variable."""
    taken = [name for command in cli.COMMANDS for name, _ in arguments_of(command)]

    assert [] == undocumented(taken)
    assert [] == undocumented(flag.environment for flag in flags.ALL)


def test_every_command_occurs() -> None:
    """Each command is in the table of the reference."""
    page = text_of(DOCS / "reference" / "commands.md")
    rows = re.findall(r"^\| `loadfleet-exporter \[?([\w-]+)", page, re.MULTILINE)

    assert list(cli.COMMANDS) == rows


def test_every_metric_and_reason_occurs() -> None:
    """Each metric and each reason of a failure is documented."""
    own = [family.name for family in OWN_FAMILIES]

    assert [] == undocumented([*(family.name for family in FAMILIES), *own, *Reason])


def test_every_alert_occurs_with_its_runbook() -> None:
    """Each alert has a link to its runbook; another test follows the links."""
    rules = table.rules(Thresholds.model_validate({"suite_overdue": "1d"}))

    assert [] == [rule.name for rule in rules if f"[{rule.name}](" not in documentation()]


def test_every_family_comes_from_somewhere() -> None:
    """The page on the vendors' fields names each family, and no other."""
    rows = "\n".join(line for line in text_of(VENDORS).splitlines() if line.startswith("|"))
    named = {name for name in re.findall(r"`(loadfleet_\w+)`", rows) if "_exporter_" not in name}

    assert {family.name for family in FAMILIES} == named


def test_every_call_that_can_be_sent_occurs() -> None:
    """The page on the vendors' fields lists every call that a client can send."""
    sent = code_of("realload", r"(?:get|ping)[A-Z]\w+") | code_of(
        "blazemeter|eggplant", r"/api/[\w{}-]+/[\w/{}-]+"
    )
    calls = {call.removeprefix("GET ").removeprefix("POST ") for call in code_in(VENDORS)}

    assert actions.READ_ONLY <= sent
    assert set() == sent - calls


def code_of(packages: str, pattern: str) -> set[str]:
    """Return the texts in the code of some vendors' packages that match a pattern."""
    return {
        node.value
        for path in (ROOT / "exporter" / "sources").rglob("*.py")
        if re.fullmatch(packages, path.parent.name)
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(pattern, node.value)
    }


def test_what_a_failure_of_a_pair_logs_is_in_the_code() -> None:
    """The exporter has each metric, event and text in the last column of the failures' tables."""
    page = text_of(DOCS / "how-to" / "high-availability.md")
    section = page.partition("## What happens in a failure")[2].partition("\n## ")[0]
    columns = "\n".join(re.findall(r"^\|.*\|(.+)\|$", section, re.MULTILINE))
    named = set(re.findall(r"`([^`]+)`", columns))
    code = "\n".join(
        node.value
        for path in (ROOT / "exporter").rglob("*.py")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )

    assert len(named) > 15
    assert [] == [each for each in named if each not in code]


def code_in(page: Path) -> set[str]:
    """Return what a page writes as code."""
    return set(re.findall(r"`([^`\n]+)`", text_of(page)))


def test_every_path_occurs() -> None:
    """Each path of the web server is documented."""
    assert [] == undocumented(paths(create_app(_NO_VIEW).routes))


def paths(routes: Iterable[BaseRoute], before: str = "") -> Iterator[str]:
    for route in routes:
        assert isinstance(route, Route | Mount)
        if isinstance(route, Route) or route.path == "/static":
            yield before + route.path
        else:
            yield from paths(route.routes, before + route.path)


def test_the_change_log_has_an_entry() -> None:
    """The newest parts of the change log have entries, each a sentence."""
    unreleased, newest = f"{text_of(ROOT / 'CHANGELOG.md')}\n## ".split("\n## ")[1:3]
    entries = re.findall(r"^- (.+)$", unreleased + newest, re.MULTILINE)

    assert entries
    broken = [entry for entry in entries if not entry.endswith(".")]
    assert [] == broken, "an entry is one line that ends in a full stop"


# -- Its links lead somewhere -------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(path: Path) -> None:
    """A link into the repository names a file of it, and a heading in it."""
    dead = []
    for link in _LINK.findall(_FENCE.sub("", text_of(path))):
        name, _, anchor = link.partition("#")
        folder = ROOT if name.startswith(HOME) else path.parent
        name = name.removeprefix(HOME)
        if "://" in name:
            continue
        target = (folder / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)

    assert [] == dead


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- What it says of the code is there ------------------------------------------------------------

DEVELOPMENT = sorted((DOCS / "development").glob("*.md"))

_PATH = re.compile(r"`((?:exporter|tests|deploy|grafana)/[\w./*-]+)`")
_NAME_IN_MODULE = re.compile(r"`(\w+(?:\.\w+)?)`\s+in\s+`(exporter/[\w/]+\.py)`")


@pytest.mark.parametrize("path", DEVELOPMENT, ids=lambda path: path.name)
def test_a_path_in_the_repository_is_there(path: Path) -> None:
    """A reader who is sent to a module finds it."""
    assert [] == [each for each in _PATH.findall(text_of(path)) if not list(ROOT.glob(each))]


@pytest.mark.parametrize("path", DEVELOPMENT, ids=lambda path: path.name)
def test_a_name_is_in_its_module(path: Path) -> None:
    """A function, class or constant that a page places in a module is defined there."""
    lost = [
        f"{name} in {module}"
        for name, module in _NAME_IN_MODULE.findall(text_of(path))
        if name not in defined_in(ROOT / module)
    ]

    assert [] == lost


@pytest.mark.parametrize("path", DEVELOPMENT, ids=lambda path: path.name)
def test_a_command_for_developers_is_there(path: Path) -> None:
    """Tests, modules, scripts and verbs of `just` that the shell blocks of a page name exist."""
    verbs = re.findall(r"^(\w+).*:$", text_of(ROOT / "justfile"), re.MULTILINE)
    code = "".join(blocks("sh", path))
    modules = [each.replace(".", "/") for each in re.findall(r"\bpython -m (tests[\w.]+)", code)]
    named = re.findall(r"(?<=\s)((?:tests|\.ci)/[\w/.]+)(?:::(\w+))?", f" {code}")

    assert [] == [
        verb for verb in re.findall(r"^just (\w+)", code, re.MULTILINE) if verb not in verbs
    ]
    assert [] == [
        each
        for each in modules
        if not [*ROOT.glob(f"{each}.py"), *ROOT.glob(f"{each}/__main__.py")]
    ]
    assert [] == [name for name, _ in named if not (ROOT / name).exists()]
    assert [] == [
        test for name, test in named if test and f"def {test}(" not in text_of(ROOT / name)
    ]


def test_contributors_make_the_environment_of_the_readme() -> None:
    """CI runs the README's block; contributors are given the same commands."""
    (block,) = re.findall(
        r"<!-- test -->\n```sh\n(.*?)^```", text_of(ROOT / "README.md"), re.MULTILINE | re.DOTALL
    )
    page = text_of(ROOT / "CONTRIBUTING.md")

    assert [] == [line for line in block.splitlines()[:-1] if line not in page]


def test_a_term_names_its_module() -> None:
    """Each term of the glossary is there once, in the order of the alphabet, with one module."""
    page = text_of(DOCS / "development" / "glossary.md")
    sections = [
        re.findall(r"^\| (.+?) \| (.+) \| (.+) \|$", each, re.MULTILINE)[2:]
        for each in page.split("\n## ")
    ]
    rows = [row for section in sections for row in section]

    assert len(rows) > 60
    assert len(rows) == len({term for term, _, _ in rows})
    assert [] == [term for term, text, _ in rows if not text.endswith(".") or ". " in text]
    assert [] == [
        term for term, _, module in rows if not re.fullmatch(r"`exporter/[\w/]+\.py`", module)
    ]
    for section in sections:
        assert sorted(section) == section


@cache
def defined_in(module: Path) -> set[str]:
    """Return what a module defines at its top, and the methods as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(text_of(module)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                inner = (
                    each
                    for each in body
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                )
                found |= {name, *(f"{name}.{each.name}" for each in inner)}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


# -- Its examples work --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(blocks_with(SOURCES))))
def test_a_configuration_is_right(number: int, tmp_path: Path) -> None:
    """The exporter accepts each example of a configuration, once the secrets' files exist."""
    settings = from_data(with_files(blocks_with(SOURCES)[number], tmp_path))

    assert settings.sources


def test_the_preflight_of_the_reference_is_right() -> None:
    """The exporter accepts the reference's preflight beside a source of that name."""
    (block,) = [each for each in blocks("yaml", CONFIGURATION) if each.startswith("preflights:")]
    source = {"provider": "realload", "name": "prod", "url": "http://portal", "auth_token": "x"}

    settings = from_data({"sources": [source], **yaml.safe_load(block)})

    assert ["nightly-checkout"] == [each.name for each in settings.preflights]


def test_the_kubernetes_example_holds_a_right_configuration(tmp_path: Path) -> None:
    """The exporter accepts the configuration within the patch of the ConfigMap."""
    (patch,) = kustomization()["patches"]
    content = yaml.safe_load(yaml.safe_load(patch["patch"])["data"]["loadfleet.yml"])

    assert from_data(with_files(content, tmp_path)).sources


def test_the_kubernetes_example_is_rendered(tmp_path: Path) -> None:
    """The kustomization of the how-to changes image, namespace and configuration of the base."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization()))

    result = subprocess.run(
        [tool("kubectl"), "kustomize", tmp_path], capture_output=True, text=True, check=False
    )

    assert 0 == result.returncode, result.stderr
    assert f"image: ghcr.io/loadfleet/loadfleet-exporter:{__version__}" in result.stdout
    assert "namespace: loadfleet" in result.stdout


def kustomization() -> dict[str, Any]:
    found: list[dict[str, Any]] = blocks_with("images")
    return found[0]


def with_files(data: Any, folder: Path) -> Any:
    """Return a configuration in which every file it names is one of the test's."""
    if isinstance(data, list):
        return [with_files(each, folder) for each in data]
    if not isinstance(data, dict):
        return data
    return {
        key: str(some_file(key, folder)) if key.endswith("_file") else with_files(value, folder)
        for key, value in data.items()
    }


def some_file(key: str, folder: Path) -> Path:
    path = folder / key
    contents = {
        "api_key_file": '{"id": "abc", "secret": "def"}',
        "heartbeat_url_file": "https://heartbeat.example/abc",
    }
    path.write_text(contents.get(key, "token"))
    return path


def test_the_web_configuration_is_right(tmp_path: Path) -> None:
    """The exporter accepts the web configuration files of the how-to, each and all together."""
    parts = [yaml.safe_load(each) for each in blocks("yaml", DOCS / "how-to" / "tls.md")]
    parts = [each for each in parts if "scrape_configs" not in each]
    authority = Authority(tmp_path)
    authority.issue(name="tls")
    authority.path.rename(tmp_path / "ca.crt")
    whole: dict[str, Any] = {}
    for part in parts:
        parsed = web_config.parse(yaml.safe_dump(part).encode(), path=tmp_path / "web.yml")
        assert bool(parsed.tls) == ("tls_server_config" in part)
        whole |= part

    parsed = web_config.parse(yaml.safe_dump(whole).encode(), path=tmp_path / "web.yml")

    assert ["prometheus"] == list(parsed.users)


@pytest.mark.parametrize("number", range(len(blocks_with("scrape_configs"))))
def test_prometheus_takes_its_configuration(number: int, tmp_path: Path) -> None:
    """Prometheus accepts each scrape configuration of the documents."""
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(blocks_with("scrape_configs")[number]))

    result = subprocess.run(
        [require("promtool"), "check", "config", "--syntax-only", path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == result.returncode, result.stderr


def calls() -> Iterator[str]:
    """Yield the arguments of each call of the exporter in the pages, but for `--version`."""
    for path in PAGES:
        for block in blocks("sh", path):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"sudo|[A-Z_]+=.*", words[0]):
                    del words[0]
                called = bool(words) and Path(words[0]).name == "loadfleet-exporter"
                if called and words[1:] != ["--version"]:
                    signs = (each for each in words if re.fullmatch(r"2?>|&", each))
                    end = words.index(sign) if (sign := next(signs, "")) else None
                    yield shlex.join(words[1:end])


@pytest.mark.parametrize("arguments", sorted(set(calls())))
def test_a_command_is_taken(arguments: str) -> None:
    """The exporter's parser accepts each call of the exporter in the documents."""
    assert cli.parse(shlex.split(arguments)).command in cli.COMMANDS


#: The tests that run the shell blocks of the how-to pages, but for calls of the exporter alone.
#: The sections of the page on installing are run by tests in many files.
RUN_BY = {
    "alerting.md": ["rules/test_rules.py"],
    "compose.md": ["deploy/test_compose.py"],
    "dashboards.md": ["dashboards/test_drift.py"],
    "helm.md": ["deploy/test_helm_install.py"],
    "high-availability.md": [
        "deploy/test_compose.py",
        "deploy/test_kubernetes.py",
        "e2e/test_pair_page.py",
    ],
    "kubernetes.md": ["deploy/test_kubernetes.py"],
    "preflight.md": ["e2e/test_preflight_page.py"],
    "push.md": ["compat/test_push.py"],
    "systemd.md": ["deploy/test_systemd.py"],
    "tls.md": ["e2e/test_secured.py"],
}


def test_every_shell_block_is_tried() -> None:
    """A test runs each block that has more than calls of the exporter, whose flags are checked."""
    pages = [path for path in (DOCS / "how-to").glob("*.md") if path.name != "install.md"]
    more = {
        path.name
        for path in pages
        for line in "".join(blocks("sh", path)).replace("\\\n", " ").splitlines()
        if line and not re.match(r"(?:[A-Z_]+=\S+ +)*loadfleet-exporter ", line)
    }

    assert set(RUN_BY) == more
    assert [] == [
        (page, module)
        for page, modules in RUN_BY.items()
        for module in modules
        if f'"{page}"' not in text_of(ROOT / "tests" / module)
    ]
    # What is indented is no block to these tests.
    assert [] == [path.name for path in pages if re.search(r"^ +```", text_of(path), re.MULTILINE)]


# -- Its promises are tested ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    # The others are about the vendors and about the code.
    [path for path in REFERENCES if path.parent.name not in {"vendors", "development"}],
    ids=lambda path: str(path.relative_to(DOCS)),
)
def test_a_promise_names_its_test(path: Path) -> None:
    """A page that promises has a section `Tests`: a table of its promises, each with a test."""
    rows = table_of_tests(text_of(path))
    promises = _PROMISE.findall(_GENERATED.sub("", _FENCE.sub("", text_of(path))))

    assert rows or not promises, promises
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        assert named, row
        for name, test in named:
            assert (ROOT / name).exists(), row
            assert not test or f"def {test}(" in text_of(ROOT / name), row


def table_of_tests(page: str) -> list[str]:
    """Return the rows of the table in a page's section `Tests`."""
    section = page.partition("\n## Tests\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_where_to_look_is_there() -> None:
    """Each name in the table is a heading, a column, a panel or a variable that exists."""
    boards = [json.loads(path.read_text()) for path in (ROOT / "grafana/dashboards").glob("*.json")]
    templates = ROOT / "exporter" / "web" / "templates"
    pages = "".join(path.read_text() for path in templates.glob("*.html"))
    known = {board["title"] for board in boards}
    known |= {board["title"].partition(": ")[2] for board in boards}
    known |= {panel["title"] for board in boards for panel in board["panels"]}
    known |= {each["label"] for board in boards for each in board["templating"]["list"]}
    known |= set(re.findall(r"<h2[^>]*>([^<{]+?) ?[<{]", pages))
    known |= set(re.findall(r'head\(filters, "([^"]+)"', pages))
    table = text_of(DOCS / "how-to" / "where-to-look.md")

    named = set(re.findall(r"\*([^*\n]+)\*", table))

    assert len(named) > 15
    assert set() == named - known
