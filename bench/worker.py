"""A process for what brings a SQLite library of its own: it does its way once for each line it reads."""

from __future__ import annotations

import sys
from collections.abc import Callable

SELECT = "SELECT * FROM experiments"


def _connectorx(path: str, kind: str) -> Callable[[], object]:
    import connectorx

    return lambda: connectorx.read_sql(f"sqlite://{path}", SELECT, return_type=kind)


def _polars(path: str, engine: str) -> Callable[[], object]:
    import polars

    prefix = "sqlite://" if engine == "connectorx" else "sqlite:///"
    return lambda: polars.read_database_uri(SELECT, prefix + path, engine=engine)


def _adbc_read(path: str) -> Callable[[], object]:
    from adbc_driver_sqlite import dbapi

    con = dbapi.connect(f"file:{path}")

    def read() -> None:
        with con.cursor() as cursor:
            cursor.execute(SELECT)
            cursor.fetch_arrow_table()

    return read


def _adbc_write(path: str) -> Callable[[], object]:
    import bulk
    from adbc_driver_sqlite import dbapi

    con, data = dbapi.connect(f"file:{path}", autocommit=True), bulk.arrow()
    con.execute("PRAGMA synchronous = NORMAL").close()

    def write() -> None:
        with con.cursor() as cursor:
            cursor.adbc_ingest("experiments", data, mode="append")

    return write


WAYS: dict[str, Callable[[str], Callable[[], object]]] = {
    "connectorx to pandas": lambda path: _connectorx(path, "pandas"),
    "connectorx to arrow": lambda path: _connectorx(path, "arrow"),
    "connectorx to polars": lambda path: _polars(path, "connectorx"),
    "adbc to polars": lambda path: _polars(path, "adbc"),
    "adbc to arrow": _adbc_read,
    "adbc ingest": _adbc_write,
}


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    try:
        way = WAYS[sys.argv[1]](sys.argv[2])
        _say("done")
        for _ in sys.stdin:
            way()
            _say("done")
    except Exception as exc:
        _say(f"{type(exc).__name__} {(str(exc).splitlines() or [''])[0]}")


if __name__ == "__main__":
    main()
