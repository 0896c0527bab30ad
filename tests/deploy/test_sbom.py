"""Supply chain: the SBOM of a build, and the licences of its packages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import canonicalize_name

from deploy.reference.licences import licences
from exporter import __version__
from tests.deploy.locks import IMAGE, ROOT, pins, requirement
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.slow

#: Licences that make no demand on the exporter's own licence.
_ALLOWED = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "PSF-2.0"),
    "MPL-2.0",  # asks for the sources of its own files alone, which certifi's wheel holds
}


def pinned() -> dict[str, str]:
    """Return the versions of the image's packages for this system."""
    wanted = map(requirement, pins(IMAGE[0]).values())
    return {
        canonicalize_name(each.name): next(iter(each.specifier)).version
        for each in wanted
        if each.marker is None or each.marker.evaluate()
    }


def test_a_build_has_one_of_each(dist: Path) -> None:
    """Sdist, wheel, SBOM and chart must bear the version."""
    require("helm")

    assert [
        f"loadfleet-exporter-{__version__}.cdx.json",
        f"loadfleet-exporter-{__version__}.tgz",
        f"loadfleet_exporter-{__version__}-py3-none-any.whl",
        f"loadfleet_exporter-{__version__}.tar.gz",
    ] == sorted(path.name for path in dist.iterdir())


def test_the_sbom_lists_every_package_of_the_image(dist: Path) -> None:
    """A scanner must find exactly the versions that are installed, and who needs them."""
    (path,) = dist.glob("*.cdx.json")
    sbom: dict[str, Any] = json.loads(path.read_text())
    needed = {name for each in sbom["dependencies"] for name in each.get("dependsOn", ())}

    assert ("CycloneDX", "1.6") == (sbom["bomFormat"], sbom["specVersion"])
    assert ("loadfleet-exporter", __version__) == (
        sbom["metadata"]["component"]["name"],
        sbom["metadata"]["component"]["version"],
    )
    assert pinned() == {
        canonicalize_name(each["name"]): each["version"] for each in sbom["components"]
    }
    assert all(each["purl"].startswith("pkg:pypi/") for each in sbom["components"])
    assert {each["bom-ref"] for each in sbom["components"]} == needed
    assert str(ROOT) not in path.read_text()


def test_no_licence_makes_demands() -> None:
    """A package that may not be passed on with the image must not get into it unseen."""
    unknown = {
        name: text
        for name, text in licences().items()
        if not set(text.replace(" AND ", " OR ").split(" OR ")) <= _ALLOWED
    }

    assert {} == unknown
