"""Locks, and what a process learns of its machine: which GPUs it may take, which of torchrun's processes it is, its commit."""

import errno
import fcntl
import multiprocessing
import os
import platform
import select
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rescore.errors import RescoreError
from rescore.machine import hardware as machine
from rescore.machine import ranks
from rescore.machine.locks import drop_stale_locks, try_lock, waiting_lock

CARDS = {"0": "GPU-aaaa1111-0", "1": "GPU-aaaa2222-1", "2": "GPU-bbbb0000-2"}


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of three GPUs, and the folder of its locks."""
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(machine, "_installed_gpus", lambda: CARDS)
    for name in ("CUDA_VISIBLE_DEVICES", *machine.SLURM_GPUS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _hold(path: str, ready: multiprocessing.Event) -> None:
    with waiting_lock(path, "another"):
        ready.set()
        time.sleep(60)


def test_a_lock_ends_with_its_process(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path / "lock"), ready))
    holder.start()
    assert ready.wait(30)
    assert try_lock(tmp_path / "lock") is None
    threading.Timer(0.5, holder.kill).start()
    with waiting_lock(tmp_path / "lock", "the one to be killed"):
        assert try_lock(tmp_path / "lock") is None
    assert capsys.readouterr().err == "waiting for the one to be killed\n"
    holder.join()
    with try_lock(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_flock_is_one_clear_error(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is a mere file would outlive a killed process; Snakemake's own locks are left alone."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    for attempt in (lambda: try_lock(tmp_path / "lock"), lambda: waiting_lock(tmp_path / "lock", "another").__enter__()):
        with pytest.raises(RescoreError, match=f"^{tmp_path / 'lock'}: cannot be locked: "):
            attempt()
    if number == errno.ENOSYS:
        with pytest.raises(RescoreError, match="no flock, whose locks end with their process"):
            try_lock(tmp_path / "lock")
    left = tmp_path / "locks" / "0.input.lock"
    left.parent.mkdir()
    left.touch()
    drop_stale_locks(tmp_path).close()
    assert left.exists()


def test_snakemake_s_lock_is_dropped_only_when_no_other_one_lives_here(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "0.input.lock"
    lock.parent.mkdir()

    def left_behind() -> bool:
        lock.touch()
        drop_stale_locks(tmp_path).close()
        return lock.exists()

    assert not left_behind()
    with open(tmp_path / "alive") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert left_behind()
    (tmp_path / "alive").write_text("another host")
    assert left_behind() and left_behind()
    lock.unlink()
    drop_stale_locks(tmp_path).close()
    assert (tmp_path / "alive").read_text() == platform.node()
    assert not left_behind()


def test_a_lock_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    message = f"^{tmp_path}: cannot be locked: Is a directory$"
    with pytest.raises(RescoreError, match=message):
        try_lock(tmp_path)
    with pytest.raises(RescoreError, match=message), waiting_lock(tmp_path, "nothing"):
        pass


@pytest.mark.parametrize(
    ("variable", "seen"),
    [
        (None, list(CARDS.values())),
        ("1,0", ["1", "0"]),
        (" 1 , GPU-bbbb", ["1", "GPU-bbbb"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["0"]),
        ("0,,1", ["0"]),
        ("2,3,0", ["2"]),  # there is no 3
        ("0,1,0", []),  # CUDA refuses
        ("0,GPU-aaaa1", []),  # the same card
        ("GPU-aaaa", []),  # of two cards
        ("MIG-5", ["MIG-5"]),
    ],
)
def test_gpus_are_those_that_cuda_shows(cards: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, seen: list) -> None:
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert list(machine.visible_gpus()) == seen


def test_gpus_are_handed_out_one_job_each(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with machine.claim_gpus(1) as first:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0" and first == ["0"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        with machine.claim_gpus(1) as second:
            assert second == ["1"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa1111,2")  # the first is the card that is called 0 above
        with machine.claim_gpus(1) as third:
            assert third == ["2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with machine.claim_gpus(2) as both, machine.claim_gpus(0) as none:
        assert (both, none) == (["0", "1"], [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(RescoreError, match=r"asks for 3 GPU, this machine shows 2 \(0, 1\)"), machine.claim_gpus(3):
        pass


def test_locks_are_of_cards_and_users(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs that each see one card, and call it 0, do not wait for each other; nor do two users."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with machine.claim_gpus(1):
        assert try_lock(cards / f"rescore-{os.getuid()}-{CARDS['0']}.lock") is None
        monkeypatch.setattr(machine, "_installed_gpus", lambda: {"0": "GPU-cccc"})
        with machine.claim_gpus(1) as other:
            assert other == ["0"]
        monkeypatch.setattr(machine, "_installed_gpus", lambda: CARDS)
        monkeypatch.setattr(machine.os, "getuid", lambda: 4321)
        with machine.claim_gpus(1) as other:
            assert other == ["0"]


def test_what_slurm_has_assigned_takes_no_lock(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_GPUS", "1,2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    with machine.claim_gpus(2) as held:
        assert held == ["1", "2"] and not list(cards.iterdir())
    with machine.claim_gpus(1) as first:  # of an allocation that several jobs share
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
        with machine.claim_gpus(1) as second:
            assert (first, second) == (["1"], ["2"])


def test_nvidia_smi_tells_the_uuids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._installed_gpus() == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,00")
    assert machine.visible_gpus() == {}, "the same device twice, also where nobody tells the UUIDs"
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, GPU-a\n1, GPU-b'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert machine._installed_gpus() == {"0": "GPU-a", "1": "GPU-b"}


STRAY = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "another"}


def test_only_our_own_torchrun_makes_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    from rescore.training.distributed import world

    for name, value in STRAY.items():
        monkeypatch.setenv(name, value)
    for mark in ("", "ours"):
        monkeypatch.setenv(ranks.MARK, mark)
        assert ranks.own_rank() is None
        with world("cpu") as here:
            assert (here.rank, here.size) == (0, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "ours")
    assert ranks.own_rank() == ranks.Rank(1, 1, 2)


def test_our_torchrun_starts_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two processes says what it is; stray variables of the parent alter nothing."""
    package = tmp_path / "rescore"  # in place of ours, for the processes run the command line
    (package / "machine").mkdir(parents=True)
    for folder in (package, package / "machine"):
        (folder / "__init__.py").touch()
    (package / "machine" / "ranks.py").write_text(Path(ranks.__file__).read_text())
    (package / "__main__.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom rescore.machine.ranks import own_rank\n"
        "here = own_rank()\nPath(sys.argv[1], str(here.rank)).write_text(f'{here.local} of {here.size}')\n"
    )
    for name, value in STRAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ranks.start_ranks(2, [str(tmp_path)])
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["0 of 2", "1 of 2"]


@pytest.mark.skipif(sys.platform != "linux", reason="the system's signal at a parent's death is Linux's")
def test_processes_of_several_gpus_end_with_the_one_that_holds_their_locks() -> None:
    """By kill -9 too: the child alone keeps the pipe open, which ends when it does."""
    ends, held = os.pipe()
    child = f"subprocess.run(['sleep', '60'], pass_fds=({held},), preexec_fn=end_with_parent)"
    code = f"import subprocess; from rescore.machine.ranks import end_with_parent; print('up', flush=True); {child}"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=(held,))
    assert parent.stdout is not None and parent.stdout.readline() == b"up\n"
    os.close(held)
    time.sleep(0.5)
    assert not select.select([ends], [], [], 0)[0]
    parent.kill()
    assert select.select([ends], [], [], 20)[0] and os.read(ends, 1) == b""
    os.close(ends)


def test_training_with_stray_variables_leaves_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import ROOT
    from rescore.cli import main
    from rescore.workflow.suite import load_suite

    key = load_suite({"scale": "smoke", "papers": "deis"}, ROOT).model_key("deis/vp")
    monkeypatch.chdir(tmp_path)
    for name, value in STRAY.items():
        monkeypatch.setenv(name, value)
    assert main(["train", key, "--scale", "smoke", "--root", str(ROOT), "--results", "out"]) == 0
    (folder,) = (tmp_path / "out" / "smoke" / "models" / key).iterdir()
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "about.json", "history.npz"}
    assert (folder / "weights.safetensors").stat().st_size > 1000


def _git(folder: Path, body: str) -> None:
    (folder / "git").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "git").chmod(0o755)


def test_git_s_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    refusals = {
        "echo 'fatal: detected dubious ownership' >&2; exit 128": "fatal: detected dubious ownership",
        "[ $3 = status ] && exit 3; echo abc1234": "git status ends with 3",  # or the commit would be called clean
    }
    for body, reason in refusals.items():
        _git(tmp_path, body)
        assert machine.git_refusal() == reason
        assert "+g" not in machine.version()
        assert capsys.readouterr().err == f"warning: the version names no commit, for git refuses: {reason}\n"
    (tmp_path / "git").unlink()
    assert machine.git_refusal() == "git: No such file or directory"
    _git(tmp_path, "[ $3 = status ] || echo abc1234")
    assert machine.git_refusal() is None and "+gabc1234.torch" in machine.version()
    _git(tmp_path, "[ $3 = status ] && echo ' M lib/x.py' || echo abc1234")
    assert "+gabc1234.dirty.torch" in machine.version()
    (tmp_path / ".git").rmdir()
    assert machine.git_refusal() is None and "+g" not in machine.version()
    assert capsys.readouterr().err == ""


def test_papers_elsewhere_have_a_commit_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, papers = tmp_path / "library", tmp_path / "papers"
    for root in (library, papers):
        (root / ".git").mkdir(parents=True)
    monkeypatch.setattr(machine, "ROOT", library)
    monkeypatch.setenv("PATH", str(tmp_path))
    commits = "case $2 in *papers) echo aaa1111 ;; *) echo bbb2222 ;; esac"
    _git(tmp_path, f"[ $3 = status ] || {commits}")
    assert "+gbbb2222.torch" in machine.version() and ".lib" not in machine.version(library)
    assert "+gaaa1111.lib+gbbb2222.torch" in machine.version(papers)
    for changed, folders in (("papers", "reproductions"), ("library", "lib")):  # of each what it gives, and nothing else
        _git(tmp_path, f'if [ $3 = status ]; then case "$2 $6$7" in *"{changed} {folders}") echo M ;; esac; else {commits}; fi')
        assert machine.version(papers).count(".dirty") == 1
        assert f"{dict(papers='aaa1111', library='bbb2222')[changed]}.dirty" in machine.version(papers)
    shutil.rmtree(papers / ".git")
    _git(tmp_path, f"[ $3 = status ] || {commits}")
    assert "+gaaa1111" not in machine.version(papers) and ".lib+gbbb2222.torch" in machine.version(papers)
    _git(tmp_path, 'case $2 in *papers) echo "not yours" >&2; exit 1 ;; *) echo bbb2222 ;; esac')
    (papers / ".git").mkdir()
    assert machine.git_refusal() is None and machine.git_refusal(papers) == "not yours"
