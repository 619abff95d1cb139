"""Write cli.md from what the commands say of themselves: ``python docs/cli.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import cli

PAGE = Path(__file__).with_name("cli.md")
_INTRODUCTION = """# Every command

What `holdfast COMMAND --help` says of each, written by `make docs`; a test compares the two.
[Use the command line](how-to/command-line.md) tells how they go together, and what the exit codes are.
"""

VERBS: dict[str, str | list[str]] = {
    "holdfast.connect": "every command opens what its URL names",
    "holdfast.SQLite3": "another spelling of connect",
    "holdfast.PostgreSQL": "another spelling of connect",
    "holdfast.copy_database": ["copy"],
    "holdfast.diff": ["diff"],
    "holdfast.inspect": ["schema", "diagram"],
    "holdfast.install_as": "for scripts in Python that import another name",
    "db.is_open": "a command opens its database and closes it",
    "db.url": ["shell"],
    "db.engine": "an object of SQLAlchemy",
    "db.health": ["health"],
    "db.wait_until_ready": ["agents init"],
    "db.close": "a command opens its database and closes it",
    "db.table": "the name of a table is an argument",
    "db.insert": ["insert"],
    "db.insert_many": ["insert"],
    "db.upsert": ["insert"],
    "db.upsert_many": ["insert"],
    "db.update_many": ["update"],
    "db.select": ["select"],
    "db.get": ["select"],
    "db.find_one": ["select"],
    "db.count": ["tables", "query"],
    "db.exists": ["query"],
    "db.update": ["update"],
    "db.delete": ["delete"],
    "db.stream": ["export"],
    "db.paginate": "pages are for programs; `select --limit --offset`, or `export` for all rows",
    "db.execute": ["query", "shell"],
    "db.executemany": ["insert", "shell"],
    "db.query": ["query"],
    "db.transaction": ["shell"],
    "db.atomic": ["shell"],
    "db.begin_transaction": ["shell"],
    "db.commit": ["shell"],
    "db.rollback": ["shell"],
    "db.run_transaction": "it calls a function of Python again",
    "db.create_table": ["create-table"],
    "db.drop_table": ["drop-table"],
    "db.rename_table": ["rename-table"],
    "db.table_exists": ["tables"],
    "db.list_tables": ["tables"],
    "db.list_views": ["summary"],
    "db.get_columns": ["schema"],
    "db.add_column": ["add-column"],
    "db.drop_column": ["drop-column"],
    "db.rename_column": ["rename-column"],
    "db.alter_column": ["alter-column"],
    "db.add_foreign_key": ["add-foreign-key"],
    "db.create_index": ["create-index"],
    "db.drop_index": ["drop-index"],
    "db.list_indexes": ["schema"],
    "db.enable_search": ["search"],
    "db.search": ["search"],
    "db.disable_search": ["disable-search"],
    "db.to_dataframe": "a frame is an object of Python; `export` writes files",
    "db.from_dataframe": "a frame is an object of Python; `import` reads files",
    "db.to_arrow": "Arrow data are objects of Python; `export` writes Parquet and Feather",
    "db.from_arrow": "Arrow data are objects of Python; `import` reads Parquet and Feather",
    "db.to_polars": "a frame is an object of Python; `export` writes files",
    "db.export_to_csv": ["export"],
    "db.export_query_to_csv": ["export"],
    "db.import_from_csv": ["import"],
    "db.export": ["export"],
    "db.load": ["import"],
    "db.store_blob": "bytes come from a program; Parquet and JSON carry them through `import`",
    "db.get_blob": "bytes go to a program; Parquet and JSON carry them through `export`",
    "db.save_array": "an array is an object of NumPy",
    "db.save_arrays": "an array is an object of NumPy",
    "db.load_array": "an array is an object of NumPy",
    "db.load_arrays": "an array is an object of NumPy",
    "db.verify_array": "an array is an object of NumPy; `doctor` looks for damage in the file",
    "db.vacuum": ["vacuum"],
    "db.analyze": ["analyze"],
    "db.optimize": ["optimize"],
    "db.get_stats": ["summary"],
    "db.summary": ["summary"],
    "db.explain": ["explain"],
    "db.record_queries": "it records what one process asks; `suggest` reads what the server knows",
    "db.trace_queries": "it traces one process; its provider is an object of Python",
    "db.slow_queries": ["slow-queries"],
    "db.suggest_indexes": ["suggest"],
    "db.doctor": ["doctor"],
    "db.diff": ["diff"],
    "db.delete_duplicates": ["delete-duplicates"],
    "db.backup_database": ["backup"],
    "db.backup_table": ["backup"],
    "db.restore_database": ["restore"],
    "db.restore_table": ["restore"],
    "db.verify_backup": ["verify"],
    "db.list_backups": ["backups"],
    "db.prune_backups": ["prune"],
    "db.backup_if_due": ["schedule"],
    "db.next_backup": ["schedule"],
    "db.schedule_backups": ["backup"],
    "memory.open": "every command opens the memory that --db names",
    "memory.get_storage_connector": "another spelling of open",
    "memory.get_db_model": "a class for SQLAlchemy's ORM",
    "memory.close": "a command opens its memory and closes it",
    "memory.insert": ["memory add"],
    "memory.insert_many": ["memory import"],
    "memory.upsert": ["memory import"],
    "memory.update": "an agent changes its memories by their ids; `memory import` of a changed file does",
    "memory.delete": "an agent forgets by ids; `memory erase` removes all of a user",
    "memory.sweep": "an agent's own doing, as it opens the memory",
    "memory.models": ["memory stats"],
    "memory.create_vector_index": "for very many memories; its advice is measured from Python",
    "memory.advise_index": "as create_vector_index",
    "memory.drop_vector_index": "as create_vector_index",
    "memory.index_metadata": "as create_vector_index",
    "memory.drop_metadata_index": "as create_vector_index",
    "memory.erase": ["memory erase"],
    "memory.delete_table": ["drop-table"],
    "memory.save": "there is nothing to do; it is MemGPT's spelling",
    "memory.history": ["memory history"],
    "memory.as_of": ["memory history"],
    "memory.undo": "an agent takes back its own change; `memory history` shows what was",
    "memory.get": ["memory list"],
    "memory.get_all": ["memory list"],
    "memory.get_all_paginated": ["memory list"],
    "memory.page": ["memory list"],
    "memory.query_date": ["memory list"],
    "memory.query": ["memory search"],
    "memory.query_text": ["memory search"],
    "memory.cache_info": "it is of one process",
    "memory.size": ["memory stats"],
    "memory.list_data_sources": ["memory stats"],
    "memory.list_loaded_data": ["memory stats"],
    "memory.copy_memory": ["memory copy"],
    "memory.export_memory": ["memory export"],
    "memory.import_memory": ["memory import"],
    "memory.import_markdown": ["memory import"],
    "memory.import_memgpt": ["memory import"],
    "memory.measure_recall": ["memory recall"],
    "memory.reembed": ["memory reembed"],
}
"""Each public verb, and the commands that carry it, or why none does."""


def page() -> str:
    """The whole page, which ``test_docs.py`` compares with the file."""
    return "\n".join([_INTRODUCTION, *_verbs(), *_commands()]).rstrip() + "\n"


def _verbs() -> Iterator[str]:
    yield "## From Python to the command line\n"
    yield "| In Python | Command |\n|---|---|"
    for verb, carried in VERBS.items():
        said = carried if isinstance(carried, str) else ", ".join(f"`holdfast {name}`" for name in carried)
        yield f"| `{verb}` | {said} |"
    yield ""


def _commands() -> Iterator[str]:
    for words, command in cli.commands():
        name = " ".join(("holdfast", *words))
        context = command.make_context(name, [], resilient_parsing=True, terminal_width=96)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        yield f"## `{name}`\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
