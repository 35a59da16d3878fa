"""A record, the published row that it answers, and their paper, with any columns changed."""

from pathlib import Path

from rescore.ledger.published import Published
from rescore.ledger.records import Record
from rescore.papers import NotRunEntry, Paper, PaperMeta, ProtocolEntry


def record(**changes) -> Record:
    """A record of a paper `toy`, some columns changed; one with stderr 0 is exact, another error has the normal law's df."""
    stderr = changes.get("stderr", 0.01)
    columns = {"df": None if not stderr else 10**9, "over": "exact" if stderr == 0 else "trainings"}
    columns |= {
        "paper": "toy",
        "table": "1",
        "dataset": "mg",
        "method": "PIS",
        "variant": "NN",
        "metric": "logz_bias",
        "nfe": 100,
        "value": -1.0,
        "stderr": 0.01,
        "n_seeds": 3,
        "n_samples": 1000,
        "protocol": "runs=100; steps=100",
        "scale": "laptop",
        "device": "cpu A",
        "seconds": 1.5,
        "version": "0.1.0+gabc1234.torch2.11.0",
        "config_hash": "0123456789ab",
    }
    return Record(**(columns | changes))


def printed(**changes) -> Published:
    """The published row that `record()` answers, with some columns changed."""
    columns = {
        "paper": "toy",
        "table": "1",
        "dataset": "mg",
        "method": "PIS",
        "variant": "NN",
        "metric": "logz_bias",
        "nfe": 100,
        "value": "-1.0",
        "uncertainty": "",
        "direction": "target",
        "source": "Table 1",
        "note": "",
    }
    return Published(**(columns | changes))


def paper(protocols=({"stated": {"runs": 100}},), not_run=()) -> dict[str, Paper]:
    meta = PaperMeta(
        title="A toy",
        citation="none",
        protocols=[ProtocolEntry(**entry) for entry in protocols],
        not_run=[NotRunEntry(**entry) for entry in not_run],
    )
    return {"toy": Paper("toy", Path("reproductions/toy"), meta)}
