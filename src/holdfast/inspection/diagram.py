"""The schema diagram: Mermaid and Graphviz texts, pictures, and how the file is published."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from holdfast.core.executor import Executor
from holdfast.errors import ConfigurationError, MissingDependency
from holdfast.folders import replacing
from holdfast.inspection.focus import Columns, Grouping, check, grouped, near, with_columns
from holdfast.inspection.model import Attribute, Entity, Schema, read_schema


def write(
    executor: Executor,
    path: Path,
    tables: Sequence[str] | None = None,
    *,
    around: str | Sequence[str] | None = None,
    depth: int = 1,
    columns: Columns = "keys",
    group: Grouping | None = None,
) -> Path:
    """Draw the schema into ``path``, whose extension says how; the file is whole or as it was."""
    check(columns, group, depth)
    if tables is not None and around is not None:
        raise ConfigurationError("give either the tables or those around which to draw, not both")
    extension = path.suffix.lower()
    if extension not in _RENDERERS:
        known = ", ".join(_RENDERERS)
        raise ConfigurationError(
            f"a diagram cannot be written as {path.name!r}", hint=f"use one of the extensions {known}"
        )
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder {path.parent} does not exist", hint="create it first")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory", hint="name a file in it")
    schema = read_schema(executor, tables)
    if around is not None:
        centres = [around] if isinstance(around, str) else around
        schema = near(schema, [executor.describe(name).name for name in centres], depth)
    schema = grouped(schema, group) if group else with_columns(schema, columns)
    _publish(path, _RENDERERS[extension](schema))
    return path


def _publish(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as beside:
            beside.write_bytes(content)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be written: {exc.strerror}") from exc


def mermaid(schema: Schema) -> str:
    """The schema as a Mermaid ``erDiagram``.

    Mermaid takes few characters in the names of columns: others become ``_``, and the name as it is follows
    as a comment.
    """
    lines = ["erDiagram"]
    for entity in schema.entities:
        attributes = [f"        {_mermaid_attribute(item)}" for item in entity.attributes]
        lines += [f"    {_mermaid_name(entity.name)} {{", *attributes, "    }"]
    for item in schema.references:
        one = "o|" if item.optional else "||"
        lines.append(
            f"    {_mermaid_name(item.table)} }}o--{one} {_mermaid_name(item.target)} : "
            f"{_mermaid_name(', '.join(item.columns))}"
        )
    return "\n".join(lines) + "\n"


def _mermaid_name(name: str) -> str:
    return f'"{_mermaid_text(name)}"'


def _mermaid_text(text: str) -> str:
    return re.sub(r"[\"#%\\;`~{}\x00-\x1f\x7f]", lambda match: f"#{ord(match[0])};", text)


def _mermaid_word(text: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_()\[\]]+", "_", text)
    # PK, FK and UK are words of Mermaid's own, in any case.
    return word if re.match(r"(?!(?:PK|FK|UK)$)[A-Za-z_]", word, re.IGNORECASE) else f"_{word}"


def _mermaid_attribute(item: Attribute) -> str:
    name = _mermaid_word(item.name)
    parts = [_mermaid_word(item.type or "any"), name, ", ".join(item.marks)]
    parts += [f'"{_mermaid_text(item.name)}"'] if name != item.name else []
    return " ".join(filter(None, parts))


def dot(schema: Schema) -> str:
    """The schema in Graphviz's language: ``dot -Tpdf schema.dot -o schema.pdf`` makes a PDF of it."""
    lines = [
        "digraph schema {",
        "    graph [rankdir=RL, nodesep=0.35, ranksep=1.1, pad=0.2];",
        '    node [shape=plain, fontname="Helvetica", fontsize=10];',
        '    edge [color="#5b6b7d", arrowsize=0.7];',
    ]
    rows = {
        (entity.name, item.name): number
        for entity in schema.entities
        for number, item in enumerate(entity.attributes)
    }
    lines += [f"    {_dot_name(entity.name)} [label=<{_dot_table(entity)}>];" for entity in schema.entities]
    for item in schema.references:
        # Tables that are referred to are on the left; a table that refers to itself does so on its right.
        side = "e" if item.table == item.target else "w"
        for column, key in zip_longest(item.columns, item.keys[: len(item.columns)]):
            start = _dot_port(item.table, rows.get((item.table, column)), side)
            end = _dot_port(item.target, rows.get((item.target, key)), "e")
            lines.append(f"    {start} -> {end};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot_port(table: str, row: int | None, side: str) -> str:
    """One side of a row; of the whole table where the row is not known."""
    return _dot_name(table) if row is None else f"{_dot_name(table)}:{side}{row}:{side}"


def _dot_text(text: str) -> str:
    """Graphviz reads labels as XML, which has no control characters."""
    return html.escape(re.sub(r"[\x00-\x1f\x7f\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text))


def _dot_table(entity: Entity) -> str:
    style = ' STYLE="dashed"' if entity.is_light else ""
    colour = "#ffffff" if style else "#ffe2a8" if entity.is_central else "#dde6f0"
    title = f"<I>{_dot_text(entity.name)}</I>" if style else f"<B>{_dot_text(entity.name)}</B>"
    rows = [f'<TR><TD COLSPAN="3" BGCOLOR="{colour}">{title}</TD></TR>']
    for number, item in enumerate(entity.attributes):
        name = f"<B>{_dot_text(item.name)}</B>" if item.primary_key else _dot_text(item.name)
        marks = " ".join(item.marks) or " "
        rows.append(
            f'<TR><TD ALIGN="LEFT" SIDES="BL" PORT="w{number}"><FONT POINT-SIZE="7">{marks}</FONT></TD>'
            f'<TD ALIGN="LEFT" SIDES="B">{name}</TD>'
            f'<TD ALIGN="LEFT" SIDES="BR" PORT="e{number}">'
            f'<FONT COLOR="#66727f">{_dot_text(item.type) or " "}</FONT></TD></TR>'
        )
    if entity.omitted and entity.attributes:
        rows.append(
            f'<TR><TD COLSPAN="3" ALIGN="LEFT"><FONT COLOR="#66727f">… {entity.omitted} more</FONT></TD></TR>'
        )
    return (
        f'<TABLE BORDER="1" CELLBORDER="1" CELLSPACING="0" CELLPADDING="3" COLOR="#8c9bab"{style}>'
        f"{''.join(rows)}</TABLE>"
    )


def _svg(schema: Schema) -> bytes:
    from holdfast.inspection import drawing, scene

    return drawing.svg(scene.scene(schema)).encode()


def _png(schema: Schema) -> bytes:
    """By matplotlib; without it by Graphviz, which has no place for every way but needs no package."""
    from holdfast.inspection import drawing, scene

    try:
        return drawing.png(scene.scene(schema))
    except MissingDependency:
        program = shutil.which("dot")
        if program is None:
            raise
    done = subprocess.run(  # noqa: S603 - a program by its path, and what it reads is quoted
        [program, "-Tpng", "-Gdpi=150"], input=dot(schema).encode(), capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise ConfigurationError(
            f"Graphviz could not draw it: {said}", hint="write .svg, .mmd or .dot, which need nothing"
        )
    return done.stdout


_RENDERERS: Mapping[str, Callable[[Schema], bytes]] = {
    ".png": _png,
    ".svg": _svg,
    ".mmd": lambda schema: mermaid(schema).encode(),
    ".dot": lambda schema: dot(schema).encode(),
}
