"""Looking into a database: keys, indexes, CREATE texts, figures, and a diagram of it all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from holdfast.core import indexes
from holdfast.core.executor import Executor
from holdfast.errors import OutOfTime
from holdfast.inspection.profile import ColumnProfile, Profile, TableProfile, look_into
from holdfast.inspection.reading import counted, describe_view, reading
from holdfast.inspection.report import SECONDS, Summary, summary
from holdfast.urls import path_of

__all__ = ["ColumnProfile", "Inspector", "Profile", "Summary", "TableProfile"]


_AT_ONCE = 1.0


class Inspector:
    """Answers questions about a database; made by :func:`holdfast.inspect`.

    >>> inspector = holdfast.inspect(db)
    >>> inspector.get_primary_keys("runs")
    ['id']
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def get_tables(self) -> list[dict[str, Any]]:
        """The tables, then the views: name, type (``"table"`` or ``"view"``), rows, exact, columns, size.

        ``rows`` are counted, or estimated where that takes more than ten seconds, and then not ``exact``;
        those of a view are not counted and are ``None``. ``columns`` is how many, ``size`` the bytes of a
        table with its indexes, or ``None`` where that is not known or not to be had at once.
        """
        executor = self._executor
        names, views = (
            executor.engine.catalog.tables(executor.run),
            executor.engine.catalog.views(executor.run),
        )
        counts, sizes = counted(executor, names, SECONDS), self._sizes()
        tables = [
            {
                "name": name,
                "type": "table",
                "rows": counts[name].rows,
                "exact": counts[name].is_exact,
                "columns": len(executor.describe(name).columns),
                "size": sizes.get(name),
            }
            for name in names
        ]
        return tables + [
            {
                "name": name,
                "type": "view",
                "rows": None,
                "exact": False,
                "columns": len(info.columns) if (info := describe_view(executor, name)) else 0,
                "size": sizes.get(name),
            }
            for name in views
        ]

    def _sizes(self) -> dict[str, int]:
        try:
            with reading(self._executor, _AT_ONCE):
                return self._executor.engine.upkeep.table_sizes(self._executor.run)
        except OutOfTime:
            return {}

    def profile(
        self,
        tables: str | Sequence[str] | None = None,
        *,
        rows: int | None = None,
        seconds: float = SECONDS,
    ) -> Profile:
        """Say of tables and views, by default all, what they are made of and what is in them; print it.

        Of each column: its declared type and the kinds of its values, NULLs, distinct values, smallest and
        largest, examples; of each table its rows, size, keys, indexes, triggers and CREATE text. It only
        reads, for about so many ``seconds``, and keeps nobody from writing. Of each table at most ``rows``
        rows are read, by default up to 100,000, fewer where it has many columns; of a larger one, or when the
        time is up, what is said is that of a sample from all over it, and is said to be.

        >>> holdfast.inspect(db).profile("runs")["runs"].rows
        1

        Raises:
            ConfigurationError: if ``rows`` or ``seconds`` is no such number.
            TableNotFound: with the nearest name there is.
        """
        return look_into(self._executor, tables, rows=rows, seconds=seconds)

    def __str__(self) -> str:
        return str(summary(self._executor))

    def _repr_html_(self) -> str:
        """The tables at a glance, which Jupyter shows."""
        return summary(self._executor)._repr_html_()

    def get_primary_keys(self, table: str) -> list[str]:
        """The columns of the primary key, in the key's own order; empty where there is none.

        Raises:
            TableNotFound: with the nearest name there is.
        """
        return list(self._executor.describe(table).primary_key)

    get_primary_key = get_primary_keys

    def get_foreign_keys(self, table: str) -> list[dict[str, Any]]:
        """The foreign keys: columns, references (a table), keys (its columns), on_delete, on_update.

        Raises:
            TableNotFound: with the nearest name there is.
        """
        self._executor.describe(table)
        return self._executor.engine.catalog.foreign_keys(self._executor.run, table)

    def get_indexes(self, table: str | None = None) -> list[dict[str, Any]]:
        """The indexes of a table, or of all: name, table, columns, unique, primary_key, constraint, partial.

        Raises:
            TableNotFound: with the nearest name there is.
        """
        return indexes.list_indexes(self._executor, table)

    def get_triggers(self, table: str | None = None) -> list[dict[str, Any]]:
        """The triggers of a table, or of all: name, table, sql.

        Raises:
            TableNotFound: with the nearest name there is.
        """
        if table is not None:
            self._executor.describe(table)
        return self._executor.engine.catalog.triggers(self._executor.run, table)

    def get_create_table_sql(self, table: str) -> str:
        """The statement that makes such a table or view where the tables that it refers to are there.

        Raises:
            TableNotFound: with the nearest name there is.
        """
        self._executor.describe(table)
        return self._executor.engine.catalog.create_sql(self._executor.run, table)

    def generate_schema_diagram(
        self,
        path: str | os.PathLike[str],
        tables: Sequence[str] | None = None,
        *,
        around: str | Sequence[str] | None = None,
        depth: int = 1,
        columns: Literal["keys", "all", "none"] = "keys",
        group: Literal["prefix", "connected"] | None = None,
    ) -> Path:
        """Draw the tables with their keys and references, and return the path of the picture.

        The extension says how: ``.svg`` and ``.png`` are pictures, ``.mmd`` is Mermaid's text and ``.dot``
        is Graphviz's. Only ``.png`` needs something: matplotlib, or Graphviz's program ``dot``.

        Of a large schema draw a part: what is within ``depth`` references ``around`` some tables, in either
        direction; or only the ``tables`` named (and the names of what they refer to). Or draw a map of it
        all: ``group="prefix"`` has one box for the tables whose names begin alike up to an underscore, and
        ``group="connected"`` one for those that refer to each other. ``columns`` are those of ``"keys"``,
        ``"all"`` or ``"none"``; how many are left out is said.

        >>> holdfast.inspect(db).generate_schema_diagram("runs.svg", around="runs", depth=2).name
        'runs.svg'

        Raises:
            ConfigurationError: if the extension or an option is another one, or the folder is not there.
            MissingDependency: if a PNG cannot be drawn; the hint is the pip line.
            TableNotFound: with the nearest name there is.
        """
        from holdfast.inspection import diagram

        return diagram.write(
            self._executor, path_of(path), tables, around=around, depth=depth, columns=columns, group=group
        )
