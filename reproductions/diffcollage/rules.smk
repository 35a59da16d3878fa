# DiffCollage; as for any paper.

DIFFCOLLAGE = SUITE.papers["diffcollage"]


rule diffcollage_measure:
    input:
        DIFFCOLLAGE.models,
    output:
        **DIFFCOLLAGE.outputs,
    log:
        DIFFCOLLAGE.job_log,
    wildcard_constraints:
        job=DIFFCOLLAGE.job_pattern,
    params:
        hash=DIFFCOLLAGE.hash,
        data=DIFFCOLLAGE.data,
    threads: DIFFCOLLAGE.threads
    priority: DIFFCOLLAGE.priority
    resources:
        gpu=DIFFCOLLAGE.gpu,
        mem_mb=DIFFCOLLAGE.mem_mb,
        runtime=DIFFCOLLAGE.runtime,
    shell:
        DIFFCOLLAGE.run("measure")


rule diffcollage_figures:
    input:
        DIFFCOLLAGE.job_files,
        DIFFCOLLAGE.figure_code,
    output:
        DIFFCOLLAGE.reported(report),
    log:
        DIFFCOLLAGE.figure_log,
    shell:
        DIFFCOLLAGE.draw


rule diffcollage:
    input:
        jobs=DIFFCOLLAGE.job_files,
        figures=DIFFCOLLAGE.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("diffcollage")
