"""Mutation score: a random sample of small bugs, each against the tests that execute its line.

    python tests/mutation/run.py --number 200 --seed 1

Two steps. The tests run once under coverage.py, one process a test file: which test executes which line, and how long it takes
(kept in `.mutation/` until a source or that test file changes). Then each mutant runs in a process forked from this one, where
torch is already imported, the changed file in place of the right one: first the tests that execute the changed lines, then the
others of their files, up to the first failure.
"""

import argparse
import importlib
import importlib.machinery
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from mutants import Mutant, all_mutants, digest

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".mutation"
PAPERS = "reproductions/"
TARGETS = (
    "lib/rescore/samplers/*.py",
    "lib/rescore/objectives/*.py",
    "lib/rescore/likelihood/*.py",
    "lib/rescore/montecarlo/*.py",
    "lib/rescore/neural_sde/*.py",
    "lib/rescore/models/*.py",
    "lib/rescore/models/imported/*.py",
    "lib/rescore/metrics/*.py",
    "lib/rescore/corruptions/*.py",
    "lib/rescore/collage/*.py",
    "lib/rescore/ledger/*.py",
    f"{PAPERS}*/*.py",
)
NOT_METHODS = ("claims.py", "figures.py", "config.py")  # or what ends so: `table_claims.py`
"""Of a paper's folder, not of the library: what reads numbers and what checks settings."""
OTHER_PROCESSES = ("test_workflow.py", "test_pis_killed.py")
"""Their tests start processes of their own, which do not see a mutant."""
PRELOADED = (
    "coverage",
    "pytest",
    "_pytest.assertion.rewrite",
    "torch",
    "torch._dynamo",
    "numpy",
    "scipy.stats",
    "scipy.optimize",
    "scipy.integrate",
    "scipy.special",
    "pandas",
    "sklearn.datasets",
    "skimage.data",
    "pydantic",
    "tqdm",
    "matplotlib.pyplot",
    "zuko",
    "pyro.infer.mcmc",
    "ot",
    "torchdiffeq",
    "torchsde",
    "torch_fidelity",
    "torchvision",
    "safetensors.torch",
    "tabulate",
    "yaml",
)
SECONDS = 60.0
"""Of tests a mutant, by their time without it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="of the sample, mutants of files whose path contains this text")
    parser.add_argument(
        "--tests", nargs="*", default=["test_*.py"], help="patterns of test files; with fewer the score is a bound"
    )
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path.insert(0, str(ROOT / "lib"))
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed: its tests start slower, or are skipped")
    sys.modules["torch"].set_num_threads(1)
    STATE.mkdir(exist_ok=True)

    targets = sorted(str(path.relative_to(ROOT)) for pattern in TARGETS for path in ROOT.glob(pattern))
    targets = [path for path in targets if not (path.startswith(PAPERS) and path.endswith(NOT_METHODS))]
    tests = measure_tests(args.tests)
    chosen = random.Random(args.seed).sample(list(all_mutants(ROOT, targets)), args.number)
    chosen = [mutant for mutant in chosen if args.only in mutant.path]
    equivalent = {
        (one["path"], one["before"], one["after"]): one["reason"]
        for one in yaml.safe_load((ROOT / "tests/mutation/equivalent.yaml").read_text()) or []
    }
    counts = dict.fromkeys(("caught", "survived", "equivalent"), 0)
    for number, mutant in enumerate(chosen, 1):
        before, after = mutant.diff(ROOT)
        started = time.perf_counter()
        if (mutant.path, before, after) in equivalent or before == after:
            outcome = "equivalent"
        else:
            outcome = "caught" if is_caught(mutant, tests) else "survived"
        counts[outcome] += 1
        print(
            f"{number}/{len(chosen)} {outcome} {mutant.path}:{mutant.line} ({time.perf_counter() - started:.0f} s)", flush=True
        )
        if outcome == "survived":
            print(f"    - {before}\n    + {after}", flush=True)
    judged = counts["caught"] + counts["survived"]
    print(
        f"seed {args.seed}: {counts['caught']} of {judged} caught ({100 * counts['caught'] / max(judged, 1):.1f} %), "
        f"{counts['equivalent']} equivalent"
    )


def measure_tests(patterns: list[str]) -> dict[str, dict]:
    """By test: `seconds`, and `lines`, those it executes by source file; failing ones are left out."""
    sources = [*sorted((ROOT / "lib").rglob("*.py")), *sorted((ROOT / "reproductions").rglob("*.py"))]
    measured = {}
    for path in sorted({path for pattern in patterns for path in (ROOT / "tests").glob(pattern)}):
        if path.name in OTHER_PROCESSES:
            continue
        state = STATE / f"{path.stem}.json"
        key = digest(path, *sources)
        if not state.is_file() or json.loads(state.read_text())["key"] != key:
            started = time.perf_counter()
            in_child(lambda path=path, state=state, key=key: _measure(path, state, key), 900)
            if not state.is_file():
                raise SystemExit(f"{path}: its tests did not end; see {STATE / 'output.txt'}")
            print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)
        measured |= json.loads(state.read_text())["tests"]
    return measured


def _measure(path: Path, state: Path, key: str) -> int:
    import coverage
    import pytest

    cover = coverage.Coverage(data_file=None, source=[str(ROOT / "lib/rescore"), str(ROOT / "reproductions")])
    seconds, failed = {}, set()

    class Contexts:
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(self, item):
            cover.switch_context(item.nodeid)
            started = time.perf_counter()
            yield
            seconds[item.nodeid] = time.perf_counter() - started

        def pytest_runtest_logreport(self, report):
            if report.failed:
                failed.add(report.nodeid)

    cover.start()
    pytest.main([*PYTEST, str(path.relative_to(ROOT))], plugins=[Contexts()])
    cover.stop()
    data = cover.get_data()
    lines: dict[str, dict[str, list[int]]] = {test: {} for test in seconds}
    for name in data.measured_files():
        for line, contexts in data.contexts_by_lineno(name).items():
            # what is executed at import belongs to every test of the file
            for test in seconds if "" in contexts else contexts:
                lines.get(test, {}).setdefault(str(Path(name).relative_to(ROOT)), []).append(line)
    tests = {test: {"seconds": seconds[test], "lines": lines[test]} for test in seconds if test not in failed}
    state.write_text(json.dumps({"key": key, "failed": sorted(failed), "tests": tests}))
    return 0


def is_caught(mutant: Mutant, tests: dict[str, dict]) -> bool:
    """Whether a test fails, or does not end in three times its usual time and 20 s more."""
    wanted = set(range(mutant.line, mutant.last_line + 1))
    hit = [test for test, one in tests.items() if wanted & set(one["lines"].get(mutant.path, ()))]
    by_file: dict[str, list[str]] = {}
    for test in hit:
        by_file.setdefault(test.split("::")[0], []).append(test)
    files = sorted(by_file, key=lambda file: sum(tests[test]["seconds"] for test in by_file[file]))
    order = [test for file in files for test in by_file[file]]
    # what a fixture or a cache of a file computed in one test, another one checks
    order += [test for file in files for test in tests if test.split("::")[0] == file and test not in set(by_file[file])]
    chosen, expected = [], 0.0
    for test in order:
        if expected + tests[test]["seconds"] <= SECONDS:
            chosen.append(test)
            expected += tests[test]["seconds"]
    if not chosen:
        return False

    def attempt() -> int:
        import pytest

        _replace(ROOT / mutant.path, mutant.source(ROOT))
        return pytest.main([*PYTEST, "-x", *chosen])

    return in_child(attempt, 3 * expected + 20) != 0


PYTEST = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={STATE / 'tmp'}")


def _replace(path: Path, source: str) -> None:
    """From now on `path` is imported as `source`."""
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader, fullname):
        if Path(loader.path).resolve() == path:
            return compile(source, str(path), "exec")
        return original(loader, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code


def in_child(work: Callable[[], int], limit: float) -> int:
    """The exit status of `work` in a forked process, 1 if it lasts longer than `limit` seconds; its output goes to a file."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            output = os.open(STATE / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            status = int(work())
        finally:
            os._exit(status)
    ends = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1
        time.sleep(0.05)


if __name__ == "__main__":
    main()
