"""What the paper says about gDDIM, checked on exact scores and, of Tables 7.1 to 7.3, also networks trained on the digits."""

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, below, monotone, row, smaller

from reproductions.gddim.trained_claims import LAMBDAS, MNIST, PROCESSES, STOCHASTIC, TRAINED, fid

DATASETS = ("mixture2d_grid", "digits_exact")
ROUNDING = 1e-8  # exact up to rounding in float64


def recovery(method: str, variant: str, nfe: int) -> Selector:
    """RMS error of a few steps from T to t0 on one data point."""
    return row(table="prop7", dataset="one_point", method=method, variant=variant, nfe=nfe)


def change(dataset: str, factor: str) -> Selector:
    """Change of eps along the exact flow."""
    return row(table="fig7.1", dataset=dataset, variant=f"K={factor}")


def factor(dataset: str, metric: str, variant: str, nfe: int, method: str = "gDDIM") -> Selector:
    return row(table="7.1", dataset=dataset, method=method, variant=variant, metric=metric, nfe=nfe)


def r_beats_l(dataset: str, metric: str, nfes: tuple[int, ...]) -> Predicate:
    return all_of(*(smaller(factor(dataset, metric, "K=R", n), factor(dataset, metric, "K=L", n)) for n in nfes))


def lam(dataset: str, method: str, value: str, metric: str = "sw2") -> Selector:
    return row(table="7.2", dataset=dataset, method=method, variant=f"lam={value}", metric=metric)


def cell(method: str, process: str, nfe: int, metric: str = "sw2") -> Selector:
    """Table 7.3 on the digits."""
    return row(table="7.3", dataset="digits_exact", method=method, variant=process, metric=metric, nfe=nfe)


def gddim_best(nfe: int, metric: str) -> Predicate:
    rivals = [(name, rival) for name in PROCESSES for rival in (STOCHASTIC[name], "Prob.Flow Heun")] + [("DDPM", "2nd Heun")]
    return all_of(*(smaller(cell("gDDIM", name, nfe, metric), cell(rival, name, nfe, metric)) for name, rival in rivals))


def path_change(factor: str, metric: str) -> Selector:
    """Change of eps along the flow of networks trained on the digits."""
    return row(table="fig7.1", dataset="digits", variant=f"K={factor}", metric=metric)


def rate(dataset: str, phase: str) -> Selector:
    return row(table="fig7.2", dataset=dataset, variant=phase, metric="noise_rate")


def corrected(dataset: str, method: str, order: int, nfe: int, metric: str) -> Selector:
    return row(table="7.4.1", dataset=dataset, method=method, variant=f"q={order}", nfe=nfe, metric=metric)


def predictors_win(dataset: str, metric: str) -> Predicate:
    """With 11 and 21 evaluations, for q = 2 and 3."""
    pairs = [(order, nfe) for order in (2, 3) for nfe in (11, 21)]
    return all_of(
        *(
            smaller(*(corrected(dataset, method, order, nfe, metric) for method in ("predictor", "predictor-corrector")))
            for order, nfe in pairs
        )
    )


def one_score(dataset: str, process: str) -> Selector:
    return row(table="prop8", dataset=dataset, variant=process)


ALONG = [
    Claim(
        "trained-noise-flatter",
        "With a trained score model the output changes less along the flow under R, both channels, than under L.",
        "fig. 7.1",
        smaller(path_change("R", "noise_change"), path_change("L", "noise_change")),
    ),
    Claim(
        "trained-velocity-noise-flatter",
        "With a trained score model the v channel of the output changes less along the flow under R than under L.",
        "fig. 7.1",
        smaller(path_change("R", "noise_change_v"), path_change("L", "noise_change_v")),
    ),
    *(
        Claim(
            f"noise-smooth-at-the-{end}",
            f"On a Dirac mixture eps is smooth at the {end}: it changes slower {where} than in the mixing phase.",
            "fig. 7.2",
            all_of(*(smaller(rate(dataset, phase), rate(dataset, "mixing")) for dataset in ("four_points", "ten_digits"))),
        )
        for end, phase, where in (
            ("beginning", "fully mixed", "while fully mixed"),
            ("end", "one mode", "where one mode dominates"),
        )
    ),
    Claim(
        "predictors-alone-win",
        "When the total is small more evaluations in the predictor are better, on exact scores: "
        "nearer to the exact flow with 11 and 21.",
        "section 7.4.1",
        all_of(*(predictors_win(dataset, "solver_rmse") for dataset in DATASETS)),
    ),
    Claim(
        "trained-predictors-alone-win",
        "When the total is small more evaluations in the predictor are better, on the trained network: "
        "smaller FID with 11 and 21.",
        "section 7.4.1",
        predictors_win("digits", "fid"),
    ),
    *(
        Claim(
            f"trained-beats-rk45-at-{nfe}",
            f"On the trained networks gDDIM has a smaller FID with {nfe} evaluations than RK45, on all three processes.",
            "Table 7.3 (the tolerance of RK45 is not stated: the tightest within the evaluations, the loosest where none is)",
            all_of(
                *(
                    smaller(
                        fid("7.3", "gDDIM", name, nfe),
                        row(
                            table="7.3",
                            dataset="digits",
                            method="Prob.Flow RK45",
                            variant=f"{name}, at most {nfe}",
                            metric="fid",
                        ),
                    )
                    for name in PROCESSES
                )
            ),
        )
        for nfe in (10, 20, 50)
    ),
    Claim(
        "one-score-gives-all-on-vp",
        "Of a Dirac distribution one evaluation of the score on VP recovers it at any other point and time.",
        "Proposition 6",
        below(one_score("one_point", "DDPM"), ROUNDING),
    ),
    Claim(
        "one-score-gives-all",
        "Of N(u_0, Sigma_0) one evaluation of the score recovers it at any other point and time, on BDM and CLD too.",
        "Proposition 8",
        all_of(*(below(one_score("one_point", name), ROUNDING) for name in PROCESSES)),
    ),
]

CLAIMS = [
    *TRAINED,
    *MNIST,
    *ALONG,
    Claim(
        "one-step-recovery",
        "With one data point a single gDDIM step with K = R from T to t0 is exact, on VP (where it is DDIM), BDM and CLD.",
        "Propositions 4 and 7, section 7.4.1",
        all_of(*(below(recovery("gDDIM", f"{name}, K=R", 1), ROUNDING) for name in PROCESSES)),
    ),
    Claim(
        "one-step-needs-r",
        "Under K = L that step is far off on CLD: by more than the range of the data.",
        "section 7.4.1; the bound 2, the range, is ours",
        above(recovery("gDDIM", "CLD, K=L", 1), 2.0),
    ),
    Claim(
        "noise-constant",
        "With one data point eps under R is constant along the probability flow.",
        "Proposition 7",
        below(change("one_point", "R"), ROUNDING),
    ),
    Claim(
        "noise-flat-on-data",
        "On a data set eps changes less along the flow under R than under L.",
        "fig. 7.1",
        smaller(change("digits_exact", "R"), change("digits_exact", "L")),
    ),
    Claim(
        "r-beats-l-few-steps",
        "R samples closer to the data than L with 20 and 30 evaluations.",
        "Table 7.1",
        r_beats_l("digits_exact", "sw2", (20, 30)),
    ),
    Claim(
        "r-beats-l-many-steps",
        "R samples closer to the data than L with 40 and 50 evaluations.",
        "Table 7.1",
        r_beats_l("digits_exact", "sw2", (40, 50)),
    ),
    Claim(
        "r-solves-better",
        "R comes closer to the exact flow than L with 20 to 50 evaluations, on the mixture and on the digits.",
        "Table 7.1, in the error that K alone decides",
        all_of(*(r_beats_l(dataset, "solver_rmse", (20, 30, 40, 50)) for dataset in DATASETS)),
    ),
    Claim(
        "l-breaks-down",
        "L breaks down at 20 evaluations, by more than the range of the data, and recovers with 40 to less than a tenth of it.",
        "Table 7.1 (printed 368 and 4.12); the bounds, and the range 2, are ours",
        all_of(above(factor("digits_exact", "sw2", "K=L", 20), 2.0), below(factor("digits_exact", "sw2", "K=L", 40), 0.2)),
    ),
    Claim(
        "multistep-samples-better",
        "With 50 evaluations the multistep predictor samples closer to the data than the one-step predictor.",
        "Tables 7.1 and 7.2 (printed 2.26 and 5.17)",
        all_of(*(smaller(factor(d, "sw2", "K=R", 50), factor(d, "sw2", "K=R, q=1", 50)) for d in DATASETS)),
    ),
    Claim(
        "multistep-solves-better",
        "With 50 evaluations the multistep predictor is closer to the exact flow than the one-step predictor.",
        "section 7.4.1, multistep predictors",
        all_of(*(smaller(factor(d, "solver_rmse", "K=R", 50), factor(d, "solver_rmse", "K=R, q=1", 50)) for d in DATASETS)),
    ),
    Claim(
        "fifty-times-euler",
        "gDDIM with 20 evaluations is closer to the exact flow than the naive Euler solver with 1000.",
        "fig. 7.1: 'more than 50 times'",
        smaller(
            factor("mixture2d_grid", "solver_rmse", "K=R", 20), factor("mixture2d_grid", "solver_rmse", "CLD", 1000, "Euler")
        ),
    ),
    *(
        Claim(
            f"lambda-hurts-{dataset.split('_')[0]}",
            f"With 50 evaluations a larger lambda makes gDDIM's samples worse, on {dataset}.",
            "section 7.5, Table 7.2",
            monotone([lam(dataset, "gDDIM", value) for value in ("0", "0.3", "1")], increasing=True),
        )
        for dataset in DATASETS
    ),
    Claim(
        "gddim-beats-em-small-lambda",
        "gDDIM is better than Euler-Maruyama at lambda 0, 0.1 and 0.3 on the mixture.",
        "section 7.5, Table 7.2",
        all_of(*(smaller(lam("mixture2d_grid", "gDDIM", v), lam("mixture2d_grid", "EM", v)) for v in LAMBDAS[:3])),
    ),
    Claim(
        "gddim-stays-on-modes",
        "gDDIM leaves fewer samples between the modes of the mixture than Euler-Maruyama at lambda 0, 0.1 and 0.3.",
        "section 7.5, Table 7.2, in the fraction of samples off every mode",
        all_of(*(smaller(*(lam("mixture2d_grid", method, v, "off_mode") for method in ("gDDIM", "EM"))) for v in LAMBDAS[:3])),
    ),
    Claim(
        "gddim-beats-em-large-lambda",
        "gDDIM is better than Euler-Maruyama at lambda 0.5, 0.7 and 1 on the mixture.",
        "section 7.5, Table 7.2",
        all_of(*(smaller(lam("mixture2d_grid", "gDDIM", v), lam("mixture2d_grid", "EM", v)) for v in LAMBDAS[3:])),
    ),
    Claim(
        "gddim-beats-em-digits",
        "gDDIM is better than Euler-Maruyama at every lambda on the digits.",
        "section 7.5, Table 7.2",
        all_of(*(smaller(lam("digits_exact", "gDDIM", v), lam("digits_exact", "EM", v)) for v in LAMBDAS)),
    ),
    Claim(
        "lambda-leaves-noise",
        "With 50 evaluations a larger lambda leaves gDDIM's samples farther from data points.",
        "section 7.5, Table 7.2, in the distance to the nearest data point",
        monotone([lam("digits_exact", "gDDIM", value, "off_data") for value in ("0", "0.3", "1")], increasing=True),
    ),
    Claim(
        "gddim-cleaner-than-em",
        "gDDIM's samples lie nearer to data points than those of Euler-Maruyama at every lambda.",
        "section 7.5, Table 7.2, in the distance to the nearest data point",
        all_of(*(smaller(*(lam("digits_exact", method, v, "off_data") for method in ("gDDIM", "EM"))) for v in LAMBDAS)),
    ),
    Claim(
        "noise-helps-em",
        "Euler-Maruyama is better with lambda 0.7 than without noise.",
        "Table 7.2 (printed 45 and 346)",
        all_of(*(smaller(lam(d, "EM", "0.7"), lam(d, "EM", "0")) for d in DATASETS)),
    ),
    Claim(
        "eq-7.6-beats-released-drift",
        "Euler-Maruyama with the drift of eq. 7.6 is better than with the released code's (1 + lambda)/2 at lambda 0.1 to 0.7.",
        "eq. 7.6 and the released code",
        all_of(*(smaller(lam("mixture2d_grid", "EM", v), lam("mixture2d_grid", "EM as released", v)) for v in LAMBDAS[1:5])),
    ),
    *(
        Claim(
            f"gddim-best-{nfe}",
            f"With {nfe} evaluations gDDIM has a smaller sw2 to the data than every other printed sampler (Heun for RK45).",
            "Table 7.3",
            gddim_best(nfe, "sw2"),
        )
        for nfe in (10, 20)
    ),
    *(
        Claim(
            f"gddim-cleanest-{nfe}",
            f"With {nfe} evaluations gDDIM's samples lie nearer to data points than those of every other printed sampler.",
            "Table 7.3, in the distance to the nearest data point",
            gddim_best(nfe, "off_data"),
        )
        for nfe in (10, 20, 50)
    ),
    Claim(
        "cld-worst-at-10",
        "With 10 evaluations gDDIM on CLD is behind gDDIM on VP and BDM.",
        "Table 7.3 (printed 13.41, 4.17 and 4.52)",
        all_of(*(smaller(cell("gDDIM", name, 10), cell("gDDIM", "CLD", 10)) for name in ("DDPM", "BDM"))),
    ),
    Claim(
        "twenty-times-ancestral",
        "On BDM gDDIM with 50 evaluations outperforms ancestral sampling with 1000.",
        "section 7.5, Table 7.3",
        smaller(cell("gDDIM", "BDM", 50), cell("Ancestral", "BDM", 1000)),
    ),
    Claim(
        "twenty-times-ancestral-cleaner",
        "On BDM samples of gDDIM with 50 evaluations lie nearer to data points than those of ancestral sampling with 1000.",
        "section 7.5, in the distance to the nearest data point",
        smaller(cell("gDDIM", "BDM", 50, "off_data"), cell("Ancestral", "BDM", 1000, "off_data")),
    ),
    Claim(
        "fifty-suffice",
        "gDDIM with 50 evaluations is as good as with 1000: within 0.01 on all three processes.",
        "Table 7.3 (printed differences 0.01 to 0.03); the bound is ours",
        all_of(*(agrees(cell("gDDIM", name, 50), cell("gDDIM", name, 1000), within=0.01) for name in PROCESSES)),
    ),
    Claim(
        "samplers-meet",
        "With 1000 evaluations the slow sampler of each process is as good as gDDIM: within 0.02.",
        "Table 7.3 (printed differences 0.05 to 0.14); the bound is ours",
        all_of(*(agrees(cell(STOCHASTIC[name], name, 1000), cell("gDDIM", name, 1000), within=0.02) for name in PROCESSES)),
    ),
]
