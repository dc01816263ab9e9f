"""``python -m svd_ui doctor``: what is installed, what runs the model and why, and every setting."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..engine import Timed
from .console import err, out, reporting, settings_or_exit
from .models import show_checkpoints


@reporting
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure attention, number formats and threads instead.")
    ] = False,
) -> None:
    """Show versions, device, memory, checkpoints, disk and settings. Secrets are not shown.

    With --benchmark the device's choices are measured anew, within a minute, and the fastest remembered.
    """
    from ..doctor import measured, report

    settings = settings_or_exit()
    if benchmark:
        with err().status("Measuring the device ..."):
            device, rows = measured(settings)
        if as_json:
            measurements = [row.model_dump(mode="json") for row in rows]
            typer.echo(json.dumps({"device": device, "measurements": measurements}, indent=2))
        else:
            show_benchmark(device, rows, out())
        return
    with err().status("Asking the device ..."):
        facts = report(settings=settings)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        show(facts, out())


def show(facts: dict[str, Any], console: Console) -> None:
    """``report()`` for people."""
    from ..hub.transfer import size

    _section(console, "Versions", list(facts["versions"].items()))
    system = facts["system"]
    memory = f"{size(system['memory_free_bytes'])} free of {size(system['memory_bytes'])}"
    known = [("platform", system["platform"]), ("CPU cores", str(system["cpu_cores"])), ("memory", memory)]
    _section(console, "System", known)
    _section(console, "Device", _device(facts["device"], facts["device_trouble"], facts["checkpoint"]))
    console.print("\n[bold]Checkpoints[/]")
    show_checkpoints(facts["checkpoints"], facts["refused"], console)
    disks = [
        (name, f"{disk['path']}: {size(disk['free_bytes'])} free of {size(disk['total_bytes'])}{_locked(disk)}")
        for name, disk in facts["disk"].items()
    ]
    _section(console, "Disk", disks)
    _section(console, "Model hub", [(name, str(facts["hub"][name])) for name in ("endpoint", "token", "offline")])
    found = [(one["name"], f"{one['group']}, {one['package']} {one['trouble']}".strip()) for one in facts["plugins"]]
    _section(console, "Plug-ins", found or [("none", "")])
    table = Table("variable", "value", "from", "what it does", box=None, pad_edge=False)
    for row in facts["settings"]:
        table.add_row(row["variable"], escape(row["value"]), row["source"], escape(row["help"]))
    console.print("\n[bold]Settings[/]", table, sep="\n")


def show_benchmark(device: str, rows: list[Timed], console: Console) -> None:
    """What was measured: one line for each choice, the ones in use marked."""
    table = Table("what", "shape", "choice", "ms", "", "note", box=None, pad_edge=False)
    table.columns[3].justify = "right"
    what, shape = "", ""
    for row in rows:
        again = (row.what, row.shape) == (what, shape)
        what, shape = row.what, row.shape
        names = ("", "") if again else (what, shape)
        spent = "" if row.milliseconds is None else f"{row.milliseconds:.3g}"
        table.add_row(*map(escape, names), row.choice, spent, "in use" if row.chosen else "", escape(row.note))
    console.print(f"[bold]{escape(device)}[/]", table, sep="\n")


def _device(device: dict[str, Any] | None, trouble: str, checkpoint: dict[str, str]) -> list[tuple[str, str]]:
    from ..hub.transfer import size

    chosen = ("checkpoint", f"{checkpoint['id']} ({checkpoint['reason']})")
    if device is None:
        return [("device", trouble or "the worker did not start: see logs in the data folder"), chosen]
    total, free = device["total_bytes"], device["free_bytes"]
    memory = f"{size(free)} free of {size(total)}" if total and free else (size(total) if total else "not known")
    measured = "" if device["measured"] else " (not measured by us on this kind of device)"
    return [
        ("device", f"{device['name']} [{device['kind']}]{measured}"),
        ("device memory", memory),
        ("profile", f"{device['profile']} ({device['profile_reason'] or 'as set'})"),
        ("attention", f"{device['attention']} ({device['attention_reason'] or 'as set'})"),
        ("dtype", device["dtype"]),
        *([("threads", str(device["threads"]))] if device["threads"] else []),
        ("matrix products", _rate(device["flops_per_second"])),
        chosen,
    ]


def _locked(disk: dict[str, Any]) -> str:
    return "" if disk["writable"] else ", NOT WRITABLE"


def _rate(flops_per_second: float | None) -> str:
    if flops_per_second is None:
        return "not measured yet (doctor --benchmark does it)"
    return f"{flops_per_second / 1e12:.3g} TFLOP/s, measured"


def _section(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(name, escape(value))
    console.print(f"\n[bold]{title}[/]", table, sep="\n")
