"""Maintenance: vacuum, statistics for the planner, and what the engine advises from time to time."""

from __future__ import annotations

from holdfast.core.executor import Executor
from holdfast.errors import TransactionError


def vacuum(executor: Executor) -> None:
    """Give unused space back.

    Raises:
        TransactionError: inside a transaction, which stays as it is.
    """
    _outside(executor, "vacuum")
    executor.engine.upkeep.vacuum(executor.run)


def analyze(executor: Executor) -> None:
    """Renew the planner's statistics; also inside a transaction."""
    executor.engine.upkeep.analyze(executor.run)


def optimize(executor: Executor) -> None:
    """Do what the engine advises from time to time: statistics, and a checkpoint or a vacuum.

    Raises:
        TransactionError: inside a transaction, which stays as it is.
    """
    _outside(executor, "optimize")
    executor.engine.upkeep.optimize(executor.run)


def _outside(executor: Executor, verb: str) -> None:
    if executor.in_transaction:
        raise TransactionError(f"{verb} cannot be part of a transaction", hint="commit or roll back first")
