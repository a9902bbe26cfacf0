# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports as HTML: the content of a page for a node and for the fleet, and whole pages that stand alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from ..common.units import format_size
from . import charts
from .alerts import Thresholds
from .charts import Bar, moment
from .history import Known, summary, totals
from .model import Report, Smart

#: The look of what stands here; the colours are those of the page around it, if it has some.
STYLE = """
.hw-chart { display: block; width: 100%; max-width: 42rem; height: auto; margin: .3rem 0 1rem; }
.hw-chart text { font-size: 12.5px; fill: var(--text, #1b1f24); }
.hw-chart .end { text-anchor: end; fill: var(--quiet, #57606c); }
.hw-chart .track { fill: var(--line, #d9dde2); }
.hw-chart .bar, .hw-chart .dot { fill: var(--accent, #0a5fa8); }
.hw-chart .warning .bar { fill: var(--warn, #7d4e00); }
.hw-chart .critical .bar { fill: var(--bad, #ad2018); }
.hw-chart .axis { stroke: var(--line, #d9dde2); }
.hw-chart .trace { fill: none; stroke: var(--accent, #0a5fa8); stroke-width: 2; }
.hw-critical { color: var(--bad, #ad2018); font-weight: 600; }
.hw-warning { color: var(--warn, #7d4e00); font-weight: 600; }
.hw-pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 1.75rem; }
@media (forced-colors: active) { .hw-chart .bar, .hw-chart .track, .hw-chart .trace { forced-color-adjust: none; } }
"""
#: For pages that stand alone.
ALONE = """
:root { color-scheme: light dark; --back: #f5f6f7; --front: #fff; --text: #1b1f24; --quiet: #57606c; --line: #d9dde2;
  --accent: #0a5fa8; --bad: #ad2018; --warn: #7d4e00; font: 15px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --back: #13161a; --front: #1b1f25; --text: #e3e7ec; --quiet: #9ea8b5;
  --line: #323943; --accent: #74b6f7; --bad: #ff958b; --warn: #e3b458; } }
body { margin: 0 auto; padding: 1rem 1.25rem 3rem; max-width: 72rem; background: var(--back); color: var(--text);
  overflow-wrap: break-word; }
main { overflow-x: auto; }
a { color: var(--accent); }
table { border-collapse: collapse; width: 100%; background: var(--front); border: 1px solid var(--line); }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; font-size: .87rem; white-space: nowrap; }
.number { text-align: right; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
dl { background: var(--front); border: 1px solid var(--line); padding: .3rem .8rem; margin: 0; }
dl > div { display: grid; grid-template-columns: minmax(6.5rem, 32%) 1fr; gap: .75rem; padding: .25rem 0; }
dt { color: var(--quiet); } dd { margin: 0; }
.counts { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 2rem; padding: 0; }
.counts b { font-size: 1.5rem; }
"""
Cell = tuple[str, str]


def whole(title: str, content: str) -> str:
    """A page that stands alone: nothing in it comes from elsewhere."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{ALONE}{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    )


# -- pieces ----------------------------------------------------------------------------------------
def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose first column names the rows. Cells are text, numbers (to the right) or markup already."""
    lines = [
        f'<table><caption class="unseen">{escape(caption)}</caption><thead><tr>'
        + "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
        + "</tr></thead><tbody>"
    ]
    for row in rows:
        cells = [f'<th scope="row">{marked(row[0])}</th>']
        cells += [f'<td data-name="{escape(head)}">{marked(cell)}</td>' for head, cell in zip(heads[1:], row[1:])]  # noqa: B905
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join([*lines, "</tbody></table>"])


class Markup(str):
    """Text that is HTML already."""


def marked(cell: Any) -> str:
    if isinstance(cell, Markup):
        return cell
    return "" if cell is None else escape(f"{cell:g}" if isinstance(cell, float) else str(cell))


def graded(text: str, severity: str) -> Markup:
    """Text that looks as grave as it is."""
    known = severity in ("critical", "warning")
    return Markup(f'<span class="hw-{severity}">{escape(text)}</span>' if known else escape(text))


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values; those that are not known are left out."""
    rows = [
        f"<div><dt>{escape(name)}</dt><dd>{marked(value)}</dd></div>"
        for name, value in pairs
        if value not in (None, "")
    ]
    return f'<dl class="facts">{"".join(rows)}</dl>' if rows else ""


def titled(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}\n</section>\n" if content else ""


def size(count: float | None) -> str:
    return "" if count is None else format_size(count)


def with_unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}"


def graver(value: float | None, warning: float, critical: float) -> str:
    return "" if value is None or value < warning else "critical" if value >= critical else "warning"


# -- a node ----------------------------------------------------------------------------------------
def node(known: Known, earlier: Sequence[Known] = ()) -> str:
    """The content of a node's page. ``earlier`` are its reports, the newest first."""
    report = known.report
    parts = [
        f"<p>Read on {escape(moment(report.time))}, in {report.seconds:g} s.</p>\n",
        titled("What wants attention", told(known.alerts) or "<p>Nothing.</p>"),
        titled("What has changed", changed(known)),
        titled("The machine", facts(machine(report))),
        titled("Use", usage(report)),
        titled("Over time", over_time(earlier)),
        *(titled(title, part(report)) for title, part in PARTS),
        titled("What could not be read", unread(report)),
    ]
    return "".join(parts)


def told(rows: Sequence[dict[str, Any]]) -> str:
    items = [
        f"<li>{graded(str(one.get('severity', '')), str(one.get('severity', '')))}: {escape(str(one.get('text', '')))}</li>"
        for one in rows
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def changed(known: Known) -> str:
    if known.before is None:
        return "<p>This is the first report.</p>"
    since = f"<p>Since {escape(moment(known.before))}:</p>"
    return since + (told(known.changes) or "<p>Nothing.</p>")


def machine(report: Report) -> list[tuple[str, Any]]:
    system, cpu, memory, firmware, bmc = report.system, report.cpu, report.memory, report.firmware, report.bmc
    cores = ", ".join(f"{word}: {count}" for count, word in ((cpu.sockets, "sockets"), (cpu.cores, "cores")) if count)
    return [
        ("Host name", system.hostname),
        ("Kind", " in ".join(part for part in (system.kind, system.within) if part)),
        ("System", system.os),
        ("Kernel", " ".join(part for part in (system.kernel, system.architecture) if part)),
        ("Up since", moment(system.boot_time) if system.boot_time else ""),
        ("Model", " ".join(part for part in (firmware.vendor, firmware.product) if part)),
        ("Serial number", firmware.serial),
        (
            "Firmware",
            " ".join(part for part in (firmware.bios_vendor, firmware.bios_version, firmware.bios_date) if part),
        ),
        (
            "BMC",
            " ".join(part for part in (bmc.address, bmc.device, bmc.firmware and f"firmware {bmc.firmware}") if part),
        ),
        ("Processor", cpu.model),
        ("Processors", f"{cpu.threads or ''}{f' ({cores})' if cores and cpu.threads else ''}"),
        ("Most", with_unit(cpu.most_mhz, "MHz")),
        ("Temperature", with_unit(cpu.temperature_celsius, "°C")),
        ("Memory", size(memory.total_bytes)),
        ("Swap", size(memory.swap_total_bytes)),
    ]


def usage(report: Report) -> str:
    rows = [*_machine_bars(report)]
    limits = Thresholds()
    for one in report.filesystems:
        if one.used_percent is not None:
            severity = graver(one.used_percent, limits.filesystem_percent, limits.filesystem_critical_percent)
            text = f"{one.used_percent:g} % of {size(one.size_bytes)}"
            rows.append(Bar(one.mountpoint, one.used_percent / 100, text, "" if one.read_only else severity))
    for smart in report.smart:
        if smart.wear_percent is not None:
            severity = graver(smart.wear_percent, limits.disk_wear_percent, limits.disk_wear_critical_percent)
            rows.append(Bar(f"Wear of {smart.disk}", smart.wear_percent / 100, f"{smart.wear_percent:g} %", severity))
    heat = [*_heat(report)]
    return (charts.bars("Use", rows) if rows else "") + (charts.bars("Temperatures", heat) if heat else "")


def _machine_bars(report: Report) -> Iterable[Bar]:
    cpu, memory = report.cpu, report.memory
    if cpu.use_percent is not None:
        yield Bar("Processors", cpu.use_percent / 100, f"{cpu.use_percent:g} %")
    for name, used, of in (
        ("Memory", memory.used_bytes, memory.total_bytes),
        ("Swap", memory.swap_used_bytes, memory.swap_total_bytes),
    ):
        if used is not None and of:
            yield Bar(name, used / of, f"{size(used)} of {size(of)}")


def _heat(report: Report) -> Iterable[Bar]:
    limits = Thresholds()
    for one in report.sensors:
        if one.kind == "temperature" and one.value is not None:
            most = one.critical or limits.temperature_critical_celsius
            severity = graver(one.value, limits.temperature_celsius, most)
            yield Bar(f"{one.chip} {one.name}", one.value / 110, f"{one.value:g} °C", severity)
    for smart in report.smart:
        celsius = smart.temperature_celsius
        if celsius is not None:
            severity = graver(celsius, limits.disk_temperature_celsius, limits.disk_temperature_critical_celsius)
            yield Bar(f"Disk {smart.disk}", celsius / 110, f"{celsius:g} °C", severity)


def memory_percent(report: Report) -> float | None:
    used, total = report.memory.used_bytes, report.memory.total_bytes
    return None if used is None or not total else round(100 * used / total, 1)


#: Values that are drawn over time: a title, the value in a report, its unit, and the top of the chart.
TRACES: tuple[tuple[str, Callable[[Report], float | None], str, float | None], ...] = (
    ("Processors' use", lambda report: report.cpu.use_percent, "%", 100.0),
    ("Memory in use", memory_percent, "%", 100.0),
    (
        "Fullest file system",
        lambda report: max(
            (one.used_percent for one in report.filesystems if one.used_percent is not None), default=None
        ),
        "%",
        100.0,
    ),
    ("Temperature of the processors", lambda report: report.cpu.temperature_celsius, "°C", 110.0),
    (
        "Wear of the most worn disk",
        lambda report: max((one.wear_percent for one in report.smart if one.wear_percent is not None), default=None),
        "%",
        100.0,
    ),
)


def over_time(earlier: Sequence[Known]) -> str:
    """Charts of values that more than one report has."""
    found = []
    for title, value_of, unit, top in TRACES:
        points = [(one.report.time, value) for one in earlier if (value := value_of(one.report)) is not None]
        if len(points) > 1:
            found.append(f"<div><h3>{escape(title)}</h3>{charts.line(title, sorted(points), unit, top)}</div>")
    return f'<div class="hw-pair">{"".join(found)}</div>' if found else ""


# -- its parts -------------------------------------------------------------------------------------
def disks(report: Report) -> str:
    health = {one.disk: one for one in report.smart}
    heads = ["Disk", "Kind", "Model", "Serial number", "Size", "Health", "Wear", "Hours", "Holds"]
    rows = []
    for one in report.disks:
        smart = health.get(one.name, Smart())
        holds = ", ".join(
            f"{part.name} {part.filesystem or part.kind} {' '.join(part.mountpoints)}".strip()
            for part in one.partitions
        )
        wear = with_unit(smart.wear_percent, "%")
        rows.append(
            [
                one.name,
                one.kind,
                one.model,
                one.serial,
                size(one.size_bytes),
                passed(smart),
                wear,
                smart.power_on_hours,
                holds,
            ]
        )
    return table("Disks", heads, rows) if rows else ""


def passed(one: Smart) -> Markup:
    if one.passed is None:
        return graded(one.reason or "not known", "")
    return graded("good", "") if one.passed else graded("failing", "critical")


def filesystems(report: Report) -> str:
    heads = ["Mounted at", "Source", "Kind", "Size", "Used", "Free"]
    rows = [
        [one.mountpoint, one.source, one.kind + (" (read-only)" if one.read_only else ""), size(one.size_bytes),
         with_unit(one.used_percent, "%"), size(one.available_bytes)]
        for one in report.filesystems
    ]  # fmt: skip
    return table("File systems", heads, rows) if rows else ""


def lvm(report: Report) -> str:
    groups = [[one.name, size(one.size_bytes), size(one.free_bytes), graded("lacks a disk", "critical") if one.partial else "whole"]
              for one in report.lvm.groups]  # fmt: skip
    volumes = [[f"{one.group}/{one.name}", size(one.size_bytes), one.layout, with_unit(one.data_percent, "%"), one.health]
               for one in report.lvm.volumes]  # fmt: skip
    found = table("Volume groups", ["Group", "Size", "Free", "State"], groups) if groups else ""
    heads = ["Volume", "Size", "Layout", "Data", "Health"]
    return found + (table("Logical volumes", heads, volumes) if volumes else "")


def raid(report: Report) -> str:
    rows = []
    for one in report.raid:
        state = graded("degraded", "critical") if one.degraded else one.state
        going = f"{one.action} {with_unit(one.progress_percent, '%')}".strip()
        rows.append([one.name, one.level, state, size(one.size_bytes), ", ".join(one.members), ", ".join(one.spares),
                     ", ".join(one.faulty), going])  # fmt: skip
    return (
        table("Arrays", ["Array", "Level", "State", "Size", "Disks", "Spares", "Faulty", "Doing"], rows) if rows else ""
    )


def nics(report: Report) -> str:
    heads = ["Card", "Kind", "Driver", "State", "Speed", "MAC", "Addresses", "Received", "Sent", "Errors", "Dropped"]
    rows = []
    for one in report.nics:
        errors = sum(count or 0 for count in (one.receive_errors, one.send_errors))
        speed = with_unit(one.speed_mbit, "Mbit/s") + (f" {one.duplex}" if one.duplex else "")
        rows.append([one.name, one.kind, one.driver, one.state, speed, one.mac, ", ".join(one.addresses),
                     size(one.received_bytes), size(one.sent_bytes), errors, one.dropped])  # fmt: skip
    return table("Network cards", heads, rows) if rows else ""


def gpus(report: Report) -> str:
    heads = ["GPU", "Model", "Driver", "Memory", "In use", "Use", "Temperature"]
    rows = [
        [one.slot, f"{one.vendor} {one.model}".strip(), one.driver, size(one.memory_bytes), size(one.memory_used_bytes),
         with_unit(one.use_percent, "%"), with_unit(one.temperature_celsius, "°C")]
        for one in report.gpus
    ]  # fmt: skip
    return table("GPUs", heads, rows) if rows else ""


def sensors(report: Report) -> str:
    heads = ["Sensor", "Chip", "Value", "High", "Critical"]
    rows = [
        [
            one.name,
            one.chip,
            with_unit(one.value, one.unit),
            with_unit(one.high, one.unit),
            with_unit(one.critical, one.unit),
        ]
        for one in report.sensors
    ]
    return table("Sensors", heads, rows) if rows else ""


def memory_modules(report: Report) -> str:
    rows = [[one.slot, size(one.size_bytes), one.kind, one.speed, one.manufacturer, one.part, one.serial]
            for one in report.memory_modules]  # fmt: skip
    heads = ["Slot", "Size", "Kind", "Speed", "Made by", "Part", "Serial number"]
    return table("Memory modules", heads, rows) if rows else ""


def docker(report: Report) -> str:
    rows = [[one.name, one.driver, one.mountpoint] for one in report.docker]
    return table("Docker's volumes", ["Volume", "Driver", "At"], rows) if rows else ""


def kubernetes(report: Report) -> str:
    storage = report.kubernetes
    classes = [[one.name, one.provisioner, "yes" if one.default else "", one.reclaim] for one in storage.classes]
    volumes = [[one.name, size(one.size_bytes), one.state, one.claim, one.storage_class] for one in storage.volumes]
    claims = [[f"{one.namespace}/{one.name}", size(one.size_bytes), one.state, one.volume, one.storage_class]
              for one in storage.claims]  # fmt: skip
    tables = (
        ("Storage classes", ["Class", "Provisioner", "Default", "Reclaim"], classes),
        ("Persistent volumes", ["Volume", "Size", "State", "Claim", "Class"], volumes),
        ("Claims", ["Claim", "Size", "State", "Volume", "Class"], claims),
    )
    return "".join(f"<h3>{title}</h3>{table(title, heads, rows)}" for title, heads, rows in tables if rows)


def certificates(report: Report) -> str:
    rows = [
        [one.path, one.subject, moment(one.expires_time) if one.expires_time else ""] for one in report.certificates
    ]
    return table("Certificates", ["File", "Subject", "Runs out"], rows) if rows else ""


def unread(report: Report) -> str:
    rows = [[name, one.state, one.reason] for name, one in report.missing()]
    return table("What could not be read", ["Part", "State", "Reason"], rows) if rows else ""


PARTS: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("Disks", disks),
    ("File systems", filesystems),
    ("LVM", lvm),
    ("RAID", raid),
    ("Network", nics),
    ("GPUs", gpus),
    ("Sensors", sensors),
    ("Memory modules", memory_modules),
    ("Docker", docker),
    ("Kubernetes' storage", kubernetes),
    ("Certificates", certificates),
)


# -- the fleet -------------------------------------------------------------------------------------
def fleet(rows: Sequence[Known], link: Callable[[str], str] = lambda name: f"{quote(name, safe='')}.html") -> str:
    """The content of the fleet's page. ``link`` gives the address of a node's own."""
    if not rows:
        return "<p>There are no reports.</p>"
    counts = "".join(
        f"<li><b>{escape(shown_total(name, count))}</b> {escape(words(name))}</li>" for name, count in totals(rows)
    )
    wanting = [{**one, "text": f"{known.node}: {one.get('text', '')}"} for known in rows for one in known.alerts]
    wanting.sort(key=lambda one: one.get("severity") != "critical")
    return "".join([
        f'<ul class="counts">{counts}</ul>\n',
        titled("What wants attention", told(wanting[:100]) or "<p>Nothing.</p>"),
        titled("Nodes", fleet_table(rows, link)),
        titled("Memory in use", charts.bars("Memory in use", [_memory_bar(one) for one in rows])),
        titled("Fullest file system", _chart("Fullest file system", [_full_bar(one) for one in rows])),
        titled("Temperature of the processors", _chart("Temperature", [_heat_bar(one) for one in rows])),
    ])  # fmt: skip


def shown_total(name: str, count: float) -> str:
    return size(count) if name.endswith("_bytes") else f"{count:g}"


def words(name: str) -> str:
    return {"memory_bytes": "of memory", "disks_bytes": "on disks"}.get(name, name)


def fleet_table(rows: Sequence[Known], link: Callable[[str], str]) -> str:
    heads = ["Node", "Read", "System", "Processors", "Memory", "Disks", "Fullest", "Changes", "Alerts"]
    lines = []
    for known in rows:
        one = summary(known)
        disks_words = f"{one['disks']}, {size(one['disks_bytes'])}" if one["disks"] else ""
        name = Markup(f'<a href="{escape(link(known.node))}">{escape(known.node)}</a>')
        lines.append([name, moment(one["time"]), one["os"], one["cpu_threads"], size(one["memory_total_bytes"]), disks_words,
                      with_unit(one["fullest_percent"], "%"), one["changes"] or "", graded(str(one["alerts"] or ""), one["worst"])])  # fmt: skip
    return table("Nodes", heads, lines)


def _chart(title: str, rows: Sequence[Bar | None]) -> str:
    known = [one for one in rows if one]
    return charts.bars(title, known) if known else ""


def _memory_bar(known: Known) -> Bar:
    memory = known.report.memory
    percent = memory_percent(known.report) or 0.0
    return Bar(known.node, percent / 100, f"{percent:g} % of {size(memory.total_bytes)}")


def _full_bar(known: Known) -> Bar | None:
    full = [one for one in known.report.filesystems if one.used_percent is not None]
    if not full:
        return None
    one = max(full, key=lambda each: each.used_percent or 0.0)
    percent, limits = one.used_percent or 0.0, Thresholds()
    severity = graver(percent, limits.filesystem_percent, limits.filesystem_critical_percent)
    return Bar(known.node, percent / 100, f"{percent:g} % ({one.mountpoint})", "" if one.read_only else severity)


def _heat_bar(known: Known) -> Bar | None:
    celsius, limits = known.report.cpu.temperature_celsius, Thresholds()
    if celsius is None:
        return None
    severity = graver(celsius, limits.temperature_celsius, limits.temperature_critical_celsius)
    return Bar(known.node, celsius / 110, f"{celsius:g} °C", severity)
