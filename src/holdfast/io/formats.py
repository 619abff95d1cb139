"""Which file format a name means, and the way in and out of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core import query
from holdfast.core.executor import Executor
from holdfast.errors import ConfigurationError, InvalidQuery
from holdfast.io import arrowfiles, csv, jsonl
from holdfast.io.files import PACKED, unpacked

_CSV_OUT = frozenset({"delimiter", "null", "spreadsheet_safe"})
_CSV_IN = frozenset({"delimiter", "null", "encoding", "rejects"})
_JSON_IN = frozenset({"rejects"})


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: its extensions, whether it is text, its options, and its room."""

    name: str
    extensions: tuple[str, ...]
    write: Callable[..., int]
    read: Callable[..., int]
    fixed: dict[str, Any]
    options_out: frozenset[str] = frozenset()
    options_in: frozenset[str] = frozenset()
    is_text: bool = True


def _write_csv(executor: Executor, table_or_sql: str, path: Any, *args: Any, **options: Any) -> int:
    if not query.is_table(executor, table_or_sql):
        return csv.export_query(executor, table_or_sql, path, *args, **options)
    columns = dict(zip(("columns", "where", "params", "order_by", "limit", "offset"), args, strict=False))
    return csv.export_table(executor, table_or_sql, path, **columns, **options)


_TSV = {"delimiter": "\t"}
_OUT, _IN = arrowfiles.export, arrowfiles.load

FORMATS = (
    Format("csv", (".csv",), _write_csv, csv.import_table, {}, _CSV_OUT, _CSV_IN),
    Format("tsv", (".tsv", ".tab"), _write_csv, csv.import_table, _TSV, _CSV_OUT, _CSV_IN),
    Format(
        "jsonl", (".jsonl", ".ndjson"), jsonl.export, jsonl.load, {"is_array": False}, options_in=_JSON_IN
    ),
    Format("json", (".json",), jsonl.export, jsonl.load, {"is_array": True}, options_in=_JSON_IN),
    Format("parquet", (".parquet", ".pq"), _OUT, _IN, {"is_parquet": True}, is_text=False),
    Format("feather", (".feather", ".arrow"), _OUT, _IN, {"is_parquet": False}, is_text=False),
)
_BY_NAME = {name: form for form in FORMATS for name in (form.name, *(e[1:] for e in form.extensions))}
_BY_EXTENSION = {extension: form for form in FORMATS for extension in form.extensions}


def format_of(path: Path, given: str | None = None) -> Format:
    """The format called ``given``, or the one that the extension of ``path`` means.

    Raises:
        ConfigurationError: if there is none, or if it cannot be packed with gzip or zstd; the hint names all.
    """
    names = ", ".join(form.name for form in FORMATS)
    packed = path.suffix.lower() in PACKED
    if given is not None:
        form = _BY_NAME.get(given)
        if form is None:
            raise ConfigurationError(f"unknown format {given!r}", hint=f"use one of {names}")
    else:
        extension = Path(path.stem if packed else path.name).suffix.lower()
        form = _BY_EXTENSION.get(extension)
        if form is None:
            what = f": no format has the extension {extension!r}" if extension else " has no extension"
            raise ConfigurationError(
                f"{path}{what}",
                hint=f"use one of {', '.join(_BY_EXTENSION)}, or give format= ({names})",
            )
    if packed and not form.is_text:
        raise ConfigurationError(f"{path}: {form.name} is packed already", hint=f"leave out {path.suffix!r}")
    return form


def export(
    executor: Executor,
    table_or_sql: str,
    path: Path,
    *args: Any,
    format: str | None = None,
    stream: Any = None,
    progress: bool | None = None,
    **options: Any,
) -> int:
    """Write a table or a query to ``path``, or to ``stream``, and return how many rows there were."""
    form = format_of(path, format)
    if form.name != "csv" and form.name != "tsv":
        _refuse_options(form, options, _CSV_OUT)
    return form.write(
        executor, table_or_sql, stream or path, *args, progress=progress, **{**form.fixed, **options}
    )


def load(
    executor: Executor,
    table: str,
    path: Path,
    if_exists: str = "append",
    *,
    format: str | None = None,
    stream: Any = None,
    extra_columns: str = "error",
    resume: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> int:
    """Load ``path``, or ``stream``, all rows or none, and return how many there were."""
    form = format_of(path, format)
    unknown = sorted(options.keys() - form.options_in)
    if unknown:
        raise InvalidQuery(
            f"{form.name} has no option {unknown[0]!r}",
            hint=f"its options: {', '.join(sorted(form.options_in)) or 'none'}",
        )
    if options.get("rejects") is not None:
        options["rejects"] = Path(options["rejects"])
    with _opened(form, path, stream) as source:
        return form.read(
            executor,
            table,
            source,
            if_exists,
            extra_columns=extra_columns,
            resume=resume,
            progress=progress,
            **{**form.fixed, **options},
        )


@contextmanager
def _opened(form: Format, path: Path, stream: Any) -> Iterator[Any]:
    """What the format reads: a path, or a stream, which a named pipe is too, for it is read once."""
    if stream is None and path.is_fifo():
        with path.open("rb") as pipe, _opened(form, path, pipe) as source:
            yield source
    elif stream is None or not form.is_text:
        yield stream or path
    else:
        with unpacked(stream) as plain:
            yield plain


def _refuse_options(form: Format, options: dict[str, Any], others: frozenset[str]) -> None:
    found = sorted(options.keys() & others)
    if found:
        raise InvalidQuery(f"{form.name} has no option {found[0]!r}", hint="it is one of csv and tsv")
