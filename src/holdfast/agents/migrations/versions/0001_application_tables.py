"""application tables"""

import sqlalchemy as sa
from alembic import op

from holdfast.agents.models.columns import ExactText, Json, Key, Moment

revision = "0001"
down_revision = None
branch_labels = ("holdfast",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("full_name", sa.String(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_superuser", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_lower")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_index(op.f("ix_users_is_superuser_id"), "users", ["is_superuser", "id"], unique=False)
    op.create_table(
        "skills",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("definition", Json(), nullable=False),
        sa.Column("owner_id", Key(), nullable=True),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_skills_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skills")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_skills_owner_id_name")),
    )
    op.create_index(op.f("ix_skills_owner_id_id"), "skills", ["owner_id", "id"], unique=False)
    op.create_index(
        "uq_skills_managed_name",
        "skills",
        ["name"],
        unique=True,
        sqlite_where=sa.text("owner_id IS NULL"),
        postgresql_where=sa.text("owner_id IS NULL"),
    )
    op.create_table(
        "teams",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("owner_id", Key(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_teams_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_teams_owner_id_name")),
    )
    op.create_index(op.f("ix_teams_owner_id_id"), "teams", ["owner_id", "id"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("memory", sa.String(), nullable=True),
        sa.Column("owner_id", Key(), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'ready', 'failed')", name=op.f("ck_uploads_status")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_uploads_size")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_uploads_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_uploads_owner_id_name")),
    )
    op.create_index(op.f("ix_uploads_owner_id_id"), "uploads", ["owner_id", "id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=True),
        sa.Column("team_id", Key(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_api_keys_team_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index(op.f("ix_api_keys_team_id_id"), "api_keys", ["team_id", "id"], unique=False)
    op.create_table(
        "members",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("instructions", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("temperature", sa.Float(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("manager_id", Key(), nullable=True),
        sa.Column("team_id", Key(), nullable=False),
        sa.CheckConstraint("kind IN ('root', 'leader', 'worker', 'chatbot')", name=op.f("ck_members_kind")),
        sa.CheckConstraint("manager_id <> id", name=op.f("ck_members_manager")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_members_position")),
        sa.CheckConstraint("temperature BETWEEN 0 AND 2", name=op.f("ck_members_temperature")),
        sa.ForeignKeyConstraint(
            ["manager_id"], ["members.id"], name=op.f("fk_members_manager_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_members_team_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_members")),
        sa.UniqueConstraint("team_id", "name", name=op.f("uq_members_team_id_name")),
    )
    op.create_index(op.f("ix_members_manager_id"), "members", ["manager_id"], unique=False)
    op.create_index(op.f("ix_members_team_id_id"), "members", ["team_id", "id"], unique=False)
    op.create_table(
        "threads",
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("id", ExactText(), nullable=False),
        sa.Column("team_id", Key(), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_threads_team_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_threads")),
    )
    op.create_index(op.f("ix_threads_team_id_id"), "threads", ["team_id", "id"], unique=False)
    op.create_table(
        "hf_checkpoint_blobs",
        sa.Column("thread_id", ExactText(), nullable=False),
        sa.Column("checkpoint_ns", ExactText(), nullable=False),
        sa.Column("channel", ExactText(), nullable=False),
        sa.Column("version", ExactText(), nullable=False),
        sa.Column("kind", ExactText(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["threads.id"],
            name=op.f("fk_hf_checkpoint_blobs_thread_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "thread_id", "checkpoint_ns", "channel", "version", name=op.f("pk_hf_checkpoint_blobs")
        ),
    )
    op.create_table(
        "hf_checkpoint_writes",
        sa.Column("thread_id", ExactText(), nullable=False),
        sa.Column("checkpoint_ns", ExactText(), nullable=False),
        sa.Column("checkpoint_id", ExactText(), nullable=False),
        sa.Column("task_id", ExactText(), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("channel", ExactText(), nullable=False),
        sa.Column("kind", ExactText(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("task_path", ExactText(), nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["threads.id"],
            name=op.f("fk_hf_checkpoint_writes_thread_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "thread_id",
            "checkpoint_ns",
            "checkpoint_id",
            "task_id",
            "idx",
            name=op.f("pk_hf_checkpoint_writes"),
        ),
    )
    op.create_table(
        "hf_checkpoints",
        sa.Column("thread_id", ExactText(), nullable=False),
        sa.Column("checkpoint_ns", ExactText(), nullable=False),
        sa.Column("checkpoint_id", ExactText(), nullable=False),
        sa.Column("parent_id", ExactText(), nullable=True),
        sa.Column("run_id", ExactText(), nullable=True),
        sa.Column("kind", ExactText(), nullable=False),
        sa.Column("metadata", Json(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("written_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["threads.id"],
            name=op.f("fk_hf_checkpoints_thread_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "thread_id", "checkpoint_ns", "checkpoint_id", name=op.f("pk_hf_checkpoints")
        ),
    )
    op.create_index("idx_hf_checkpoints_run_id", "hf_checkpoints", ["run_id"], unique=False)
    op.create_table(
        "member_skills",
        sa.Column("member_id", Key(), nullable=False),
        sa.Column("skill_id", Key(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"],
            ["members.id"],
            name=op.f("fk_member_skills_member_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["skill_id"], ["skills.id"], name=op.f("fk_member_skills_skill_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("member_id", "skill_id", name=op.f("pk_member_skills")),
    )
    op.create_index(
        op.f("ix_member_skills_skill_id_member_id"),
        "member_skills",
        ["skill_id", "member_id"],
        unique=False,
    )
    op.create_table(
        "messages",
        sa.Column("id", Key(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("details", Json(), nullable=False),
        sa.Column("member_id", Key(), nullable=True),
        sa.Column("thread_id", ExactText(), nullable=False),
        sa.CheckConstraint("role IN ('system', 'user', 'assistant', 'tool')", name=op.f("ck_messages_role")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.id"], name=op.f("fk_messages_member_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.id"], name=op.f("fk_messages_thread_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_member_id"), "messages", ["member_id"], unique=False)
    op.create_index(op.f("ix_messages_thread_id_id"), "messages", ["thread_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_messages_thread_id_id"), table_name="messages")
    op.drop_index(op.f("ix_messages_member_id"), table_name="messages")
    op.drop_table("messages")
    op.drop_index(op.f("ix_member_skills_skill_id_member_id"), table_name="member_skills")
    op.drop_table("member_skills")
    op.drop_index("idx_hf_checkpoints_run_id", table_name="hf_checkpoints")
    op.drop_table("hf_checkpoints")
    op.drop_table("hf_checkpoint_writes")
    op.drop_table("hf_checkpoint_blobs")
    op.drop_index(op.f("ix_threads_team_id_id"), table_name="threads")
    op.drop_table("threads")
    op.drop_index(op.f("ix_members_team_id_id"), table_name="members")
    op.drop_index(op.f("ix_members_manager_id"), table_name="members")
    op.drop_table("members")
    op.drop_index(op.f("ix_api_keys_team_id_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(op.f("ix_uploads_owner_id_id"), table_name="uploads")
    op.drop_table("uploads")
    op.drop_index(op.f("ix_teams_owner_id_id"), table_name="teams")
    op.drop_table("teams")
    op.drop_index(
        "uq_skills_managed_name",
        table_name="skills",
        sqlite_where=sa.text("owner_id IS NULL"),
        postgresql_where=sa.text("owner_id IS NULL"),
    )
    op.drop_index(op.f("ix_skills_owner_id_id"), table_name="skills")
    op.drop_table("skills")
    op.drop_index(op.f("ix_users_is_superuser_id"), table_name="users")
    op.drop_table("users")
