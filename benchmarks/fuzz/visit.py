"""A visitor with files: uploads them, asks for clips of them, and shows them to every handler that takes some."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from . import pictures
from .watch import Watch

AT_ONCE = 4


@dataclass
class Visit:
    """To the page that ``watch`` asks."""

    watch: Watch
    chance: random.Random

    def picture(self, data: bytes, name: str = "photo.png") -> None:
        """Uploaded, and asked to be animated."""
        path = self._upload("pictures", data, name)
        if path:
            self._run(
                "pictures", "submit", {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}, "num_frames": 2}
            )

    def clip(self, data: bytes, ending: str) -> None:
        """As a still, as a frame that the page shows, as settings, and as a clip to train on."""
        path = self._upload("clips", data, f"clip.{ending}")
        if not path:
            return
        frame = self.chance.choice(("first", "last", "3", "0.4s", "999999", "-1"))
        self._run("clips", "submit", {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}, "frame": frame})
        self.watch.ask(
            "scrubbed", "GET", "svd/frame", params={"path": path, "at": self.chance.choice(("0", "-1", "0.3", "1e5"))}
        )
        self._event("entered", "door", "take", path)
        self._event("entered", "clips-door", "take", path)

    def archive(self, data: bytes) -> None:
        """As a file of settings."""
        path = self._upload("zips", data, "frames.zip")
        if path:
            self._event("zips", "door", "take", path)

    def plain_clip(self) -> bool:
        """Whether an ordinary picture still becomes a clip. Somebody who may has perhaps paused the queue, or filled it."""
        for do in ("stop_all", "resume"):
            self.watch.ask("plain", "POST", "svd/queue", json={"do": do}, headers={"X-SVD-UI": "1"})
        path = self._upload("plain", pictures.plain(), "photo.jpg")
        made = self._run(
            "plain",
            "submit",
            {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}, "seed": 7, "num_frames": 2},
        )
        end = time.monotonic() + 120
        while made and time.monotonic() < end:
            told = self.watch.ask("plain", "GET", f"svd/status/{made['id']}")
            state = (told.json() or {}).get("state") if told else None
            if state in ("finished", "failed", "cancelled"):
                video = self.watch.ask("plain", "GET", f"svd/job/{made['id']}/video")
                return state == "finished" and video is not None and video.status == 200 and "ftyp" in video.text[:40]
            time.sleep(0.2)
        return False

    def first(self) -> tuple[list[str], list[str]]:
        """(ids of jobs, refs of pictures) that are there."""
        path = self._upload("plain", pictures.plain(), "photo.jpg")
        values = {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}, "num_frames": 2}
        made = [self._run("plain", "submit", {**values, "seed": seed}) for seed in range(3)]
        ids = [one["id"] for one in made if one]
        told = [self.watch.ask("plain", "GET", f"svd/status/{id}") for id in ids]
        refs = {((one.json() or {}).get("request") or {}).get("image") for one in told if one}
        return ids, sorted(ref for ref in refs if ref)

    def _upload(self, kind: str, data: bytes, name: str) -> str:
        answer = self.watch.ask(kind, "POST", "gradio_api/upload", files={"files": (name, data)})
        told = answer.json() if answer and answer.status == 200 else None
        return str(told[0]) if isinstance(told, list) and told else ""

    def _run(self, kind: str, name: str, values: dict[str, Any]) -> dict[str, Any] | None:
        """A call of the API by its parameters' names."""
        data = [values.get(parameter) for parameter in self.parameters[name]]
        answer = self.watch.ask(kind, "POST", f"gradio_api/run/{name}", json={"data": data})
        told = answer.json() if answer and answer.status == 200 else None
        return told["data"][0] if isinstance(told, dict) and told.get("data") else None

    def _event(self, kind: str, place: str, event: str, path: str) -> None:
        handler = self.handlers.get((place, event))
        if handler is None:
            return
        body = {"data": handler[1], "fn_index": handler[0], "session_hash": "files"}
        self.watch.ask(kind, "POST", "gradio_api/run/predict", json={**body, "event_data": {"files": [{"path": path}]}})

    def look(self) -> None:
        """What the page is made of."""
        info = (self.watch.client.get("gradio_api/info")).json()["named_endpoints"]
        self.parameters = {
            name.strip("/"): [one["parameter_name"] for one in call["parameters"]] for name, call in info.items()
        }
        self.config = self.watch.client.get("config").json()
        parts = {one["id"]: one for one in self.config["components"]}
        handlers = [one for one in self.config["dependencies"] if one["backend_fn"]]
        self.events = {one["id"]: [_first_value(parts[id]) for id in one["inputs"]] for one in handlers}
        self.handlers = {
            (parts[target]["props"].get("elem_id"), event): (one["id"], self.events[one["id"]])
            for one in handlers
            for target, event in one["targets"]
            if target in parts
        }


def _first_value(part: dict[str, Any]) -> Any:
    props = part["props"]
    value = props.get("value", props.get("default_value"))
    return "fuzzed" if part["props"].get("elem_id") == "train-collection" else value


def at_once(send: Callable[[Any], object], inputs: Iterator[Any]) -> None:
    """Several senders: what waits for another shows in its time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, inputs))
