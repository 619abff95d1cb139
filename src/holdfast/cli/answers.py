"""The demo's three questions to the flights, in SQL that both engines answer alike.

Delays are whole minutes, so that their sums are exact and a mean is the same number on both engines; only an
average of integers, which PostgreSQL gives as a Decimal, is asked for as a double.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.database import Database


@dataclass(frozen=True)
class Question:
    text: str
    sql: str


LATEST = Question(
    "Which airlines arrive latest?",
    """
    SELECT a.name AS "airline",
           count(*) AS "flights",
           avg(CAST(f.arr_delay AS DOUBLE PRECISION)) AS "mean arrival delay, min",
           100 * CAST(count(*) FILTER (WHERE f.arr_delay > 30) AS DOUBLE PRECISION) / count(*)
               AS "over 30 min late, %"
    FROM flights f JOIN airlines a ON a.carrier = f.carrier
    WHERE f.arr_delay IS NOT NULL
    GROUP BY a.name
    ORDER BY avg(CAST(f.arr_delay AS DOUBLE PRECISION)) DESC, a.name
    """,
)
BY_HOUR = Question(
    "How do departure delays grow over the day?",
    """
    SELECT f.hour AS "scheduled hour",
           count(*) AS "departures",
           avg(CAST(f.dep_delay AS DOUBLE PRECISION)) AS "mean departure delay, min",
           100 * CAST(count(*) FILTER (WHERE f.dep_delay > 30) AS DOUBLE PRECISION) / count(*)
               AS "over 30 min late, %"
    FROM flights f
    WHERE f.dep_delay IS NOT NULL
    GROUP BY f.hour
    ORDER BY f.hour
    """,
)
WEATHER = Question(
    "Does the weather matter?",
    """
    SELECT b.visibility AS "visibility",
           count(*) AS "scheduled",
           avg(CAST(b.dep_delay AS DOUBLE PRECISION)) AS "mean departure delay, min",
           100 * CAST(count(*) FILTER (WHERE b.dep_delay > 30) AS DOUBLE PRECISION) / count(b.dep_delay)
               AS "over 30 min late, %",
           100 * CAST(count(*) FILTER (WHERE b.dep_time IS NULL) AS DOUBLE PRECISION) / count(*)
               AS "cancelled, %"
    FROM (SELECT f.dep_time, f.dep_delay,
                 CASE WHEN w.visib IS NULL THEN 5 WHEN w.visib < 1 THEN 4 WHEN w.visib < 3 THEN 3
                      WHEN w.visib < 10 THEN 2 ELSE 1 END AS band,
                 CASE WHEN w.visib IS NULL THEN 'no record' WHEN w.visib < 1 THEN 'under 1 mile'
                      WHEN w.visib < 3 THEN '1 to 3 miles' WHEN w.visib < 10 THEN '3 to 10 miles'
                      ELSE '10 miles, clear' END AS visibility
          FROM flights f LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour) AS b
    GROUP BY b.band, b.visibility
    ORDER BY b.band
    """,
)
QUESTIONS = (LATEST, BY_HOUR, WEATHER)


def ask(db: Database, question: Question) -> list[dict[str, Any]]:
    """The rows that answer a question."""
    return db.query(question.sql)
