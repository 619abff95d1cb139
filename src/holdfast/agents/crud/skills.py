"""Skills: users' own, and managed ones, which have no owner."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from holdfast.agents.crud.group import Group
from holdfast.agents.models import Skill, SkillCreate, SkillUpdate
from holdfast.database import Database


class Skills(Group[Skill, SkillCreate, SkillUpdate]):
    """Skills."""

    def of_ids(self, db: Database, ids: Sequence[UUID]) -> Sequence[Skill]:
        """The skills of these ids that there are."""
        return [self._read(row) for row in db.select(self.table.name, where={"id": list(ids)})] if ids else []


skills = Skills(Skill, SkillCreate, SkillUpdate)
