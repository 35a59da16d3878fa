# As for any paper.

TOY = SUITE.papers["toy"]


rule toy_measure:
    output:
        **TOY.outputs,
    log:
        TOY.job_log,
    wildcard_constraints:
        job=TOY.job_pattern,
    params:
        hash=TOY.hash,
        data=TOY.data,
    threads: TOY.threads
    priority: TOY.priority
    resources:
        gpu=TOY.gpu,
        mem_mb=TOY.mem_mb,
        runtime=TOY.runtime,
    shell:
        TOY.run("measure")


rule toy_figures:
    input:
        TOY.job_files,
        TOY.figure_code,
    output:
        TOY.reported(report),
    log:
        TOY.figure_log,
    shell:
        TOY.draw


rule toy:
    input:
        jobs=TOY.job_files,
        figures=TOY.figures,
    params:
        others=SUITE.finished_elsewhere,
    shell:
        SUITE.update_ledger("toy")
