"""What the code imports is declared in pyproject.toml, and what is declared is imported and pinned."""

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ITS_OWN = {"snakemake_logger_plugin_rescore", "rescore", "reproductions"}
NOT_IMPORTED = {  # by the code, but
    "snakemake",  # the command that runs the DAG
    "pygments",  # Snakemake's report
    "pytest-benchmark",  # pytest's plugins
    "pytest-xdist",
    "snakemake-executor-plugin-slurm",  # Snakemake's plugin
    "zensical",  # the builder of the docs site
    "mkdocstrings-python",  # its plugin
}
NOT_PINNED = {"h5py", "lmdb"}  # of the extras that the set-up does not install
EXTRAS = {"h5py": "tabular", "lmdb": "lsun", "openmm": "molecules"}  # modules that only one set of data needs


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def imports(path: Path) -> Iterator[str]:
    """First names of all modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


@functools.cache
def foreign(*folders: str) -> dict[str, set[str]]:
    """Distribution: the files that import it; of modules that are neither Python's own nor the repository's."""
    names, found = importlib.metadata.packages_distributions(), {}
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    ours = ITS_OWN | set(sys.stdlib_module_names) | {path.stem for path in files if path.is_relative_to(ROOT / "tests")}
    for path in files:
        for module in set(imports(path)) - ours:
            (name,) = set(names.get(module, [module]))
            found.setdefault(normal(name), set()).add(str(path.relative_to(ROOT)))
    return found


CODE, TESTS = ("lib", "reproductions"), ("tests",)
ALWAYS = declared(PROJECT["dependencies"])
EXTRA = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}


def test_what_the_code_imports_is_declared():
    assert {"torch", "pooch", "torchvision", "pillow", "pot"} <= set(foreign(*CODE)), "the search finds them"
    wrong = {name: files for name, files in foreign(*CODE).items() if name not in ALWAYS | EXTRA.get(EXTRAS.get(name), set())}
    assert not wrong


def test_what_the_tests_import_is_declared():
    allowed = ALWAYS | EXTRA["test"] | EXTRA["browser"] | EXTRA["mutation"]
    assert not {name: files for name, files in foreign(*TESTS).items() if name not in allowed}


def test_what_is_declared_is_imported():
    assert ALWAYS - set(foreign(*CODE)) - NOT_IMPORTED == set()
    imported = set(foreign(*CODE)) | set(foreign(*TESTS)) | NOT_IMPORTED
    imported |= EXTRA["lint"] | EXTRA["benchmark"]  # commands of `make lint`; what `make benchmark` imports if it is there
    assert set().union(*EXTRA.values()) - imported == set()


def test_what_is_declared_is_pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("==")[0] for line in lines if not line.startswith("#")]
    assert ALWAYS.union(*EXTRA.values()) - set(map(normal, pinned)) == NOT_PINNED
    assert pinned == sorted(pinned), "in the order of their names"
