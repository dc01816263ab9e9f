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
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import report
from benchmarks.report import Row, finish
from svd_ui.settings import REPOSITORY, Settings

from . import archives, clips, pictures
from .doors import Passed, through
from .requests import Fuzzer
from .serving import Page, serving
from .visit import Visit, at_once
from .watch import HANG, Fault, Watch, errors_in

MOST_MEMORY = 1_000_000_000


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


@contextmanager
def visited(data: Path, public: bool, number: int, gathered: Gathered) -> Iterator[tuple[Visit, Page]]:
    with serving(data, public=public) as page:
        uploads = str((data / "uploads").resolve())
        places = (str(data.resolve()), str(REPOSITORY), sys.prefix) if public else ()
        visit = Visit(Watch(page.url, places, uploads), random.Random(number))
        visit.look()
        gathered.watches.append(visit.watch)
        yield visit, page
        gathered.ends.append(visit.plain_clip())
        gathered.peaks["public" if public else "local"] = page.peak_bytes
    gathered.log += errors_in(page.log)


def page_run(data: Path, public: bool, number: int, amounts: dict[str, int], gathered: Gathered) -> None:
    with visited(data, public, number, gathered) as (visit, page):
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
            peak = (page.peak_bytes or 0) / 1e6
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
        asked.add_argument(f"--{name}", type=int, default=usual, help="over both pages")
    asked.add_argument("--page", choices=["both", "public", "local"], default="both", help="public: without the doors")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--faults", type=Path, help="also write all that was wrong to this file")
    given = asked.parse_args()
    whole = {name: getattr(given, name) for name in ("requests", "pictures", "clips", "zips")}
    half, gathered = {name: count // 2 for name, count in whole.items()}, Gathered()
    with tempfile.TemporaryDirectory(prefix="svd-ui-fuzz-") as folder:
        for name in ("public", "local"):
            if given.page in ("both", name):
                page_run(Path(folder) / name, name == "public", given.seed + (name == "public"), half, gathered)
                tell(gathered, given.faults)
        if given.page != "public":
            doors_run(Path(folder) / "doors", given.seed, whole, gathered)
            tell(gathered, given.faults)
    finish("fuzz", platform.machine(), rows(gathered), given.json, seed=given.seed, page=given.page)


def tell(gathered: Gathered, path: Path | None) -> None:
    """What was wrong, so far."""
    if path is not None:
        told = {"log": dict(gathered.log.most_common(60)), "pages": [watch.told() for watch in gathered.watches]}
        behind = [asdict(one) for one in gathered.passed if one.fault]
        path.write_text(json.dumps({**told, "doors": behind}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
