"""Sentences on log Z of those whose methods stand in the table, and a check of ours; each says if its numbers had been seen."""

from rescore.ledger.claims import Claim, Selector, below, row, smaller

ARBEL = "Arbel, Matthews, Doucet 2021 (arXiv:2102.07501), abstract"
WU = "Wu, Koehler, Noe 2020 (arXiv:2002.06707), abstract"
NEAR = 0.1  # nats


def found(dataset: str, method: str, variant: str = "") -> Selector:
    return row(table="log_z", dataset=dataset, method=method, variant=variant, metric="logz_rmse")


CLAIMS = (
    [
        Claim(
            f"aft-better-{target}",
            "AFT builds upon AIS and SMC and combines them with normalizing flows for improved performance: of log Z of "
            f"{target} its A is less than that of SMC with as many temperatures and moves.",
            ARBEL,
            smaller(found(target, "AFT"), found(target, "SMC")),
        )
        for target in ("funnel", "brownian", "lgcp")
    ]
    + [
        Claim(
            f"snf-better-{target}",
            "Stochasticity overcomes expressivity limitations of normalizing flows resulting from the invertibility "
            f"constraint: of log Z of {target}, a mixture, A of SNF is less than that of VI-NF.",
            WU,
            smaller(found(target, "SNF"), found(target, "VI-NF")),
        )
        for target in ("mg", "gmm40", "student2")
    ]
    + [
        Claim(
            f"maps-help-moves-{target}",
            "Trainable transformations between sampling steps improve the efficiency of pure MCMC along the flow: of log Z of "
            f"{target}, A of SNF is less than that of the same moves with no maps between them.",
            f"{WU}; written down when A of SNF, and bounds of mg, gmm40 and manywell32 without maps, had been seen",
            smaller(found(target, "SNF"), found(target, "SNF", "identity")),
        )
        for target in ("mg", "gmm40", "student2", "funnel", "manywell32")
    ]
    + [
        Claim(
            "brownian-log-z",
            f"A long SMC finds log Z of brownian, which is a quadrature's, with an A below {NEAR} nats.",
            "a check of ours: no paper's sentence",
            below(found("brownian", "SMC", "long"), NEAR),
        )
    ]
)
