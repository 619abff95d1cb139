"""Looking into a database: keys, indexes, CREATE texts, figures, and a diagram of it all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from holdfast.core import indexes
from holdfast.core.executor import Executor
from holdfast.inspection.report import Summary, row_counts

__all__ = ["Inspector", "Summary"]


class Inspector:
    """Answers questions about a database; made by :func:`holdfast.inspect`.

    >>> inspector = holdfast.inspect(db)
    >>> inspector.get_primary_keys("runs")
    ['id']
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def get_tables(self) -> list[dict[str, Any]]:
        """The tables, then the views: name, type (``"table"`` or ``"view"``), rows, columns (how many).

        Rows are counted exactly; those of a view are not counted and are ``None``.
        """
        catalog = self._executor.engine.catalog
        names, views = catalog.tables(self._executor.run), catalog.views(self._executor.run)
        counts = row_counts(self._executor, names)
        return [
            {
                "name": name,
                "type": "table" if name in counts else "view",
                "rows": counts.get(name),
                "columns": len(self._executor.describe(name).columns),
            }
            for name in (*names, *views)
        ]

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
            self._executor, Path(path), tables, around=around, depth=depth, columns=columns, group=group
        )
