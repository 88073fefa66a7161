"""The verbs that steer what waits: change, pause, resume."""

from __future__ import annotations

from faena.events import EventType
from faena.job import WAITING, Status, Step
from faena.ports.records import Changed
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.rows import HEAD, JOB, STATUSES, Head, one, read_job


def change(
    ledger: Ledger, job_id: str, *, priority: int | None, delay: float | None, due_at: float | None
) -> Changed:
    """Give a waiting job another priority or due time."""
    row = one(ledger.connection, f"SELECT {HEAD} FROM jobs WHERE id = ?", (job_id,))
    if row is None:
        return Changed(job=None, changed=False)
    head = Head(*row)
    waiting = STATUSES[head.status] in WAITING
    if waiting:
        if due_at is None and delay is not None:
            due_at = ledger.now + delay
        priority = head.priority if priority is None else priority
        rearrange(ledger, head, priority=priority, due_at=due_at, message="changed")
    job = read_job(one(ledger.connection, f"SELECT {JOB} FROM jobs WHERE n = ?", (head.n,)))
    return Changed(job=job, changed=waiting)


def rearrange(
    ledger: Ledger, head: Head, *, priority: int, due_at: float | None, message: str, placed: bool = True
) -> None:
    """Move a waiting job to another place (``due_at`` None: its time stays as it is; ``placed`` False: it has none,
    even if it is pending), told by one event."""
    head.priority = priority
    head.due_at = head.due_at if due_at is None else due_at
    if due_at is not None and due_at > ledger.now:
        event = ledger.move(head, Step.POSTPONE, message=message)
    elif due_at is not None and STATUSES[head.status] is Status.SCHEDULED:
        event = ledger.move(head, Step.PROMOTE, message=message)
    else:
        event = ledger.event(head, EventType.STATUS, message=message)
        if head.lane is not None:
            head.lane = ledger.lane(head.queue, priority, head.task, head.gates or "")
        elif not placed:
            head.delivered_at, head.lane = ledger.place(head, head.gates)
        ledger.rings_work = True
    ledger.connection.execute("UPDATE jobs SET priority = ? WHERE n = ?", (priority, head.n))
    ledger.save(head, [event])


def pause(ledger: Ledger, *, queue: str | None, task: str | None) -> bool:
    """Claim no more jobs of a queue or a task; False: it was so."""
    write = ledger.connection.execute
    write("INSERT OR IGNORE INTO pauses VALUES (?, ?, ?)", (*_what(queue, task), ledger.now))
    if not ledger.connection.changes():
        return False
    if task is not None:
        write("UPDATE lanes SET paused = 1 WHERE task = ?", (task,))
    return True


def resume(ledger: Ledger, *, queue: str | None, task: str | None) -> bool:
    """Claim jobs of a queue or a task again; False: it was not paused."""
    write = ledger.connection.execute
    write("DELETE FROM pauses WHERE kind = ? AND name = ?", _what(queue, task))
    if not ledger.connection.changes():
        return False
    if task is not None:
        write("UPDATE lanes SET paused = 0 WHERE task = ?", (task,))
    ledger.rings_work = True
    return True


def _what(queue: str | None, task: str | None) -> tuple[str, str]:
    if queue is not None and task is None:
        return "queue", queue
    if task is not None and queue is None:
        return "task", task
    raise ValueError("name a queue or a task, and not both")
