"""What differs between a database and models: each kind of difference is named, and nothing else is."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import holdfast
from holdfast.agents.drift import compared
from holdfast.agents.models.columns import Json, Key, Moment


def models(*, strict: bool = True) -> sa.MetaData:
    """Two tables of every kind of thing; a loose one has another spelling of some."""
    metadata = sa.MetaData()
    sa.Table(
        "owners",
        metadata,
        sa.Column("id", Key(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
    )
    sa.Table(
        "things",
        metadata,
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("owner_id", Key(), sa.ForeignKey("owners.id", name="fk_t", ondelete="CASCADE")),
        sa.Column("label", sa.String(20), server_default="new" if strict else "old", nullable=False),
        sa.Column("number", sa.BigInteger() if strict else sa.String(), server_default=sa.text("7")),
        sa.Column("flag", sa.Boolean(), server_default=sa.true(), nullable=not strict),
        sa.Column("moment", Moment(), server_default=sa.func.current_timestamp()),
        sa.Column("details", Json()),
        sa.Column("price", sa.Numeric(10, 2)),
        sa.Column("day", sa.Date()),
        sa.Column("data", sa.LargeBinary()),
        sa.UniqueConstraint("label", "number", name="uq_t"),
        sa.CheckConstraint("number IS NOT NULL", name="ck_t" if strict else "ck_other"),
        sa.Index("ix_t", "day", unique=not strict),
    )
    return metadata


def test_what_was_made_from_the_models_does_not_differ(db: holdfast.Database) -> None:
    models().create_all(db.engine)
    assert compared(db, models(), {"owners", "things"}) == []


def test_each_difference_is_named(db: holdfast.Database) -> None:
    models(strict=False).create_all(db.engine)
    found = compared(db, models(), {"owners", "things"})
    said = "\n".join(found)
    for place in ("things.label: default", "things.number: type", "things.flag: nullable"):
        assert place in said
    for name in ("ix_t", "ck_t"):
        assert name in said
    assert len(found) == 7, said


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE things DROP COLUMN price", "the column things.price is missing"),
        ("ALTER TABLE things ADD COLUMN extra INTEGER", "the column things.extra is not in the models"),
        ("DROP INDEX ix_t", "the index ix_t of things is missing"),
        ("CREATE INDEX more ON things (price)", "the index more of things is not in the models"),
        ("DROP TABLE things", "the table things is missing"),
    ],
)
def test_one_change_by_hand_is_one_line(db: holdfast.Database, statement: str, said: str) -> None:
    models().create_all(db.engine)
    db.execute(statement)
    found = compared(db, models(), {"owners", "things"})
    assert said in found
    # The index of a table that is missing is missing too.
    assert len(found) == 1 or "DROP TABLE" in statement


def test_another_rule_of_a_foreign_key_is_a_difference(db: holdfast.Database) -> None:
    other = models()
    (key,) = other.tables["things"].foreign_key_constraints
    key.ondelete = "SET NULL"
    for element in key.elements:
        element.ondelete = "SET NULL"
    other.create_all(db.engine)
    found = compared(db, models(), {"owners", "things"})
    assert (
        "the foreign key of things from owner_id to owners.id on delete set null is not in the models"
        in found
    )
    assert "the foreign key of things from owner_id to owners.id on delete cascade is missing" in found


def test_tables_of_others_are_nobodys_concern(db: holdfast.Database) -> None:
    models().create_all(db.engine)
    db.create_table("mine", {"id": int})
    assert compared(db, models(), {"owners", "things"}) == []
