"""What can be wrong with a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engines.base import Run
from holdfast.engines.checks import Finding
from holdfast.settings import Target

_OLD_TRANSACTIONS = 1_000_000_000
_DEAD = 10_000
_UNSAFE = {
    "fsync": "a crash of the machine can damage the whole cluster",
    "full_page_writes": "a crash of the machine can damage the whole cluster",
}


def findings(run: Run, target: Target) -> Iterator[Finding]:
    """Damage first, then what may lead to it, then what is slow."""
    yield from _settings(run)
    yield from _invalid(run)
    yield from _age(run)
    yield from _idle(run)
    yield from _dead_rows(run)


def _settings(run: Run) -> Iterator[Finding]:
    for name, follows in _UNSAFE.items():
        if run(f"SHOW {name}").fetchall()[0][0] == "off":
            yield Finding(
                "durability",
                "error",
                f"{name} is off: {follows}",
                f"ALTER SYSTEM SET {name} = on, then reload",
            )


def _invalid(run: Run) -> Iterator[Finding]:
    for name, table in run(
        "SELECT c.relname::text, t.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace "
        "WHERE NOT i.indisvalid AND n.nspname = current_schema() AND c.relkind = 'i' ORDER BY 1"
    ).fetchall():
        yield Finding(
            "indexes",
            "warning",
            f"the index {name} of {table} is invalid: it is written and never used",
            f'REINDEX INDEX CONCURRENTLY "{name}", or drop_index("{table}", "{name}")',
            table,
        )
    for name, table in run(
        "SELECT k.conname::text, t.relname::text FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid "
        "JOIN pg_namespace n ON n.oid = t.relnamespace "
        "WHERE NOT k.convalidated AND n.nspname = current_schema() ORDER BY 1"
    ).fetchall():
        yield Finding(
            "constraints",
            "warning",
            f"the constraint {name} of {table} was never checked for the rows that were there before it",
            f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}"',
            table,
        )


def _age(run: Run) -> Iterator[Finding]:
    age = int(
        run("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()").fetchall()[0][0]
    )
    if age > _OLD_TRANSACTIONS:
        yield Finding(
            "transaction numbers",
            "error",
            f"the oldest row is {age:,} transactions old; at two billion the server stops taking writes",
            "VACUUM FREEZE, and find out why autovacuum does not come to it",
        )


def _idle(run: Run) -> Iterator[Finding]:
    for count, seconds in run(
        "SELECT count(*), max(extract(epoch FROM now() - xact_start))::bigint FROM pg_stat_activity "
        "WHERE datname = current_database() AND state LIKE 'idle in transaction%' "
        "AND xact_start < now() - interval '5 minutes' HAVING count(*) > 0"
    ).fetchall():
        yield Finding(
            "open transactions",
            "warning",
            f"{count} connections have been idle in a transaction, one for {seconds:,} s: they hold locks, "
            "and vacuum removes nothing newer",
            "end them; connect(url, idle_in_transaction=60) has the server do so",
        )


def _dead_rows(run: Run) -> Iterator[Finding]:
    for table, dead, live in run(
        "SELECT relname::text, n_dead_tup, n_live_tup FROM pg_stat_user_tables "
        f"WHERE schemaname = current_schema() AND n_dead_tup > {_DEAD} AND n_dead_tup * 5 > n_live_tup "
        "ORDER BY 1"
    ).fetchall():
        yield Finding(
            "unused space",
            "warning",
            f"{table} has {dead:,} dead rows beside {live:,} living ones",
            "optimize() frees their space; then see whether autovacuum keeps up",
            table,
            fix="optimize",
        )
