"""What is Lance's own: a folder with the truth in SQLite, and tables that may be lost at any time."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import holdfast
from holdfast import errors, memory
from holdfast.memory import LanceDBConnector, Passage, SQLStore, lance_leg
from holdfast.memory.lance_store import INDEX, TRUTH
from holdfast.memory.lance_tables import LanceTables

WIDTH = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_leg, "WAITING", 20)


def opened(folder: Path, **options: Any) -> LanceDBConnector:
    found = memory.open(f"lancedb:///{folder}", **{"user_id": "ada", **options})
    assert isinstance(found, LanceDBConnector)
    return found


def vectors(count: int, seed: int = 5) -> NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(6, WIDTH))
    found = centres[chance.integers(0, 6, count)] + 0.3 * chance.normal(size=(count, WIDTH))
    return found.astype(np.float32)


def many(count: int, seed: int = 5, **fields: Any) -> list[Passage]:
    return [
        Passage(f"text {seed} {n}", vector, metadata={"n": n}, **fields)
        for n, vector in enumerate(vectors(count, seed))
    ]


def check(store: SQLStore, given: list[Any], seed: int = 9) -> None:
    """Every answer is the exact one."""
    assert store.size() == len(given)
    wide = np.array([passage.embedding for passage in given], dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    for asked in vectors(3, seed):
        distances = 1 - (wide @ asked) / lengths / np.linalg.norm(asked)
        hits = store.query(vector=asked, top_k=5)
        assert [hit.record.id for hit in hits] == [given[n].id for n in np.argsort(distances)[:5]]
        assert hits.complete


def lance_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / INDEX).rglob("*") if path.is_file())


def table_of(folder: Path) -> Path:
    (found,) = (folder / INDEX).glob("*.lance")
    return found


# Folders


def test_a_folder_is_made_and_opened_again_by_its_url_or_its_path(folder: Path) -> None:
    given = many(30)
    with opened(folder) as store:
        store.insert_many(given)
        assert repr(store) == f"<LanceDBConnector 'memory' in lancedb:///{folder}>"
    for url in (f"lancedb:///{folder}", f"LANCEDB:///{folder}?timeout=5", folder, str(folder)):
        with memory.open(url, user_id="ada") as store:
            assert isinstance(store, LanceDBConnector)
            check(store, given)
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    with memory.get_storage_connector("recall_memory", f"lancedb:///{folder}", user_id="ada") as other:
        assert isinstance(other, LanceDBConnector)
        assert other.size() == 0


@pytest.mark.parametrize(
    "url", ["lancedb://notes", "lancedb:///", "lancedb://", "lancedb:////", "lancedb:///a?x=1"]
)
def test_a_url_that_names_no_folder_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        memory.open(url)


def test_a_folder_that_is_not_ours_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("x")
    (tmp_path / "foreign" / "t.lance").mkdir(parents=True)
    for name in ("file", "photos", "foreign", "file/below"):
        with pytest.raises(errors.ConfigurationError, match=name):
            memory.open(f"lancedb:///{tmp_path}/{name}")
    with pytest.raises(errors.ConfigurationError, match="photos"):
        memory.open(tmp_path / "photos")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "foreign", "photos"]
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]


def test_a_folder_without_its_truth_is_refused(folder: Path) -> None:
    with opened(folder) as store:
        store.insert_many(many(30))
    (folder / TRUTH).unlink()
    with pytest.raises(errors.ConfigurationError, match=TRUTH):
        opened(folder)
    assert table_of(folder).exists()
    (folder / TRUTH).write_text("this is no database, and long enough to be seen as none" * 99)
    with pytest.raises(errors.Error, match=TRUTH):
        opened(folder)


def test_a_connector_needs_the_file_of_a_folder(tmp_path: Path) -> None:
    for url in (":memory:", f"{tmp_path}/other.db"):
        with holdfast.connect(url) as db, pytest.raises(errors.ConfigurationError, match=TRUTH):
            LanceDBConnector("passages", db)


def test_without_lancedb_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(errors.MissingDependency, match=r"holdfast\[lance\]"):
        opened(folder)
    assert not folder.exists()


def test_another_dimension_or_model_is_refused(folder: Path) -> None:
    with opened(folder) as store:
        store.insert_many(many(30))
        with pytest.raises(errors.ValueRefused, match="have 8"):
            store.query(vector=[1, 2])
    with pytest.raises(errors.ConfigurationError, match="8 numbers, not 9"):
        opened(folder, dimension=9)

    class Embed:
        model = "other"

        def __call__(self, texts: list[str]) -> list[list[float]]:
            raise AssertionError

    with pytest.raises(errors.ConfigurationError, match="'default', not 'other'"):
        opened(folder, embed=Embed())


# What Lance has


def test_small_memories_need_no_lance_and_larger_ones_come_in_batches(folder: Path) -> None:
    given = many(90)
    with opened(folder) as store:
        for passage in given[:10]:
            store.insert(passage)
        check(store, given[:10])
        assert lance_files(folder) == []
        store.insert_many(given[10:50])
        table = table_of(folder)
        before = len(list((table / "_versions").glob("*.manifest")))
        for passage in given[50:]:
            store.insert(passage)
        check(store, given)
        assert table_of(folder) == table
        assert len(list((table / "_versions").glob("*.manifest"))) <= before + 3
        store.save()
        check(store, given)


def test_changes_that_wait_are_found(folder: Path) -> None:
    given = many(60)
    with opened(folder) as store:
        store.insert_many(given)
        new = vectors(8, seed=77)
        for n in range(8):
            given[n] = replace(given[n], embedding=new[n])
            store.update(given[n])
        check(store, given)
        store.delete({"n": {"$gte": 55}})
        check(store, given[:55])
        store.undo(given[0].id)
        given[0] = many(60)[0]
        gone = store.update(replace(given[1], embedding=None))
        assert gone not in {hit.record.id for hit in store.query(vector=new[1], top_k=100)}
        store.update(given[1])
        check(store, given[:55])
        store.save()
        check(store, given[:55])


def test_a_first_memory_without_a_vector_settles_nothing(folder: Path) -> None:
    given = many(40)
    with opened(folder) as store:
        store.insert_many([Passage(f"no vector {n}") for n in range(30)])
        store.save()
        assert store.query(vector=[1.0] * WIDTH) == []
        store.insert_many(given)
        store.insert_many([Passage(f"none either {n}") for n in range(30)])
        store.save()
        assert {hit.record.id for hit in store.query(vector=[1.0] * WIDTH, top_k=100)} == {
            p.id for p in given
        }


@pytest.mark.parametrize("gathered", [0, 1 << 20])
def test_filters_that_leave_many_and_few(
    folder: Path, gathered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance_leg, "GATHERED", gathered)
    given = many(200)
    with opened(folder) as store:
        store.insert_many(given)
        for passage in many(9, seed=6):
            store.insert(passage)
        for least, top in ((0, 7), (20, 150), (197, 10), (199, 10), (500, 10)):
            allowed = [passage for passage in given if passage.metadata["n"] >= least]
            allowed += [hit for hit in many(9, seed=6) if hit.metadata["n"] >= least]
            hits = store.query(vector=given[3].embedding, top_k=top, filters={"n": {"$gte": least}})
            assert len(hits) == min(top, len(allowed))
            assert all(hit.record.metadata["n"] >= least for hit in hits)  # type: ignore[union-attr]
            distances = [hit.distance for hit in hits]
            assert distances == sorted(distances)  # type: ignore[type-var]


def test_more_equal_vectors_than_are_asked_for_come_by_id(folder: Path) -> None:
    given = [Passage(f"same {n}", [1.0] * WIDTH) for n in range(300)]
    with opened(folder) as store:
        store.insert_many([*given[::-1], *many(50)])
        hits = store.query(vector=[2.0] * WIDTH, top_k=9)
        assert [hit.record.id for hit in hits] == sorted(passage.id for passage in given)[:9]


def test_tenants_and_agents_are_apart_in_lance(folder: Path) -> None:
    with opened(folder) as ada, opened(folder, user_id="eve") as eve, opened(folder, agent_id="cat") as cat:
        ada.insert_many(given := many(60))
        eve.insert_many(hers := many(50, seed=6))
        cat.insert_many(its := many(40, seed=7))
        for store in (ada, eve, cat):
            store.save()
        check(eve, hers)
        check(cat, its)
        check(ada, [*given, *its])


def test_stores_of_one_folder_have_their_own_tables(folder: Path) -> None:
    with opened(folder) as one, opened(folder, name="other") as other:
        one.insert_many(given := many(40))
        other.insert_many([Passage(f"t {n}", [n + 1, 1]) for n in range(40)])
        assert len(list((folder / INDEX).glob("*.lance"))) == 2
        check(one, given)
        other.delete_table()
        assert len(list((folder / INDEX).glob("*.lance"))) == 1
        check(one, given)
        other.insert_many([Passage(f"t {n}", [n + 1, 1, 1]) for n in range(40)])
        other.save()
        assert len(other.query(vector=[1, 1, 1], top_k=100)) == 40
        one.delete_table()
        other.delete_table()
        assert lance_files(folder) == []


def test_what_another_way_writes_is_found(folder: Path) -> None:
    given = many(80)
    with opened(folder) as store:
        store.insert_many(given[:40])
        with holdfast.connect(folder / TRUTH) as db:
            plain = memory.open(db, user_id="ada")
            assert not isinstance(plain, LanceDBConnector)
            plain.insert_many(given[40:])
            check(store, given)
            plain.delete_table()
            memory.open(db, user_id="ada").insert_many(given[:30])
        check(store, given[:30])
        store.insert_many(given[30:])
        check(store, given)


def test_a_folder_that_cannot_be_indexed_still_answers(folder: Path) -> None:
    given = many(60)
    with opened(folder) as store:
        (folder / INDEX).write_text("in the way")
        store.insert_many(given)
        check(store, given)
    (folder / INDEX).unlink()
    with opened(folder) as store:
        check(store, given)
        assert table_of(folder).is_dir()


def test_reading_alone_works(folder: Path) -> None:
    given = many(60)
    with opened(folder) as store:
        store.insert_many(given)
    with memory.open(f"lancedb:///{folder}?read_only=true", user_id="ada") as store:
        check(store, given)
        with pytest.raises(errors.ReadOnlyError):
            store.insert(Passage("x"))
        shutil.rmtree(folder / INDEX)
        check(store, given)


# Losses


def _each(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def loss(folder: Path) -> None:
        for path in lance_files(folder):
            path.write_bytes(change(path.read_bytes()))

    return loss


def _a_file_instead(folder: Path) -> None:
    table = table_of(folder)
    shutil.rmtree(table)
    table.write_text("x")


LOSSES: dict[str, Callable[[Path], None]] = {
    "the folder of tables": lambda folder: shutil.rmtree(folder / INDEX),
    "a table": lambda folder: shutil.rmtree(table_of(folder)),
    "its data": lambda folder: shutil.rmtree(table_of(folder) / "data"),
    "its versions": lambda folder: shutil.rmtree(table_of(folder) / "_versions"),
    "a file instead": _a_file_instead,
    "empty files": _each(lambda content: b""),
    "half files": _each(lambda content: content[: len(content) // 2]),
    "garbled files": _each(lambda content: random.Random(1).randbytes(len(content))),
}


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_or_damaged_table_is_made_again(folder: Path, loss: str, is_open: bool) -> None:
    given = many(70)
    store = opened(folder)
    store.insert_many(given[:60])
    check(store, given[:60])
    store.delete({"n": 59})
    del given[59]
    if not is_open:
        store.close()
    LOSSES[loss](folder)
    if not is_open:
        store = opened(folder)
    with closing(store):
        check(store, given[:59])
        store.insert_many(given[59:])
        store.save()
        check(store, given)
        assert lance_files(folder)


def test_whichever_file_is_cut_wherever_nothing_is_lost(folder: Path) -> None:
    given, chance = many(60), random.Random(3)
    with opened(folder) as store:
        store.insert_many(given[:40])
        store.insert_many(given[40:])
        store.delete({"n": {"$gte": 58}})
        store.save()
    copy = folder.with_name("copy")
    for path in lance_files(folder):
        for at in {0, path.stat().st_size - 1, chance.randrange(path.stat().st_size)}:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            with (copy / path.relative_to(folder)).open("rb+") as file:
                file.truncate(at)
            with opened(copy) as store:
                check(store, given[:58])


def test_an_old_copy_of_the_tables_is_not_believed(folder: Path) -> None:
    given = many(90)
    with opened(folder) as store:
        store.insert_many(given[:30])
        shutil.copytree(folder / INDEX, folder.with_name("old"))
        store.insert_many(given[30:60])
    shutil.rmtree(folder / INDEX)
    shutil.copytree(folder.with_name("old"), folder / INDEX)
    with opened(folder) as store:
        check(store, given[:60])
        store.insert_many(given[60:])
        check(store, given)


def test_an_old_truth_is_believed_against_newer_tables(folder: Path) -> None:
    given = many(90)
    with opened(folder) as store:
        store.insert_many(given[:30])
    shutil.copy(folder / TRUTH, folder.with_name("old"))
    with opened(folder) as store:
        store.delete({"n": {"$lt": 25}})
        store.insert_many(given[30:60])
    shutil.copy(folder.with_name("old"), folder / TRUTH)
    with opened(folder) as store:
        check(store, given[:30])
        store.insert_many(given[60:])
        check(store, [*given[:30], *given[60:]])


def test_tables_of_another_folder_are_not_believed(folder: Path) -> None:
    other = folder.with_name("other")
    with opened(folder) as store, opened(other) as foreign:
        store.insert_many(given := many(40))
        foreign.insert_many(many(40, seed=6))
    shutil.rmtree(folder / INDEX)
    shutil.copytree(other / INDEX, folder / INDEX)
    with opened(folder) as store:
        check(store, given)


# Erasing


def test_nothing_of_an_erased_user_is_left_in_any_file(folder: Path) -> None:
    with opened(folder) as ada, opened(folder, user_id="eve") as eve:
        ada.insert_many(given := many(60))
        eve.insert_many(hers := many(40, seed=6))
        ada.delete({"n": {"$lt": 30}})
        ada.save()
        eve.create_vector_index()

        def left() -> list[str]:
            traces = [b"text 5 ", *(np.asarray(passage.embedding).tobytes() for passage in given)]
            files = [path for path in folder.rglob("*") if path.is_file()]
            return [path.name for path in files if any(trace in path.read_bytes() for trace in traces)]

        assert any(name.endswith(".lance") for name in left())
        assert ada.erase("ada").is_clean
        assert left() == []
        assert ada.query(vector=given[40].embedding) == []
        assert len(eve.query(vector=given[40].embedding, top_k=100)) == 40
        eve.drop_vector_index()
        check(eve, hers)
        assert left() == []


# An index over the vectors


def places(vectors: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    """For each a place among all that goes with its direction, and one that does not."""
    found = {"alone": np.random.default_rng(1).permutation(len(vectors)), "with": np.empty(len(vectors), int)}
    found["with"][np.argsort(vectors[:, 0])] = np.arange(len(vectors))
    return found


def test_the_index_misses_nothing_whatever_the_filter_leaves(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3000
    wide = vectors(count + 20)
    asked, wide = wide[count:], wide[:count]
    place = places(wide)
    given = [
        Passage(f"t {n}", wide[n], metadata={key: int(of[n]) for key, of in place.items()})
        for n in range(count)
    ]
    with opened(folder) as store:
        store.insert_many(given[:-50])
        store.create_vector_index()
        store.insert_many(given[-50:])
        store.save()
        wide = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        for gathered in (WIDTH * 4 * 100, 0):
            monkeypatch.setattr(lance_leg, "GATHERED", gathered)
            for key, of in place.items():
                for share in (0.001, 0.01, 0.1, 0.5, 1.0):
                    left = int(share * count)
                    filters = {key: {"$lt": left}} if share < 1 else None
                    allowed = np.flatnonzero(of < left)
                    found = []
                    for one in asked:
                        true = {given[n].id for n in allowed[np.argsort(-(wide[allowed] @ one))[:10]]}
                        hits = store.query(vector=one, filters=filters)
                        found.append(len(true & {hit.record.id for hit in hits}) / len(true))
                        assert hits.complete is (filters is not None and left * WIDTH * 4 <= gathered)
                    assert np.mean(found) >= 0.99, (key, share, np.mean(found))


def test_an_index_is_kept_when_a_table_is_made_again_and_goes_when_it_is_dropped(folder: Path) -> None:
    given = many(300)
    with opened(folder) as store:
        with pytest.raises(errors.ConfigurationError, match="no vectors"):
            store.create_vector_index()
        store.insert_many(given[:250])
        assert store.query(vector=given[0].embedding).complete
        for wrong in ({"m": 1}, {"ef_construction": 5000}, {"m": "x"}, {"m": 50, "ef_construction": 60}):
            with pytest.raises(errors.InvalidQuery):
                store.create_vector_index(**wrong)  # type: ignore[arg-type]
        with store._database.transaction(), pytest.raises(errors.TransactionError):
            store.create_vector_index()
        store.create_vector_index(m=8, ef_construction=40)
        assert not store.query(vector=given[0].embedding).complete
        store.insert_many(given[250:])
        shutil.rmtree(folder / INDEX)
    with opened(folder) as store:
        for passage in given[::17]:
            hits = store.query(vector=passage.embedding)
            assert not hits.complete
            assert hits[0].record.id == passage.id
        store.drop_vector_index()
        check(store, given)
        store.drop_vector_index()


# Others at the same time


def _run(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


PROCESS = """
import sys
import numpy as np
from holdfast import memory
from holdfast.memory import Passage, lance_leg
lance_leg.WAITING = 20
folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
vectors = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
with memory.open(f"lancedb:///{folder}", user_id="ada") as store:
    for n, vector in enumerate(vectors):
        store.insert(Passage(f"text {seed} {n}", vector))
        print(n, flush=True)
        if n % 10 == 9:
            assert store.query(vector=vector)[0].record.text == f"text {seed} {n}"
"""


def test_two_processes_write_and_search_one_folder(folder: Path) -> None:
    processes = [_run(PROCESS, folder, seed, 60) for seed in (1, 2)]
    for process in processes:
        _, said = process.communicate(timeout=700)
        assert (process.returncode, said) == (0, "")
    with opened(folder) as store:
        assert store.size() == 120
        assert len(store.query(vector=[1.0] * WIDTH, top_k=500)) == 120


def test_threads_write_and_search_one_store(folder: Path) -> None:
    failures: list[BaseException] = []
    with opened(folder) as store:

        def work(seed: int) -> None:
            try:
                for n, passage in enumerate(many(50, seed)):
                    store.insert(passage)
                    if n % 7 == 6:
                        assert store.query(vector=passage.embedding)[0].record.id == passage.id
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        check(store, store.get_all())


def test_a_process_that_is_killed_while_it_writes_loses_nothing(folder: Path) -> None:
    written, chance = {1: -1, 2: -1}, random.Random(4)
    for seed, lines in ((1, 75), (2, 130)):
        process = _run(PROCESS, folder, seed, 100_000)
        assert process.stdout is not None
        for _ in range(lines):
            written[seed] = int(process.stdout.readline())
        time.sleep(chance.random() / 20)
        process.kill()
        written[seed] = int((process.communicate()[0].split() or [written[seed]])[-1])
        with opened(folder) as store:
            for of, last in written.items():
                texts = {record.text for record in store.get_all({"text": {"$like": f"text {of} %"}})}
                assert {f"text {of} {n}" for n in range(last + 1)} <= texts
                assert len(texts) <= last + 2
            check(store, store.get_all())
            store.save()
            check(store, store.get_all())
            assert len(list((folder / INDEX).glob("*.lance"))) == 1


@pytest.mark.parametrize("step", ["apply", "create", "sweep"])
@pytest.mark.parametrize("is_after", [False, True])
def test_wherever_bringing_changes_into_lance_ends_nothing_is_lost(
    folder: Path, step: str, is_after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    given = many(80)
    real = getattr(LanceTables, step)

    def dies(*arguments: Any, **options: Any) -> Any:
        if is_after:
            real(*arguments, **options)
        raise Killed

    with opened(folder) as store:
        if step == "apply":
            store.insert_many(given[:40])
        monkeypatch.setattr(LanceTables, step, dies)
        with pytest.raises(Killed):
            store.insert_many(given[40:] if step == "apply" else given)
        monkeypatch.setattr(LanceTables, step, real)
        check(store, given)
    with opened(folder) as store:
        check(store, given)
        store.delete({"n": {"$gte": 70}})
        store.save()
        check(store, given[:70])
        assert len(list((folder / INDEX).glob("*.lance"))) == 1


FORK = """
import multiprocessing, sys, warnings
warnings.filterwarnings("ignore", message="lancedb fork support")
import numpy as np
from holdfast import errors, memory
from holdfast.memory import Passage, lance_leg
lance_leg.WAITING = 20
vectors = np.random.default_rng(1).normal(size=(100, 8)).astype("f4")
store = memory.open("lancedb:///" + sys.argv[1], user_id="ada")
store.insert_many([Passage(f"t {n}", vectors[n]) for n in range(60)])
assert store.query(vector=vectors[5])[0].record.text == "t 5"

def child():
    assert store.query(vector=vectors[6])[0].record.text == "t 6"
    store.insert_many([Passage(f"t {n}", vectors[n]) for n in range(60, 100)])
    assert store.query(vector=vectors[70])[0].record.text == "t 70"
    try:
        store.create_vector_index()
    except errors.NotSupported:
        sys.exit(7)

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(600)
assert process.exitcode == 7, process.exitcode
assert store.query(vector=vectors[70])[0].record.text == "t 70"
print("all found")
"""


def test_a_child_after_a_fork_searches_and_writes(folder: Path) -> None:
    process = _run(FORK, folder)
    said, noted = process.communicate(timeout=700)
    assert (process.returncode, said, noted) == (0, "all found\n", "")
