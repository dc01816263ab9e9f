"""How long people wait, and what it costs: the queue played forward over made-up visitors and measured clips.

    python -m benchmarks.simulate                      the tables of docs/scale.md
    python -m benchmarks.simulate --users 500 --clips-a-day 3 --replicas 1,2,3 --price 2.5
    python -m benchmarks.simulate.check                predicted against observed, with real workers on nano

``queue_model`` is the queue and the machines, ``visitors`` who comes when.
"""
