from __future__ import annotations

from deploy.reference.modules import table_of_modules


def test_lists_packages_and_modules_in_their_own_words() -> None:
    """Packages come first; what begins a package is told under the package's name."""
    listed = table_of_modules()

    assert "| `alerts/` | From what is known" in listed
    assert "| `daemon.py` | The daemon" in listed
    assert listed.index("`web/`") < listed.index("`__main__.py`")
    assert "`__init__.py`" not in listed
