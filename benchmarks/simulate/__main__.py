"""``python -m benchmarks.simulate``: waits, use and cost against the number of replicas."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import report
from ..report import Row, finish
from .queue_model import Fleet, Limits, Outcome, Simulation
from .visitors import DAY, Kind, Visitors, arrivals

# One H200, not compiled: benchmarks/results/gpu-nvidia-h200.json, clips of 25 frames at 1024x576 and 25 steps.
FULL_SECONDS, REUSING_SECONDS = 16.3, 6.3
LOAD_SECONDS = 20.0
"""Of a checkpoint onto the card. Assumed, for slower disks than that H200's, which took 5.0: docs/scale.md."""
KINDS = (
    Kind("SVD-XT, full quality", "svd-xt", FULL_SECONDS, 0.5),
    Kind("SVD-XT, features reused", "svd-xt", REUSING_SECONDS, 0.3),
    Kind("SVD-XT 1.1, full quality", "svd-xt-1.1", FULL_SECONDS, 0.2),
)
TOGETHER = {1: 0.8, 4: 0.2}
"""Clips that one press asks for."""
PRICE = 3.0
"""Of a replica for an hour; an example, in whatever currency."""
CASES: dict[int, Sequence[int | str]] = {
    10: (1, 2),
    1_000: (1, 2, 3, 4, "0-3", "1-3"),
    100_000: (90, 100, 110, 120, "10-130"),
}
"""Users => replicas that are tried."""


def visitors(users: int, clips_a_day: float, peak: float, seconds: float | None = None) -> Visitors:
    kinds: Sequence[Kind] = KINDS if seconds is None else [Kind("clip", "one", seconds)]
    return Visitors(users, clips_a_day, kinds, peak, TOGETHER)


def day(who: Visitors, fleet: Fleet, limits: Limits, seed: int, days: float = 1.0) -> Outcome:
    """What happens in so many days."""
    return Simulation(arrivals(who, days, seed), fleet, limits, seed, days * DAY).run()


def row_of(name: str, seen: Outcome, price: float) -> Row:
    parts = [
        f"half at most {seen.wait(50):,.1f} s",
        f"in use {100 * seen.busy:.0f} %, {100 * seen.loading:.0f} % loading",
    ]
    parts += [f"1,000 clips cost {seen.cost(price):,.0f}", f"{len(seen.waits):,} clips"]
    parts += [f"refused {seen.refused:,}"] if seen.refused else []
    parts += [f"{seen.failures} failures"] if seen.failures else []
    return Row(f"{name}: 95 % wait at most", round(seen.wait(95), 1), "s", note="; ".join(parts))


def fleet_of(text: str, args: argparse.Namespace) -> Fleet:
    """``3`` always three; ``1-4`` as many as are wanted."""
    least, _, most = text.partition("-")
    failing = args.hours_between_failures or float("inf")
    started, load = args.start_seconds, args.load_seconds
    return Fleet(
        int(least), int(most or least), start_seconds=started, load_seconds=load, hours_between_failures=failing
    )


def main(arguments: list[str] | None = None) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--users", type=int, help="how many; without, the cases of docs/scale.md")
    parser.add_argument("--clips-a-day", type=float, default=2.0, help="of each user")
    parser.add_argument("--peak", type=float, default=0.1, help="share of a day's clips in its busiest hour")
    parser.add_argument("--seconds", type=float, help="of one clip on your card; without, the H200's by kind")
    parser.add_argument("--load-seconds", type=float, default=LOAD_SECONDS, help="of a change of checkpoint")
    parser.add_argument("--start-seconds", type=float, default=120.0, help="from ordering a replica to its first clip")
    parser.add_argument("--replicas", help="1,2,3 or, scaled by itself, 1-4")
    parser.add_argument("--hours-between-failures", type=float, help="of one replica; without, none fail")
    parser.add_argument("--most-of-visitor", type=float, default=float("inf"), help="unfinished clips of one visitor")
    parser.add_argument("--most-waiting", type=float, default=float("inf"), help="clips in the queue")
    parser.add_argument("--price", type=float, default=PRICE, help="of a replica for an hour")
    parser.add_argument("--days", type=float, help="how many; without, enough for some thousand clips")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    limits = Limits(args.most_of_visitor, args.most_waiting)
    cases: dict[int, Sequence[int | str]] = CASES if args.users is None else {args.users: (1, 2, 3, 4)}
    rows: list[Row] = []
    for users, counts in cases.items():
        who = visitors(users, args.clips_a_day, args.peak, args.seconds)
        enough = 30.0 if who.clips < 500 else 7.0 if who.clips < 50_000 else 1.0
        days = args.days or enough
        for text in (args.replicas or ",".join(map(str, counts))).split(","):
            seen = day(who, fleet_of(text, args), limits, args.seed, days)
            rows.append(row_of(f"{users:,} users, {text} replicas", seen, args.price))
    finish("simulate", "nothing but arithmetic", rows, args.json, assumptions=assumptions(args))


def assumptions(args: argparse.Namespace) -> dict[str, object]:
    """What the figures hold for."""
    said = {kind.name: {"seconds": kind.seconds, "share": kind.share} for kind in KINDS if args.seconds is None}
    names = ("clips_a_day", "peak", "load_seconds", "start_seconds", "price", "seed")
    given = {name: getattr(args, name) for name in names}
    return {**given, "kinds": said or args.seconds, "together": TOGETHER}


if __name__ == "__main__":
    main()
