"""What goes over the wire, as npg_porch's clients send and expect it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from coordinator import model


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("this has the character U+0000 or a lone surrogate")
    return text


#: What may be looked up in PostgreSQL; and the same, but not empty.
AnyText = Annotated[str, AfterValidator(_storable)]
Text = Annotated[AnyText, Field(min_length=1)]


class TaskStateEnum(StrEnum):
    """The statuses of a task, under the name that npg_porch gave them."""

    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewPipeline(_Strict):
    """A pipeline to register: all three are needed. What is missing is 400, as in npg_porch."""

    name: str | None = None
    uri: str | None = None
    version: str | None = None


class SparsePipeline(_Strict):
    """A pipeline as a request names it: its name, and its version if it has several."""

    name: Text
    #: Taken, as clients send what they have; it is the name that counts.
    uri: str | None = None
    version: Text | None = None


class Pipeline(BaseModel):
    """A pipeline in full, in one of its versions."""

    name: str
    uri: str
    version: str

    @classmethod
    def of(cls, pipeline: model.Pipeline, version: str) -> Pipeline:
        """The pipeline in that version."""
        return cls(name=pipeline.name, uri=pipeline.uri, version=version)


class Token(BaseModel):
    """A token that was issued: its secret is told this once."""

    name: str
    description: str
    token: str


class NamedPipeline(_Strict):
    """A pipeline, whatever its version."""

    name: Text
    uri: str | None = None


class Version(_Strict):
    """A version of a pipeline. In a request, a pipeline may also be just its name."""

    pipeline: NamedPipeline | Text
    version: Text

    @classmethod
    def of(cls, pipeline: model.Pipeline, version: str) -> Version:
        """That version of the pipeline."""
        return cls(pipeline=NamedPipeline(name=pipeline.name, uri=pipeline.uri), version=version)

    @property
    def of_pipeline(self) -> str:
        """The name of the pipeline."""
        return self.pipeline if isinstance(self.pipeline, str) else self.pipeline.name


class NewTask(BaseModel):
    """A task to register. Fields beyond these are not looked at: not its status either, as a new
    task is PENDING and a known one stays as it is."""

    pipeline: SparsePipeline
    task_input: dict[str, Any]


class ChangedTask(NewTask):
    """A task and the status that it shall have.

    ``attempt``: the attempt that the caller holds; without it, the current one is meant.
    """

    status: TaskStateEnum
    attempt: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None


class Task(BaseModel):
    """A task in full."""

    pipeline: Pipeline
    task_input_id: str
    task_input: dict[str, Any]
    status: TaskStateEnum

    @classmethod
    def of(cls, pipeline: model.Pipeline, task: model.Task) -> Task:
        """The task, which is one of that pipeline."""
        return cls(
            pipeline=Pipeline.of(pipeline, task.version),
            task_input_id=task.task_input_id,
            task_input=task.task_input or {},
            status=TaskStateEnum(task.status),
        )


class Detail(BaseModel):
    """Why a request was refused, in a sentence."""

    detail: str


class Fault(BaseModel):
    """What is wrong with a request, and where in it."""

    loc: list[str | int]
    msg: str
    type: str


class Faults(BaseModel):
    """Why a request cannot be used: all that is wrong with its shape, or what is with its words."""

    detail: list[Fault] | str
