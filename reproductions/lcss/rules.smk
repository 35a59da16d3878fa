# LCSS: local curvature smoothing with Stein's identity.

LCSS = SUITE.papers["lcss"]


rule lcss_measure:
    input:
        LCSS.models,
    output:
        **LCSS.outputs,
    log:
        LCSS.job_log,
    wildcard_constraints:
        job=LCSS.job_pattern,
    params:
        hash=LCSS.hash,
        data=LCSS.data,
    threads: LCSS.threads
    priority: LCSS.priority
    resources:
        gpu=LCSS.gpu,
        mem_mb=LCSS.mem_mb,
        runtime=LCSS.runtime,
    shell:
        LCSS.run("measure")


rule lcss_figures:
    input:
        LCSS.job_files,
        LCSS.figure_code,
    output:
        LCSS.reported(report),
    log:
        LCSS.figure_log,
    shell:
        LCSS.draw


rule lcss:
    input:
        jobs=LCSS.job_files,
        figures=LCSS.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("lcss")
