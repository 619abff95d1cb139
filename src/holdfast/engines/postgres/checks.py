"""What can be wrong with a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from holdfast.engines.base import Run
from holdfast.engines.checks import Check, Finding
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.postgres.versions import of_version
from holdfast.settings import Target

_OLD_TRANSACTIONS = 1_000_000_000
_DEAD = 10_000
IDLE = "5 minutes"
_FULL = 0.8
_UNSAFE = ("fsync", "full_page_writes")
_HERE = "n.nspname = current_schema()"


def _settings(run: Run, target: Target) -> Iterator[Finding]:
    for name in _UNSAFE:
        if run(f"SHOW {name}").fetchall()[0][0] == "off":
            yield Finding(
                "durability",
                "error",
                f"{name} is off: a crash of the machine can damage the whole cluster",
                "turn it on, unless the command line of the server says otherwise:",
                sql=(f"ALTER SYSTEM SET {name} = on", "SELECT pg_reload_conf()"),
            )
    if run("SHOW data_checksums").fetchall()[0][0] == "off":
        yield Finding(
            "checksums",
            "note",
            "pages have no checksums: what a disk changes goes unnoticed",
            "while the server is stopped:",
            command='pg_checksums --enable --pgdata "$PGDATA"',
        )


def _version(run: Run, target: Target) -> Iterator[Finding]:
    number = int(run("SHOW server_version_num").fetchall()[0][0])
    yield from of_version(number // 10_000, number % 10_000, _today())


def _today() -> date:
    return datetime.now(UTC).date()


def _collations(run: Run, target: Target) -> Iterator[Finding]:
    """Text that the operating system sorts in another order now is not found in an index of before."""
    if int(run("SHOW server_version_num").fetchall()[0][0]) >= 150_000:
        for name, made, now in run(
            "SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid) "
            "FROM pg_database WHERE datname = current_database() "
            "AND datcollversion <> pg_database_collation_actual_version(oid)"
        ).fetchall():
            yield Finding(
                "collation",
                "error",
                f"the database was made with version {made} of its collation, and the system has {now}: "
                "indexes of text may be in the wrong order, miss rows and let doubles in",
                "make all indexes again, then note the new version:",
                sql=(
                    f"REINDEX DATABASE {quote(name)}",
                    f"ALTER DATABASE {quote(name)} REFRESH COLLATION VERSION",
                ),
            )
    for schema, name, made, now in run(
        "SELECT n.nspname::text, c.collname::text, c.collversion, pg_collation_actual_version(c.oid) "
        "FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE EXISTS "
        "(SELECT FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid WHERE a.attcollation = c.oid "
        "AND t.relkind IN ('r', 'p', 'm', 'i')) AND c.collversion <> pg_collation_actual_version(c.oid) "
        "ORDER BY 1, 2"
    ).fetchall():
        database = run("SELECT current_database()::text").fetchall()[0][0]
        yield Finding(
            "collation",
            "error",
            f"the collation {name} had version {made} when it was made, and the system has {now}: indexes "
            "that use it may be in the wrong order, miss rows and let doubles in",
            "make all indexes again, then note the new version:",
            sql=(
                f"REINDEX DATABASE {quote(database)}",
                f"ALTER COLLATION {quote(schema)}.{quote(name)} REFRESH VERSION",
            ),
        )


def _invalid(run: Run, target: Target) -> Iterator[Finding]:
    for name, table in run(
        "SELECT c.relname::text, t.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace "
        f"WHERE NOT i.indisvalid AND {_HERE} AND c.relkind = 'i' ORDER BY 1"
    ).fetchall():
        yield Finding(
            "indexes",
            "warning",
            f"the index {name} of {table} is invalid: it is written and never used",
            "build it again, or drop it:",
            table,
            sql=(f"REINDEX INDEX CONCURRENTLY {quote(name)}",),
            is_safe=True,
        )
    for name, table in run(
        "SELECT k.conname::text, t.relname::text FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid "
        f"JOIN pg_namespace n ON n.oid = t.relnamespace WHERE NOT k.convalidated AND {_HERE} ORDER BY 1"
    ).fetchall():
        yield Finding(
            "constraints",
            "warning",
            f"the constraint {name} of {table} was never checked for the rows that were there before it",
            "check them; where that fails, the error names a row:",
            table,
            sql=(f"ALTER TABLE {quote(table)} VALIDATE CONSTRAINT {quote(name)}",),
        )


def _orphans(run: Run, target: Target) -> Iterator[Finding]:
    """Rows that came in while triggers were off, as restores do it."""
    for table, parent, name, pairs in run(
        "SELECT t.relname::text, p.relname::text, pn.nspname::text, "
        "ARRAY(SELECT ARRAY[a.attname::text, b.attname::text] "
        "FROM unnest(k.conkey, k.confkey) AS u (here, there) "
        "JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.here "
        "JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.there) "
        "FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid "
        "JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_namespace pn ON pn.oid = p.relnamespace "
        f"WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0 AND {_HERE} ORDER BY 1, 2"
    ).fetchall():
        given = " AND ".join(f"c.{quote(column)} IS NOT NULL" for column, _ in pairs)
        joined = " AND ".join(f"p.{quote(key)} = c.{quote(column)}" for column, key in pairs)
        lonely = f"{given} AND NOT EXISTS (SELECT FROM {quote(name)}.{quote(parent)} AS p WHERE {joined})"
        count = run(f"SELECT count(*) FROM {quote(table)} AS c WHERE {lonely}").fetchall()[0][0]
        if count:
            yield Finding(
                "foreign keys",
                "error",
                f"{count:,} rows of {table} refer to rows of {parent} that are not there",
                "write what they refer to, or remove them:",
                table,
                sql=(f"DELETE FROM {quote(table)} AS c WHERE {lonely}",),
            )


def _age(run: Run, target: Target) -> Iterator[Finding]:
    age = int(
        run("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()").fetchall()[0][0]
    )
    if age > _OLD_TRANSACTIONS:
        yield Finding(
            "transaction numbers",
            "error",
            f"the oldest row is {age:,} transactions old; at two billion the server stops taking writes",
            "freeze them, and find out why autovacuum does not come to it:",
            sql=("VACUUM (FREEZE)",),
            is_safe=True,
        )


def _connections(run: Run, target: Target) -> Iterator[Finding]:
    for pid, seconds in run(
        "SELECT pid, extract(epoch FROM now() - xact_start)::bigint FROM pg_stat_activity "
        "WHERE datname = current_database() AND state LIKE 'idle in transaction%' "
        f"AND pid <> pg_backend_pid() AND xact_start < now() - interval '{IDLE}' ORDER BY xact_start LIMIT 10"
    ).fetchall():
        yield Finding(
            "open transactions",
            "warning",
            f"connection {pid} has been idle in a transaction for {seconds:,} s: it holds locks, and vacuum "
            "removes nothing newer",
            "end it; connect(url, idle_in_transaction=60) has the server do so by itself:",
            sql=(f"SELECT pg_terminate_backend({pid}, 10000)",),
        )
    used, limit = run(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid OR d.datconnlimit < 0), "
        "CASE WHEN d.datconnlimit < 0 THEN current_setting('max_connections')::int ELSE d.datconnlimit END "
        "FROM pg_database d WHERE d.datname = current_database()"
    ).fetchall()[0]
    if used >= _FULL * limit:
        yield Finding(
            "pool",
            "warning",
            f"{used} of {limit} connections are in use: new ones will be refused",
            "give each program a smaller pool (connect(url, pool_size=2, max_overflow=3)), or put PgBouncer "
            "before the server",
        )


def _dead_rows(run: Run, target: Target) -> Iterator[Finding]:
    for table, dead, live in run(
        "SELECT relname::text, n_dead_tup, n_live_tup FROM pg_stat_user_tables "
        f"WHERE schemaname = current_schema() AND n_dead_tup > {_DEAD} AND n_dead_tup * 5 > n_live_tup "
        "ORDER BY 1"
    ).fetchall():
        yield Finding(
            "unused space",
            "warning",
            f"{table} has {dead:,} dead rows beside {live:,} living ones",
            "free their space, then see whether autovacuum keeps up:",
            table,
            sql=(f"VACUUM (ANALYZE) {quote(table)}",),
            is_safe=True,
        )


def _log(run: Run, target: Target) -> Iterator[Finding]:
    for name, size in run(
        "SELECT slot_name::text, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN "
        "pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)::bigint "
        "FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY 1"
    ).fetchall():
        text = name.replace("'", "''")
        yield Finding(
            "write-ahead log",
            "warning",
            f"nobody reads the replication slot {name}, which keeps {size >> 20:,} MiB of the log, "
            "and more until the disk is full",
            "have its reader come back, or drop it:",
            sql=(f"SELECT pg_drop_replication_slot('{text}')",),
        )


def _time_zone(run: Run, target: Target) -> Iterator[Finding]:
    for table, column in run(
        "SELECT t.relname::text, a.attname::text FROM pg_attrdef d JOIN pg_attribute a "
        "ON a.attrelid = d.adrelid AND a.attnum = d.adnum JOIN pg_class t ON t.oid = a.attrelid "
        f"JOIN pg_namespace n ON n.oid = t.relnamespace WHERE {_HERE} "
        "AND a.atttypid = 'timestamp'::regtype AND pg_get_expr(d.adbin, d.adrelid) ~* "
        "'^\\(?(now\\(\\)|current_timestamp|localtimestamp|clock_timestamp\\(\\))' "
        "AND pg_get_expr(d.adbin, d.adrelid) !~* 'time zone ''|timezone\\(' ORDER BY 1, 2"
    ).fetchall():
        yield Finding(
            "time zone",
            "note",
            f"{table}.{column} has no time zone and defaults to the clock: what is written depends on the "
            "zone that each program has set",
            "have it written in UTC, whoever writes:",
            table,
            (column,),
            sql=(
                f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} "
                "SET DEFAULT (now() AT TIME ZONE 'UTC')",
            ),
        )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", _settings),
    ("the version", _version),
    ("collations", _collations),
    ("foreign keys", _orphans),
    ("indexes and constraints", _invalid),
    ("transaction numbers", _age),
    ("connections", _connections),
    ("the write-ahead log", _log),
    ("unused space", _dead_rows),
    ("time zones", _time_zone),
)
