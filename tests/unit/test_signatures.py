"""The flat methods and those of the table object are one set of verbs."""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import Any

import pytest

import holdfast
from holdfast import Database, Table

VERBS = sorted(name for name, value in vars(Table).items() if callable(value) and not name.startswith("_"))
TABLE_NAMES = ("table", "table_or_sql")


def parameters(function: Any) -> list[tuple[str, Any, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default, p.annotation) for p in found if p.name not in ("self", *TABLE_NAMES)]


def test_the_table_object_has_the_verbs_of_the_contract() -> None:
    assert set(VERBS) == {
        *("insert", "insert_many", "upsert", "upsert_many", "update_many", "update", "delete"),
        *("select", "get", "find_one", "count", "exists", "stream", "paginate"),
        *("create_index", "list_indexes", "get_columns", "add_column", "drop_column"),
        *("rename_column", "alter_column", "add_foreign_key"),
        *("save_array", "save_arrays", "load_array", "load_arrays", "verify_array"),
        *("enable_search", "search", "disable_search"),
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_a_table_is_a_flat_method_with_the_table_first(verb: str) -> None:
    flat = list(inspect.signature(getattr(Database, verb)).parameters.values())
    assert flat[0].name == "self"
    assert flat[1].name in TABLE_NAMES
    assert flat[1].kind is Parameter.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "stream"])
def test_parameters_defaults_and_kinds_are_the_same(verb: str) -> None:
    assert parameters(getattr(Database, verb)) == parameters(getattr(Table, verb))


def test_stream_takes_a_query_too_so_it_hands_its_arguments_on() -> None:
    flat = inspect.signature(Database.stream).parameters
    table = inspect.signature(Table.stream).parameters
    assert [p.kind for p in list(flat.values())[2:]] == [
        Parameter.VAR_POSITIONAL,
        Parameter.KEYWORD_ONLY,
        Parameter.VAR_KEYWORD,
    ]
    assert flat["batch_size"].default == table["batch_size"].default


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_returns_is_the_same(verb: str) -> None:
    flat = inspect.signature(getattr(Database, verb)).return_annotation
    assert flat == inspect.signature(getattr(Table, verb)).return_annotation


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("stream", "list_indexes")])
def test_a_flat_method_is_one_call_of_the_table(verb: str) -> None:
    called = getattr(Database, verb).__code__.co_names
    assert "table" in called
    assert verb in called


def test_public_names_are_documented_and_typed() -> None:
    for kind in (Database, Table):
        for name, value in vars(kind).items():
            if name.startswith("_"):
                continue
            function = value.fget if isinstance(value, property) else value
            if callable(function):
                assert inspect.getdoc(function), f"{kind.__name__}.{name}"
                signature = inspect.signature(function)
                assert signature.return_annotation is not Parameter.empty, name
                untyped = [
                    p.name
                    for p in signature.parameters.values()
                    if p.annotation is Parameter.empty and p.name != "self"
                ]
                assert untyped == [], name


def test_the_face_has_the_names_of_the_contract() -> None:
    for name in ("connect", "SQLite3", "PostgreSQL", "install_as", "inspect", "errors", "Database", "Table"):
        assert hasattr(holdfast, name)
    assert inspect.signature(Database.atomic) == inspect.signature(Database.transaction)
    assert Database.__getitem__ is Database.table
