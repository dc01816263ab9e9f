"""``python -m svd_ui space``: a folder for a Hugging Face Space, and a look at it before it is pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..catalog import find_checkpoint
from ..errors import BadInput
from .console import err, out, reporting, settings_or_exit

space = typer.Typer(help="A Hugging Face Space of this app: a folder to push.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="The Space's folder.", file_okay=False)]
MB = 1_000_000
LARGEST = 5
REVISION_LETTERS = set("0123456789abcdef")


@space.command()
@reporting
def build(
    folder: Folder,
    hardware: Annotated[
        str, typer.Option(help="cpu-basic, zero-gpu, t4-small, a10g-small ...: what the Space will run on.")
    ] = "cpu-basic",
    title: Annotated[str, typer.Option(help="The Space's title.")] = "SVD UI",
    checkpoint: Annotated[
        str | None, typer.Option(help="The model it runs. Default: nano on a CPU, svd-xt on a GPU.")
    ] = None,
    revision: Annotated[str, typer.Option(help="Commit of the model's repository. Default: the newest.")] = "",
    private_weights: Annotated[
        bool,
        typer.Option("--private-weights", help="The weights need a token: fetch them at the start, with HF_TOKEN."),
    ] = False,
) -> None:
    """Write the folder, and say how to push it. Nothing is uploaded."""
    from ..space import SpacePlan
    from ..space import build as written
    from ..space.hardware import hardware_of

    row = hardware_of(hardware)
    settings = settings_or_exit()
    found = find_checkpoint(settings, checkpoint or ("svd-xt" if row.gpu else "nano"))
    if found.path is not None and found.id != "nano":
        raise BadInput(f"{found.id} lies on this machine only: choose one that is on the hub, or nano.", "checkpoint")
    if revision and not (len(revision) == 40 and set(revision) <= REVISION_LETTERS):
        raise BadInput("A revision is a commit of 40 hexadecimal digits.", field="revision")
    title = " ".join(title.split())
    if not 0 < len(title) <= 60:
        raise BadInput("A title has up to 60 letters.", field="title")
    plan = SpacePlan(row, found, title, revision, private_weights)
    if revision and not plan.preloads:
        how = "fetches its weights when it starts, always the newest" if found.is_on_hub else "brings its weights along"
        raise BadInput(f"This Space {how}: leave --revision out.", field="revision")
    made = written(folder, plan)
    out().print(f"{folder}: {len(made.files)} files, {made.bytes / MB:.1f} MB", markup=False, soft_wrap=True)
    for name, size in made.files[:LARGEST]:
        err().print(f"  {size / MB:6.1f} MB  {name}", markup=False, soft_wrap=True)
    if found.is_on_hub and not plan.preloads:
        err().print("Its weights need a token: set HF_TOKEN among the Space's secrets.", soft_wrap=True)
    err().print("Try it here:", f"  python -m svd_ui space check {folder}", sep="\n", markup=False, soft_wrap=True)
    err().print("Push it (NAME is your account and the Space's name, as in ann/svd-ui):", markup=False, soft_wrap=True)
    for line in pushing(folder, row.flavour):
        out().print(f"  {line}", markup=False, soft_wrap=True)


def pushing(folder: Path, flavour: str) -> list[str]:
    """The commands that make a Space of the folder."""
    return [
        "hf auth login",
        f"hf repos create NAME --type space --space-sdk gradio --flavor {flavour}",
        f"hf upload NAME {folder} . --type space --delete '*'",
    ]


@space.command()
@reporting
def check(
    folder: Folder,
    reuse_env: Annotated[
        Path | None, typer.Option(help="Keep the environment here, and install only what has changed in it.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install/--no-install", help="--no-install runs it with this program's own packages.")
    ] = True,
    python: Annotated[
        str, typer.Option(help="The Python to use. Default: the one the Space names, if it is here.")
    ] = "",
    seconds: Annotated[int, typer.Option(min=30, help="How long a start, or the clip, may take.")] = 600,
) -> None:
    """Start the folder in a clean environment, make a clip through its API, and say what differs from a Space."""
    from ..space.check import Trial

    trial = Trial(folder, python=python, keep=reuse_env, install=install, seconds=seconds, say=_say)
    facts = trial.run()
    out().print("It works: " + facts.sentence, markup=False, soft_wrap=True)
    out().print("What differs from a Space:", markup=False)
    for line in facts.differences:
        out().print(f"  - {line}", markup=False, soft_wrap=True)


@space.command(hidden=True)
@reporting
def start() -> None:
    """What a Space's app.py does: bring the weights that are missing, and open the page."""
    from ..hub import Hub
    from ..space.start import fetch
    from ..web import launch

    settings = settings_or_exit()
    fetch(settings, Hub(settings))
    launch(settings_or_exit(), open_browser=False)


def _say(text: str) -> None:
    err().print(text, markup=False, soft_wrap=True)
