# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes in and out, for checking the one and describing both."""

from __future__ import annotations

import math
import typing
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from ..jobs.model import Job, JobState
from ..jobs.workflows import LOWEST_PRIORITY, MOST_RETRIES, NODE
from ..webhooks.registry import LONGEST_OVERLAP, LONGEST_URL, OVERLAP
from ..webhooks.registry import NAME as WEBHOOK
from .tokens import NAME as TOKEN_NAME

JOB_ID = r"^[0-9a-z]{26}$"
WORKFLOW = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
SCHEDULE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
KIND = r"^[a-z][a-z0-9_-]{0,62}$"
EXAMPLE_ID = "01kamq3v5t8w9x2y4z6a7b8c9d"
#: The longest time for which a request waits for a job.
LONGEST_WAIT = 3600.0
#: Bounds of times, in seconds: a year, and the year 5138. How deep a document may be nested.
YEAR, END_OF_TIME = 31_536_000.0, 1e11
DEEPEST = 50
EXAMPLE_JOB = Job(
    EXAMPLE_ID,
    "apply",
    "Apply a plan",
    {"plan_src": "/srv/plans/web.yml"},
    1795270000.0,
    "anna",
    "127.0.0.1",
    target=["provider"],
    state=JobState.RUNNING,
    attempt=1,
    worker="host-1a2b3c4d",
    host="host/4026531836",
    started=1795270000.2,
    collection="1.0.0",
).public()


def _job_fields() -> dict[str, Any]:
    hints = typing.get_type_hints(Job)
    return {name: (hints[name], ...) for name in EXAMPLE_JOB}


JobDocument: Any = create_model(
    "Job",
    __config__=ConfigDict(json_schema_extra={"example": EXAMPLE_JOB}),
    __doc__="A run of a workflow. Times are seconds since the epoch. Secrets stand as asterisks.",
    **_job_fields(),
)


class Fault(BaseModel):
    pointer: str = Field(description="A JSON pointer into the body, or query/NAME, path/NAME.")
    detail: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": 'plan_sr: not a variable of the workflow "apply"; did you mean "plan_src"?',
                "instance": "/workflows/apply",
                "errors": [
                    {
                        "pointer": "/variables/plan_sr",
                        "detail": 'not a variable of the workflow "apply"; did you mean "plan_src"?',
                    }
                ],
            }
        }
    )
    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[Fault] | None = None


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON does not know, and what only makes work."""
    level: list[Any] = [value]
    for _depth in range(DEEPEST):
        found = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
        if any(isinstance(one, float) and not math.isfinite(one) for one in found):
            raise ValueError("numbers must be finite")
        level = [one for one in found if isinstance(one, dict | list)]
        if not level:
            return value
    raise ValueError(f"nested deeper than {DEEPEST} levels")


Mapping = Annotated[dict[str, Any], AfterValidator(plain)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Wait = Annotated[bool, Field(description="Answer when the job is over, or after wait_seconds.")]
Node = Annotated[str, Field(pattern=rf"^({NODE})?$", description="The Receptor node to run it on.")]
WaitSeconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT, description="How long to wait at most.")]


class Submission(Strict):
    """What to run, and how. Without priority, retries and timeout the workflow's own count."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"variables": {"plan_src": "/srv/plans/web.yml"}, "check": True, "wait": True}},
    )
    variables: Mapping = {}
    check: bool = False
    diff: bool = False
    limit: str = Field("", max_length=1000, description="Hosts of the workflow's inventory.")
    tags: list[str] = []
    priority: int | None = Field(None, ge=0, le=LOWEST_PRIORITY, description="0 comes first.")
    not_before: float = Field(0.0, ge=0, le=END_OF_TIME, description="Seconds since the epoch.")
    after: list[Annotated[str, Field(pattern=JOB_ID)]] = Field(
        [], max_length=100, description="Jobs that must have ended well."
    )
    idempotency_key: str = Field("", max_length=200, description="The same key gives the same job, once.")
    retries: int | None = Field(None, ge=0, le=MOST_RETRIES)
    timeout: float | None = Field(None, gt=0, le=YEAR, description="Seconds, of one attempt.")
    node: Node = ""
    wait: Wait = False
    wait_seconds: WaitSeconds = LONGEST_WAIT


class Creation(Strict):
    """The body of the three ways to create something."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "infra": "production",
                "settings": "./settings.yaml",
                "servers": ["web-01", "web-02"],
                "check_mode": False,
                "wait": True,
            }
        },
    )
    settings: str = Field(
        min_length=1, max_length=1000, description="The plan's file on the server, seen from where it was started."
    )
    infra: str | None = Field(None, min_length=1, max_length=100, description="The plan's name; else the plan's own.")
    servers: list[str] = Field([], description="Names or shell patterns of instances; without any, all.")
    check_mode: bool = False
    wait: Wait = False
    wait_seconds: WaitSeconds = LONGEST_WAIT


class TaskResult(BaseModel):
    action: str
    task: str
    host: str
    status: Literal["ok", "failed", "unreachable"]
    result: dict[str, Any]


class Results(BaseModel):
    """What a playbook's tasks have returned, as Ansible tells it."""

    rc: int = Field(description="The exit code of ansible-playbook.")
    results: list[TaskResult]
    errors: list[str] = Field(description="What Ansible said outside of tasks.")
    documents: dict[str, Any] = Field({}, description="Documents among the variables that the run has written anew.")


class JobPage(BaseModel):
    items: list[JobDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last.")


class WorkflowDocument(BaseModel):
    name: str
    title: str
    description: str
    target: list[str]
    priority: int
    timeout: float
    retries: int
    backoff: float
    role: Literal["viewer", "operator", "admin"]
    options: dict[str, dict[str, Any]] = Field(description="The variables: Ansible's argument specification.")


class WorkflowList(BaseModel):
    items: list[WorkflowDocument]
    broken: list[str] = Field(description="What is wrong with declarations that cannot be used.")


class AuditDocument(BaseModel):
    seq: int
    time: float
    who: str
    action: str
    target: str
    origin: str
    result: str
    details: dict[str, Any]
    previous: str
    digest: str


class AuditPage(BaseModel):
    items: list[AuditDocument]
    next: str | None


class RecordDocument(BaseModel):
    """A record of the state store. Secrets stand as asterisks."""

    kind: str
    key: str
    version: int
    time: float
    body: dict[str, Any]


class RecordPage(BaseModel):
    items: list[RecordDocument]
    next: str | None


class KindList(BaseModel):
    items: list[str]


class ScheduleDocument(BaseModel):
    name: str
    cron: str
    zone: str
    workflow: str
    variables: dict[str, Any]
    next: float
    last: str
    who: str
    error: str
    paused: bool = Field(description="It queues nothing.")


class ScheduleList(BaseModel):
    items: list[ScheduleDocument]


class NewSchedule(Strict):
    """A job that comes again and again."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "nightly", "cron": "30 2 * * *", "workflow": "health"}},
    )
    name: str = Field(pattern=SCHEDULE_NAME)
    cron: str = Field(max_length=200, description="Minute, hour, day, month, weekday.")
    zone: str = Field("UTC", max_length=100)
    workflow: str = Field(pattern=WORKFLOW)
    variables: Mapping = {}
    check: bool = False
    diff: bool = False
    limit: str = Field("", max_length=1000)
    tags: list[str] = []
    priority: int | None = Field(None, ge=0, le=LOWEST_PRIORITY)
    retries: int | None = Field(None, ge=0, le=MOST_RETRIES)
    timeout: float | None = Field(None, gt=0, le=YEAR)
    node: Node = ""


class NewWebhook(Strict):
    """A URL that is told of the ends of jobs."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"name": "chat", "url": "https://receiver.example/rackstead", "states": ["failed"]}
        },
    )
    name: str = Field(pattern=f"^{WEBHOOK}$")
    url: str = Field(min_length=1, max_length=LONGEST_URL, description="http or https; redirects are not followed.")
    states: list[Literal["completed", "failed", "cancelled", "alert"]] = Field(
        [], description="Ends of jobs, and alert: news of hardware reports. Without any, all ends."
    )
    workflows: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        [], max_length=100, description="Names or shell patterns. Without any, all."
    )


class WebhookBase(BaseModel):
    name: str
    url: str = Field(description="Without its query.")
    states: list[str]
    workflows: list[str]


class WebhookMade(WebhookBase):
    secret: str = Field(description="What the signatures are made with. Not told again.")


class Rotation(Strict):
    """A new secret for a webhook."""

    model_config = ConfigDict(json_schema_extra={"example": {"overlap_hours": 24}})
    overlap_hours: float = Field(
        OVERLAP, ge=0, le=LONGEST_OVERLAP, description="For so long the earlier secret signs as well."
    )


class WebhookDocument(WebhookBase):
    created: float
    who: str
    earlier_until: float | None = Field(description="Until when an earlier secret signs as well.")
    pending: int = Field(description="Deliveries that wait or are tried.")
    delivered: int
    failures: int = Field(description="Attempts in vain.")
    given_up: int
    last: float | None = Field(description="When something was delivered last.")
    error: str = Field(description="Of the last attempt, if it was in vain.")


class WebhookList(BaseModel):
    items: list[WebhookDocument]


class NewToken(Strict):
    """Who may do what. Patterns are those of a shell."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "anna", "role": "operator", "days": 90}})
    name: str = Field(pattern=f"^{TOKEN_NAME}$")
    role: Literal["viewer", "operator", "admin"] = "viewer"
    workflows: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        [], max_length=100, description="Without any, all."
    )
    targets: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        [], max_length=100, description="Without any, all."
    )
    days: float = Field(0.0, ge=0, le=36500, description="Good for so long. 0: for ever.")


class TokenMade(BaseModel):
    name: str
    token: str = Field(description="Not told again.")


class TokenDocument(BaseModel):
    name: str
    role: str
    workflows: list[str]
    targets: list[str]
    created: float
    expires: float | None
    used: float | None = Field(description="When it was used last, to the minute.")


class TokenList(BaseModel):
    items: list[TokenDocument]


class AuditVerdict(BaseModel):
    count: int = Field(description="Entries that are good.")
    ok: bool
    broken: int | None = Field(description="The first entry that is not.")
    why: str


#: Names of nodes, as an inventory has them.
NODE_NAME = r"^[^/\x00-\x1f\x7f]{1,150}$"
NodeName = Annotated[str, Field(pattern=NODE_NAME)]


class HardwareOrder(Strict):
    """Which nodes are to be read: hosts or groups of the server's inventory."""

    model_config = ConfigDict(json_schema_extra={"example": {"node_id": "node1", "wait": True}})
    node_id: Annotated[int, Field(ge=0, le=10**9)] | NodeName | None = Field(
        None, description="One node, by its name or its number."
    )
    nodes: list[NodeName] = Field([], max_length=1000, description="Several, or groups of them.")
    sections: list[Annotated[str, Field(max_length=50)]] = Field([], max_length=50, description="Without any, all.")
    become: bool = Field(False, description="Root reads: disks' health, serial numbers and LVM are for root only.")
    check_mode: bool = Field(False, description="Read and compare, and keep nothing.")
    wait: Wait = False
    wait_seconds: WaitSeconds = LONGEST_WAIT


class HardwareChange(BaseModel):
    section: str
    what: str
    field: str
    before: Any
    after: Any
    severity: Literal["critical", "warning", "notice"]
    text: str


class HardwareAlert(BaseModel):
    section: str
    what: str
    severity: Literal["critical", "warning"]
    text: str
    value: float | None
    threshold: float | None


class HardwareSummary(BaseModel):
    """A node in short. What is not known is null or empty."""

    node: str
    time: float
    age_seconds: float
    kind: str
    os: str
    model: str
    cpu_model: str
    cpu_threads: int | None
    cpu_use_percent: float | None
    cpu_temperature_celsius: float | None
    memory_total_bytes: int | None
    memory_used_bytes: int | None
    disks: int
    disks_bytes: int
    fullest_percent: float | None
    changes: int
    alerts: int
    worst: Literal["", "critical", "warning"]


class HardwareList(BaseModel):
    items: list[HardwareSummary]


class HardwareDocument(BaseModel):
    """A node's report, what had changed since the one before, and what wants attention."""

    node: str
    time: float
    before: float | None = Field(description="When the report was made that it was compared with.")
    changes: list[HardwareChange]
    alerts: list[HardwareAlert]
    report: dict[str, Any] = Field(description="The report; the ending of a field's name is its unit.")


class HardwareChanges(BaseModel):
    node: str
    before: float
    after: float
    changes: list[HardwareChange]


class Health(BaseModel):
    """Whether this server can do its work."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": "ok", "store": "ok", "worker": "alive", "version": "1.0.0"}}
    )
    status: Literal["ok", "degraded"]
    store: Literal["ok", "unreachable"]
    worker: Literal["alive", "none", "unknown"]
    version: str
