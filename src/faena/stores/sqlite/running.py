"""The verbs of running jobs: claim, extend, report, finish. Each runs inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from faena.errors import IllegalStep
from faena.events import EventType
from faena.job import GIVES_BACK, OUTCOMES, Outcome, Status, Step
from faena.ports.records import Claim, Held, Lease, Report
from faena.ports.store import StoreOptions
from faena.stores.sqlite.gates import Gatekeeper, call_within, gates_of, rates_of
from faena.stores.sqlite.ledger import Ledger, failure_text
from faena.stores.sqlite.picking import Picking
from faena.stores.sqlite.rows import CODES, HEAD, JOB, Head, encode, job_of, many, one, split

_PENDING: Final = f"SELECT {JOB} FROM jobs WHERE status = 1 AND id = ?"
_HELD: Final = f"SELECT {JOB} FROM jobs WHERE status = 2 AND id = ? AND token = ?"
_HEAD: Final = f"SELECT {HEAD} FROM jobs WHERE id = ?"
_TURN: Final = """
    INSERT INTO turns VALUES (?, ?, ?, ?)
    ON CONFLICT (queue, priority, second) DO UPDATE SET due_at = max(due_at, excluded.due_at)"""
_PROCESSING: Final = CODES[Status.PROCESSING]


def claim(ledger: Ledger, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
    """Take those of ``ids`` that are pending and may go; a repeated request is answered as before."""
    if (repeated := _repeated(ledger, request)) is not None:
        return repeated
    keeper = Gatekeeper(ledger.connection, now=ledger.now, wanted=len(ids))
    rows = (one(ledger.connection, _PENDING, (job_id,)) for job_id in dict.fromkeys(ids))
    passed = [row for row in rows if row is not None and _may_go(ledger, keeper, row)]
    claims = _take(ledger, passed, worker=worker, lease=lease, request=request)
    keeper.save()
    return claims


def _may_go(ledger: Ledger, keeper: Gatekeeper, row: Any) -> bool:
    """Let a delivered job through, or send it back."""
    head, _ = split(row)
    if not ledger.holds_back(head, head.gates):
        return True
    gates = gates_of(head.gates or "")
    if ledger.pauses.hold(head.queue, head.task) or keeper.closed(gates) is not None:
        ledger.send_back(head)
        return False
    keeper.let_through(gates)
    return True


def claim_next(
    ledger: Ledger, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
) -> list[Claim]:
    """Take the first ``limit`` pending jobs of the queues that may go, in their order."""
    if (repeated := _repeated(ledger, request)) is not None:
        return repeated
    picking = Picking(ledger, queues, limit=limit)
    claims = _take(ledger, picking.rows, worker=worker, lease=lease, request=request)
    picking.save()
    return claims


def _repeated(ledger: Ledger, request: str) -> list[Claim] | None:
    """Return what this request took before and still holds; None if it is new."""
    row = one(ledger.connection, "SELECT jobs FROM requests WHERE id = ?", (request,))
    if row is None:
        return None
    taken = msgspec.json.decode(row[0], type=list[tuple[str, int]])
    rows = (one(ledger.connection, _HELD, lease) for lease in taken)
    return [_claim_of(*split(row)) for row in rows if row is not None]


def _claim_of(head: Head, rest: tuple[Any, ...]) -> Claim:
    return Claim(job=job_of(head, rest), call_within=call_within(head.gates) if head.gates else None)


def _take(ledger: Ledger, rows: Iterable[Any], *, worker: str, lease: float, request: str) -> list[Claim]:
    claims = []
    turns: dict[tuple[str, int], float] = {}
    for row in rows:
        head, rest = split(row)
        head.attempt += 1
        head.token += 1
        head.worker = worker
        head.started_at = ledger.now
        head.lease_until = ledger.now + lease
        head.progress = 0.0
        head.message = None
        head.reported = 0
        head.last_step = None
        ledger.save_claim(head, ledger.move(head, Step.CLAIM))
        turn = (head.queue, head.priority)
        turns[turn] = max(head.due_at, turns.get(turn, head.due_at))
        claims.append(_claim_of(head, rest))
    if claims:
        taken = encode([(claim.job.id, claim.job.token) for claim in claims]).decode()
        ledger.connection.execute("INSERT INTO requests VALUES (?, ?, ?)", (request, ledger.now, taken))
        second = int(ledger.now)
        for (queue, priority), due_at in turns.items():
            ledger.connection.execute(_TURN, (queue, priority, second, due_at))
    return claims


def _held(ledger: Ledger, job_id: str, token: int) -> Head | None:
    """Return the job if this token is the valid one."""
    row = one(ledger.connection, _HEAD, (job_id,))
    if row is None:
        return None
    head = Head(*row)
    return head if head.token == token and head.status == _PROCESSING else None


def extend(ledger: Ledger, leases: Sequence[Lease], *, lease: float) -> list[Held]:
    """Make held leases last ``lease`` seconds from now."""
    update = """UPDATE jobs SET lease_until = ? WHERE id = ? AND token = ? AND status = 2
                RETURNING cancel_requested"""
    until = ledger.now + lease
    answers = []
    for held in leases:
        row = many(ledger.connection, update, (until, held.job_id, held.token))
        ledger.refused += not row
        answers.append(Held(held=bool(row), cancel_requested=bool(row and row[0][0])))
    return answers


def started(ledger: Ledger, leases: Sequence[Lease]) -> list[Held]:
    """Count the starts of held jobs under their rates once more."""
    keeper = Gatekeeper(ledger.connection, now=ledger.now, wanted=len(leases))
    answers = []
    for lease in leases:
        head = _held(ledger, lease.job_id, lease.token)
        if head is None:
            ledger.refused += 1
            answers.append(Held(held=False))
            continue
        keeper.let_through(rates_of(head.gates or ""))
        answers.append(Held(held=True, cancel_requested=bool(head.cancel_requested)))
    keeper.save()
    return answers


def report(ledger: Ledger, reports: Sequence[Report]) -> list[Held]:
    """Record what running jobs tell."""
    return [_report(ledger, each) for each in reports]


def _report(ledger: Ledger, told: Report) -> Held:
    head = _held(ledger, told.job_id, told.token)
    if head is None:
        ledger.refused += 1
        return Held(held=False)
    if told.number > head.reported:
        head.reported = told.number
        events = []
        if _note_progress(head, told):
            events.append(ledger.event(head, EventType.PROGRESS, message=head.message))
        events += [ledger.told_by_task(head, new) for new in told.events]
        if told.checkpoint is not None:
            head.checkpoint = told.checkpoint
        ledger.note(head, events)
    return Held(held=True, cancel_requested=bool(head.cancel_requested))


def _note_progress(head: Head, told: Report) -> bool:
    """Take over progress and message; True when one of them changed."""
    before = (head.progress, head.message)
    if told.progress is not None:
        head.progress = max(head.progress, min(told.progress, 100.0))
    if told.message is not None:
        head.message = told.message
    return (head.progress, head.message) != before


def finish(ledger: Ledger, outcomes: Sequence[Outcome], *, options: StoreOptions) -> list[bool]:
    """Record how attempts ended."""
    return [_finish(ledger, outcome, options) for outcome in outcomes]


def _finish(ledger: Ledger, outcome: Outcome, options: StoreOptions) -> bool:
    if outcome.step not in OUTCOMES:
        raise IllegalStep(status=Status.PROCESSING, step=outcome.step)
    row = one(ledger.connection, _HEAD, (outcome.job_id,))
    head = None if row is None else Head(*row)
    if head is None or head.token != outcome.token or not _open_to(head, outcome):
        ledger.refused += 1
        return False
    if head.status != _PROCESSING:
        return True  # this very outcome, told again
    step = _decide(head, outcome)
    attempt = head.attempt
    if step in GIVES_BACK:
        head.attempt -= 1
    _note_outcome(ledger, head, outcome, step, options)
    failed = step in (Step.RETRY, Step.FAIL) and outcome.error is not None
    message = failure_text(outcome.error) if failed else outcome.message
    ledger.save(head, [ledger.move(head, step, message=message, attempt=attempt)])
    return True


def _open_to(head: Head, outcome: Outcome) -> bool:
    """Tell whether an outcome with the right token may come: the job runs, or this very outcome ended its run."""
    return head.status == _PROCESSING or head.last_step == outcome.step


def _decide(head: Head, outcome: Outcome) -> Step:
    """Return the step that really happens: a cancelled job does not run again, a spent one neither."""
    again = outcome.step in (Step.RETRY, Step.SNOOZE, Step.RELEASE)
    if again and head.cancel_requested:
        return Step.CANCEL
    if outcome.step is Step.RETRY and head.attempt >= head.max_attempts:
        return Step.FAIL
    return outcome.step


def _note_outcome(ledger: Ledger, head: Head, outcome: Outcome, step: Step, options: StoreOptions) -> None:
    head.last_step = outcome.step
    if outcome.message is not None:
        head.message = outcome.message
    if outcome.error is not None:
        head.error = encode(outcome.error)
    if step in (Step.RETRY, Step.SNOOZE):
        head.due_at = ledger.now + outcome.delay
    if step is Step.COMPLETE:
        head.progress = 100.0
        head.result = outcome.result
        head.error = None
    if step in (Step.COMPLETE, Step.FAIL, Step.CANCEL):
        default = options.failure_ttl if step is Step.FAIL else options.result_ttl
        ledger.end(head, ttl=default if outcome.ttl is None else outcome.ttl)
    else:
        ledger.free(head)
