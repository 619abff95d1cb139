"""Changing PostgreSQL tables in place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from holdfast.engines.base import UNSET, Run
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import ValueRefused


def around(run: Run) -> AbstractContextManager[None]:
    """Nothing needs to be set for the session."""
    return nullcontext()


def hold(run: Run, table: str) -> None:
    run(f"LOCK TABLE {quote(table)} IN ACCESS EXCLUSIVE MODE")


def drop_table(run: Run, table: str) -> None:
    run(f"DROP TABLE {quote(table)}")


def rename_table(run: Run, table: str, new_name: str) -> None:
    run(f"ALTER TABLE {quote(table)} RENAME TO {quote(new_name)}")


def add_column(run: Run, table: str, definition: str) -> None:
    run(f"ALTER TABLE {quote(table)} ADD COLUMN {definition}")


def drop_column(run: Run, table: str, column: str) -> None:
    run(f"ALTER TABLE {quote(table)} DROP COLUMN {quote(column)}")


def rename_column(run: Run, table: str, column: str, new_name: str) -> None:
    run(f"ALTER TABLE {quote(table)} RENAME COLUMN {quote(column)} TO {quote(new_name)}")


def alter_column(
    run: Run,
    table: str,
    column: str,
    *,
    type: str | None = None,
    nullable: bool | None = None,
    default: Any = UNSET,
) -> None:
    change = f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)}"
    if type is not None:
        # A default of the old type may have no cast to the new one; it is taken off and put back.
        old = run(
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef AS d JOIN pg_attribute AS a "
            "ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = to_regclass(?) "
            "AND a.attname = ? AND a.attgenerated = ''",
            (quote(table), column),
        ).fetchall()
        if old:
            run(f"{change} DROP DEFAULT")
        bare = type.partition(" COLLATE ")[0]
        _refuse_loss(run, table, column, bare)
        run(f"{change} TYPE {type} USING {quote(column)}::{bare}")
        if old and default is UNSET:
            run(f"{change} SET DEFAULT {old[0][0]}")
    if nullable is not None:
        run(f"{change} {'DROP' if nullable else 'SET'} NOT NULL")
    if default is not UNSET:
        run(f"{change} " + ("DROP DEFAULT" if default is None else f"SET DEFAULT {default}"))


def _refuse_loss(run: Run, table: str, column: str, type: str) -> None:
    """A cast cuts a text, rounds a number and drops a time without a word; it must lead back to each value.

    A text that is read as another type may be spelt otherwise afterwards, so there only its length counts.
    """
    ((old,),) = run(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(?) "
        "AND attname = ?",
        (quote(table), column),
    ).fetchall()
    if _is_text(old) and not _is_text(type):
        return
    # The type json has no equality.
    name, form = quote(column), "::jsonb" if old == "json" else ""
    sql = (
        f"SELECT count(*) FROM {quote(table)} WHERE {name}::{type}::{old}{form} IS DISTINCT FROM {name}{form}"
    )
    ((unfit,),) = run(sql).fetchall()
    if unfit:
        raise ValueRefused(
            f"{unfit} values of {table!r}.{column!r} do not fit {type} as they are",
            hint="correct or delete them first",
        )


def _is_text(type: str) -> bool:
    return type.lower().startswith(("text", "char", "varchar", "bpchar"))


def add_foreign_key(
    run: Run,
    table: str,
    columns: Sequence[str],
    references: str,
    keys: Sequence[str],
    *,
    on_delete: str | None = None,
    on_update: str | None = None,
) -> None:
    sql = f"ALTER TABLE {quote(table)} ADD FOREIGN KEY ({', '.join(map(quote, columns))}) "
    sql += f"REFERENCES {quote(references)} ({', '.join(map(quote, keys))})"
    sql += f" ON DELETE {on_delete}" if on_delete else ""
    sql += f" ON UPDATE {on_update}" if on_update else ""
    run(sql)
