from __future__ import annotations

from exporter.fleet.readings import Template
from tests.support.realload import Rig, exposed, fixture


async def test_exposes_the_documented_templates() -> None:
    """The printed example becomes exactly these samples."""
    readings = await Rig({"getTestjobTemplates": "ok"}).readings("templates")

    assert {
        'template_healthy{template_id="10",template="SimpleTest 1VU"}': 1,
        'template_healthy{template_id="11",template="SimpleTestWithInputFields 10VU"}': 1,
    } == exposed(*readings)


async def test_reads_an_unhealthy_template_and_one_without_a_verdict() -> None:
    """A missing verdict is none."""
    templates = fixture("getTestjobTemplates.ok")
    templates["testjobTemplatesArray"][0]["testIsHealthy"] = False
    del templates["testjobTemplatesArray"][1]["testIsHealthy"]

    readings = await Rig({"getTestjobTemplates": templates}).readings("templates")

    assert [False, None] == [each.healthy for each in readings if isinstance(each, Template)]


async def test_leaves_out_what_has_no_id_or_one_that_is_taken() -> None:
    """Both are surprises."""
    templates = fixture("getTestjobTemplates.ok")
    again = templates["testjobTemplatesArray"][0]
    templates["testjobTemplatesArray"] += [again, {}, {"testjobTemplate": {"templateName": "x"}}]
    source = Rig({"getTestjobTemplates": templates})

    assert 2 == len(await source.readings("templates"))
    assert (1, 2) == (source.surprises("type"), source.surprises("missing_field"))
