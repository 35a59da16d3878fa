# Samplers x processes; as for any paper.

MATRIX = SUITE.papers["sampler_matrix"]


rule sampler_matrix_measure:
    output:
        **MATRIX.outputs,
    log:
        MATRIX.job_log,
    wildcard_constraints:
        job=MATRIX.job_pattern,
    params:
        hash=MATRIX.hash,
        data=MATRIX.data,
    threads: MATRIX.threads
    priority: MATRIX.priority
    resources:
        gpu=MATRIX.gpu,
        mem_mb=MATRIX.mem_mb,
        runtime=MATRIX.runtime,
    shell:
        MATRIX.run("measure")


rule sampler_matrix_figures:
    input:
        MATRIX.job_files,
        MATRIX.figure_code,
    output:
        MATRIX.reported(report),
    log:
        MATRIX.figure_log,
    shell:
        MATRIX.draw


rule sampler_matrix:
    input:
        jobs=MATRIX.job_files,
        figures=MATRIX.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("sampler_matrix")
