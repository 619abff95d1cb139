"""Markdown taken apart into pieces: nothing lost, nothing mistaken for a heading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.memory.markdown import LONGEST, split

ROOT = Path(__file__).parents[2]


def pieces(text, **options):
    return [(" > ".join(piece.headings), piece.text) for piece in split(text, **options)]


def test_headings_nest_and_end():
    text = "intro\n\n# A\na1\n\n## B ##\nb1\n\n### C\nc1\n\n## D\nd1\n# E\ne1"
    assert pieces(text) == [
        ("", "intro"),
        ("A", "a1"),
        ("A > B", "b1"),
        ("A > B > C", "c1"),
        ("A > D", "d1"),
        ("E", "e1"),
    ]


def test_underlined_headings():
    assert pieces("Title\n=====\n\ntext\n\nPart\n---\nmore\n\n---\n\nend") == [
        ("Title", "text"),
        ("Title > Part", "more\n\n---\n\nend"),
    ]


def test_code_is_left_whole():
    text = "# A\n\n```python\n# no heading\n\nx = 1\n```\n\n~~~~\n```\n# nor this\n~~~~\nafter"
    assert pieces(text) == [
        ("A", "```python\n# no heading\n\nx = 1\n```\n\n~~~~\n```\n# nor this\n~~~~\n\nafter")
    ]


def test_front_matter_and_lines_that_separate_say_nothing():
    assert pieces("---\ntitle: x\n---\n\ntext\n\n***\n") == [("", "text\n\n***")]
    assert pieces("***\n\n# Only a heading\n") == []


def test_short_paragraphs_go_together_and_long_ones_are_cut_at_sentences():
    sentence = "A sentence of some forty characters here. "
    long = (sentence * 60).strip()
    found = pieces(f"# A\n\nshort\n\n{long}\n\nshort too\n\nand this")
    assert found[0] == ("A", "short")
    assert found[-1] == ("A", "short too\n\nand this")
    assert all(len(text) <= LONGEST and text.endswith("here.") for _, text in found[1:-1])
    assert " ".join(text for _, text in found[1:-1]) == long


@given(st.text("ab #\n=-`~.\u3000é", max_size=300), st.integers(20, 100))
def test_no_word_is_lost(text, longest):
    body = re.sub(r"\A---\r?\n.*?\r?\n---\r?\n", "", text, flags=re.S)
    found = list(split(text, longest))
    kept = "".join(piece.text for piece in found) + "".join(h for piece in found for h in piece.headings)
    assert set(re.findall(r"\w", body)) - set(kept) <= set(re.findall(r"\w", "".join(_unused(body))))
    assert all(piece.text.strip() for piece in found)


def _unused(text):
    """Headings under which nothing stands are no pieces."""
    return [line for line in text.splitlines() if "#" in line] + re.findall(r"(.*)\n[ ]{0,3}[=-]+", text)


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=lambda path: path.name)
def test_real_pages_keep_every_word(path):
    text = path.read_text(encoding="utf-8")
    found = list(split(text))
    kept = " ".join(" ".join(piece.headings) + " " + piece.text for piece in found)
    assert set(re.findall(r"\w+", text)) == set(re.findall(r"\w+", kept))
    assert all(len(piece.text) <= LONGEST or "```" in piece.text for piece in found)
