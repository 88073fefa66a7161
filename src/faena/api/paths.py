"""Parts that paths and queries of several routes share."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Path

from faena.errors import NotFound

_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def job_id_of(text: str) -> str:
    """Return a job id in its one form. Raises `NotFound` for what no job can be called."""
    job_id = text.lower()
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound(text)
    return job_id


async def _job_id(
    job_id: Annotated[str, Path(description="The job's id, as `task_id` and `job_id` tell it.")],
) -> str:
    return job_id_of(job_id)


JobId = Annotated[str, Depends(_job_id)]
