"""The schemas of Kubernetes and of the Prometheus operator's own kinds."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import kubernetes_validate


if TYPE_CHECKING:
    from collections.abc import Iterable


OPERATOR_API = "monitoring.coreos.com/v1"


def check(objects: Iterable[dict[str, Any]], *, oldest: str | None = None) -> None:
    """Check that an API server with the operator's kinds accepts the objects and their fields.

    Args:
        objects: The objects of a rendered manifest.
        oldest: The oldest version of an API server that must accept them.
    """
    for each in objects:
        if each["apiVersion"] == OPERATOR_API:
            model = _models()[each["kind"]].model_validate(each)
            # The models leave out what they do not know.
            assert each == model.model_dump(mode="json", by_alias=True, exclude_unset=True)
        else:
            for version in {oldest, kubernetes_validate.latest_version()} - {None}:
                kubernetes_validate.validate(each, version, strict=True)


@cache
def _models() -> dict[str, Any]:
    from cloudcoil.models.prometheus_operator import v1  # noqa: PLC0415 - takes seconds

    return {"PrometheusRule": v1.PrometheusRule, "ServiceMonitor": v1.ServiceMonitor}
