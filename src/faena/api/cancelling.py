"""Calling a job off, as both ``DELETE /jobs/{id}`` and ``DELETE /tasks/{id}`` answer it."""

from __future__ import annotations

from starlette.responses import Response

from faena.api.schemas import Cancellation
from faena.client import Client
from faena.errors import IllegalStep
from faena.job import Status, Step
from faena.ports.records import CancelResult


async def cancel_job(job_id: str, client: Client, response: Response) -> Cancellation:
    """Cancel a job; 202 when its worker has been asked. Cancelling a cancelled job changes nothing. Raises
    `NotFound`, and `IllegalStep` when the job completed or failed before."""
    result = await client.cancel(job_id)
    job = await client.get(job_id)
    if result is CancelResult.FINAL and job.status is not Status.CANCELLED:
        raise IllegalStep(status=job.status, step=Step.CANCEL)
    cancelled = job.status is Status.CANCELLED
    response.status_code = 200 if cancelled else 202
    return Cancellation(
        task_id=job.id,
        job_id=job.id,
        status=job.status,
        cancelled=cancelled,
        cancel_requested=job.cancel_requested,
        message="the job is cancelled" if cancelled else "the worker has been asked to stop the job",
    )
