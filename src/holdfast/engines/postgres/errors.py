"""PostgreSQL's SQLSTATEs as Holdfast's errors."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from holdfast import errors

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES: dict[str, tuple[type[errors.Error], str | None]] = {
    "23505": (errors.UniqueViolation, "another row has the same unique value"),
    "23503": (errors.ForeignKeyViolation, "a row refers to one that does not exist, or is still referred to"),
    "23502": (errors.NotNullViolation, "a required column has no value"),
    "23001": (errors.ForeignKeyViolation, "a row is still referred to"),
    "23514": (errors.CheckViolation, "a CHECK constraint was not met"),
    "P0001": (errors.IntegrityError, "a trigger or a function of the database refused it"),
    "40001": (errors.SerializationFailure, "the transaction met a concurrent one"),
    "40P01": (errors.DeadlockDetected, "two transactions waited for each other"),
    "55P03": (errors.DatabaseBusy, "a row or table is locked by another transaction"),
    "57014": (errors.OutOfTime, "the statement was cancelled or ran into its time limit"),
    "25P02": (errors.TransactionAborted, "an earlier statement of this transaction failed"),
    "25006": (errors.ReadOnlyError, "the transaction or the server is read-only"),
    "42501": (errors.ReadOnlyError, None),
    "42P01": (errors.TableNotFound, None),
    "42703": (errors.ColumnNotFound, None),
    "42P07": (errors.TableExists, None),
    "42701": (errors.ColumnExists, None),
    "42704": (errors.IndexNotFound, None),
    "42830": (errors.KeyNotUnique, None),
    "42P10": (errors.KeyNotUnique, None),
    "2BP01": (errors.SchemaError, "other objects depend on it"),
    "22001": (errors.ValueRefused, "a text is longer than its column allows"),
    "22003": (errors.ValueRefused, "a number is out of the range of its type"),
    "22P02": (errors.ValueRefused, "a value does not have the form of its type"),
    "22P03": (errors.ValueRefused, "a value does not have the form of its type"),
    "22007": (errors.ValueRefused, "a date or time does not have the form of its type"),
    "22008": (errors.ValueRefused, "a date or time is out of range"),
    "22021": (errors.ValueRefused, "a text holds characters that PostgreSQL cannot store"),
    "22P05": (errors.ValueRefused, "a text holds characters that PostgreSQL cannot store"),
    "42804": (errors.ValueRefused, "a value does not have the type of its column"),
    "0A000": (errors.NotSupported, None),
    "25P03": (
        errors.ConnectionLost,
        "the server ended a transaction that had been idle for too long",
    ),
    "53300": (errors.ConnectionFailed, "the server has no connection free"),
    "53100": (errors.DatabaseError, "the server's disk is full; nothing was written"),
}
_CLASSES: dict[str, tuple[type[errors.Error], str | None]] = {
    "22": (errors.ValueRefused, "a value was refused by its type"),
    "23": (errors.IntegrityError, "a constraint was not met"),
    "40": (errors.SerializationFailure, "the transaction met a concurrent one"),
    "25": (errors.TransactionError, None),
    "42": (errors.InvalidQuery, None),
    "08": (errors.ConnectionFailed, "the connection failed"),
    "28": (errors.ConnectionFailed, "the server refused the user or the password"),
    "3D": (errors.ConnectionFailed, None),
    "53": (errors.DatabaseError, None),
    "54": (errors.DatabaseError, None),
    "55": (errors.DatabaseError, None),
    "57": (errors.ConnectionFailed, None),
}
_HINTS = {
    "55P03": "try again, wait longer with timeout=, or see in pg_stat_activity who has a transaction open",
    "428C9": "leave the column out: the database alone gives its values (GENERATED ALWAYS)",
}


_NAMED = re.compile(r'(?:column|relation) (\S+|".+?") (?:of relation .* )?does not exist')


def translate(exc: BaseException) -> errors.Error:
    """The error that says in Holdfast's words what ``exc`` says in PostgreSQL's, without any value."""
    if isinstance(exc, errors.Error):
        return exc
    if isinstance(exc, OverflowError):
        return errors.ValueRefused("a number is out of the range of its type")
    if isinstance(exc, UnicodeEncodeError):
        return errors.ValueRefused("a text holds a lone surrogate and cannot be encoded as UTF-8")
    state = getattr(exc, "sqlstate", None) or ""
    known = _STATES.get(state) or _CLASSES.get(state[:2])
    if known is None:
        return _without_state(exc)
    kind, message = known
    diag: Any = exc.diag if isinstance(exc, psycopg.Error) else None
    if state == "23514" and not diag.constraint_name:
        return errors.CheckViolation(
            f"no partition takes the row: {diag.table_name}", hint="create one that does"
        )
    if message is None:
        error = kind(getattr(diag, "message_primary", None) or str(exc))
        if isinstance(error, errors.SchemaError) and (named := _NAMED.search(error.message)):
            error.missing = named[1].rpartition(".")[2].strip('"')
        error.hint = error.hint or _HINTS.get(state)
        return error
    if state == "2BP01":
        # Its details are names of objects: "view v depends on table t".
        depends = (diag.message_detail or "").replace("\n", "; ")
        return kind(f"{message}: {depends}", hint="drop or change those first")
    return kind(message + _place(diag), hint=_HINTS.get(state))


def _place(diag: Any) -> str:
    table, column = getattr(diag, "table_name", None), getattr(diag, "column_name", None)
    constraint = getattr(diag, "constraint_name", None)
    if table and column:
        return f": {table}.{column}"
    owner = table or getattr(diag, "datatype_name", None)
    if owner and constraint:
        return f": {owner}, constraint {constraint}"
    return ""


def _without_state(exc: BaseException) -> errors.Error:
    if isinstance(exc, psycopg.errors.ConnectionTimeout):
        return errors.ConnectionFailed("the server did not answer within the connect timeout")
    if isinstance(exc, psycopg.OperationalError) and not getattr(exc, "sqlstate", None):
        return errors.ConnectionFailed("the connection to the server failed")
    if isinstance(exc, psycopg.DataError):
        return errors.ValueRefused("a value cannot be sent to PostgreSQL or read from it in this type")
    if isinstance(exc, psycopg.ProgrammingError):
        if "cannot adapt type" in str(exc):
            return errors.ValueRefused("PostgreSQL cannot store a value of this type")
        if "parameters" in str(exc):
            return errors.InvalidQuery("the number of values does not fit the statement")
        return errors.InvalidQuery("the statement cannot be run as it is")
    if isinstance(exc, psycopg.NotSupportedError):
        return errors.NotSupported(str(exc))
    if isinstance(exc, psycopg.Error):
        return errors.DatabaseError("the database refused the statement")
    return errors.DatabaseError(str(exc))
