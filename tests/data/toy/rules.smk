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


rule toy_figure:
    input:
        TOY.job_files,
        TOY.figure_code,
    output:
        report(TOY.figure, caption=SUITE.caption, category=TOY.category, labels=TOY.figure_labels),
    log:
        TOY.figure_log,
    wildcard_constraints:
        figure=TOY.figure_pattern,
    params:
        caption=TOY.caption,
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
