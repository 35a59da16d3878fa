# DiffFlow: learnable forward SDEs.

DIFFFLOW = SUITE.papers["diffflow"]


rule diffflow_measure:
    input:
        DIFFFLOW.models,
    output:
        **DIFFFLOW.outputs,
    log:
        DIFFFLOW.job_log,
    wildcard_constraints:
        job=DIFFFLOW.job_pattern,
    params:
        hash=DIFFFLOW.hash,
        data=DIFFFLOW.data,
    threads: DIFFFLOW.threads
    priority: DIFFFLOW.priority
    resources:
        gpu=DIFFFLOW.gpu,
        mem_mb=DIFFFLOW.mem_mb,
        runtime=DIFFFLOW.runtime,
    shell:
        DIFFFLOW.run("measure")


rule diffflow_figures:
    input:
        DIFFFLOW.job_files,
        DIFFFLOW.figure_code,
    output:
        DIFFFLOW.reported(report),
    log:
        DIFFFLOW.figure_log,
    shell:
        DIFFFLOW.draw


rule diffflow:
    input:
        jobs=DIFFFLOW.job_files,
        figures=DIFFFLOW.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("diffflow")
