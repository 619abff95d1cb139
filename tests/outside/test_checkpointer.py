"""LangGraph's own conformance suite of checkpointers, with every capability that it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES

from holdfast.memory.langgraph import HoldfastSaver


async def test_langgraphs_conformance_suite_is_green(url: str) -> None:
    @checkpointer_test(name="HoldfastSaver")
    async def savers() -> AsyncIterator[HoldfastSaver]:
        async with HoldfastSaver(url) as saver:
            yield saver

    report = await validate(savers)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert {name for name, result in report.results.items() if result.passed} == {
        capability.value for capability in ALL_CAPABILITIES
    }
    assert sum(result.tests_passed for result in report.results.values()) >= 80
