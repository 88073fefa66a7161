"""Background jobs for Python web applications: live progress, never lost."""

from faena.app import Faena
from faena.context import Context
from faena.errors import (
    Cancelled,
    Conflict,
    EngineDown,
    FaenaError,
    FaenaWarning,
    IllegalStep,
    InvalidArguments,
    InvalidCursor,
    InvalidOptions,
    InvalidResult,
    InvalidSettings,
    JobCancelled,
    JobFailed,
    JobNotDone,
    KeyConflict,
    NotFound,
    QueueDisabled,
    Rejected,
    Retry,
    Snooze,
    SoftTimeout,
    Stale,
    StoreDown,
    StoreFull,
    Unavailable,
    UnknownSchedule,
    UnknownTask,
    WaitTimeout,
)
from faena.handle import JobHandle
from faena.job import Failure, Job, OnConflict, Status
from faena.options import Limits
from faena.pack import Pack
from faena.rates import AtOnce, Rate
from faena.schedule import Schedule
from faena.task import JobRequest, Task
from faena.unique import Unique

__all__ = [
    "AtOnce",
    "Cancelled",
    "Conflict",
    "Context",
    "EngineDown",
    "Faena",
    "FaenaError",
    "FaenaWarning",
    "Failure",
    "IllegalStep",
    "InvalidArguments",
    "InvalidCursor",
    "InvalidOptions",
    "InvalidResult",
    "InvalidSettings",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobNotDone",
    "JobRequest",
    "KeyConflict",
    "Limits",
    "NotFound",
    "OnConflict",
    "Pack",
    "QueueDisabled",
    "Rate",
    "Rejected",
    "Retry",
    "Schedule",
    "Snooze",
    "SoftTimeout",
    "Stale",
    "Status",
    "StoreDown",
    "StoreFull",
    "Task",
    "Unavailable",
    "Unique",
    "UnknownSchedule",
    "UnknownTask",
    "WaitTimeout",
]
