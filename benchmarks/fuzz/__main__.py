"""See the package."""

from __future__ import annotations

import json
import multiprocessing
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, TimeoutError
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.report import Row, finish
from svd_ui.settings import REPOSITORY, Settings

from . import archives, clips, pictures
from .doors import Passed, through
from .requests import Fuzzer
from .serving import Page, serving
from .watch import HANG, Fault, Watch, errors_in

MOST_MEMORY = 1_000_000_000
AT_ONCE = 4


@dataclass
class Gathered:
    """What both pages and the doors came to."""

    watches: list[Watch] = field(default_factory=list)
    peaks: dict[str, int | None] = field(default_factory=dict)
    log: Counter[str] = field(default_factory=Counter)
    passed: list[Passed] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)

    @property
    def faults(self) -> list[Fault]:
        return [fault for watch in self.watches for fault in watch.faults]


def counts(gathered: Gathered, *kinds: str) -> int:
    return sum(watch.asked[kind] for watch in gathered.watches for kind in kinds)


@dataclass
class Visit:
    """One page, and what a run sends to it."""

    page: Page
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
        """Whether an ordinary picture still becomes a clip."""
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


@contextmanager
def visited(data: Path, public: bool, number: int, gathered: Gathered) -> Iterator[Visit]:
    with serving(data, public=public) as page:
        uploads = str((data / "uploads").resolve())
        places = (str(data.resolve()), str(REPOSITORY), sys.prefix) if public else ()
        visit = Visit(page, Watch(page.url, places, uploads), random.Random(number))
        visit.look()
        gathered.watches.append(visit.watch)
        yield visit
        gathered.ends.append(visit.plain_clip())
        gathered.peaks["public" if public else "local"] = page.peak_bytes
    gathered.log += errors_in(page.log)


def page_run(data: Path, public: bool, number: int, amounts: dict[str, int], gathered: Gathered) -> None:
    with visited(data, public, number, gathered) as visit:
        chance = visit.chance
        ids, refs = visit.first()
        for what, send in (
            ("requests", lambda: Fuzzer(visit.watch, ids, refs, visit.events, number).all(amounts["requests"])),
            (
                "pictures",
                lambda: at_once(visit.picture, (pictures.picture(chance) for _ in range(amounts["pictures"]))),
            ),
            (
                "clips",
                lambda: at_once(
                    lambda one: visit.clip(*one),
                    ((clips.clip(chance), chance.choice(clips.ENDINGS)) for _ in range(amounts["clips"])),
                ),
            ),
            ("zips", lambda: at_once(visit.archive, (archives.archive(chance) for _ in range(amounts["zips"])))),
        ):
            begun = time.monotonic()
            send()
            peak = (visit.page.peak_bytes or 0) / 1e6
            print(
                f"{'public' if public else 'local'}: {what} in {time.monotonic() - begun:.0f} s, {len(visit.watch.faults)} faults, peak {peak:.0f} MB",
                flush=True,
            )


def doors_run(data: Path, number: int, amounts: dict[str, int], gathered: Gathered) -> None:
    """Every file through its door, in a process whose memory is watched."""
    settings, chance = Settings(_env_file=None, data_dir=data), random.Random(number)
    wanted = [(door, make(chance), "mp4") for door, make in archives.ON_DISK.items() for _ in range(amounts["zips"])]
    wanted += [("settings", archives.archive(chance), "zip") for _ in range(amounts["zips"])]
    wanted += [
        (door, clips.clip(chance), chance.choice(clips.ENDINGS))
        for door in ("settings", "clips")
        for _ in range(amounts["clips"] // 2)
    ]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for door, content, ending in wanted:
            try:
                gathered.passed.append(pool.submit(through, door, content, settings, ending).result(HANG * 6))
            except TimeoutError:
                gathered.passed.append(Passed(door, "", "does not end", HANG * 6, None))
                break
    gathered.peaks["doors"] = max((one.peak_bytes or 0 for one in gathered.passed), default=0)


def rows(gathered: Gathered) -> list[Row]:
    faults = Counter(fault.why for fault in gathered.faults)
    slowest = max((watch.slowest for watch in gathered.watches), default=(0.0, ""))
    behind = [one for one in gathered.passed if one.fault]
    late = [one for one in gathered.passed if one.seconds > HANG]
    peak = max((peak or 0 for name, peak in gathered.peaks.items() if name != "doors"), default=0)
    ours = sum(count for where, count in gathered.log.items() if where.startswith("ours"))
    return [
        Row("requests", counts(gathered, "described", "events", "routes", "noise")),
        Row("pictures", counts(gathered, "pictures"), note="requests for them, two each"),
        Row("clips", counts(gathered, "clips", "scrubbed", "entered"), note="requests for them, up to five each"),
        Row("zips", counts(gathered, "zips"), note="requests for them, two each"),
        Row("files behind other doors", len(gathered.passed)),
        Row("tracebacks in answers", faults["traceback"], at_most=0),
        Row("folders of the server in answers", faults["folder of the server"], at_most=0),
        Row("errors without words", faults["error without words"] + faults["bare error of the server"], at_most=0),
        Row("not answered", faults["no answer"], at_most=0),
        Row("slower than 10 s", faults["took too long"] + len(late), at_most=0),
        Row("slowest answer", slowest[0], "s", at_most=HANG, note=slowest[1][:60]),
        Row("files that broke their door", len(behind), at_most=0),
        Row(
            "answers that say no more than that it was unexpected",
            sum(sum(watch.unexpected.values()) for watch in gathered.watches),
        ),
        Row("tracebacks in the log that begin in our code", ours),
        Row("most memory of a page", peak / 1e6, "MB", at_most=MOST_MEMORY / 1e6),
        Row(
            "most memory behind the other doors",
            (gathered.peaks.get("doors") or 0) / 1e6,
            "MB",
            at_most=MOST_MEMORY / 1e6,
        ),
        Row(
            "a plain clip works at the end",
            sum(gathered.ends),
            at_least=len(gathered.ends),
            note=f"of {len(gathered.ends)} pages",
        ),
    ]


def main() -> None:
    asked = report.parser(__doc__)
    for name, usual in {"requests": 10_000, "pictures": 2000, "clips": 500, "zips": 200}.items():
        asked.add_argument(f"--{name}", type=int, default=usual)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--faults", type=Path, help="also write all that was wrong to this file")
    given = asked.parse_args()
    names = ("requests", "pictures", "clips", "zips")
    half = {name: getattr(given, name) // 2 for name in names}
    gathered = Gathered()
    with tempfile.TemporaryDirectory(prefix="svd-ui-fuzz-") as folder:
        for public in (True, False):
            page_run(Path(folder) / ("public" if public else "local"), public, given.seed + public, half, gathered)
            if given.json:  # half an hour is long
                report.write_json(given.json, "fuzz", platform.machine(), rows(gathered), seed=given.seed, partly=True)
        doors_run(Path(folder) / "doors", given.seed, {name: getattr(given, name) for name in names}, gathered)
    told = {"log": dict(gathered.log.most_common(60)), "pages": [watch.told() for watch in gathered.watches]}
    if given.faults:
        behind = [one.__dict__ for one in gathered.passed if one.fault]
        given.faults.write_text(json.dumps({**told, "doors": behind}, indent=1), "utf-8")
    finish("fuzz", platform.processor() or platform.machine(), rows(gathered), given.json, seed=given.seed)


if __name__ == "__main__":
    main()
