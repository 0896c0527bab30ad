"""The built image: its labels, and its run with few privileges."""

from __future__ import annotations

import json
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name
from prometheus_client.parser import text_string_to_metric_families

from exporter import __version__
from tests.deploy.image import CREATED, REVISION, ROOT
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.image import Image


#: The first test builds: a base system, two rounds of Debian's packages, the wheels.
pytestmark = pytest.mark.timeout(900)

PYTHON = "/opt/loadfleet/bin/python"
#: Limits in bytes, a tenth above what version 0.1.0 adds to its base.
LIMITS = {"unpacked": 104_000_000, "layers": 38_000_000}
TOKEN = {"auth_token": "invented"}
FETCH = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:10871/metrics').read().decode())"
)


def built(page: str) -> dict[str, str]:
    """Return the build information of a page of metrics."""
    families = {each.name: each for each in text_string_to_metric_families(page)}
    (sample,) = families["loadfleet_exporter_build_info"].samples
    return sample.labels


async def test_it_runs_unprivileged_on_a_read_only_root(image: Image) -> None:
    """The image must serve metrics as nobody, where nothing can be written."""
    closed = ("--cap-drop=all", "--security-opt=no-new-privileges")
    with image.engine.run("demo", options=closed) as container:
        pages: list[str] = []

        def served() -> bool:
            pages.append(container.execute(PYTHON, "-c", FETCH)[1])
            return "loadfleet_agent_up{" in pages[-1]

        await until(served)
        _, status = container.execute("cat", "/proc/1/status")

        assert "Name:\tloadfleet-expor" in status
        assert "Uid:\t65532\t65532\t65532\t65532" in status
        assert "CapBnd:\t0000000000000000" in status
        for file in ("/etc/loadfleet/file", "/var/lib/loadfleet/file", "/opt/loadfleet/file"):
            code, output = container.execute("touch", file)
            assert (1, True) == (code, "Read-only" in output)
        assert {"version": __version__, "revision": REVISION}.items() <= built(pages[-1]).items()


async def test_a_volume_takes_the_state(image: Image) -> None:
    """The daemon's user must be able to write where a volume for the state is mounted."""
    volume = "--volume=/var/lib/loadfleet"
    with image.engine.run("demo", options=(volume,)) as container:
        await until(lambda: "event=started" in container.log)

        written = container.execute("touch", "/var/lib/loadfleet/file")

    assert (0, "") == written


async def test_sigterm_ends_it_well(image: Image) -> None:
    """As process 1, the program must end with 0 on SIGTERM."""
    with image.engine.run("demo") as container:
        await until(lambda: "event=started" in container.log)

        code = container.kill("TERM")

        assert 0 == code
        assert "event=stopped" in container.log


async def test_the_health_check_tells(image: Image) -> None:
    """The image's own check must fail while nobody listens where it looks, and else succeed."""
    with image.engine.run("demo", "--web.listen-address=127.0.0.1:10872") as container:
        await until(lambda: "event=started" in container.log)
        elsewhere = container.healthy
    with image.engine.run("demo") as container:
        await until(lambda: "event=started" in container.log)
        here = container.healthy

    assert (False, True) == (elsewhere, here)


async def test_a_mounted_configuration_is_found(image: Image, tmp_path: Path) -> None:
    """A file put where the image starts the daemon must be its configuration without a flag."""
    file = tmp_path / "loadfleet.yml"
    source = {"provider": "realload", "name": "mounted", "url": "http://127.0.0.1:1/", **TOKEN}
    file.write_text(json.dumps({"sources": [source]}))

    volume = f"--volume={file}:/etc/loadfleet/loadfleet.yml:ro"
    with image.engine.run(options=(volume,)) as container:
        await until(lambda: "event=started" in container.log)
        _, page = container.execute(PYTHON, "-c", FETCH)

    assert 'source="mounted"' in page


def test_it_needs_no_shell(image: Image) -> None:
    """The entry point must be a program of its own, found without a shell."""
    (program,) = image.config["Entrypoint"]
    first_line = (image.root / program.lstrip("/")).read_text().splitlines()[0]

    assert f"#!{PYTHON}" == first_line
    assert not image.config.get("Cmd")


def test_its_user_is_a_number(image: Image) -> None:
    """Kubernetes can see of a number only that it is not root."""
    assert "65532:65532" == image.config["User"]


def test_it_is_labelled(image: Image) -> None:
    """The image's labels must name its version, origin, base and licence."""
    labels = image.config["Labels"]

    assert {
        "title": "loadfleet-exporter",
        "version": __version__,
        "revision": REVISION,
        "created": CREATED,
        "licenses": "Apache-2.0",
        "source": "https://github.com/loadfleet/loadfleet-exporter",
        "base.name": "docker.io/library/debian:trixie-slim",
        "base.digest": image.base_digest,
    }.items() <= {
        key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()
    }.items()


def test_its_runbooks_are_inside(image: Image) -> None:
    """The image must contain all runbooks, for readers without the internet."""
    served = image.root.glob("opt/loadfleet/lib/*/site-packages/exporter/web/runbooks/*")

    written = {path.name for path in (ROOT / "deploy" / "runbooks").iterdir()}
    assert written == {path.name for path in served}


def test_nothing_of_the_build_stays(image: Image) -> None:
    """Neither build tools nor the build machine's configuration may be in the image."""
    packages = [path.name for path in image.root.glob("opt/loadfleet/lib/*/site-packages/*")]

    assert not (image.root / "etc/pip.conf").exists()
    assert not (image.root / "opt/build").exists()
    assert not (image.root / "usr/bin/pip").exists()
    assert [] == [name for name in packages if name.startswith(("pip", "hatchling", "pytest"))]
    assert [] == list((image.root / "var/lib/apt/lists").glob("*"))


def test_its_sbom_lists_the_packages_inside(image: Image) -> None:
    """A scanner must find every package in the list, and nothing in the list that is not inside."""
    text = (image.root / "opt/loadfleet/loadfleet-exporter.cdx.json").read_text()
    sbom = json.loads(text)
    listed = [*sbom["components"], sbom["metadata"]["component"]]
    installed = distributions(
        path=[*map(str, image.root.glob("opt/loadfleet/lib/*/site-packages"))]
    )

    assert {(canonicalize_name(each.name), each.version) for each in installed} == {
        (canonicalize_name(each["name"]), each["version"]) for each in listed
    }
    assert "file:" not in text


def test_it_can_be_changed_by_root_only(image: Image) -> None:
    """Only root may change the program, even when the root file system is writable."""
    owned = [
        str(path)
        for folder in ("opt/loadfleet", "etc/loadfleet")
        for path in [image.root / folder, *(image.root / folder).rglob("*")]
        if path.lstat().st_uid != 0
    ]

    assert [] == owned


def test_it_is_small(image: Image) -> None:
    """The image's own layers must stay below the size limits, packed and unpacked."""
    added = {"unpacked": image.added_bytes, "layers": sum(image.layer_bytes)}

    assert {} == {name: size for name, size in added.items() if size > LIMITS[name]}, added
