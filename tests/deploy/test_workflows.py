"""The files for GitHub and the configuration of Renovate, as far as they can be checked here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from exporter.sources.registry import BUILT_IN
from tests.deploy.locks import ROOT
from tests.deploy.tools import tool
from tests.deploy.workflows import FILES, FOLDER, RELEASE, workflow


#: The jobs that publish, with the permissions that each needs for it.
PUBLISHING = {
    "site": {"pages", "id-token"},
    "pypi": {"id-token"},
    "image": {"packages", "id-token", "attestations"},
    "chart": {"packages", "id-token", "attestations"},
    "release": {"contents", "id-token", "attestations"},
}

SCRIPTS = [
    path for path in sorted((ROOT / ".ci").iterdir()) if os.access(path, os.X_OK) and path.is_file()
]

CHOOSER = ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted(set(CHOOSER.parent.iterdir()) - {CHOOSER})

RENOVATE = ROOT / ".github" / "renovate.json"


# -- As linters judge them ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("actionlint", *FILES),
        ("zizmor", "--offline", "--quiet", "--strict-collection", "--persona=auditor", FOLDER),
        ("check-jsonschema", "--builtin-schema=vendor.github-workflows", *FILES),
        ("check-jsonschema", "--builtin-schema=vendor.renovate", RENOVATE),
        ("check-jsonschema", "--builtin-schema=vendor.github-issue-forms", *FORMS),
        ("check-jsonschema", "--builtin-schema=vendor.github-issue-config", CHOOSER),
        # SC2016: apt, sed and awk have dollars of their own in single quotes.
        ("shellcheck", "--external-sources", "--exclude=SC2016", *SCRIPTS),
    ],
    ids=lambda command: command[0],
)
def test_a_linter_finds_nothing(command: tuple[str | Path, ...]) -> None:
    """The linters must find nothing in workflows, scripts and configuration."""
    program, *arguments = command
    path = os.pathsep.join([str(Path(tool("shellcheck")).parent), os.environ["PATH"]])

    done = subprocess.run(
        [tool(str(program)), *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_a_reporter_finds_the_provider() -> None:
    """The form for bugs offers each provider that comes with the exporter."""
    form = workflow(CHOOSER.with_name("bug.yml"))
    (field,) = (each for each in form["body"] if each.get("id") == "provider")

    assert set() == {*BUILT_IN} - {*field["attributes"]["options"]}


# -- What no linter asks ------------------------------------------------------------------------


def uses() -> list[tuple[str, str, str]]:
    """Return each foreign action with its commit and the comment behind it."""
    return [
        found
        for path in FILES
        for found in re.findall(
            r"\buses: (?!\$/)([^@\s]+)@?(\S*)(.*)$", path.read_text(), re.MULTILINE
        )
    ]


def test_actions_are_pinned_by_commit() -> None:
    """Actions must be pinned by commit, with the version beside it."""
    loose = [
        name
        for name, commit, comment in uses()
        if not re.fullmatch(r"[0-9a-f]{40}", commit)
        or not re.fullmatch(r" # v\d+\.\d+\.\d+", comment)
    ]

    assert [] == loose


def test_an_action_has_one_commit() -> None:
    """An update that forgets a place would go on with the old code there."""
    assert len({name for name, _, _ in uses()}) == len(set(uses()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_job_has_no_permission_that_it_does_not_name(path: Path) -> None:
    """The token of a job that runs others' code can do no more than read."""
    content = workflow(path)
    writing = {
        name: {key for key, value in job["permissions"].items() if value == "write"}
        for name, job in content["jobs"].items()
    }

    assert {} == content["permissions"]
    assert {name: needed for name, needed in writing.items() if needed} == (
        PUBLISHING if path.name == "release.yml" else {}
    )


def test_nothing_is_published_unless_everything_passed() -> None:
    """A job that publishes waits for tag, tests and build, and no condition lets it go on."""
    jobs = RELEASE["jobs"]
    conditions = {name: jobs[name]["if"] for name in PUBLISHING if "if" in jobs[name]}

    assert {} == {
        name: jobs[name]["needs"]
        for name in PUBLISHING
        if not {"verify", "tests", "build"} <= set(jobs[name]["needs"])
    }
    # To such a condition GitHub adds that everything before has succeeded.
    assert {"site": "needs.verify.outputs.latest == 'true'"} == conditions
    assert {"pypi", "image", "chart"} <= set(jobs["release"]["needs"])
    assert "$/.github/workflows/ci.yml" == jobs["tests"]["uses"]
    assert "workflow_call" in workflow(FOLDER / "ci.yml")[True]
    assert not re.search(r"continue-on-error|always\(\)|cancelled\(\)", FILES[-1].read_text())


def test_a_release_begins_with_a_pushed_tag_alone() -> None:
    """Only a pushed tag may start a release."""
    assert {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+*"]}} == RELEASE[True]


def scripts() -> set[str]:
    """Return the project's scripts that workflows call."""
    steps = [
        each
        for path in FILES
        for job in workflow(path)["jobs"].values()
        for each in job.get("steps", ())
    ]
    return {
        name for each in steps for name in re.findall(r"(?<![\w/])\.ci/\w+", each.get("run", ""))
    }


def test_the_scripts_of_the_workflows_are_there() -> None:
    """A script that was renamed must not be found missing by a release."""
    assert {".ci/run", ".ci/build", ".ci/block"} <= scripts()
    assert [] == [name for name in sorted(scripts()) if not os.access(ROOT / name, os.X_OK)]


def test_renovate_looks_where_versions_are_pinned() -> None:
    """A pin that nothing renews grows old; Python's lock is renewed by `just lock`."""
    configuration = json.loads(RENOVATE.read_text())

    files = {
        "docker-compose": "deploy/compose/compose.yml",
        "dockerfile": "Dockerfile",
        "github-actions": ".github/workflows/release.yml",
        "npm": "tests/grafana/package.json",
        "pep621": "pyproject.toml",
        "pip_requirements": ".ci/helm.txt",
    }
    assert set(files) <= set(configuration["enabledManagers"])
    assert [] == [name for name in files.values() if not (ROOT / name).exists()]
    (pattern,) = configuration["pip_requirements"]["managerFilePatterns"]
    assert re.search(pattern.strip("/"), files["pip_requirements"])
    assert not re.search(r'"automerge": *true', RENOVATE.read_text())
