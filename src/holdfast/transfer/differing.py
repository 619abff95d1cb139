"""What two databases hold that is not the same: tables, columns, keys, indexes and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Which = Literal["only in a", "only in b", "changed"]
WHICH: tuple[Which, ...] = ("only in a", "only in b", "changed")


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """Something of the schema that one side lacks, or has otherwise.

    ``kind`` is ``"table"``, ``"view"``, ``"column"``, ``"type"``, ``"nullable"``, ``"default"``,
    ``"generated"``, ``"collation"``, ``"primary key"``, ``"foreign key"``, ``"unique key"``, ``"index"``,
    ``"check"`` or ``"search"``; ``a`` and ``b`` say what each side has, ``None`` where it has none.
    """

    kind: str
    table: str
    name: str | None
    a: str | None
    b: str | None

    def __str__(self) -> str:
        what = self.table if self.name is None else f"{self.table}: {self.kind} {self.name}"
        if self.b is None or self.a is None:
            where, said = ("a", self.a) if self.b is None else ("b", self.b)
            subject = f"{self.kind} {what}" if self.name is None else what
            shown = f" {said}" if (said or "(").startswith("(") else f" ({said})"
            return f"{subject} is only in {where}{shown.rstrip()}"
        subject = f"{self.table}: {self.kind}" + ("" if self.name is None else f" of {self.name}")
        return f"{subject} is {self.a} in a, {self.b} in b"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that one side lacks, or has otherwise.

    ``key`` tells which, by the primary key; without one it is ``None``, and the row is there ``count`` times
    more than on the other side. ``columns`` are those that differ. ``a`` and ``b`` are the values of
    a changed row's ``columns``, or of a whole row, where ``rows=True`` asked for them.
    """

    which: Which
    key: Mapping[str, Any] | None
    columns: tuple[str, ...] = ()
    a: Mapping[str, Any] | None = None
    b: Mapping[str, Any] | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class TableDifference:
    """A table that both sides have: how many rows differ, and the first of them in ``rows``.

    ``by`` are the columns of the key by which rows were found; without any they were compared as a whole.
    ``not_compared`` gives the columns left out and why. ``changed`` counts rows with a key alone.
    """

    table: str
    by: tuple[str, ...]
    rows_a: int
    rows_b: int
    only_in_a: int
    only_in_b: int
    changed: int
    rows: tuple[RowDifference, ...] = ()
    not_compared: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_equal_rows(self) -> bool:
        return not (self.only_in_a or self.only_in_b or self.changed)


@dataclass(frozen=True)
class Difference:
    """What :func:`holdfast.diff` found; print it. ``is_equal`` is true where it found nothing.

    ``a`` and ``b`` are the kinds of database, ``schema`` the differences of the schema, and ``tables`` what
    became of each table that both have.
    """

    a: str
    b: str
    schema: Sequence[SchemaDifference]
    tables: Sequence[TableDifference]

    @property
    def is_equal(self) -> bool:
        return not self.schema and all(table.has_equal_rows for table in self.tables)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for item in self.schema:
            yield str(item)
        for table in self.tables:
            yield from _table_lines(table)
        if self.is_equal:
            rows = sum(table.rows_a for table in self.tables)
            yield f"equal: {len(self.tables)} tables, {rows:,} rows"


def _table_lines(table: TableDifference) -> Iterator[str]:
    for column, reason in table.not_compared.items():
        yield f"{table.table}: column {column} was not compared: {reason}"
    if table.has_equal_rows:
        return
    counts = zip(WHICH, (table.only_in_a, table.only_in_b, table.changed), strict=True)
    yield f"{table.table}: " + ", ".join(f"{count:,} {which}" for which, count in counts if count)
    for row in table.rows:
        yield f"  {_row_line(row)}"


def _row_line(row: RowDifference) -> str:
    times = f" ({row.count} times)" if row.count > 1 else ""
    key = _values(row.key) if row.key is not None else "a row"
    line = f"{row.which}: {key}{times}"
    if row.which == "changed":
        line += " in " + ", ".join(row.columns)
        if row.a is not None and row.b is not None:
            line = line[: line.rindex(" in ")]
            for name in row.columns:
                line += f"\n      {name}: {row.a[name]!r} -> {row.b[name]!r}"
    elif row.a is not None or row.b is not None:
        line += f"\n      {_values(row.a if row.a is not None else row.b or {})}"
    return line


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
