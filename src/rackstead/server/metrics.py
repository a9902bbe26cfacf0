# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus may know. Ends and retries are read off the audit chain, so that those of all workers count."""

from __future__ import annotations

import threading
import time
from collections import Counter as Count
from collections.abc import Callable, Iterator
from itertools import product
from typing import TypeVar

from ansible_collections.rackstead.infra.plugins.module_utils.hardware import alarms
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.compare import CRITICAL, WARNING
from ansible_collections.rackstead.infra.plugins.module_utils.hardware.history import KIND as HARDWARE
from ansible_collections.rackstead.infra.plugins.module_utils.state.audit import key_of
from ansible_collections.rackstead.infra.plugins.module_utils.state.backend import Backend, Transaction
from ansible_collections.rackstead.infra.plugins.module_utils.state.model import AuditEntry, Query, Record
from ansible_collections.rackstead.infra.plugins.module_utils.state.store import Change
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..jobs.ends import ended
from ..jobs.model import JOB, Job, JobState
from ..jobs.service import Service, open_jobs
from ..webhooks import registry

T = TypeVar("T")
SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 180, 600, 1800, 3600, 7200)
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """Counts since this server was started, and what is open now."""

    def __init__(self, service: Service) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.service = service
        self.ended = self._counter("jobs_ended", "Jobs that came to their end.", ["workflow", "state"])
        self.retried = self._counter("job_retries", "Further attempts after a failure.", ["workflow"])
        self.interrupted = self._counter("job_interruptions", "Jobs whose worker went away.", ["workflow"])
        self.duration = Histogram(
            "rackstead_job_duration_seconds",
            "From the first attempt's start to the end.",
            ["workflow"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.lag = Histogram(
            "rackstead_event_lag_seconds",
            "From an event to its sending to a client that follows.",
            registry=self.registry,
            buckets=SHORT,
        )
        self.latency = Histogram(
            "rackstead_store_transaction_seconds",
            "Transactions of this server on the state store.",
            ["kind"],
            registry=self.registry,
            buckets=SHORT,
        )
        self.registry.register(Open(service))
        self.registry.register(Hooks(service))
        self.registry.register(Hardware(service))
        self._chain = Chain(service)
        self._lock = threading.Lock()
        service.store.backend = Timed(service.store.backend, self.latency)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"rackstead_{name}", text, labels, registry=self.registry)

    def events(self, written: float) -> None:
        """An event goes to a client; old ones that it asked for do not count."""
        lag = time.time() - written
        if lag < SECONDS[1]:
            self.lag.observe(max(0.0, lag))

    def text(self) -> bytes:
        with self._lock:
            for entry in self._chain.added():
                self._take(entry)
        return generate_latest(self.registry)

    def _take(self, entry: AuditEntry) -> None:
        workflow = str(entry.details.get("workflow", ""))
        if entry.action == "job.retry":
            self.retried.labels(workflow).inc()
        elif entry.action == "job.interrupted":
            self.interrupted.labels(workflow).inc()
        elif state := ended(entry):
            self._end(entry, workflow, state)

    def _end(self, entry: AuditEntry, workflow: str, state: JobState) -> None:
        self.ended.labels(workflow, state.value).inc()
        job = self._job(entry)
        if job and job.started is not None and job.ended is not None:
            self.duration.labels(workflow).observe(job.ended - job.started)

    def _job(self, entry: AuditEntry) -> Job | None:
        record = self.service.store.find(JOB, entry.target.partition("/")[2])
        return Job.of(record) if record else None


class Chain:
    """The entries of the audit chain that were added since the last look."""

    def __init__(self, service: Service) -> None:
        self._store = service.store
        self._after: str | None = None
        self.added()

    def added(self) -> Iterator[AuditEntry]:
        if self._after is None:
            last = self._store.audit(Query(descending=True, limit=1))
            self._after = key_of(last[0].seq) if last else ""
            return iter(())
        return self._more(self._after)

    def _more(self, after: str) -> Iterator[AuditEntry]:
        while found := self._store.audit(Query(after=after, limit=500)):
            for entry in found:
                self._after = after = key_of(entry.seq)
                yield entry


class Open(Collector):
    """Jobs that are not over, as they are when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        #: workflow and time of submission of jobs that were open at the last look
        self._known: dict[str, tuple[str, float]] = {}

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())  # so that registering asks no store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now, rows = self._service.store.read(self._look)
        jobs = GaugeMetricFamily("rackstead_jobs", "Jobs that are not over.", labels=["workflow", "state"])
        for (workflow, state), count in Count((self._known[row.key][0], row.body["state"]) for row in rows).items():
            jobs.add_metric([workflow, state], count)
        yield jobs
        taken = {name for row in rows if row.body["state"] == JobState.RUNNING for name in row.body["target"]}
        ready = [row for row in rows if row.body["state"] != JobState.RUNNING and row.body["not_before"] <= now]
        waits = [row for row in ready if taken & set(row.body["target"])]
        yield GaugeMetricFamily("rackstead_queue_depth", "Jobs that wait and whose time has come.", len(ready))
        age = now - min((self._known[row.key][1] for row in ready), default=now)
        yield GaugeMetricFamily("rackstead_queue_age_seconds", "Since the oldest of them was submitted.", age)
        yield GaugeMetricFamily("rackstead_lease_waits", "Those of them whose target another job has.", len(waits))
        alive = 1 if self._service.alive() else 0
        yield GaugeMetricFamily("rackstead_worker_alive", "1 if any worker gives signs of life.", alive)

    def _look(self, change: Change) -> tuple[float, list[Record]]:
        rows = open_jobs(change)
        known = self._known
        for row in rows:
            if row.key not in known:
                body = change.get(JOB, row.key).body
                known[row.key] = (str(body["workflow"]), float(body["created"]))
        self._known = {row.key: known[row.key] for row in rows}
        return change.now(), rows


class Hooks(Collector):
    """How webhooks stand, whoever delivers them."""

    def __init__(self, service: Service) -> None:
        self._store = service.store

    def describe(self) -> Iterator[Metric]:
        return iter(())  # so that registering asks no store

    def collect(self) -> Iterator[Metric]:
        labels = ["webhook"]
        counts = {
            "delivered": CounterMetricFamily("rackstead_webhook_delivered", "Ends of jobs delivered.", labels=labels),
            "failures": CounterMetricFamily("rackstead_webhook_failures", "Attempts in vain.", labels=labels),
            "given_up": CounterMetricFamily("rackstead_webhook_given_up", "Deliveries given up.", labels=labels),
        }
        pending = GaugeMetricFamily("rackstead_webhook_pending", "Deliveries that wait or are tried.", labels=labels)
        failing = GaugeMetricFamily("rackstead_webhook_failing", "1 if the last attempt was in vain.", labels=labels)
        for hook, status in self._store.read(registry.every):
            for name, family in counts.items():
                family.add_metric([hook.name], getattr(status, name))
            pending.add_metric([hook.name], status.pending)
            failing.add_metric([hook.name], 1 if status.error else 0)
        yield from (*counts.values(), pending, failing)


class Hardware(Collector):
    """Alerts that stand, by the last report of each node. Labels are parts of reports: nodes may be many."""

    PAGE = 100

    def __init__(self, service: Service) -> None:
        self._store = service.store
        self._seen: tuple[str, Count[tuple[str, str]], list[float]] | None = None

    def describe(self) -> Iterator[Metric]:
        return iter(())  # so that registering asks no store

    def collect(self) -> Iterator[Metric]:
        counts, times = self._look()
        family = GaugeMetricFamily(
            "rackstead_hardware_alerts", "Alerts of hardware reports that stand.", labels=["section", "severity"]
        )
        for section, severity in product(alarms.SECTIONS, (CRITICAL, WARNING)):
            family.add_metric([section, severity], counts[section, severity])
        yield family
        yield GaugeMetricFamily("rackstead_hardware_nodes", "Nodes that there is a report of.", len(times))
        if times:
            age = max(0.0, time.time() - min(times))
            text = "Since the node was read that was read longest ago."
            yield GaugeMetricFamily("rackstead_hardware_oldest_report_seconds", text, age)

    def _look(self) -> tuple[Count[tuple[str, str]], list[float]]:
        """All reports are read only where somebody has written since."""
        stamp = self._store.stamp()
        if stamp is None or self._seen is None or self._seen[0] != stamp:
            self._seen = (stamp or "", *self._store.read(self._count))
        return self._seen[1:]

    def _count(self, change: Change) -> tuple[Count[tuple[str, str]], list[float]]:
        counts: Count[tuple[str, str]] = Count()
        times: list[float] = []
        after = ""
        while page := change.list(HARDWARE, Query(after=after, limit=self.PAGE)):
            for record in page:
                counts.update(
                    (str(one.get("section")), str(one.get("severity"))) for one in alarms.standing(record.body)
                )
                at = record.body.get("time")
                times.append(at if isinstance(at, float) else record.time)
            after = page[-1].key
        return counts, times


class Timed:
    """A backend whose transactions are measured."""

    def __init__(self, backend: Backend, histogram: Histogram) -> None:
        self.backend = backend
        self._seen = {write: histogram.labels("write" if write else "read") for write in (True, False)}

    def run(self, work: Callable[[Transaction], T], *, write: bool) -> T:
        with self._seen[write].time():
            return self.backend.run(work, write=write)

    @property
    def far(self) -> bool:
        return self.backend.far

    def stamp(self) -> str | None:
        return self.backend.stamp()

    def close(self) -> None:
        self.backend.close()
