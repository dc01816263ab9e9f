"""``python -m svd_ui models``: the checkpoints of the catalogue, on this machine or on the hub."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from ..catalog import find_checkpoint
from ..errors import BadInput
from ..hub import TEXT_TO_IMAGE, Hub
from ..loras import loras
from ..notes import sentence
from .console import err, interactive, out, reporting, settings_or_exit

models = typer.Typer(help="Checkpoints: what is here, what can be fetched.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help=f"A checkpoint of 'python -m svd_ui models list', or {TEXT_TO_IMAGE}.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@models.command("list")
@reporting
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every known checkpoint, and whether its weights are on this machine."""
    from ..doctor import checkpoint_facts
    from ..hub.transfer import size

    rows = checkpoint_facts(Hub(settings_or_exit()))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("checkpoint", "what", "here", "size", "licence", box=None, pad_edge=False)
    for row in rows:
        bytes_ = size(row["download_bytes"]) if row["download_bytes"] else ""
        gated = " (form to accept)" if row["gated"] and not row["present"] else ""
        table.add_row(row["id"], row["title"], "yes" if row["present"] else "no", bytes_, row["licence"] + gated)
    out().print(table)


@models.command()
@reporting
def download(id: Id) -> None:
    """Fetch a checkpoint from the hub. Ctrl+C stops; the next call goes on where it stopped."""
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
    err().print("The weights are on this machine.")


@models.command()
@reporting
def remove(id: Id, yes: Yes = False) -> None:
    """Delete a checkpoint's weights. They lie in the hub's cache, which other programs share."""
    from ..hub.transfer import size

    settings = settings_or_exit()
    hub = Hub(settings)
    if id != TEXT_TO_IMAGE:
        row = find_checkpoint(settings, id)
        if row.repo is None:
            hub.remove(row)
    entry = next((entry for entry in hub.cached() if entry.id == id), None)
    if entry is None:
        err().print("Nothing of it is on this machine.")
        return
    question = f"Delete {entry.title} ({size(entry.bytes)}) from {entry.path.parent}, for every program that uses it?"
    if not yes:
        if not interactive():
            raise BadInput("Say --yes to delete without being asked.")
        typer.confirm(question, abort=True, err=True)
    freed = (
        hub.remove_repo(settings.text_to_image) if id == TEXT_TO_IMAGE else hub.remove(find_checkpoint(settings, id))
    )
    err().print(f"{size(freed)} freed.")


@models.command("loras")
@reporting
def list_loras(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every LoRA on this machine under the name that --loras takes, and what is not known or wrong about it."""
    files = loras(settings_or_exit()).values()
    if as_json:
        facts = [{**file.model_dump(mode="json"), "notes": list(map(sentence, file.notes))} for file in files]
        typer.echo(json.dumps(facts, indent=2))
        return
    for file in files:
        known = (file.rank and f"rank {file.rank}", file.alpha is not None and f"alpha {file.alpha:g}", file.base)
        facts = ", ".join(str(fact) for fact in known if fact)
        about = [f"  {text}" for text in (file.trouble, *map(sentence, file.notes)) if text]
        for line in (file.name + (f"  ({facts})" if facts else ""), *about):
            out().print(line, markup=False, highlight=False, soft_wrap=True)
    if not files:
        err().print("There are none: put .safetensors files into models/loras of the data folder.")
