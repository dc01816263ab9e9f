"""A small Ray on this machine, as a process of its own: prints its address, and ends with all of Ray when its input does."""

from __future__ import annotations

import sys

import ray

if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=sys.argv[1],
    )
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()
