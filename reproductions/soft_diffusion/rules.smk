# Soft Diffusion: general linear corruptions.

SOFT_DIFFUSION = SUITE.papers["soft_diffusion"]


rule soft_diffusion_measure:
    output:
        **SOFT_DIFFUSION.outputs,
    log:
        SOFT_DIFFUSION.job_log,
    wildcard_constraints:
        job=SOFT_DIFFUSION.job_pattern,
    params:
        hash=SOFT_DIFFUSION.hash,
        data=SOFT_DIFFUSION.data,
    threads: SOFT_DIFFUSION.threads
    priority: SOFT_DIFFUSION.priority
    resources:
        gpu=SOFT_DIFFUSION.gpu,
        mem_mb=SOFT_DIFFUSION.mem_mb,
        runtime=SOFT_DIFFUSION.runtime,
    shell:
        SOFT_DIFFUSION.run("measure")


rule soft_diffusion_figures:
    input:
        SOFT_DIFFUSION.job_files,
        SOFT_DIFFUSION.figure_code,
    output:
        SOFT_DIFFUSION.reported(report),
    log:
        SOFT_DIFFUSION.figure_log,
    shell:
        SOFT_DIFFUSION.draw


rule soft_diffusion:
    input:
        jobs=SOFT_DIFFUSION.job_files,
        figures=SOFT_DIFFUSION.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("soft_diffusion")
