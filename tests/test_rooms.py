"""The rooms of the library: none imports one below it in docs/architecture.md, no module imports in a circle."""

import ast
import functools
import graphlib
import re
from collections import defaultdict
from pathlib import Path

from conftest import ROOT, SLOW, SLOWEST

LIBRARY = ROOT / "lib" / "rescore"
TEXT = (ROOT / "docs" / "architecture.md").read_text()


@functools.cache
def modules() -> dict[str, Path]:
    """The files of the library by the names that imports have for them."""
    names = {}
    for path in LIBRARY.rglob("*.py"):
        parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@functools.cache
def imports() -> dict[str, set[str]]:
    """What each module imports of the library, inside functions too."""
    known, found = modules(), defaultdict(set)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rescore":
                named = (f"{node.module}.{alias.name}" for alias in node.names)
                found[name] |= {one if one in known else node.module for one in named} - {name}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names if alias.name in known} - {name}
    return found


def room(module: str) -> str:
    return ([*module.split("."), "rescore"])[1]


def between_rooms() -> dict[str, set[str]]:
    found = {room(module): set() for module in modules()}
    for module, others in imports().items():
        found[room(module)] |= {room(other) for other in others} - {room(module), "rescore"}
    del found["rescore"]
    return found


def written() -> dict[str, set[str]]:
    """The graph in the text, in its order: `room: room, room`."""
    block = re.search(r"```text\n(.*?)```", TEXT, re.DOTALL)[1]
    lines = (line.partition(":") for line in re.sub(r"\n +", " ", block).splitlines())
    return {name: set(filter(None, others.strip().split(", "))) for name, _, others in lines}


def test_no_module_imports_in_a_circle():
    graphlib.TopologicalSorter(imports()).prepare()


def test_the_text_says_what_the_rooms_import():
    assert written() == between_rooms()


def test_no_room_imports_one_below_it():
    order = list(written())
    for name, others in written().items():
        assert all(order.index(other) < order.index(name) for other in others), name


def test_the_table_names_every_room():
    table = TEXT[TEXT.index("## Rooms") : TEXT.index("```text")]
    named = set(re.findall(r"`(\w+)(?:\.py|/)`", table))
    assert named == set(between_rooms()) - {"__main__"}


def test_papers_do_not_import_each_other():
    for path in (ROOT / "reproductions").glob("*/*.py"):
        others = set(re.findall(r"^(?:from|import) reproductions\.(\w+)", path.read_text(), re.MULTILINE))
        assert others <= {path.parent.name}, path


def test_what_snakemake_reads_needs_no_torch():
    """Nor does any paper's config."""
    import subprocess
    import sys

    load = "from rescore.workflow.suite import load_suite; load_suite({'scale': 'laptop'})"
    code = f"import sys; {load}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_left_to_a_subclass_is_abstract():
    """A placeholder that raises is noticed when it is called; an abstract method when the object is made."""
    assert [name for name, path in modules().items() if "NotImplementedError" in path.read_text()] == []


def test_modules_of_tests_that_are_named_are_there():
    """One that was renamed would run at its end, when the other worker has nothing left, and a slow one always."""
    assert {*SLOW, *SLOWEST} <= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}


def test_a_module_is_one_sitting_long():
    lengths = {"lib": 400, "reproductions": 400, "docs": 400, "tests": 450}
    files = [(path, most) for folder, most in lengths.items() for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 300
    assert [f"{path.relative_to(ROOT)}: {n}" for path, most in files if (n := len(path.read_text().splitlines())) > most] == []
