"""The tables of what jobs got and left beside input and output: files, and journals."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, String, Table

from piecework.server.store.engine.metadata import metadata, partial_index as _partial

job_files = Table(
    "job_files",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(5), primary_key=True),  # a FileKind, see server/store/queue/jobs/files.py
    Column("name", String(500), primary_key=True),  # the path in the job's own directory
    Column("blob_id", BigInteger),  # 0: an empty file; NULL: what it is of has not ended, or has no such file
    Column("parent_id", BigInteger),  # the job, or group, that it is of
    Column("source", String(500)),  # the file that that one gave back; NULL: what it produced
    CheckConstraint("kind = 'given' OR kind = 'made'", name="kind"),
    CheckConstraint("blob_id IS NOT NULL OR parent_id IS NOT NULL", name="blob"),
)
_partial("ix_job_files_blob_id", job_files.c.blob_id, where="blob_id IS NOT NULL")
job_journals = Table(
    "job_journals",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("blob_id", BigInteger, nullable=False),  # what the guest of its last attempt got from outside
    Index("ix_job_journals_blob_id", "blob_id"),
)
