"""Threads and their messages."""

from __future__ import annotations

from holdfast.agents.crud.group import Group
from holdfast.agents.models import (
    Message,
    MessageCreate,
    MessageUpdate,
    Thread,
    ThreadCreate,
    ThreadUpdate,
)
from holdfast.database import Database
from holdfast.errors import NotFoundError


class Messages(Group[Message, MessageCreate, MessageUpdate]):
    """Messages; a member that said one is of the thread's team."""

    def check(self, db: Database, row: Message) -> None:
        if row.member_id is None:
            return
        thread = db.find_one("threads", "team_id", {"id": row.thread_id})
        if thread is None:
            raise NotFoundError("there is no thread of that id")
        if not db.exists("members", {"id": row.member_id, "team_id": thread["team_id"]}):
            raise NotFoundError("there is no member of that member_id in the team")


threads = Group(Thread, ThreadCreate, ThreadUpdate)
messages = Messages(Message, MessageCreate, MessageUpdate)
