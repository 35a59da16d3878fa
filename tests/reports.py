"""Results for tests of the report: a paper whose texts are hostile, as a run with a broken claim, and a run without records."""

import json
import re
from pathlib import Path

from ledger_case import record
from rescore.ledger.published import COLUMNS
from rescore.ledger.records import write_records, write_skipped
from rescore.report.source import Results

SCRIPT = "<script>document.title='owned'</script>"
QUOTED = 'it\'s "quoted" & <b>bold</b>'
LONG = "; ".join(f"setting_{index:02d}={'x' * 12}" for index in range(9))  # more than 200 characters
PUBLISHED = f"""{",".join(COLUMNS)}
toy,1,mg,{SCRIPT},,logz_bias,100,-1.0,,target,Table 1,
toy,1,mg,"{QUOTED.replace('"', '""')}",</script>,logz_bias,100,-0.5,,target,Table 1,a <i>note</i>
toy,1,mg,HMC,,logz_bias,100,-0.25,,target,Table 1,
toy,1,mg,NUTS,,logz_bias,100,-0.25,,target,Table 1,
"""
CLAIMS = """
from rescore.ledger.claims import Claim, below, row
CLAIMS = [
    Claim("small <b>", "HMC is small & <i>good</i>.", "Table 1", below(row(method="HMC", variant=""), 0.0)),
    Claim("vague", "Something is small.", "Table 1", below(row(dataset="mg"), 0.0)),
]
"""
COST = (
    '{"paper": "toy", "job": "mg", "seconds": 2.5, "function_evaluations": 10, "peak_memory_mb": 100.0, '
    '"peak_gpu_memory_mb": 0.0, "version": "0.1.0.torch2.11", "config_hash": "a"}'
)
SKIPPED = (
    {"paper": "toy", "table": "1", "method": "NUTS", "reason": "no <b>time</b>"},
    {
        "paper": "toy",
        "table": "matrix",
        "method": "RK45",
        "variant": "VP",
        "nfe": "10",
        "reason": "takes <i>32</i> evaluations",
    },
)
METHODS = (SCRIPT, QUOTED, "HMC")


def no_assets(folder: Path) -> None:
    """In place of `rescore.report.pages.write_assets`, which writes 10 MB: the file that shows whose folder it is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.js").touch()


def hostile_suite(root: Path, measured: bool = True) -> Path:
    """Write the paper and its run at scale laptop, or one of no records; returns results/laptop."""
    folder = root / "reproductions" / "toy"
    folder.mkdir(parents=True)
    (folder / "paper.yaml").write_text(
        "title: A <em>toy</em>\ncitation: Nobody & nobody\n"
        "protocols: [{stated: {runs: 100, sampler: '<u>exact</u>'}, assumed: {steps: 100}}]\nfigures: {one: A figure}\n"
    )
    (folder / "published.csv").write_text(PUBLISHED)
    (folder / "claims.py").write_text(CLAIMS)
    (folder / "README.md").write_text(
        "# Toy\n\n<script>alert(1)</script> [here](other.md) [web](https://example.org) ![pic](http://x/y.png)\n"
    )
    results = root / "results" / "laptop"
    values = dict(zip(METHODS, (-1.01, -0.9, -0.26), strict=True))
    records = [
        record(
            method=method,
            variant="</script>" if method == QUOTED else "",
            value=value,
            stderr=0.01,
            df=3,
            protocol=f"runs=100; {LONG}; steps=100",
        )
        for method, value in values.items()
    ]
    records.append(record(method="HMC", variant="tuned", value=-0.2, stderr=0.02, df=3))
    records += [
        record(
            table="matrix",
            dataset="exact",
            method=method,
            variant=process,
            metric="sw2",
            nfe=10,
            value=0.2,
            protocol="budget=10",
        )
        for method, process in (("Euler", "VP"), ("Euler", "CLD"), ("SSCS", "CLD"))
    ]
    records = records if measured else []
    if measured:
        write_records(results / "toy" / "mg" / "records.csv", records)
        (results / "toy" / "mg" / "cost.json").write_text(COST)
        (results / "logs").mkdir()
        (results / "logs" / "toy-mg.log").write_text("measured\n")
    write_records(results / "records.csv", records)
    write_skipped(results / "skipped.csv", SKIPPED if measured else [])
    return results


def data_of(folder: Path, paper: str) -> dict:
    """What a report's script adds of a paper."""
    text = (folder / "data" / f"{paper}.js").read_text()
    found = re.fullmatch(r'RESCORE\.add\("\w+", (.*)\);\n', text)
    return json.loads(found[1])


def results_of(records, claims=()) -> Results:
    return Results("laptop", "run", Path(), {r.key: r for r in records}, {}, claims)
