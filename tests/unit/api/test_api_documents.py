"""What `docs/reference/http.md` and `docs/guides/live.md` say of routes is so."""

from __future__ import annotations

import re
from pathlib import Path

from api_kit import Kit
from faena.api.problems import STATUSES

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference" / "http.md").read_text("utf-8")
GUIDE = (DOCS / "guides" / "live.md").read_text("utf-8")
ROUTE = re.compile(r"`(GET|POST|DELETE|PUT|PATCH) (/[^`?]*)`")


def served(kit: Kit) -> set[tuple[str, str]]:
    """The routes of Faena and the demo pack; each task's own operation by its pattern."""
    return {
        (method.upper(), re.sub(r"^/tasks/[^{/]+/enqueue$", "/tasks/{task}/enqueue", path))
        for path, operations in kit.api.openapi()["paths"].items()
        for method in operations
    }


async def test_every_route_is_in_the_reference_and_nothing_else(kit: Kit) -> None:
    assert set(ROUTE.findall(REFERENCE)) == served(kit)


async def test_every_route_in_the_guide_is_served(kit: Kit) -> None:
    assert set(ROUTE.findall(GUIDE)) <= served(kit)
    assert ROUTE.findall(GUIDE)


async def test_every_field_of_a_job_is_in_the_reference(kit: Kit) -> None:
    fields = kit.api.openapi()["components"]["schemas"]["JobAnswer"]["properties"]
    assert [field for field in fields if f"`{field}`" not in REFERENCE] == []


def test_every_status_that_a_request_can_cause_is_in_the_reference() -> None:
    told = {int(status) for status in re.findall(r"^\| `(\d+)` \|", REFERENCE, re.MULTILINE)}
    assert {status for status in STATUSES.values() if status < 500} <= told
