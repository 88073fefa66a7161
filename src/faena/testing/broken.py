"""Stores that break one rule each, to show that the suite and the state machine notice.

Each is the memory store on a ledger with one fault; `NOTICED_BY` names the tests of the suite that must fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from faena.job import Status
from faena.ports.records import Held, Report
from faena.ports.store import StoreOptions
from faena.stores.memory import MemoryStore
from faena.stores.memory.ledger import Ledger
from faena.stores.memory.lines import Lines
from faena.stores.memory.row import LaneName, Row


class _ForgetsTheToken(Ledger):
    def _report(self, report: Report) -> Held:
        row = self.rows.get(report.job_id)
        if row is not None and row.job.status is Status.PROCESSING:
            report = msgspec.structs.replace(report, token=row.job.token)
        return super()._report(report)


class _SpendsAttempts(Ledger):
    def _rescue(self, row: Row) -> None:
        attempt = row.job.attempt
        super()._rescue(row)
        row.job = msgspec.structs.replace(row.job, attempt=attempt)


class _LosesRescued(Ledger):
    def _rescue(self, row: Row) -> None:
        super()._rescue(row)
        self._by_status[row.job.status].pop(row.job.id, None)


class _KeepsSlots(Ledger):
    def _rescue(self, row: Row) -> None:
        super()._rescue(row)
        slots = [msgspec.structs.replace(gate, windows=()) for gate in row.gates]
        self.lines.gates.enter(row.job.id, slots, 0.0)


class _NoTurns(Lines):
    def _serve(self, lanes: dict[LaneName, deque[Row]]) -> Row:
        return next(iter(lanes.values())).popleft()


class _EmptiesLanes(Ledger):
    def __init__(self, options: StoreOptions, clock: Callable[[], float]) -> None:
        super().__init__(options, clock)
        self.lines = _NoTurns(clock)


def forgets_the_token(*, options: StoreOptions, clock: Callable[[], float]) -> MemoryStore:
    """Return a store that takes a report of a running job from anybody (rule 3)."""
    return MemoryStore(ledger=_ForgetsTheToken(options, clock))


def spends_attempts(*, options: StoreOptions, clock: Callable[[], float]) -> MemoryStore:
    """Return a store whose rescue spends the attempt, so that attempts exceed the maximum (rule 4)."""
    return MemoryStore(ledger=_SpendsAttempts(options, clock))


def loses_rescued(*, options: StoreOptions, clock: Callable[[], float]) -> MemoryStore:
    """Return a store that shows a rescued job as pending and never hands it out again (rule 1)."""
    return MemoryStore(ledger=_LosesRescued(options, clock))


def keeps_slots(*, options: StoreOptions, clock: Callable[[], float]) -> MemoryStore:
    """Return a store in which a killed worker's slot is never given back (rule 7)."""
    return MemoryStore(ledger=_KeepsSlots(options, clock))


def empties_lanes(*, options: StoreOptions, clock: Callable[[], float]) -> MemoryStore:
    """Return a store that serves one lane until it is empty: no turns."""
    return MemoryStore(ledger=_EmptiesLanes(options, clock))


NOTICED_BY: Final[Mapping[str, frozenset[str]]] = {
    "forgets_the_token": frozenset(
        {
            "test_a_report_with_a_stale_token_changes_nothing",
            "test_a_stale_report_does_not_use_up_the_number_of_a_good_one",
            "test_a_token_that_was_never_given_changes_nothing",
            "test_reports_are_answered_in_order_good_and_stale_mixed",
            "test_a_holder_is_fenced_by_another_instances_claim",
        }
    ),
    "spends_attempts": frozenset(
        {
            "test_a_crash_is_counted_apart_and_gives_the_attempt_back",
            "test_attempts_never_exceed_the_maximum",
            "test_every_event_bears_the_number_of_its_run",
        }
    ),
    "loses_rescued": frozenset(
        {
            "test_a_rescued_job_can_be_taken_at_once",
            "test_work_returns_when_a_job_is_rescued_or_handed_back",
        }
    ),
    "keeps_slots": frozenset({"test_a_slot_is_given_back_once_when_the_holder_went_silent"}),
    "empties_lanes": frozenset(
        {
            "test_lanes_take_turns",
            "test_a_thousand_jobs_of_one_tenant_do_not_hold_up_anothers_one",
            "test_lanes_behind_one_gate_take_turns_as_it_opens",
        }
    ),
}
"""By the name of the broken store: the tests that are there to notice its fault."""
