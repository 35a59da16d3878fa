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


def digits_jacobian(method: str, metric: str, t: str) -> Selector:
    """Of a network trained on the digits."""
    return row(table="fig9", dataset="digits", method=method, metric=metric, variant=f"t={t}")


def rolls(method: str, metric: str, variant: str = "mixed score") -> Selector:
    """Of samples of the multi-scale toy; no variant for what no network has drawn."""
    return row(table="fig13", dataset="swiss_rolls", method=method, variant=variant, metric=metric)


def rolls_jacobian(method: str, t: str) -> Selector:
    return row(table="fig12", dataset="swiss_rolls", method=method, metric="jacobian_mixed", variant=f"t={t}")


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
        "multiscale-jacobian-smaller",
        "On the multi-scale toy the trained network of CLD has a smaller Jacobian than VPSDE's at every t, mixed score.",
        "Fig. 12",
        all_of(*(smaller(rolls_jacobian("CLD", t), rolls_jacobian("VPSDE", t)) for t in TIMES)),
    ),
    Claim(
        "multiscale-all-rolls",
        "The model samples of CLD are on all five rolls of the data: each gets over half of its share.",
        "Fig. 13 (the caption names data and samples only; the bound is ours)",
        all_of(*(above(rolls("CLD", f"mass_{k}"), 0.1) for k in range(5))),
    ),
    Claim(
        "multiscale-fine-scale",
        "The model samples of CLD show the fine scale: they are nearer to the rolls than Normals with each roll's moments.",
        "Fig. 13 (an assumption: the caption names data and samples only)",
        smaller(rolls("CLD", "roll_distance"), rolls("Normals", "roll_distance", "")),
    ),
    Claim(
        "multiscale-cld-no-worse",
        "CLD's samples are no worse at the fine scale: nearer to the rolls than VPSDE's, of networks trained alike.",
        "Fig. 13 (an assumption: the caption names data and samples only)",
        smaller(rolls("CLD", "roll_distance"), rolls("VPSDE", "roll_distance")),
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

DIGITS = [
    Claim(
        "digits-jacobian-smaller",
        "On the digits the trained network of CLD has a smaller Jacobian than VPSDE's at every t, plain score.",
        "Figs. 2 (bottom), 9 and 12, of networks trained on images",
        all_of(*(smaller(digits_jacobian("CLD", "jacobian", t), digits_jacobian("VPSDE", "jacobian", t)) for t in TIMES)),
    ),
    Claim(
        "digits-mixed-score-simplifies",
        "On the digits the mixed score leaves the trained network of CLD a smaller Jacobian from t = 0.1 on.",
        "App. E.1 (the range is ours, that of the exact score's claim)",
        all_of(
            *(smaller(digits_jacobian("CLD", "jacobian_mixed", t), digits_jacobian("CLD", "jacobian", t)) for t in TIMES[5:])
        ),
    ),
]
"""Of the networks trained on the digits."""
