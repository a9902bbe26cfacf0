# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What logs and ``microk8s inspect`` say is wrong, as findings, and findings of many machines in one order. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

SEVERITIES = ("critical", "warning", "notice")
#: Characters of a line that is quoted.
QUOTED = 160
#: What must not be quoted: the values of words that name secrets, and tokens of web keys.
SECRETS = re.compile(
    r"(?i)((?:token|password|passwd|secret|authorization|bearer)[\"']?\s*[=:]?\s*)[^\s\"',]+|eyJ[\w.-]{20,}"
)


class Rule(NamedTuple):
    """A line of a log that tells of a trouble."""

    pattern: re.Pattern[str]
    severity: str
    what: str
    todo: str


def _rule(pattern: str, severity: str, what: str, todo: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), severity, what, todo)


#: The first that fits a line counts.
RULES = (
    _rule(
        r"no space left on device",
        "critical",
        "a disk is full",
        "free space: df -h; crictl rmi --prune; journalctl --vacuum-size",
    ),
    _rule(
        r"x509: certificate has expired",
        "critical",
        "a certificate has run out",
        "microk8s refresh-certs --check, and refresh it",
    ),
    _rule(
        r"certificate .*is not yet valid|clock skew|tsc: .*unstable",
        "critical",
        "the machine's clock is not that of the others",
        "see timedatectl: the time has to be synchronised",
    ),
    _rule(
        r"no known leader|failed to get leader|not leader|no dqlite leader|unable to find leader",
        "critical",
        "the datastore has no leader",
        "see the scan for its quorum; start the voters that are down",
    ),
    _rule(
        r"cgroup.*(?:memory|pids).*(?:not mounted|missing|not enabled|disabled)|missing required cgroups",
        "critical",
        "control groups are missing",
        "check_prerequisites tells which; on a Raspberry Pi cmdline.txt has to have cgroup_enable=memory cgroup_memory=1",
    ),
    _rule(
        r"running with swap on is not supported",
        "critical",
        "swap is on, and kubelet refuses it",
        "turn swap off, or set --fail-swap-on=false",
    ),
    _rule(
        r"database is locked|slow (?:sql|fdatasync|disk)|took too long",
        "warning",
        "the datastore is slow",
        "its disk is too slow or too busy: see iostat",
    ),
    _rule(
        r"oom-?kill|out of memory|memory cgroup out of memory",
        "warning",
        "processes were ended for want of memory",
        "see which, in the log; give the node or the container more",
    ),
    _rule(
        r"evict(?:ing|ion) manager.*(?:ephemeral-storage|imagefs|nodefs)|DiskPressure",
        "warning",
        "the node's disk is short of space",
        "free space, or raise the thresholds of eviction",
    ),
    _rule(
        r"MemoryPressure|attempting to reclaim.*memory",
        "warning",
        "the node is short of memory",
        "move pods, or add memory",
    ),
    _rule(
        r"too many open files|inotify.*limit|no space.*inotify",
        "warning",
        "a limit of open files or watches is reached",
        "raise fs.inotify.max_user_instances and max_user_watches",
    ),
    _rule(
        r"cni (?:plugin|config).*(?:not initialized|uninitialized)|network plugin (?:is )?not ready",
        "warning",
        "the network of pods is not ready",
        "see the pods of calico in kube-system",
    ),
    _rule(
        r"toomanyrequests|pull rate limit",
        "warning",
        "the registry of images refuses: too many requests",
        "log in there, or set a mirror (microk8s_mirrors)",
    ),
    _rule(
        r"lookup .*(?:i/o timeout|no such host|server misbehaving)",
        "warning",
        "names cannot be resolved",
        "see /etc/resolv.conf, and the addon dns",
    ),
    _rule(
        r"dial tcp .*:(?:16443|19001|25000).*(?:refused|timeout|no route)",
        "warning",
        "another node's ports cannot be reached",
        "see the firewall, and that the node is up",
    ),
    _rule(
        r"failed to (?:pull|resolve) (?:and unpack )?image|ErrImagePull|ImagePullBackOff",
        "notice",
        "images could not be pulled",
        "see the image's name and the way to its registry",
    ),
)
WARNING = re.compile(r"^\s*WARNING:\s*(.+)$", re.MULTILINE)
FAILED = re.compile(r"^\s*FAIL:\s*(.+)$", re.MULTILINE)
TARBALL = re.compile(r"Report tarball is at (\S+)")
#: What is to be done about some of the warnings of inspect.
ADVICE = (
    ("FORWARD policy", "iptables -P FORWARD ACCEPT, and make it persistent"),
    ("Docker", "Docker's own rules may cut pods off: see its insecure registries and iptables"),
    ("cgroup", "see cmdline.txt, and reboot"),
    ("memory", "give the machine more"),
)


@dataclass
class Heard:
    """How often a rule fitted, and the last line where."""

    count: int = 0
    last: str = ""


def of_log(name: str, lines: Iterable[str]) -> list[dict[str, Any]]:
    """Findings of a log, each once, with how often and the last line."""
    heard: dict[Rule, Heard] = {}
    for line in lines:
        rule = next((one for one in RULES if one.pattern.search(line)), None)
        if rule:
            known = heard.setdefault(rule, Heard())
            known.count += 1
            known.last = line
    return [
        finding(
            rule.severity,
            f"{rule.what} ({name}: {one.count} times, last: {quoted(one.last)})",
            rule.todo,
            key=rule.what,
        )
        for rule, one in heard.items()
    ]


def of_inspect(text: str) -> list[dict[str, Any]]:
    """What ``microk8s inspect`` itself has complained of."""
    found = [
        finding("critical", told.strip(), "see its log: journalctl -u 'snap.microk8s.*'")
        for told in FAILED.findall(text)
    ]
    for told in WARNING.findall(text):
        todo = next((advice for word, advice in ADVICE if word.lower() in told.lower()), "see what inspect says of it")
        found.append(finding("warning", told.strip(), todo))
    return found


def finding(severity: str, what: str, todo: str, key: str = "") -> dict[str, Any]:
    """``key`` is what makes it the same on another machine."""
    return {"severity": severity, "what": what, "todo": todo, "key": key or what}


def quoted(line: str) -> str:
    """A line that may be shown: without secrets, and not too long."""
    plain = SECRETS.sub(lambda match: f"{match[1] or ''}********", " ".join(line.split()))
    return plain if len(plain) <= QUOTED else f"{plain[: QUOTED - 1]}…"


def ranked(machines: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Findings by machine as one list: the worst first, then what most machines tell; each with who tells it."""
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name, found in machines.items():
        for one in found:
            key = (one["severity"], one.get("key") or one["what"], one["todo"])
            known = merged.setdefault(
                key, {"severity": one["severity"], "what": one["what"], "todo": one["todo"], "nodes": []}
            )
            if name not in known["nodes"]:
                known["nodes"].append(name)
    return sorted(merged.values(), key=lambda one: (SEVERITIES.index(one["severity"]), -len(one["nodes"]), one["what"]))


def as_text(found: Iterable[Mapping[str, Any]]) -> str:
    """The list for people, numbered."""
    lines = [
        f"{number}. {one['severity']}: {one['what']} ({', '.join(one['nodes'])})\n   {one['todo']}\n"
        for number, one in enumerate(found, 1)
    ]
    return "".join(lines) or "nothing was found that is not well\n"
