# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects brought back from a backup: what is there and equal is left, and what differs is never overwritten unasked.

All is compared before anything is written, and once more before each kind is: a run that was killed is run again.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.deadline import Deadline, wait_until
from ..common.errors import Conflict, InvalidInput, NotFound, OperationFailed, Unreachable
from ..common.show import diff_of
from . import objects
from .backup import backups, files_of, read_back
from .client import MicroK8s, told
from .membership import look
from .objects import NOWHERE, Object

#: Beginning of what a killed run may leave behind.
PART = ".rackstead-restore-"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
NAMESPACES = "namespaces"
NAMED = "kubernetes.io/metadata.name"
#: What comes before what, by the first part of a resource's name. What is not here, custom resources too, is in between.
ORDER = (
    (NAMESPACES,),
    ("customresourcedefinitions",),
    ("serviceaccounts", "clusterroles", "roles", "clusterrolebindings", "rolebindings"),
    ("priorityclasses", "resourcequotas", "limitranges", "configmaps", "secrets"),
    ("storageclasses", "csidrivers", "persistentvolumes", "persistentvolumeclaims"),
    (),
    ("pods", "replicationcontrollers", "replicasets", "daemonsets", "deployments", "statefulsets", "jobs", "cronjobs"),
    # They may forbid what comes after them, as long as what they ask does not run.
    ("apiservices", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
)
BETWEEN = 5
#: One part of a selector.
LABEL = re.compile(r"(?P<without>!)?(?P<key>[\w./-]+)(?:\s*(?P<operator>!=|==|=)\s*(?P<value>[\w.-]*))?")
#: How often a kind is compared and written again, if somebody else is making its objects at the same time.
TRIES = 3
#: Lines of what is wrong that are told.
MANY = 20


@dataclass(frozen=True)
class Choice:
    """Which of an archive's objects: all, or those of namespaces, kinds and labels."""

    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    selector: str = ""
    overwrite: bool = False


@dataclass
class Step:
    """One object, and what has to be done about it."""

    resource: str
    wanted: Object
    #: ``create``, ``replace``, ``leave`` or ``wait`` (it is about to be removed).
    act: str = "create"
    #: Fields that differ, without their values, which may be secrets.
    fields: list[str] = field(default_factory=list)
    version: str = ""

    @property
    def key(self) -> str:
        about = self.wanted["metadata"]
        return f"{about.get('namespace') or NOWHERE}/{self.resource}/{about['name']}"


def ensure_objects(
    client: MicroK8s, archive: Path, choice: Choice, seconds: float = 60.0, check: bool = False
) -> dict[str, Any]:
    """The objects of an archive are in the cluster as they were. What else is there stays."""
    chosen = chosen_of(read_objects(archive), choice)
    _answering(client)
    known = _known(client, chosen)
    steps = [step for resource, group in chosen.items() for step in _compared(client, resource, group, known)]
    _refuse(steps, choice.overwrite)
    todo = {step.key: step for step in steps if step.act != "leave"}
    differing: list[str] = []
    if todo and not check:
        _write(client, chosen, set(todo), seconds)
        differing = _verified(client, chosen)
    return {
        "changed": bool(todo),
        "archive": str(archive),
        "created": [key for key, step in todo.items() if step.act == "create"],
        "replaced": [key for key, step in todo.items() if step.act == "replace"],
        "left": len(steps) - len(todo),
        "differing": differing,
        "diff": _shown(todo, archive),
    }


def compare(client: MicroK8s, archive: Path, choice: Choice) -> dict[str, Any]:
    """What the cluster has otherwise than the archive. It changes nothing, and refuses nothing."""
    chosen = chosen_of(read_objects(archive), choice)
    _answering(client)
    known = _known(client, chosen)
    steps = [step for resource, group in chosen.items() for step in _compared(client, resource, group, known)]
    return {
        "changed": False,
        "archive": str(archive),
        "missing": [step.key for step in steps if step.act in ("create", "wait")],
        "differing": [f"{step.key} ({', '.join(step.fields)})" for step in steps if step.act == "replace"],
        "left": sum(step.act == "leave" for step in steps),
        "diff": diff_of({}, {}, str(archive)),
    }


def newest(folder: Path) -> Path:
    """The newest backup in a folder."""
    there = backups(folder)
    if not there:
        raise NotFound(f"there is no backup in {folder}", hint="name one with file, or fetch one to this machine")
    return there[-1]


def read_objects(archive: Path) -> dict[str, list[Object]]:
    """An archive's objects by resource, in the order in which they can be made. Its checksums are verified first."""
    read_back(archive)
    found: dict[str, list[Object]] = {}
    for name, text in sorted(files_of(archive).items()):
        if name.startswith("objects/"):
            found.setdefault(name.rpartition("/")[2].removesuffix(".yaml"), []).extend(objects.read(text))
    if not found:
        raise NotFound(f"{archive} holds no objects", hint="it was taken with objects: false; see state datastore")
    return {resource: found[resource] for resource in sorted(found, key=lambda one: (rank(one), one))}


def rank(resource: str) -> int:
    """Its place in the order of ORDER."""
    plural, _dot, group = resource.partition(".")
    builtin = not group or group.endswith(".k8s.io") or group in ("apps", "batch")
    return next((at for at, names in enumerate(ORDER) if builtin and plural in names), BETWEEN)


# -- which of them --------------------------------------------------------------------------------
def chosen_of(held: dict[str, list[Object]], choice: Choice) -> dict[str, list[Object]]:
    """The objects that are chosen, and the namespaces that they need. Raises InvalidInput."""
    spaces = sorted({space_of(one) for group in held.values() for one in group})
    spaces = sorted({*spaces, *(one["metadata"]["name"] for one in held.get(NAMESPACES, []))})
    lines = [_no_such("namespaces", name, spaces) for name in choice.namespaces if name not in spaces]
    kinds = {wanted: _of_kind(held, wanted) for wanted in choice.kinds}
    lines += [_no_such("kinds", wanted, held) for wanted, found in kinds.items() if not found]
    try:
        bears = labelled(choice.selector)
    except ValueError as error:
        lines.append(f'selector: "{error}" is not valid; allowed: key=value, key!=value, key, !key, joined by commas')
    if lines:
        raise InvalidInput(lines)
    within = {resource for found in kinds.values() for resource in found} or set(held)
    chosen = {
        resource: [one for one in group if resource in within and _in(one, choice.namespaces) and bears(one)]
        for resource, group in held.items()
    }
    return _with_namespaces(held, {resource: group for resource, group in chosen.items() if group})


def space_of(one: Object) -> str:
    return str(one["metadata"].get("namespace") or NOWHERE)


def _in(one: Object, namespaces: tuple[str, ...]) -> bool:
    if one.get("kind") == "Namespace" and one["metadata"]["name"] in namespaces:
        return True
    return not namespaces or space_of(one) in namespaces


def _of_kind(held: dict[str, list[Object]], wanted: str) -> list[str]:
    """Resources by their whole name, their plural or their kind."""
    names = {resource: {resource, resource.partition(".")[0], *(str(one["kind"]).lower() for one in group[:1])}
             for resource, group in held.items()}  # fmt: skip
    return [resource for resource, its in names.items() if wanted.lower() in its]


def _no_such(name: str, value: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(value, list(allowed), 1)
    meant = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(list(allowed)[:MANY])}"
    return f'{name}: "{value}" is not in the backup{meant}'


def _with_namespaces(held: dict[str, list[Object]], chosen: dict[str, list[Object]]) -> dict[str, list[Object]]:
    needed = {space_of(one) for group in chosen.values() for one in group} - {NOWHERE}
    there = {one["metadata"]["name"] for one in chosen.get(NAMESPACES, [])}
    # Only their names: one that is there is not touched, as nobody has chosen it.
    more = [
        {**one, "implied": True}
        for one in held.get(NAMESPACES, [])
        if one["metadata"]["name"] in needed and one["metadata"]["name"] not in there
    ]
    if not more:
        return chosen
    return {NAMESPACES: [*chosen.get(NAMESPACES, []), *more], **{k: v for k, v in chosen.items() if k != NAMESPACES}}


def labelled(selector: str) -> Callable[[Object], bool]:
    """Whether an object's labels are those. Raises ValueError with the part that is none."""
    tests: list[tuple[str, str, str]] = []
    for part in filter(None, (one.strip() for one in selector.split(","))):
        found = LABEL.fullmatch(part)
        if not found:
            raise ValueError(part)
        key, operator, value = found["key"], (found["operator"] or found["without"] or "")[:1], found["value"] or ""
        tests.append((key, "without" if found["without"] else operator, value))

    def bears(one: Object) -> bool:
        labels = one["metadata"].get("labels") or {}
        return all(_bears(labels, *test) for test in tests)

    return bears


def _bears(labels: dict[str, str], key: str, operator: str, value: str) -> bool:
    if operator == "=":
        return labels.get(key) == value
    if operator == "!":
        return labels.get(key) != value
    return (key in labels) is not (operator == "without")


# -- compared with what there is ------------------------------------------------------------------
def _answering(client: MicroK8s) -> None:
    place = look(client)
    if place.status is None or not place.status.running:
        raise Conflict(f"no cluster answers on this machine ({place.kind})", hint="ask a control-plane node that runs")


def kinds(client: MicroK8s) -> set[str]:
    """The kinds that the API server tells: a part is enough here, as what is missing may be what is to be restored."""
    result = client.run("kubectl", "api-resources", "--verbs=list,create", "--output=name")
    if not result.out.strip():
        raise Unreachable(f"the API server does not tell its kinds: {told(result)}")
    return set(result.out.split())


def _known(client: MicroK8s, chosen: dict[str, list[Object]]) -> set[str]:
    """The cluster's kinds. Those of the archive are among them, or it defines them itself."""
    known = kinds(client)
    coming = {str(one["metadata"]["name"]) for one in chosen.get(CRDS, [])}
    if unknown := [resource for resource in chosen if resource not in known | coming]:
        hint = "install what defines them (addons), restore their definitions too, or choose with kinds"
        raise Conflict(f"the cluster does not know these kinds: {', '.join(unknown)}", hint=hint)
    return known


def _compared(client: MicroK8s, resource: str, group: list[Object], known: Iterable[str]) -> list[Step]:
    there = {}
    if resource in known:
        for one in objects.listed(client, resource):
            there[(space_of(one), one["metadata"]["name"])] = one
    return [_step(resource, one, there.get((space_of(one), one["metadata"]["name"]))) for one in group]


def _step(resource: str, wanted: Object, now: Object | None) -> Step:
    implied = bool(wanted.get("implied"))
    step = Step(resource, {key: value for key, value in wanted.items() if key != "implied"})
    if now is None:
        return step
    about = now["metadata"]
    if about.get("deletionTimestamp"):
        step.act = "wait"
        return step
    step.fields = differing(_plain(objects.cleaned(now)), _plain(step.wanted))
    step.act = "replace" if step.fields and not implied else "leave"
    step.version = str(about.get("resourceVersion", ""))
    if step.act == "replace" and _pristine(now):
        step.fields = []  # which is refused to nobody
    return step


def _plain(one: Object) -> Object:
    """Without the label that the API server sets on each namespace."""
    labels = {key: value for key, value in (one["metadata"].get("labels") or {}).items() if key != NAMED}
    return {**one, "metadata": {**one["metadata"], "labels": labels}} if one.get("kind") == "Namespace" else one


def _pristine(now: Object) -> bool:
    """An account as the cluster makes one in each namespace, that is: nobody's work would be lost."""
    if now.get("kind") != "ServiceAccount" or now["metadata"]["name"] != "default":
        return False
    bare = objects.cleaned(now)
    return set(bare) == {"apiVersion", "kind", "metadata"} and set(bare["metadata"]) == {"name", "namespace"}


def differing(now: Any, wanted: Any, at: str = "") -> list[str]:
    """The fields in which two objects differ, by their path. No value is told."""
    if isinstance(now, dict) and isinstance(wanted, dict):
        keys = sorted({*now, *wanted}, key=str)
        return [path for key in keys for path in _differing_field(now, wanted, key, f"{at}.{key}" if at else str(key))]
    return [] if now == wanted else [at]


def _differing_field(now: Object, wanted: Object, key: str, at: str) -> list[str]:
    sides = (now.get(key), wanted.get(key))
    if all(side is None or side in ("", [], {}) for side in sides):
        return []  # an empty map, and none at all
    return differing(*sides, at)


def _refuse(steps: list[Step], overwrite: bool) -> None:
    if going := [step.key for step in steps if step.act == "wait"]:
        raise Conflict(f"about to be removed: {_some(going)}", hint="run it again when they are gone")
    changed = [f"{step.key} ({', '.join(step.fields[:4])})" for step in steps if step.act == "replace" and step.fields]
    if changed and not overwrite:
        hint = "overwrite: true puts them back to what they were; namespaces, kinds and selector leave them out"
        raise Conflict(f"not as in the backup: {_some(changed)}", hint=hint)


def _some(keys: list[str]) -> str:
    rest = f" and {len(keys) - MANY} more" if len(keys) > MANY else ""
    return ", ".join(keys[:MANY]) + rest


# -- written --------------------------------------------------------------------------------------
def _write(client: MicroK8s, chosen: dict[str, list[Object]], todo: set[str], seconds: float) -> None:
    for left in client.data.glob(f"{PART}*"):
        shutil.rmtree(left)
    for resource, group in chosen.items():
        due = [one for one in group if Step(resource, one).key in todo]
        if due:
            served(client, resource, Deadline(seconds))
            _write_kind(client, resource, due)


def served(client: MicroK8s, resource: str, deadline: Deadline) -> None:
    """Wait until the API server serves a kind: that of a definition which was made a moment ago is not there at once."""
    wait_until(
        lambda: resource in kinds(client) or None,
        deadline,
        what=f"the API server to serve {resource}",
        first=0.1,
    )


def _write_kind(client: MicroK8s, resource: str, group: list[Object]) -> None:
    """The objects of one kind. What the cluster makes itself meanwhile (an account in a new namespace) is no obstacle."""
    problem = ""
    for _attempt in range(TRIES):
        steps = [step for step in _compared(client, resource, group, [resource]) if step.act != "leave"]
        if not steps:
            return
        problem = "; ".join(
            filter(None, [_run(client, verb, [step for step in steps if step.act == verb]) for verb in VERBS])
        )
        if not problem or not any(word in problem for word in ("(AlreadyExists)", "(Conflict)")):
            break
    if problem:
        raise OperationFailed(problem, hint="what was done before it stays; run it again when it is mended")


VERBS = ("create", "replace")


def _run(client: MicroK8s, verb: str, steps: list[Step]) -> str:
    """What went wrong, if anything. The objects go through a file, as they may be Secrets."""
    if not steps:
        return ""
    with _file(client, [_document(step) for step in steps]) as file:
        argv = [client.command, "kubectl", verb, "--filename", str(file), "--output", "name"]
        result = client.runner.run(argv, client.slow)
    if result.rc == 0:
        return ""
    return f"kubectl {verb} {steps[0].resource} failed: {_said(result.err, steps[0].resource)}"


def _document(step: Step) -> Object:
    """An object is replaced only if it still is the one that was compared."""
    if step.act != "replace":
        return step.wanted
    return {**step.wanted, "metadata": {**step.wanted["metadata"], "resourceVersion": step.version}}


def _said(err: str, resource: str) -> str:
    """What kubectl says; of Secrets no more than the reason, as it may say what is in them."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    if resource.partition(".")[0] in ("secrets", "configmaps"):
        lines = [line.partition("): ")[0] + ")" for line in lines if line.startswith("Error from server (")]
    return "; ".join(dict.fromkeys(lines))[:600] or "it does not say why"


@contextmanager
def _file(client: MicroK8s, documents: list[Object]) -> Iterator[Path]:
    """A file for root alone, where a strictly confined snap may read."""
    with tempfile.TemporaryDirectory(prefix=PART, dir=client.data) as folder:
        file = Path(folder, "objects.json")
        file.touch(mode=0o600)
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
        yield file


def _verified(client: MicroK8s, chosen: dict[str, list[Object]]) -> list[str]:
    """All is there, as the cluster tells; returned is what it has made something else of."""
    steps = [step for resource, group in chosen.items() for step in _compared(client, resource, group, [resource])]
    if missing := [step.key for step in steps if step.act in ("create", "wait")]:
        raise OperationFailed(f"not there although the API server took them: {_some(missing)}", hint="see its events")
    return [f"{step.key} ({', '.join(step.fields)})" for step in steps if step.act == "replace"]


def _shown(todo: dict[str, Step], archive: Path) -> dict[str, str]:
    """Which objects, and which of their fields: their contents may be secrets. Not by what looks like a secret's name."""
    before = [f"{key}: {_state(step)}\n" for key, step in todo.items()]
    after = [f"{key}: as in the backup\n" for key in todo]
    head = {"before_header": str(archive), "after_header": str(archive)}
    return {**head, "before": "".join(before), "after": "".join(after)}


def _state(step: Step) -> str:
    return f"differs in {', '.join(step.fields) or 'all'}" if step.act == "replace" else "absent"
