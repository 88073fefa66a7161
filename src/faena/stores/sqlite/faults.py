"""What SQLite's errors mean to a caller. No error of the vendor leaves this folder."""

from __future__ import annotations

import apsw

from faena.errors import FaenaError, StoreDown, StoreFault, StoreFull

_CERTAIN = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.TooBigError,
    apsw.SQLError,
    apsw.BindingsError,
)
"""What a repeated call is certain to raise again."""


def as_faena_error(error: Exception) -> Exception:
    """Return the error that a caller of the store may see in place of ``error``."""
    if isinstance(error, FaenaError) or not isinstance(error, apsw.Error):
        return error
    told = _told(error)
    told.__cause__ = error
    return told


def _told(error: apsw.Error) -> FaenaError:
    if isinstance(error, apsw.FullError):
        return StoreFull(
            "the disk (or the database's size limit) is full; nothing was stored: free some space"
        )
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StoreDown("the database is locked by another program; close it, or try again")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return StoreDown(
            "the database file is damaged; restore it from a backup (see docs/operating/backup.md)"
        )
    if isinstance(error, (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError)):
        return StoreDown(
            "the database file cannot be written; check the owner and the mode of the data directory"
        )
    if isinstance(error, apsw.CantOpenError):
        return StoreDown(
            "the database file cannot be opened; check that the data directory exists and is yours"
        )
    if isinstance(error, _CERTAIN):
        return StoreFault(f"the database can't carry out the call, now or later: {error}")
    return StoreDown(f"the database failed: {error}")
