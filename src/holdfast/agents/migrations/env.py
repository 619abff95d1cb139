"""Alembic runs this file for each step: against a connection, or to write SQL without one.

``holdfast.agents.migrate`` says in ``attributes`` what it has: a connection whose transaction it holds, or
the name of a dialect and a place for the SQL.
"""

from alembic import context

given = context.config.attributes
shared = {"target_metadata": given["metadata"], "transaction_per_migration": True}


def run_offline() -> None:
    """Write SQL, each migration a transaction of its own."""
    context.configure(
        dialect_name=given["dialect"],
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        output_buffer=given["output"],
        **shared,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Change the database; the transaction is that of ``holdfast.agents.migrate``."""
    context.configure(connection=given["connection"], **shared)
    if given["operations"] is not None:
        migration = context.get_context()
        migration.impl = given["operations"](
            migration.dialect, migration.connection, False, True, None, migration.opts
        )
    with context.begin_transaction():
        context.run_migrations()


run_offline() if context.is_offline_mode() else run_online()
