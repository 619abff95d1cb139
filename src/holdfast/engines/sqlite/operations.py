"""Alembic's operations on SQLite, done as Holdfast alters tables.

Alembic's own batch mode copies a table as it was reflected: triggers are gone afterwards, views break, and
with foreign keys on ``DROP TABLE`` deletes the rows of tables that refer to it. Here rows, rowids, triggers
and views stay, inside and outside of ``batch_alter_table``.
"""

from __future__ import annotations

from typing import Any

from alembic.ddl.sqlite import SQLiteImpl
from sqlalchemy import Column
from sqlalchemy.schema import Constraint, CreateColumn, Table

from holdfast.engines.base import UNSET, Run
from holdfast.engines.sqlite import alter
from holdfast.engines.sqlite.rebuild import rebuild, table_text
from holdfast.engines.sqlite.tabletext import Item, folded, with_item, without_items
from holdfast.errors import NotSupported, SchemaError, did_you_mean


class Operations(SQLiteImpl):
    """Without a ``__dialect__`` of its own, so that other users of Alembic in this process keep theirs."""

    transactional_ddl = True

    @property
    def _run(self) -> Run:
        assert self.connection is not None
        raw: Any = self.connection.connection.dbapi_connection
        run: Run = raw.execute
        return run

    @property
    def _compiler(self) -> Any:
        compiler: Any = self.dialect.ddl_compiler
        return compiler(self.dialect, None)

    def requires_recreate_in_batch(self, batch_op: Any) -> bool:
        return False

    def alter_column(self, table_name: str, column_name: str, **kw: Any) -> None:
        """Change a column; what is not given stays."""
        type_, default = kw.get("type_"), kw.get("server_default", False)
        changes: dict[str, Any] = {"type": None, "nullable": kw.get("nullable"), "default": UNSET}
        if type_ is not None:
            changes["type"] = self.dialect.type_compiler_instance.process(type_)
        if default is not False:
            changes["default"] = self._default(default)
        alter.alter_column(self._run, table_name, column_name, **changes)
        if kw.get("name") is not None:
            alter.rename_column(self._run, table_name, column_name, kw["name"])

    def _default(self, default: Any) -> str | None:
        if default is None:
            return None
        column: Column[Any] = Column("c", server_default=default)
        Table("t", _metadata(), column)
        text: str = self._compiler.get_column_default_string(column)
        return text

    def add_column(self, table_name: str, column: Column[Any], **kw: Any) -> None:
        """Add a column; its constraints follow by themselves."""
        alter.add_column(self._run, table_name, str(CreateColumn(column).compile(dialect=self.dialect)))

    def drop_column(self, table_name: str, column: Column[Any], **kw: Any) -> None:
        """Drop a column, with its indexes and the constraints that name it."""
        alter.drop_column(self._run, table_name, column.name)

    def rename_table(self, old_table_name: str, new_table_name: str, schema: str | None = None) -> None:
        """Rename a table; foreign keys, triggers and views follow."""
        alter.rename_table(self._run, old_table_name, new_table_name)

    def drop_table(self, table: Table, **kw: Any) -> None:
        """Drop a table that nothing depends on: its rows must not take others with them."""
        if kw.get("if_exists") and not self._exists(table.name):
            return
        alter.drop_table(self._run, table.name)

    def _exists(self, table: str) -> bool:
        found = self._run("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return bool(found.fetchall())

    def add_constraint(self, const: Constraint, **kw: Any) -> None:
        """Add a constraint to a table, which is written anew."""
        if const._create_rule is not None and not const._create_rule(self):
            return
        text: str = self._compiler.process(const)
        table = table_text(self._run, const.table.name)
        rebuild(self._run, with_item(table, text, is_column=False))

    def drop_constraint(self, const: Constraint, **kw: Any) -> None:
        """Drop a constraint by its name; the table is written anew."""
        table = table_text(self._run, const.table.name)
        names = {folded(name): at for at, item in enumerate(table.items) if (name := _name_of(item))}
        if const.name is None:
            raise NotSupported("a constraint without a name cannot be dropped", hint="alter the column")
        at = names.get(folded(str(const.name)))
        if at is None:
            if kw.get("if_exists"):
                return
            raise SchemaError(
                f"table {table.table!r} has no constraint {str(const.name)!r}",
                hint=did_you_mean(str(const.name), sorted(names), "constraints"),
            )
        rebuild(self._run, without_items(table, [at]))


def _metadata() -> Any:
    from sqlalchemy import MetaData

    return MetaData()


def _name_of(item: Item) -> str | None:
    """The name of a constraint of the table."""
    if item.column is not None or item.words()[0] != "CONSTRAINT":
        return None
    return item.code[1].text.strip('"`[]')
