"""Shared by all tests: a copy of the repository that a test may write in."""

import atexit
import gc
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

# One thread, in this process and in those that tests start: the order of a sum, and with it the last bits, follow the number.
os.environ["OMP_NUM_THREADS"] = "1"

os.fsync = lambda _: None  # of what a test writes nothing need survive a power cut, and thousands of files are waited for

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker that has sent all: to take its modules apart takes long
    atexit.register(os._exit, 0)

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "data" / "toy"
SEPARATOR = "=" * 20 + "\n"


SLOWEST = (
    "test_trained_tables",
    "test_diffcollage_scales",
    "test_workflow",
    "test_deis",
    "test_smld_sde",
    "test_figures_without_results",
    "test_wiring_diffcollage",
    "test_mnist",
    "test_report_browser",
    "test_gddim",
    "test_cld",
    "test_parity",
    "test_imported",
    "test_pis",
    "test_pis_killed",
    "test_report_tables",
    "test_pis_linear_control",
    "test_pis_vae",
    "test_gaussian_law",
    "test_lcss",
    "test_sampler_matrix",
    "test_processes",
    "test_pis_figures",
    "test_diffcollage_trained",
    "test_rho_likelihood",
    "test_wiring_diffflow",
    "test_reference",
    "test_report",
    "test_proof",
    "test_wiring_soft_diffusion",
)
"""The dearest by processor time, and of those whose names come last what takes several seconds."""


SLOW = ("test_trained_tables", "test_diffcollage_scales")
"""Modules left out of `make test` and CI, a minute and a half together: `make test SLOW=1` runs them too."""


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """The slowest modules first: workers take whole modules, and none shall wait at the end for one that began last."""
    if os.environ.get("RESCORE_FAST"):
        config.hook.pytest_deselected(items=[item for item in items if item.path.stem in SLOW])
        items[:] = [item for item in items if item.path.stem not in SLOW]
    order = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What collection imports and makes stays to the end: to look for garbage in it, then and later, takes long."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test before this one may have asked for more threads, or loaded the papers of another repository."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "rescore.papers" in sys.modules:
        sys.modules["rescore.papers"].use_root(ROOT)


@dataclass(frozen=True)
class Run:
    """One call of Snakemake: its arguments, what is added to its environment, what files, also new ones, hold, and where."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."


@dataclass(frozen=True)
class Workspace:
    """A copy of the repository with one more paper, `toy`, and no results."""

    root: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a Python module, such as `snakemake` or `rescore`, in it; stdout and stderr together."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )

    def snakemake(self, *runs: Run) -> list[str]:
        """What each of these runs printed; all in one process, for Snakemake takes seconds to start."""
        script = f"""
import os, sys
from pathlib import Path
from snakemake.cli import main
for arguments, environment, files, folder in {[(run.arguments, run.environment, run.files, run.folder) for run in runs]!r}:
    print({SEPARATOR!r}, flush=True)
    sys.stderr.flush()
    before = dict(os.environ), {{path: Path(path).read_text() if Path(path).exists() else None for path in files}}
    os.environ.update(environment)
    for path, content in files.items():
        Path(path).write_text(content)
    home = os.getcwd()
    os.chdir(folder)
    try:
        main(list(arguments))
    except SystemExit as end:
        print("exit status", end.code, flush=True)
    os.chdir(home)
    os.environ.clear()
    os.environ.update(before[0])
    for path, content in before[1].items():
        Path(path).unlink() if content is None else Path(path).write_text(content)
"""
        (self.root / "many_runs.py").write_text(script)
        return self.run("many_runs").stdout.split(SEPARATOR)[1:]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("repository")
    for name in ("Snakefile", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in ("profiles", "report", "reproductions"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOY, root / "reproductions" / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    return Workspace(root)


@dataclass
class Server:
    """A web server of this machine: its address, what it answers to each path, and the paths that it was asked for.

    An answer is a content, or a function that answers a request in its own way.
    """

    url: str
    files: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, empty, and the way to it, whatever was refused before."""
    import requests

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            match found.files.get(self.path):
                case None:
                    self.send_error(404)
                case bytes(content):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                case answer:
                    answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        found = Server(f"http://127.0.0.1:{listening.server_port}")
        monkeypatch.setattr("requests.get", requests.api.get)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        listening.shutdown()
        thread.join()


@pytest.fixture
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data folder, an empty cache, no network."""
    from failures import refused

    monkeypatch.delenv("RESCORE_DATA", raising=False)
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("requests.get", refused)


@pytest.fixture(scope="session")
def pines():
    """The 126 points, (126, 2); a test that asks for them is skipped where they are not at hand."""
    import torch
    from rescore.data.pines import load_pines
    from rescore.errors import MissingData

    def refuse(*_, **__):
        raise OSError("tests do not download")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("requests.get", refuse)
        try:
            return torch.tensor(load_pines().to_numpy())
        except MissingData as error:
            pytest.skip(f"set RESCORE_DATA to a folder with finpines/pines.csv: {error}")


@pytest.fixture(scope="session")
def committed_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the committed results of two scales and of one without any, made once; tests only read it."""
    from rescore.papers import find_papers
    from rescore.report.pages import write_reference_report
    from rescore.report.source import nothing_run, read_results

    of_worker = tmp_path_factory.getbasetemp()
    out = (of_worker.parent if "PYTEST_XDIST_WORKER" in os.environ else of_worker) / "committed"
    with FileLock(f"{out}.lock"):  # of several workers the first makes it
        if not (out / "index.html").is_file():
            papers, made = find_papers(ROOT), tmp_path_factory.mktemp("report")
            places = [ROOT / "results" / "reference" / scale for scale in ("laptop", "paper")]
            scales = [*(read_results(place, papers, ROOT) for place in places), nothing_run("gpu", papers, ROOT)]
            write_reference_report(made, scales, papers)
            made.rename(out)
    return out


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The report of the paper whose texts are hostile, in a working directory of its own."""
    from reports import hostile_suite, no_assets
    from rescore.cli import main
    from rescore.report import pages

    hostile_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "write_assets", no_assets)  # they are in the report of the committed results
    assert main(["report"]) == 0
    assert capsys.readouterr().out == "results/laptop/report/index.html\n"
    return tmp_path / "results" / "laptop" / "report"


@pytest.fixture(scope="session")
def hostile_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same report with all that a browser needs."""
    from reports import hostile_suite
    from rescore.cli import main

    root = tmp_path_factory.mktemp("hostile")
    results = hostile_suite(root)
    assert main(["report", "--root", str(root), "--results", str(root / "results")]) == 0
    return results / "report"


@pytest.fixture(scope="module")
def browser():
    """A Chromium of the system."""
    from browsing import CHROMIUM
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # no sandbox: where tests run as root, as in a container, Chromium has none
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def tab(browser):
    """The one page of all tests, and what went wrong on it: an error on the console, or a request that leaves the disk."""
    opened = browser.new_page()
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else faults.append(request.url)
    )
    return opened, faults


@pytest.fixture
def page(tab):
    """The page; its test fails for a fault."""
    from browsing import WIDTHS

    opened, faults = tab
    opened.set_viewport_size({"width": WIDTHS["desktop"], "height": 900})
    opened.emulate_media(media="screen")
    faults.clear()
    yield opened
    assert faults == []
