"""``python -m svd_ui cluster``: replicas in a Ray cluster, which make the clips of the pages that name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import BadInput
from .console import out, reporting, settings_or_exit

cluster = typer.Typer(help="Make clips on a Ray cluster.", no_args_is_help=True)
Address = Annotated[
    str | None,
    typer.Option(help="The cluster: ray://host:10001, host:6379 or auto. [SVD_UI_CLUSTER]", show_default=False),
]


def _address(given: str | None) -> str:
    address = given or settings_or_exit().cluster
    if not address:
        raise BadInput("Say which cluster: --address auto on one of its machines, else --address ray://host:10001.")
    return address


@cluster.command()
@reporting
def deploy(
    replicas: Annotated[
        str, typer.Option(help="auto (one to as many as the cluster has GPUs), a number, or least..most such as 1..8.")
    ] = "auto",
    address: Address = None,
    gpus: Annotated[
        float | None, typer.Option(help="GPUs of each replica. Default: 1, or 0 where the cluster has none.", min=0)
    ] = None,
    cpus: Annotated[float, typer.Option(help="CPU cores of each replica.", min=0)] = 1,
    data_dir: Annotated[
        Path | None, typer.Option(help="Data folder of the replicas. Default: what each machine's settings say.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds until the first replica has to be ready.", min=1)] = 600,
) -> None:
    """Start replicas, or put new ones in the place of those that run; each ends its clip first."""
    where = _address(address)
    from ..engine.cluster.deploying import Bounds, Deployment, gpus_of
    from ..engine.cluster.deploying import deploy as start
    from ..engine.cluster.link import connect

    found = gpus_of(connect(where))
    bounds = Bounds.parse(replicas, found)
    each = gpus if gpus is not None else float(found > 0)
    folder = "" if data_dir is None else str(data_dir.expanduser().resolve())
    state = start(where, Deployment(bounds, each, cpus, folder), wait)
    _show(state)
    out().print(f"Pages use it with SVD_UI_CLUSTER={where}", soft_wrap=True, markup=False)


@cluster.command()
@reporting
def status(
    address: Address = None, as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False
) -> None:
    """Show the replicas, their devices, and what runs and waits."""
    from ..engine.cluster.deploying import status as look

    state = look(_address(address))
    if as_json:
        typer.echo(json.dumps(state, indent=2, default=str))
    else:
        _show(state)


@cluster.command()
@reporting
def delete(address: Address = None) -> None:
    """Take the replicas out of the cluster. What runs stops, and waits in its page's queue with what is kept of it."""
    from ..engine.cluster.deploying import delete as take_out

    stopped = take_out(_address(address))
    out().print(f"Deleted. {stopped} clips were being made." if stopped else "Deleted.")


def _show(state: dict[str, Any]) -> None:
    said = f" ({state['message']})" if state["message"] else ""
    clips = f"{state['running']} clips are being made, {state['waiting']} wait for a replica"
    told = f"{state['state']}{said}: svd-ui {state['release']}, at most {state['most']} replicas, {clips}."
    out().print(told, soft_wrap=True, markup=False)
    for name, replica in state["replicas"].items():
        device = replica["device"] or {}
        what = device.get("name") or replica["trouble"] or "starting"
        loaded = device.get("loaded_checkpoint") or "nothing loaded"
        doing = "makes a clip" if replica["session"] else "idle"
        out().print(f"  {name}  {replica['node']}  {what}  {loaded}  {doing}", soft_wrap=True, markup=False)
