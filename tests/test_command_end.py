"""How the process of a command ends."""

import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
from conftest import ROOT
from rescore.__main__ import run
from rescore.cli import INTERRUPTED


def test_an_interruption_while_the_command_is_imported_is_no_traceback(capsys, monkeypatch):
    class Interrupted(types.ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "rescore.cli", Interrupted("rescore.cli"))
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == INTERRUPTED
    assert capsys.readouterr().err == "rescore: interrupted\n"
    (script,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    assert script == f"{run.__module__}:{run.__name__}"


LEAVING = """
import atexit, sys, tempfile
import rescore.cli
from rescore.__main__ import run
class Module:
    def __del__(self):
        print("taken apart")
kept, folders = Module(), []
def command():
    atexit.register(print, "tidied up", end="")
    folders.append(tempfile.TemporaryDirectory())  # as that of a download without a cache
    print(folders[0].name, file=sys.stderr)
    print("done", end=" ")  # into a pipe: kept back until it is flushed
    {end}
rescore.cli.main = command
run()
"""


@pytest.mark.parametrize(("end", "status", "said"), [("return 3", 3, ""), ("raise SystemExit(2)", 2, "taken apart\n")])
def test_a_command_that_has_ended_leaves_without_taking_its_modules_apart(end, status, said):
    """Its status, its output and what is to be done at the end of the process are kept."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", LEAVING.format(end=end)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (status, f"done tidied up{said}")
    assert len(done.stderr.splitlines()) == 1 and not Path(done.stderr.strip()).exists()
