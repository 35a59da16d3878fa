# SMLD and Score-SDE, as for any paper.

SMLD_SDE = SUITE.papers["smld_sde"]


rule smld_sde_measure:
    input:
        SMLD_SDE.models,
    output:
        **SMLD_SDE.outputs,
    log:
        SMLD_SDE.job_log,
    wildcard_constraints:
        job=SMLD_SDE.job_pattern,
    params:
        hash=SMLD_SDE.hash,
        data=SMLD_SDE.data,
    threads: SMLD_SDE.threads
    priority: SMLD_SDE.priority
    resources:
        gpu=SMLD_SDE.gpu,
        mem_mb=SMLD_SDE.mem_mb,
        runtime=SMLD_SDE.runtime,
    shell:
        SMLD_SDE.run("measure")


rule smld_sde_figures:
    input:
        SMLD_SDE.job_files,
        SMLD_SDE.figure_code,
    output:
        SMLD_SDE.reported(report),
    log:
        SMLD_SDE.figure_log,
    shell:
        SMLD_SDE.draw


rule smld_sde:
    input:
        jobs=SMLD_SDE.job_files,
        figures=SMLD_SDE.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("smld_sde")
