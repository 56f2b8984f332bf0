"""The service: tasks by SQLAlchemy's ORM behind FastAPI, one row for each request.

``AUTH=1`` in the environment: it also looks up the pipeline of a request and the bearer token, as
npg_porch does, each by a query.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint, create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

# SQLAlchemy's own defaults but for the pool, which has a connection for each of the 40 threads that
# FastAPI runs its endpoints in: with fewer, requests would wait for one.
engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg2:", 1),
    pool_size=40,
    max_overflow=0,
)
make_session = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """Of all tables."""


class Pipeline(Base):
    """What is done with tasks."""

    __tablename__ = "pipeline"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)


class Token(Base):
    """Who may speak for a pipeline."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipeline.id"))
    token: Mapped[str] = mapped_column(String(64), unique=True)


class Task(Base):
    """A definition of work, and how it goes."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("pipeline_id", "key", name="uq_task"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipeline.id"), index=True)
    key: Mapped[str] = mapped_column(String(64))
    task_input: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16), default="PENDING", index=True)
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class NewTask(BaseModel):
    """What is registered."""

    pipeline: str
    task_input: dict[str, Any]


class TaskOut(BaseModel):
    """What is answered."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    task_input: dict[str, Any]
    status: str


class Change(BaseModel):
    """A task's new status."""

    status: Literal["RUNNING", "DONE", "FAILED", "CANCELLED"]


def session() -> Iterator[Session]:
    """One for each request."""
    with make_session() as open_session:
        yield open_session


Db = Annotated[Session, Depends(session)]


def checked(db: Db, authorization: Annotated[str, Header()] = "") -> int:
    """The pipeline that the bearer token is for."""
    scheme, _, secret = authorization.partition(" ")
    found = db.scalar(select(Token).where(Token.token == secret))
    if scheme != "Bearer" or found is None:
        raise HTTPException(403, "not a token of ours")
    return found.pipeline_id


def unchecked() -> int:
    """The only pipeline."""
    return 1


AUTH = os.environ.get("AUTH") == "1"
PipelineId = Annotated[int, Depends(checked if AUTH else unchecked)]
app = FastAPI()


@app.post("/tasks", status_code=201)
def register(new: NewTask, response: Response, db: Db, pipeline_id: PipelineId) -> TaskOut:
    """Register a definition: 201, or 200 where it is known."""
    if AUTH:
        pipeline = db.scalar(select(Pipeline).where(Pipeline.name == new.pipeline))
        if pipeline is None or pipeline.id != pipeline_id:
            raise HTTPException(404, "no such pipeline")
    text = json.dumps(new.task_input, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(text.encode()).hexdigest()
    task = Task(pipeline_id=pipeline_id, key=key, task_input=new.task_input)
    db.add(task)
    try:
        db.commit()
    except IntegrityError:
        db.rollback()
        response.status_code = 200
        task = db.scalars(select(Task).filter_by(pipeline_id=pipeline_id, key=key)).one()
    return TaskOut.model_validate(task)


@app.post("/tasks/claim")
def claim(db: Db, pipeline_id: PipelineId, num_tasks: int = 1) -> list[TaskOut]:
    """Claim the oldest that are PENDING."""
    tasks = db.scalars(
        select(Task)
        .where(Task.pipeline_id == pipeline_id, Task.status == "PENDING")
        .order_by(Task.id)
        .limit(num_tasks)
        .with_for_update(skip_locked=True)
    ).all()
    for task in tasks:
        task.status = "CLAIMED"
    db.commit()
    return [TaskOut.model_validate(task) for task in tasks]


@app.put("/tasks/{task_id}")
def change(task_id: int, new: Change, db: Db, pipeline_id: PipelineId) -> TaskOut:
    """Set the status of a task."""
    task = db.get(Task, task_id, with_for_update=True)
    if task is None or task.pipeline_id != pipeline_id:
        raise HTTPException(404, "no such task")
    task.status = new.status
    db.commit()
    return TaskOut.model_validate(task)
