# gDDIM: generalized denoising diffusion implicit models.

GDDIM = SUITE.papers["gddim"]


rule gddim_measure:
    input:
        GDDIM.models,
    output:
        **GDDIM.outputs,
    log:
        GDDIM.job_log,
    wildcard_constraints:
        job=GDDIM.job_pattern,
    params:
        hash=GDDIM.hash,
        data=GDDIM.data,
    threads: GDDIM.threads
    priority: GDDIM.priority
    resources:
        gpu=GDDIM.gpu,
        mem_mb=GDDIM.mem_mb,
        runtime=GDDIM.runtime,
    shell:
        GDDIM.run("measure")


rule gddim_figures:
    input:
        GDDIM.job_files,
        GDDIM.figure_code,
    output:
        GDDIM.reported(report),
    log:
        GDDIM.figure_log,
    shell:
        GDDIM.draw


rule gddim:
    input:
        jobs=GDDIM.job_files,
        figures=GDDIM.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("gddim")
