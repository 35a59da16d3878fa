# DEIS; as for any paper.

DEIS = SUITE.papers["deis"]


rule deis_measure:
    input:
        DEIS.models,
    output:
        **DEIS.outputs,
    log:
        DEIS.job_log,
    wildcard_constraints:
        job=DEIS.job_pattern,
    params:
        hash=DEIS.hash,
        data=DEIS.data,
    threads: DEIS.threads
    priority: DEIS.priority
    resources:
        gpu=DEIS.gpu,
        mem_mb=DEIS.mem_mb,
        runtime=DEIS.runtime,
    shell:
        DEIS.run("measure")


rule deis_figures:
    input:
        DEIS.job_files,
        DEIS.figure_code,
    output:
        DEIS.reported(report),
    log:
        DEIS.figure_log,
    shell:
        DEIS.draw


rule deis:
    input:
        jobs=DEIS.job_files,
        figures=DEIS.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("deis")
