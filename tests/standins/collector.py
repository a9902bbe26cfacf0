# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a collector of OpenTelemetry has received, decoded: ``receivers.Receiver`` takes it in over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from standins.receivers import Receiver

ERROR = 2
SERVER = 2


@dataclass(frozen=True)
class Seen:
    """A span; ids in hexadecimal, times in nanoseconds. ``resource`` tells of the process that recorded it."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


def spans(receiver: Receiver) -> list[Seen]:
    """Each once: a batch is sent again if its answer was lost."""
    found: list[Seen] = []
    for got in list(receiver.got):
        assert (got.path, got.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        for part in ExportTraceServiceRequest.FromString(got.body).resource_spans:
            resource = _plain(part.resource.attributes)
            found += [_seen(one, resource) for scope in part.scope_spans for one in scope.spans]
    return list({one.id: one for one in found}.values())


def _seen(span: Any, resource: dict[str, Any]) -> Seen:
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    times = span.start_time_unix_nano, span.end_time_unix_nano
    return Seen(span.name, *ids, span.kind, *times, span.status.code == ERROR, _plain(span.attributes), resource)


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
