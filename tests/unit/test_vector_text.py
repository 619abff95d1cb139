"""A vector as the text that PostgreSQL takes."""

from __future__ import annotations

import numpy as np

from holdfast.engines.postgres.vectors import asked

LEAST, MOST = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max


def test_each_number_is_told_from_all_others() -> None:
    bits = np.random.default_rng(20261130).integers(0, 2**32, 100_000, np.uint32)
    found = bits.view(np.float32)
    edges = [LEAST, -LEAST, MOST, -MOST, 0.0, -0.0, 1.0, np.nextafter(np.float32(1), np.float32(2))]
    vector = np.concatenate([found[np.isfinite(found)], np.array(edges, np.float32)])
    text = asked(vector)
    assert (text[0], text[-1]) == ("[", "]")
    back = np.array([np.float32(float(number)) for number in text[1:-1].split(",")])
    assert (back.view(np.uint32) == vector.view(np.uint32)).all()
