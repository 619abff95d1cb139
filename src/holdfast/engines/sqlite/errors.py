"""SQLite's error codes as Holdfast's errors."""

from __future__ import annotations

import re
import sqlite3

from holdfast import errors

_CONSTRAINTS: dict[str, tuple[type[errors.IntegrityError], str]] = {
    "SQLITE_CONSTRAINT_UNIQUE": (errors.UniqueViolation, "another row has the same unique value"),
    "SQLITE_CONSTRAINT_PRIMARYKEY": (errors.UniqueViolation, "another row has the same key"),
    "SQLITE_CONSTRAINT_ROWID": (errors.UniqueViolation, "another row has the same key"),
    "SQLITE_CONSTRAINT_FOREIGNKEY": (
        errors.ForeignKeyViolation,
        "a row refers to one that does not exist, or is still referred to",
    ),
    "SQLITE_CONSTRAINT_NOTNULL": (errors.NotNullViolation, "a required column has no value"),
    "SQLITE_CONSTRAINT_CHECK": (errors.CheckViolation, "a CHECK constraint was not met"),
}
_UNBOUND = (OverflowError, UnicodeEncodeError)
_NAMED: tuple[tuple[str, type[errors.Error]], ...] = (
    (r"^no such table", errors.TableNotFound),
    (r"^no such index", errors.IndexNotFound),
    (r"^no such column|has no column named", errors.ColumnNotFound),
    (r"^(table|view) .* already exists|already another table or index", errors.TableExists),
    (r"^index .* already exists", errors.IndexExists),
    (r"^duplicate column name", errors.ColumnExists),
)
_CODES: dict[str, tuple[type[errors.Error], str, str | None]] = {
    "SQLITE_BUSY": (
        errors.DatabaseBusy,
        "the database is locked by another connection",
        "give connect(..., timeout=) more seconds, or end the other transaction",
    ),
    "SQLITE_LOCKED": (errors.DatabaseBusy, "a table is locked by another statement", None),
    "SQLITE_READONLY": (
        errors.ReadOnlyError,
        "the database cannot be written",
        "check read_only=, and the permissions of the file and of its folder",
    ),
    "SQLITE_CANTOPEN": (
        errors.ConnectionFailed,
        "the database file cannot be opened",
        "check that the path exists and may be read and written",
    ),
    "SQLITE_PERM": (errors.ConnectionFailed, "the database file may not be accessed", None),
    "SQLITE_NOTADB": (
        errors.ConnectionFailed,
        "the file is not a SQLite database",
        "check the path; nothing was written to it",
    ),
    "SQLITE_CORRUPT": (errors.DatabaseError, "the database file is damaged", "restore a verified backup"),
    "SQLITE_FULL": (errors.DatabaseError, "the disk is full; nothing was written", "free some space"),
    "SQLITE_IOERR": (errors.DatabaseError, "reading or writing the file failed", "check the disk"),
    "SQLITE_TOOBIG": (errors.ValueRefused, "a value is larger than SQLite's limit of a billion bytes", None),
    "SQLITE_MISMATCH": (errors.ValueRefused, "a key has the wrong type", None),
    "SQLITE_INTERRUPT": (
        errors.OutOfTime,
        "the statement was cancelled or ran into its time limit",
        None,
    ),
}


def translate(exc: BaseException) -> errors.Error:
    """The error that says in Holdfast's words what ``exc`` says in SQLite's."""
    if isinstance(exc, errors.Error):
        return exc
    refused = exc.__context__
    if isinstance(exc, sqlite3.Error) and isinstance(refused, _UNBOUND) and refused.__traceback__ is None:
        # sqlite3 puts the connection's last error, of another statement, before its own refusal of a value.
        exc = refused
    if isinstance(exc, OverflowError):
        return errors.ValueRefused("an integer does not fit into 64 bits", hint="store it as TEXT or NUMERIC")
    if isinstance(exc, UnicodeEncodeError):
        return errors.ValueRefused("a text holds a lone surrogate and cannot be encoded as UTF-8")
    text = str(exc)
    code = getattr(exc, "sqlite_errorname", "") or ""
    if text == "FOREIGN KEY constraint failed":
        # ON DELETE RESTRICT is carried out by an inner trigger, whose code it has.
        code = "SQLITE_CONSTRAINT_FOREIGNKEY"
    if code in _CONSTRAINTS:
        kind, message = _CONSTRAINTS[code]
        place = text.partition(": ")[2]
        return kind(f"{message}: {place}" if place else message)
    if code.startswith("SQLITE_CONSTRAINT"):
        return errors.IntegrityError(text)
    for prefix, (other, message, hint) in _CODES.items():
        if code.startswith(prefix):
            error = other(message, hint=hint)
            if isinstance(error, errors.ConnectionFailed):
                error.is_temporary = False
            return error
    for pattern, schema_error in _NAMED:
        if re.search(pattern, text):
            named = schema_error(text)
            if isinstance(named, errors.SchemaError):
                named.missing = re.split(r": | named ", text)[-1].rpartition(".")[2]
            return named
    if undecoded := re.match(r"Could not decode to UTF-8 column '(.*?)' with text '", text, re.DOTALL):
        # The rest is the value.
        return errors.DatabaseError(
            f"column {undecoded[1]!r} holds text that is not UTF-8",
            hint="CAST(column AS BLOB) in a query reads its bytes",
        )
    if text == "too many attached databases - max 0":
        return errors.ReadOnlyError(
            "a read-only connection attaches no other database, which could be written",
            hint="connect to the other one for itself, or without read_only=",
        )
    if "closed database" in text:
        return errors.ClosedError("this database has been closed", hint="connect again")
    if isinstance(exc, sqlite3.InterfaceError) or ("type" in text and "not supported" in text):
        return errors.ValueRefused("SQLite cannot store a value of this type")
    if isinstance(exc, (sqlite3.ProgrammingError, sqlite3.Warning)) or code == "SQLITE_ERROR":
        return errors.InvalidQuery(text)
    return errors.DatabaseError(text)
