"""What the paper says of networks trained on the mixture, of the gradients that train them, and of the paths of samples."""

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, below, row, smaller

TIMES = ("0.001", "0.003", "0.01", "0.03", "0.05", "0.1", "0.2", "0.3", "0.5", "0.7", "1")
GRADIENT_TIMES = ("1e-05", "0.0001", "0.001", "0.01", "0.1", "0.5")
ENDS = {"1": 0.25, "1e-05": 0.01}  # t, and the variance of Normal velocities there: M and gamma M


def jacobian(method: str, metric: str, t: str) -> Selector:
    """Of a trained network."""
    return row(table="fig9", dataset="mixture9", method=method, metric=metric, variant=f"t={t}")


def samples(method: str, score: str, metric: str) -> Selector:
    return row(table="fig10", dataset="mixture9", method=method, variant=f"{score} score", metric=metric)


def velocities(table: str, t: str, metric: str) -> Selector:
    return row(table=table, dataset="digits_exact", method="CLD", variant=f"t={t}", metric=metric)


def normal_at_both_ends(table: str) -> Predicate:
    variances = [agrees(velocities(table, t, "v_variance"), value, within=0.05 * value) for t, value in ENDS.items()]
    return all_of(*variances, *(below(velocities(table, t, "v_kurtosis"), 0.2, by=abs) for t in ENDS))


LEARNED = [
    *(
        Claim(
            f"learned-jacobian-smaller-{score}",
            f"The trained network of CLD has a smaller Jacobian than VPSDE's at every t, {score} score.",
            "Figs. 2 (bottom), 9 and 12",
            all_of(*(smaller(jacobian("CLD", metric, t), jacobian("VPSDE", metric, t)) for t in TIMES)),
        )
        for score, metric in (("plain", "jacobian"), ("mixed", "jacobian_mixed"))
    ),
    *(
        Claim(
            f"learned-mixed-score-simplifies-{method.lower()}",
            f"The mixed score leaves the trained network of {method} a smaller Jacobian from t = 0.1 on.",
            "App. E.1 (the range is ours, that of the exact score's claim)",
            all_of(*(smaller(jacobian(method, "jacobian_mixed", t), jacobian(method, "jacobian", t)) for t in TIMES[5:])),
        )
        for method in ("CLD", "VPSDE")
    ),
    Claim(
        "learned-models-find-all-modes",
        "Samples of all four trained models find every mode: each gets over half of its share.",
        "Fig. 10 (the bound is ours)",
        all_of(*(above(samples(m, s, "least_mode"), 0.5) for m in ("CLD", "VPSDE") for s in ("plain", "mixed"))),
    ),
    Claim(
        "learned-cld-nearer",
        "What is simpler to learn is learned better: CLD's trained models leave fewer points off the modes than VPSDE's.",
        "Figs. 2 and 10 (no number printed)",
        all_of(*(smaller(samples("CLD", s, "off_mode"), samples("VPSDE", s, "off_mode")) for s in ("plain", "mixed"))),
    ),
    Claim(
        "hsm-smaller-gradient-covariance",
        "The covariance of HSM's gradients has a smaller trace than that of DSM's at every t: their ratio is above 1.",
        "Fig. 7; section 3.2",
        all_of(
            *(
                above(row(table="fig7", dataset="mixture9", metric="gradient_trace_ratio", variant=f"t={t}"), 1)
                for t in GRADIENT_TIMES
            )
        ),
    ),
    *(
        Claim(
            f"velocities-normal-at-both-ends-{name}",
            "The velocities are Normal at t = 1 and at t -> 0, with variances M and gamma M (5 %; excess kurtosis below 0.2).",
            f"Fig. {table[3:]} (the bounds are ours)",
            normal_at_both_ends(table),
        )
        for table, name in (("fig18", "ode"), ("fig19", "sscs"))
    ),
]
