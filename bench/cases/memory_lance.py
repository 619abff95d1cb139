"""Memories in a folder with LanceDB, beside LanceDB alone and beside the file of truth alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from measure import US, Case, Contender, rows
from numpy.typing import NDArray

import holdfast.memory
from holdfast.memory import Passage

COUNT, WIDTH = rows(20_000), 384
TITLE = f"Memories with LanceDB: {COUNT:,} vectors of {WIDTH} numbers"
LIBRARIES = ("lancedb", "numpy", "pyarrow")
BATCH = min(5_000, COUNT)
ALONE, PLAIN = "LanceDB alone", "the file of truth alone"

_numbers = itertools.count()


def _vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Clusters of 24 dimensions and noise, as the vectors of texts are."""
    chance = np.random.default_rng(seed)
    basis, centres = chance.normal(size=(24, WIDTH)), chance.normal(size=(40, 24))
    found = (centres[chance.integers(0, 40, count)] + 0.5 * chance.normal(size=(count, 24))) @ basis
    return (found + 0.3 * chance.normal(size=(count, WIDTH))).astype(np.float32)


VECTORS = _vectors(COUNT, 0)
ASKED = itertools.cycle(_vectors(50, 0))


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        alone = lancedb.connect(folder / "alone").create_table("t", _table(0, COUNT))
        ours = stack.enter_context(holdfast.memory.open(f"lancedb:///{folder}/ours", user_id="ada"))
        _fill(ours)
        plain = stack.enter_context(holdfast.memory.open(folder / "plain.db", user_id="ada"))
        _fill(plain)
        yield [
            Case(
                f"write {BATCH:,} at once",
                (
                    Contender(ALONE, lambda n: _each(n, _add, alone)),
                    Contender(US, lambda n: _each(n, _insert, ours)),
                    Contender(PLAIN, lambda n: _each(n, _insert, plain)),
                ),
                calls=1,
                unit="ms",
            ),
            Case(
                "the 10 nearest of all",
                (
                    Contender(ALONE, lambda n: _each(n, _search, alone)),
                    Contender(US, lambda n: _each(n, _query, ours)),
                ),
                calls=5,
                unit="ms",
            ),
            Case(
                "the 10 nearest after a write",
                (
                    Contender(ALONE, lambda n: _each(n, _add_and_search, alone)),
                    Contender(US, lambda n: _each(n, _insert_and_query, ours)),
                    Contender(PLAIN, lambda n: _each(n, _insert_and_query, plain)),
                ),
                calls=3,
                unit="ms",
            ),
        ]


def _each(n: int, work: Callable[[Any], object], of: Any) -> None:
    for _ in range(n):
        work(of)


def _table(start: int, stop: int) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[start:stop].ravel()), WIDTH)
    texts = [f"text {next(_numbers)}" for _ in range(start, stop)]
    return pa.table({"text": pa.array(texts), "vector": vectors})


def _passages(start: int, stop: int) -> list[Passage]:
    return [Passage(f"text {next(_numbers)}", vector) for vector in VECTORS[start:stop]]


def _fill(memory: Any) -> None:
    for start in range(0, COUNT, BATCH):
        memory.insert_many(_passages(start, start + BATCH))
    memory.save()


def _add(table: Any) -> None:
    table.add(_table(0, BATCH))


def _insert(memory: Any) -> None:
    memory.insert_many(_passages(0, BATCH))


def _search(table: Any) -> None:
    found = table.search(next(ASKED), vector_column_name="vector").distance_type("cosine")
    assert len(found.limit(10).to_list()) == 10


def _query(memory: Any) -> None:
    assert len(memory.query(vector=next(ASKED))) == 10


def _add_and_search(table: Any) -> None:
    table.add(_table(0, 1))
    _search(table)


def _insert_and_query(memory: Any) -> None:
    memory.insert_many(_passages(0, 1))
    _query(memory)
