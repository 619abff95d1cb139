"""Every error Holdfast raises, in one hierarchy.

::

    Error
    ├── ConfigurationError (ValueError)      a URL, a setting or an argument that cannot be used
    ├── MissingDependency (ImportError)      an extra is not installed; names the pip line
    ├── NotSupported (NotImplementedError)   this engine cannot do it
    ├── ConnectionFailed (ConnectionError)   the database could not be reached or opened
    │   └── ConnectionLost                   an open connection died; nothing was kept
    ├── ClosedError                          the Database was closed
    ├── ReadOnlyError (PermissionError)      a write through a read-only connection, file or role
    ├── NotFoundError (LookupError)          no such row
    ├── SchemaError                          a name the database does not have, or has already
    │   ├── TableNotFound, ColumnNotFound, IndexNotFound (LookupError)
    │   ├── TableExists, ColumnExists, IndexExists
    │   └── KeyNotUnique                     an upsert key without a unique index
    ├── InvalidIdentifier (ValueError)       an empty, overlong or NUL-bearing name
    ├── InvalidQuery (ValueError)            SQL, a filter or an order that cannot be understood
    │   └── WhereRequired                    update or delete of every row without all_rows=True
    ├── ValueRefused (ValueError)            a value that would not come back as it went in
    ├── IntegrityError
    │   ├── UniqueViolation, ForeignKeyViolation, NotNullViolation, CheckViolation
    │   ├── KeyReused                        an idempotency key that stands for another call
    │   └── AlreadyExists                    a memory of that id, or a row of that name
    ├── TransactionError                     begin, commit or rollback at the wrong moment
    │   ├── TransactionAborted               an earlier statement of this transaction failed
    │   ├── SerializationFailure             retry the whole transaction
    │   │   └── DeadlockDetected
    │   └── CommitUnknown                    the connection died, and what was written may be kept or not
    ├── DatabaseBusy (TimeoutError)          another connection held a lock for too long
    ├── ImportFailed (ValueError)            a file or a frame that cannot be loaded as it is
    ├── EmbeddingFailed (RuntimeError)       a server that makes vectors of texts did not, or not as it should
    ├── MigrationError                       a revision that failed, is unknown or does not fit
    ├── SyncError                            a sync cannot be set up or go on
    │   └── HubChanged                       the hub is not what this replica knew: restored, or another one
    ├── BackupError
    │   ├── BackupCorrupt                    a backup whose content is not what was written
    │   └── NotABackup                       a file of another program
    └── DatabaseError                        anything else the database said
        └── OutOfTime (TimeoutError)         a statement was cancelled, or ran into its time limit

Messages never carry a parameter value or a secret; only an import quotes the cell of a file that is at fault.
The driver's own error is kept as ``__cause__``, and PostgreSQL's may quote a value in its details.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class Error(Exception):
    """The root of every error raised by Holdfast.

    ``message`` says what went wrong and where; ``hint`` says what to do next, or is ``None``.
    ``row_number`` is the row at fault, counted from 1, where many were given.
    """

    row_number: int | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigurationError(Error, ValueError):
    """A URL, a setting or an argument cannot be used as it is."""


class MissingDependency(Error, ImportError):
    """An optional package is not installed; the hint is the ``pip install`` line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed",
            hint=f"pip install 'holdfast[{extra}]'",
        )


class NotSupported(Error, NotImplementedError):
    """The engine behind this database cannot do what was asked."""


class ConnectionFailed(Error, ConnectionError):
    """The database could not be reached or opened.

    ``is_temporary`` is false where trying again cannot help, as for a wrong password.
    """

    is_temporary = True


class ConnectionLost(ConnectionFailed):
    """An open connection died, and nothing of the call or the transaction was kept.

    The next call opens a new one.
    """


class ClosedError(Error):
    """The ``Database`` has been closed."""


class ReadOnlyError(Error, PermissionError):
    """A write was attempted through a read-only connection, file or role."""


class NotFoundError(Error, LookupError):
    """No row has that key or satisfies that condition."""


class SchemaError(Error):
    """A name that the database does not have, or already has.

    ``missing`` is the name as the database gave it, where it is known.
    """

    missing: str | None = None


class TableNotFound(SchemaError, LookupError):
    """No such table or view."""


class ColumnNotFound(SchemaError, LookupError):
    """No such column."""


class IndexNotFound(SchemaError, LookupError):
    """No such index."""


class TableExists(SchemaError):
    """A table or view of that name exists already."""


class ColumnExists(SchemaError):
    """The table has a column of that name already."""


class IndexExists(SchemaError):
    """An index of that name exists already, and is a different one."""


class KeyNotUnique(SchemaError):
    """No unique index covers the key; the hint is the index to create."""


class InvalidIdentifier(Error, ValueError):
    """A name is empty, longer than 63 bytes in UTF-8, or holds a NUL character."""


class InvalidQuery(Error, ValueError):
    """SQL text, a filter, an order or an argument that cannot be understood.

    ``place`` is the line of the SQL where it stops making sense, its values left out, and a caret below.
    """

    place: str | None = None

    def __str__(self) -> str:
        return super().__str__() if self.place is None else f"{super().__str__()}\n{self.place}"


class WhereRequired(InvalidQuery):
    """``update`` or ``delete`` without ``where`` needs ``all_rows=True``."""


class ValueRefused(Error, ValueError):
    """The value would not come back from that column as it went in."""


class IntegrityError(Error):
    """A constraint of the database was violated; nothing was written."""


class UniqueViolation(IntegrityError):
    """Another row has the same unique value."""


class ForeignKeyViolation(IntegrityError):
    """A reference to a row that does not exist, or removal of a row that is referred to."""


class NotNullViolation(IntegrityError):
    """A required column was left without a value."""


class CheckViolation(IntegrityError):
    """A CHECK constraint said no."""


class KeyReused(IntegrityError):
    """An idempotency key was given to another call before; nothing was written."""


class AlreadyExists(IntegrityError):
    """There is a memory of that id already, a passage of that text, or a row with the same ``fields``."""

    fields: tuple[str, ...] = ()


class TransactionError(Error):
    """A transaction was begun, committed or rolled back at the wrong moment."""


class TransactionAborted(TransactionError):
    """An earlier statement of this transaction failed; only a rollback is possible now."""


class SerializationFailure(TransactionError):
    """The transaction met a concurrent one; run the whole of it again."""


class DeadlockDetected(SerializationFailure):
    """Two transactions waited for each other and this one was chosen to end."""


class CommitUnknown(TransactionError):
    """The connection died while something was kept, and it could not be learnt whether it was.

    That is during COMMIT, or during a statement that writes outside a transaction.
    """


class DatabaseBusy(Error, TimeoutError):
    """Another connection held a lock for longer than the timeout."""


class ImportFailed(Error, ValueError):
    """A file or a frame cannot be loaded as it is; nothing was written."""


class EmbeddingFailed(Error, RuntimeError):
    """A server that makes vectors of texts did not answer, or not as it should; nothing was written."""


class MigrationError(Error):
    """A revision failed, is not known, or cannot be gone to; the database is as it was before it."""


class SyncError(Error):
    """A sync cannot be set up or go on as it is; what was committed before stays."""


class HubChanged(SyncError):
    """The hub is not what this replica knew: it was restored from a backup, or is another database."""


class BackupError(Error):
    """A backup could not be made, found or restored; the database is as it was."""


class BackupCorrupt(BackupError):
    """A backup does not hold what was written into it."""


class BackupEncrypted(BackupError):
    """A backup is encrypted, and none of the keys that were given opens it."""


class NotABackup(BackupError):
    """A file that Holdfast did not write as a backup, so that nothing can tell whether it is whole."""


class DatabaseError(Error):
    """Anything else that the database refused; the cause has its own words."""


class OutOfTime(DatabaseError, TimeoutError):
    """A statement was cancelled, or ran into its time limit."""


def did_you_mean(name: str, known: Iterable[str], noun: str) -> str:
    """The hint for a misspelt ``name``: the nearest known one, and what there is.

    >>> did_you_mean("scroe", ["id", "score"], "columns")
    "did you mean 'score'? columns: id, score"
    """
    names = list(known)
    by_folded = {candidate.casefold(): candidate for candidate in reversed(names)}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    listing = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    have = f"{noun}: {listing}" if names else f"there are no {noun} yet"
    return f"did you mean {by_folded[close[0]]!r}? {have}" if close else have
