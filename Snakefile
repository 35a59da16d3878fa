# The DAG: every paper's jobs, then the ledger, tables, figures and the report. Papers are found by their folders; each has the
# same two rules, and those of its own rules.smk if there is one.
#
#   snakemake                            all papers at laptop scale
#   snakemake pis                        one paper
#   snakemake --profile profiles/smoke   another scale: smoke (where all jobs of a paper share a process), gpu, paper
#
# Options: --config scale=SCALE papers=A,B results=FOLDER (relative to the working directory, which need not be this one)
#          bundle=true (all jobs of a paper in one process)

import sys
import time

from rescore.machine.locks import drop_stale_locks
from rescore.workflow.suite import failures, load_suite

STARTED = time.time()
ALIVE = drop_stale_locks()
SUITE = load_suite(config, workflow.basedir)
config.update(SUITE.options.model_dump(mode="json"))  # defaults too, for the report

shell.prefix(SUITE.shell_prefix)


report: "report/suite.rst"


localrules:
    all,
    everything,
    collect,
    tables,
    claims,
    report,


# A function and not the body of a loop: Snakemake evaluates a rule's command again when a job runs, and a loop's variable
# would be the last paper by then.
def define_rules(paper):
    rule:
        name: f"{paper.name}_measure"
        input:
            paper.models,
        output:
            **paper.outputs,
        log:
            paper.job_log,
        wildcard_constraints:
            job=paper.job_pattern,
        params:
            hash=paper.hash,
            data=paper.data,
        threads: paper.threads
        priority: paper.priority
        resources:
            gpu=paper.gpu,
            mem_mb=paper.mem_mb,
            runtime=SUITE.within(paper.runtime),
        shell:
            paper.run

    if paper.bundled:

        rule:
            name: f"{paper.name}_bundle"
            input:
                paper.bundle_models,
            output:
                paper.bundle_outputs,
            log:
                paper.bundle_logs,
            params:
                hash=paper.bundle_hash,
                data=paper.bundle_data,
            threads: paper.bundle_resource("threads")
            priority: len(paper.bundled)
            resources:
                mem_mb=paper.bundle_resource("mem_mb"),
                runtime=SUITE.within(paper.bundle_resource("runtime")),
            shell:
                paper.run_bundle

    rule:
        name: paper.name
        input:
            jobs=paper.job_files,
        params:
            others=SUITE.finished_elsewhere,
        shell:
            SUITE.update_ledger(paper.name)


for paper in SUITE.papers.values():
    define_rules(paper)

for path in SUITE.own_rules:

    include: path


# A trained model, with all its seeds, is one node, whichever papers use it.
rule model:
    input:
        SUITE.forget_missing(workflow),
    output:
        directory(SUITE.model_output),
    log:
        SUITE.log("model-{key}"),
    wildcard_constraints:
        key=SUITE.model_pattern,
    threads: SUITE.model_resource("threads")
    priority: SUITE.model_priority
    resources:
        gpu=SUITE.model_resource("gpu"),
        mem_mb=SUITE.model_resource("mem_mb"),
        runtime=SUITE.within(SUITE.model_resource("runtime")),
    shell:
        SUITE.train


# Trainings shorter than the start of a process, in one. Should one fail, the others' states are kept with the checkpoints.
if SUITE.short_models:

    rule short_models:
        input:
            SUITE.forget_missing(workflow),
        output:
            SUITE.short_model_outputs(directory),
        log:
            SUITE.log("short-models"),
        priority: 100
        shell:
            SUITE.train_short


# The figures of all papers in one process, which imports what draws them once.
if SUITE.figures:

    rule figures:
        input:
            SUITE.job_files,
            SUITE.sources("figures.py"),
        output:
            SUITE.reported(report),
        log:
            SUITE.log("figures"),
        threads: 4  # or as many as there are
        shell:
            SUITE.draw


rule collect:
    input:
        SUITE.job_files,
    output:
        records=f"{SUITE.folder}/records.csv",
        skipped=f"{SUITE.folder}/skipped.csv",
    log:
        SUITE.log("collect"),
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.logged("collect {input:q} {params.others:q}")


# One process for all that is made of the records: starting Python three times would take longer than the work.
rule tables:
    input:
        rules.collect.output,
        SUITE.sources("published.csv"),
        SUITE.sources("paper.yaml"),
        SUITE.sources("*claims.py"),
        SUITE.ledger_code,
    output:
        diff=f"{SUITE.folder}/diff.csv",
        claims=f"{SUITE.folder}/claims.csv",
        summary=f"{SUITE.folder}/tables/summary.md",
    log:
        SUITE.log("tables"),
    shell:
        SUITE.logged("tables --allow-broken")


# After the tables and not with them, for Snakemake deletes what a failing rule has written.
rule claims:
    input:
        rules.tables.output.claims,
    output:
        touch(f"{SUITE.folder}/claims.sound"),
    log:
        SUITE.log("claims"),
    shell:
        SUITE.check_claims


rule everything:
    input:
        rules.collect.output,
        rules.tables.output,
        SUITE.figures,


# A rule rather than a profile's report-after-run: it follows the scale, and it is made again only when something changed.
# Snakemake's own report, of the DAG and its runtimes, comes first: the pages link to it.
rule report:
    input:
        rules.everything.input,
        SUITE.report_code,
    output:
        page=f"{SUITE.folder}/report/index.html",
        workflow=f"{SUITE.folder}/report/workflow.html",
    log:
        SUITE.log("report"),
    shell:
        SUITE.report


# The jobs too, though the report is made from them: a file that is missing between existing ones is not made again by itself.
rule all:
    input:
        rules.report.output,
        rules.everything.input,
        rules.claims.output,
        SUITE.job_files,
    default_target: True


onsuccess:
    SUITE.print_summary()


onerror:
    for failure in failures(f"{SUITE.folder}/logs", STARTED):
        print(failure, file=sys.stderr)
    print("What has finished is kept; the same command goes on from there.", file=sys.stderr)
    print(f"A report of it: {SUITE.report_so_far}", file=sys.stderr)
