# Critically-damped Langevin diffusion.

CLD = SUITE.papers["cld"]


rule cld_measure:
    input:
        CLD.models,
    output:
        **CLD.outputs,
    log:
        CLD.job_log,
    wildcard_constraints:
        job=CLD.job_pattern,
    params:
        hash=CLD.hash,
        data=CLD.data,
    threads: CLD.threads
    priority: CLD.priority
    resources:
        gpu=CLD.gpu,
        mem_mb=CLD.mem_mb,
        runtime=CLD.runtime,
    shell:
        CLD.run("measure")


rule cld_figures:
    input:
        CLD.job_files,
        CLD.figure_code,
    output:
        CLD.reported(report),
    log:
        CLD.figure_log,
    shell:
        CLD.draw


rule cld:
    input:
        jobs=CLD.job_files,
        figures=CLD.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("cld")
