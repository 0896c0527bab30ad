from __future__ import annotations

import exporter.alerts
import exporter.daemon
from deploy.reference.modules import table_of_modules


def test_lists_packages_and_modules_in_their_own_words() -> None:
    """Packages and modules must be listed by layer, with their own docstrings."""
    listed = table_of_modules()

    for name, module in (("alerts/", exporter.alerts), ("daemon.py", exporter.daemon)):
        assert module.__doc__ is not None
        purpose = module.__doc__.partition("\n\n")[0]
        assert f"| `{name}` | {purpose}" in listed
    assert listed.index("`cli.py`") < listed.index("`web/`") < listed.index("`errors.py`")
    assert "__init__" not in listed
