"""Members of teams, and their skills."""

from __future__ import annotations

from typing import Any

from holdfast.agents.crud.group import Group, Listing
from holdfast.agents.crud.skills import skills
from holdfast.agents.models import Member, MemberCreate, MemberUpdate, Skill
from holdfast.database import Database
from holdfast.errors import NotFoundError

LINKS = "member_skills"


class Members(Group[Member, MemberCreate, MemberUpdate]):
    """Members; the one that leads another is of the same team."""

    def check(self, db: Database, row: Member) -> None:
        if row.manager_id is not None and not db.exists(
            self.table.name, {"id": row.manager_id, "team_id": row.team_id}
        ):
            raise NotFoundError("there is no member of that manager_id in the team")

    def add_skill(self, db: Database, member_id: Any, skill_id: Any) -> None:
        """Let a member have a skill; twice is harmless.

        Raises:
            NotFoundError: if one of them is not there, or the skill is another user's own.
        """
        with db.transaction():
            member, skill = self.get(db, member_id), skills.get(db, skill_id)
            owner = db.get("teams", member.team_id)["owner_id"]
            if skill.owner_id not in (None, owner):
                raise NotFoundError("there is no skill of that id")
            db.insert_many(LINKS, [{"member_id": member.id, "skill_id": skill.id}], on_conflict="ignore")

    def remove_skill(self, db: Database, member_id: Any, skill_id: Any) -> None:
        """Let a member have a skill no longer.

        Raises:
            NotFoundError: if it does not have it.
        """
        if not db.delete(LINKS, {"member_id": member_id, "skill_id": skill_id}):
            raise NotFoundError("the member does not have that skill")

    def list_skills(
        self, db: Database, member_id: Any, *, limit: int = 100, after: str | None = None
    ) -> Listing[Skill]:
        """A page of the skills of a member."""
        page = db.paginate(LINKS, "skill_id", limit=limit, after=after, where={"member_id": member_id})
        found = {skill.id: skill for skill in skills.of_ids(db, [link["skill_id"] for link in page.rows])}
        rows = [found[link["skill_id"]] for link in page.rows if link["skill_id"] in found]
        return Listing(rows, page.next, page.previous)


members = Members(Member, MemberCreate, MemberUpdate)
