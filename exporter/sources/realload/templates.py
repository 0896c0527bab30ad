"""Test job templates (reference section 3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.readings import Template
from exporter.sources.base import Poll
from exporter.sources.realload import actions


if TYPE_CHECKING:
    from exporter.sources.realload.portal import Portal


class Templates:
    """The templates of an account; of them only the portal's verdict is kept."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    async def poll(self) -> Poll:
        """Read all templates.

        Raises:
            PollError: The call failed.
        """
        reply = await self._portal.client.data(actions.TEMPLATES)
        templates: dict[str, Template] = {}
        for item in reply.testjob_templates_array or ():
            info = item.testjob_template
            if info is None or info.template_id is None:
                self._portal.surprise("missing_field")
                continue
            template_id = str(info.template_id)
            name = info.template_name or template_id
            if template_id in templates:
                self._portal.surprise("type")
            elif self._portal.settings.wanted("templates", name):
                templates[template_id] = Template(
                    template_id=template_id, template=name, healthy=item.test_is_healthy
                )
        return Poll(readings=tuple(templates.values()))
