"""``python -m svd_ui models``: the checkpoints of the catalogue, on this machine or on the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..catalog import find_checkpoint
from ..errors import BadInput
from ..hub import TEXT_TO_IMAGE, Hub
from ..loras import LoraFile, loras
from ..notes import sentence, size
from .console import err, interactive, out, reporting, settings_or_exit

models = typer.Typer(help="Checkpoints: on this machine, or to download.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help=f"A checkpoint of 'python -m svd_ui models list', or {TEXT_TO_IMAGE}.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@models.command("list")
@reporting
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List every checkpoint: where it is, whether it can be downloaded, or why it cannot be used."""
    from ..doctor import checkpoint_facts, refused_facts

    settings = settings_or_exit()
    rows, refused = checkpoint_facts(Hub(settings)), refused_facts(settings)
    if as_json:
        nothing = {**dict.fromkeys(rows[0], ""), "present": False, "gated": False, "download_bytes": 0}
        unusable = [
            nothing | {"title": Path(one["path"]).name, "where": one["path"], "trouble": one["why"]} for one in refused
        ]
        typer.echo(json.dumps(rows + unusable, indent=2))
        return
    show_checkpoints(rows, refused, out())
    _loras(loras(settings))


def show_checkpoints(rows: list[dict[str, Any]], refused: list[dict[str, str]], console: Console) -> None:
    """What is here and where, what can be fetched, what cannot be used and why."""
    here = [_entry(row, row["where"]) for row in rows if row["present"]]
    absent = [_entry(row, _download(row)) for row in rows if not row["present"] and not row["trouble"]]
    lacking = [_entry(row | {"note": ""}, row["where"], row["trouble"]) for row in rows if row["trouble"]]
    unusable = lacking + [[one["path"], one["why"]] for one in refused]
    _group("On this machine", here, console)
    _group("To download", absent, console)
    _group("Found, but not usable", unusable, console)


def _group(heading: str, entries: list[list[str]], console: Console) -> None:
    if entries:
        console.print(f"[bold]{heading}[/]")
    for name, *about in entries:
        console.print(f"  {name}", markup=False, soft_wrap=True)
        for line in about:
            console.print(Padding(Text(line), (0, 0, 0, 6)))


def _entry(row: dict[str, Any], *about: str) -> list[str]:
    """The id on a line of its own, whole in any terminal, and what is known of it."""
    title = " · ".join(filter(None, (row["title"], row["licence"])))
    return [row["id"], title, *filter(None, (*about, row["note"]))]


def _download(row: dict[str, Any]) -> str:
    bytes_ = f"{size(row['download_bytes'])} to download" if row["download_bytes"] else "to download"
    return bytes_ + (f", gated: accept its form at {row['link']}" if row["gated"] else "")


@models.command()
@reporting
def download(id: Id) -> None:
    """Download a checkpoint. Ctrl+C stops; run it again to resume."""
    from .console import downloading

    settings = settings_or_exit()
    hub = Hub(settings)
    if id == TEXT_TO_IMAGE:
        downloading(lambda cancel: hub.fetch_text_to_image(cancel), settings.text_to_image)
    else:
        row = find_checkpoint(settings, id)
        if row.licence:
            err().print(f"{row.title}: {row.licence} {row.licence_url}", soft_wrap=True)
        downloading(lambda cancel: hub.fetch(row, cancel), row.title)
    err().print("The model is on this machine.")


@models.command()
@reporting
def remove(id: Id, yes: Yes = False) -> None:
    """Delete a checkpoint's files from the hub's cache, which other programs share."""
    settings = settings_or_exit()
    hub = Hub(settings)
    row = find_checkpoint(settings, id) if id != TEXT_TO_IMAGE else None
    entry = next((entry for entry in hub.cached() if entry.id == id), None)
    if row is not None and (row.repo is None or (entry is None and row.sources)):
        hub.remove(row)
    if entry is None:
        err().print("It is not on this machine.")
        return
    question = f"Delete {entry.title} ({size(entry.bytes)}) from {entry.path.parent}, for every program that uses it?"
    if not yes:
        if not interactive():
            raise BadInput("Add --yes to delete without being asked.")
        typer.confirm(question, abort=True, err=True)
    freed = hub.remove(row) if row is not None else hub.remove_repo(settings.text_to_image)
    err().print(f"{size(freed)} freed.")


@models.command("loras")
@reporting
def list_loras(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List every LoRA on this machine by the name --loras takes, with what is unknown or wrong about it."""
    files = loras(settings_or_exit())
    if as_json:
        facts = [{**file.model_dump(mode="json"), "notes": list(map(sentence, file.notes))} for file in files.values()]
        typer.echo(json.dumps(facts, indent=2))
        return
    _loras(files)
    if not files:
        err().print("No LoRAs yet: put .safetensors files into models/loras of the data folder.")


def _loras(files: Mapping[str, LoraFile]) -> None:
    usable = [file for file in files.values() if not file.trouble]
    _group("LoRAs", [[file.name, *_about(file), *map(sentence, file.notes)] for file in usable], out())
    refused = [[file.name, file.trouble] for file in files.values() if file.trouble]
    _group("LoRAs that cannot be used", refused, out())


def _about(file: LoraFile) -> list[str]:
    known = (
        file.rank and f"rank {file.rank}",
        file.alpha is not None and f"alpha {file.alpha:g}",
        file.base,
        file.licence,
    )
    return [", ".join(str(fact) for fact in known if fact)] if any(known) else []
