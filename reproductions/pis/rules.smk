# Path Integral Sampler. To add a paper, copy this file, rename PIS and pis, and see docs/architecture.md.

PIS = SUITE.papers["pis"]


rule pis_measure:
    output:
        **PIS.outputs,
    log:
        PIS.job_log,
    wildcard_constraints:
        job=PIS.job_pattern,
    params:
        hash=PIS.hash,
        data=PIS.data,
    threads: PIS.threads
    priority: PIS.priority
    resources:
        gpu=PIS.gpu,
        mem_mb=PIS.mem_mb,
        runtime=PIS.runtime,
    shell:
        PIS.run("measure")


rule pis_figures:
    input:
        PIS.job_files,
        PIS.figure_code,
    output:
        PIS.reported(report),
    log:
        PIS.figure_log,
    shell:
        PIS.draw


rule pis:
    input:
        jobs=PIS.job_files,
        figures=PIS.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("pis")
