"""``python -m svd_ui doctor``: what is installed, what runs the model and why, and every setting."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table

from ..engine import Timed
from ..notes import size
from ..settings import usable
from .console import err, interactive, out, reporting, settings_or_exit
from .models import show_checkpoints


@reporting
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure attention, number formats and threads instead.")
    ] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed safely, and say what was done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask before installing or renaming.")] = False,
) -> None:
    """Show versions, device, memory, checkpoints, disk and settings, and what is wrong with them. Secrets are not shown.

    Exits with 1 if something is wrong. --benchmark measures the device again, in under a minute, and keeps the fastest
    choices.
    """
    if benchmark:
        measure(as_json)
        return
    from ..doctor import admit, examine, facts

    with err().status("Checking the device ..."):
        patient = admit(*usable())
    found = examine(patient)
    treated: dict[str, Any] = {}
    if fix:
        from ..doctor.repair import Treatment

        treatment = Treatment(patient, lambda question: yes or (interactive() and typer.confirm(question, err=True)))
        treatment.of(found)
        treated = {"fixed": treatment.done, "left": treatment.left}
        if treatment.done:
            with err().status("Checking again ..."):
                patient = admit(*usable())
            found = examine(patient)
    report = facts(patient, found) | treated
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        show(report, out())
    if any(finding.wrong for finding in found):
        raise typer.Exit(1)


def measure(as_json: bool) -> None:
    """``--benchmark``."""
    from ..doctor import measured

    settings = settings_or_exit()
    with err().status("Measuring the device ..."):
        device, rows = measured(settings)
    if as_json:
        measurements = [row.model_dump(mode="json") for row in rows]
        typer.echo(json.dumps({"device": device, "measurements": measurements}, indent=2))
    else:
        show_benchmark(device, rows, out())


def show(facts: dict[str, Any], console: Console) -> None:
    """``facts`` of an installation for people."""
    _section(console, "Versions", list(facts["versions"].items()))
    system = facts["system"]
    memory = f"{size(system['memory_free_bytes'])} free of {size(system['memory_bytes'])}"
    known = [("platform", system["platform"]), ("CPU cores", str(system["cpu_cores"])), ("memory", memory)]
    _section(console, "System", known)
    _section(console, "Device", _device(facts["device"], facts["device_trouble"], facts["checkpoint"]))
    if len(facts["devices"]) > 1 or any(one["second"] or one["doing"] == "resting" for one in facts["devices"]):
        _section(console, "All devices", [(one["name"], _one_of(one)) for one in facts["devices"]])
    console.print("\n[bold]Checkpoints[/]")
    show_checkpoints(facts["checkpoints"], facts["refused"], console)
    disks = [
        (name, f"{disk['path']}: {size(disk['free_bytes'])} free of {size(disk['total_bytes'])}{_locked(disk)}")
        for name, disk in facts["disk"].items()
    ]
    _section(console, "Disk", disks)
    _section(
        console, "Model hub", [(name, str(facts["hub"][name])) for name in ("endpoint", "proxy", "token", "offline")]
    )
    found = [(one["name"], f"{one['group']}, {one['package']} {one['trouble']}".strip()) for one in facts["plugins"]]
    _section(console, "Plug-ins", found or [("none", "")])
    console.print("\n[bold]Settings[/]")
    for row in facts["settings"]:
        value = f"{row['variable']}={row['value']}" + ("" if row["source"] == "default" else f"  ({row['source']})")
        console.print(escape(value), soft_wrap=True)
        console.print(Padding(escape(row["help"]), (0, 0, 0, 4), expand=False), style="dim")
    named = {finding["what"] for finding in facts["findings"]}
    for title, lines in (
        ("Done", facts.get("fixed")),
        ("Not done", [x for x in facts.get("left", []) if x not in named]),
    ):
        if lines is not None and (lines or title == "Done"):
            _section(console, title, [("-", line) for line in lines] or [("-", "nothing to fix")])
    _findings(console, facts["findings"])
    if "fixed" not in facts and any(finding["fixable"] for finding in facts["findings"]):
        console.print("\n'doctor --fix' fixes some of this. It asks before it installs or renames anything.")


def _findings(console: Console, findings: list[dict[str, Any]]) -> None:
    """Last, where the eye is when the command ends."""
    if not findings:
        console.print("\n[bold green]Nothing is wrong.[/]")
        return
    for title, wrong in (("To fix, in this order", True), ("Worth knowing", False)):
        rows = [finding for finding in findings if finding["wrong"] is wrong]
        if rows:
            console.print(f"\n[bold]{title}[/]")
        for number, row in enumerate(rows, 1):
            mark = f"{number}." if wrong else "-"
            why = row["why"][:1].upper() + row["why"][1:]
            table = Table.grid("", Column(overflow="fold"), padding=(0, 1, 0, 0))
            table.add_row(mark, f"[bold]{escape(row['what'])}.[/] {escape(why)}.")
            console.print(table)
            # Not broken into lines, so that a command can be copied as it is.
            console.print(f"{' ' * len(mark)} -> {escape(row['do'])}", soft_wrap=True)


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
    chosen = ("checkpoint", f"{checkpoint['id']} ({checkpoint['reason']})")
    if device is None:
        return [("device", trouble or "the worker did not start: see the logs in the data folder"), chosen]
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


def _one_of(device: dict[str, Any]) -> str:
    """One of several, in a line."""
    free, total = device["free_bytes"], device["total_bytes"]
    memory = f"{size(free)} free of {size(total)}" if free and total else ""
    second = f"with {device['second']}" if device["second"] else ""
    known = ", ".join(filter(None, [device["device"], second, memory]))
    return f"{known}: {device['said']}" if known else str(device["said"])


def _locked(disk: dict[str, Any]) -> str:
    return "" if disk["writable"] else ", NOT WRITABLE"


def _rate(flops_per_second: float | None) -> str:
    if flops_per_second is None:
        return "not measured yet (doctor --benchmark does it)"
    return f"{flops_per_second / 1e12:.3g} TFLOP/s, measured"


def _section(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table("", Column(overflow="fold"), box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(name, escape(value))
    console.print(f"\n[bold]{title}[/]", table, sep="\n")
