"""Ratios to other code that does the same work. `python tests/benchmarks/peers.py` keeps those of the last `make benchmark`."""

import json
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / ".benchmarks" / "latest.json"  # by `make benchmark`
KEPT = ROOT / "results" / "reference" / "peers.json"


def keep(benchmark, work: str, peer: str, peer_seconds: float) -> float:
    """Keep a pair of times, both the least of their rounds; the peer's over ours."""
    ours = benchmark.stats.stats.min
    benchmark.extra_info |= {"work": work, "peer": peer, "ours_seconds": ours, "peer_seconds": peer_seconds}
    print(f"{work}: {ours:.4g} s, {peer} {peer_seconds:.4g} s, ratio {peer_seconds / ours:.2f}")
    return peer_seconds / ours


def beside(benchmark, work: str, peer: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 7) -> float:
    """The two take turns, so that a busy machine slows both; processor seconds. Their least time over ours."""
    ours(), theirs()
    seconds = []

    def before() -> None:
        began = time.process_time()
        theirs()
        seconds.append(time.process_time() - began)

    benchmark.pedantic(ours, setup=before, rounds=rounds)
    return keep(benchmark, work, peer, min(seconds))


def main() -> None:
    from rescore.machine.hardware import device_name, version

    rows = [one["extra_info"] for one in json.loads(MADE.read_text())["benchmarks"] if "peer" in one["extra_info"]]
    names = ("work", "peer", "ours_seconds", "peer_seconds")
    found = {"device": device_name("cpu"), "version": version(), "rows": [{name: row[name] for name in names} for row in rows]}
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{KEPT.relative_to(ROOT)}: {len(rows)} ratios; `python docs/blocks.py` shows them in docs/performance.md")


if __name__ == "__main__":
    main()
