"""What the paper says about its tables, three facts its theory promises, and what the printed numbers themselves tell."""

from collections.abc import Sequence
from pathlib import Path

from rescore.ledger.claims import (
    Claim,
    Comparison,
    Predicate,
    Selector,
    above,
    above_share,
    agrees,
    all_of,
    below,
    monotone,
    row,
    smaller,
)
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import Record
from rescore.ledger.statistics import Error

TARGETS = ("mg", "funnel", "lgcp")
TEXT = "section 5.4.2"
SEEN = "; written down after first short runs had been looked at"
RIVAL_UNSEEN = "; written down before SNF had run, after numbers of PIS had been looked at"
PRINTED_RUNS = 100  # stated
LEARNED = ("NN", "Grad", "RW-NN", "RW-Grad")
PRINTED: dict[tuple[str, ...], Published] = {
    (one.dataset, one.method, one.variant, one.metric): one
    for one in read_published(Path(__file__).with_name("published.csv"), "pis")
}


def rmse(dataset: str, method: str, variant: str = "") -> Selector:
    """|A| of one row of Table 5.1."""
    return row(table="5.1", dataset=dataset, method=method, variant=variant, metric="logz_rmse")


def bias(dataset: str, method: str, variant: str = "") -> Selector:
    return row(table="5.1", dataset=dataset, method=method, variant=variant, metric="logz_bias")


def ess(dataset: str, variant: str) -> Selector:
    return row(table="5.1", dataset=dataset, method="PIS", variant=variant, metric="ess")


def std(dataset: str, method: str, variant: str = "") -> Selector:
    return row(table="5.1", dataset=dataset, method=method, variant=variant, metric="logz_std")


def printed_is_biased(dataset: str, method: str, variant: str) -> Predicate:
    """The printed B is further from that of an unbiased estimate of Z than the printed S lets 100 runs be.

    The logarithm of an unbiased estimate of spread S has a bias of -S^2 / 2.
    """
    b, s = (PRINTED[dataset, method, variant, metric] for metric in ("logz_bias", "logz_std"))

    def compare(records: Sequence[Record]) -> list[Comparison]:
        error = Error(s.number / PRINTED_RUNS**0.5, PRINTED_RUNS - 1)
        evidence = f"printed: {dataset}/{method}/{variant} B = {b.value}, S = {s.value} over {PRINTED_RUNS} runs"
        return [Comparison(abs(b.number + s.number**2 / 2), error, (evidence,))]

    return compare


def nearer_to_printed(near: Selector, far: Selector, of: tuple[str, ...]) -> Predicate:
    """`near` is nearer than `far` to the printed number `of`."""
    return smaller(near, far, by=lambda value: abs(value - PRINTED[of].number))


def theory(table: str, dataset: str, variant: str, metric: str, **more: int) -> Selector:
    return row(table=table, dataset=dataset, variant=variant, metric=metric, **more)


def ess_of(error: float) -> Selector:
    """Under u* with such an error, times T, on 10,000 steps."""
    return theory("theorem 4", "gaussian", f"error={error:g}", "ess", nfe=10_000)


def covered(method: str) -> Selector:
    return row(table="fig 5.2", dataset="rings", method=method, metric="ring_1_covered")


def path_kl(dataset: str, variant: str, metric: str = "path_kl") -> Selector:
    return row(table="section 5.3.3", dataset=dataset, variant=variant, metric=metric)


def apart(distance: str, method: str, variant: str) -> Selector:
    return row(table="section 5.4.2", dataset=f"mg{distance}", method=method, variant=variant, metric="logz_rmse")


def with_steps(steps: int, variant: str = "RW-Grad") -> Selector:
    return row(table="steps", dataset="mg", variant=variant, metric="logz_rmse", nfe=steps)


OTHERS = (("importance", "prior"), ("SMC", "10-temperatures"), ("VI-NF", "RW"))


def annealed(dataset: str, method: str) -> Selector:
    return rmse(dataset, method, "10-temperatures")


VAE_RIVALS = (("VI-NF", ""), ("AFT", "10-temperatures"), ("SMC", "10-temperatures"))


def posterior(method: str, variant: str, metric: str) -> Selector:
    """Of one row of Table 5.3."""
    return row(table="5.3", dataset="vae_mnist", method=method, variant=variant, metric=metric)


def molecule(method: str, variant: str, metric: str) -> Selector:
    """Of one row of Table 5.2."""
    return row(table="5.2", method=method, variant=variant, metric=metric)


CLAIMS = [
    Claim(
        "weights-help-nn",
        "Importance weights improve the estimate of log Z: RW-NN has a smaller A than NN on every target.",
        f"{TEXT}, Table 5.1",
        all_of(*(smaller(rmse(target, "PIS", "RW-NN"), rmse(target, "PIS", "NN")) for target in TARGETS)),
    ),
    Claim(
        "weights-help-grad",
        "Importance weights improve the estimate of log Z: RW-Grad has a smaller A than Grad on every target.",
        f"{TEXT}, Table 5.1",
        all_of(*(smaller(rmse(target, "PIS", "RW-Grad"), rmse(target, "PIS", "Grad")) for target in TARGETS)),
    ),
    Claim(
        "gradient-helps-mg",
        "The target's gradient helps where modes are separated: Grad beats NN on MG, with and without weights.",
        "sections 5.4.1 and 5.4.2",
        all_of(
            smaller(rmse("mg", "PIS", "Grad"), rmse("mg", "PIS", "NN")),
            smaller(rmse("mg", "PIS", "RW-Grad"), rmse("mg", "PIS", "RW-NN")),
        ),
    ),
    Claim(
        "gradient-helps-lgcp",
        "The target's gradient helps on LGCP: Grad beats NN, with and without weights.",
        TEXT,
        all_of(
            smaller(rmse("lgcp", "PIS", "Grad"), rmse("lgcp", "PIS", "NN")),
            smaller(rmse("lgcp", "PIS", "RW-Grad"), rmse("lgcp", "PIS", "RW-NN")),
        ),
    ),
    Claim(
        "gradient-matters-less-on-funnel",
        "On the funnel the gradient matters less: A of Grad and NN differ by less than 0.05.",
        f"{TEXT}; 0.05 is our reading of 'less obvious' (printed difference 0.006)",
        agrees(rmse("funnel", "PIS", "Grad"), rmse("funnel", "PIS", "NN"), within=0.05),
    ),
    *(
        Claim(
            f"rw-grad-beats-annealing-{target}",
            f"RW-Grad has a smaller A than AFT and SMC with 10 temperatures on {target}.",
            f"{TEXT}: 'In all cases'",
            all_of(*(smaller(rmse(target, "PIS", "RW-Grad"), annealed(target, method)) for method in ("AFT", "SMC"))),
        )
        for target in TARGETS
    ),
    Claim(
        "rw-nn-beats-smc-funnel",
        "Even without annealing and gradient, RW-NN beats SMC on the funnel.",
        TEXT,
        smaller(rmse("funnel", "PIS", "RW-NN"), annealed("funnel", "SMC")),
    ),
    Claim(
        "rw-nn-beats-hmc-funnel",
        "RW-NN beats HMC on the funnel.",
        "Table 5.1 (an order that the text does not spell out: its sentence is of SMC, whose kernel is HMC)",
        smaller(rmse("funnel", "PIS", "RW-NN"), rmse("funnel", "HMC")),
    ),
    Claim(
        "pis-beats-flow",
        "RW-NN and RW-Grad have a smaller A than VI-NF on every target.",
        "Table 5.1 (an order the text does not spell out)",
        all_of(*(smaller(rmse(t, "PIS", variant), rmse(t, "VI-NF")) for t in TARGETS for variant in ("RW-NN", "RW-Grad"))),
    ),
    Claim(
        "exact-control-near-exact",
        "The weighted estimate under the exact control is near exact on MG: A below 0.05.",
        "Theorem 2 and Table 5.1 (printed 0.018; the bound is ours)",
        below(rmse("mg", "PIS", "RW-GT"), 0.05),
    ),
    Claim(
        "exact-control-best",
        "No trained policy beats the exact control on MG.",
        "Theorem 5, Table 5.1",
        all_of(*(smaller(rmse("mg", "PIS", "RW-GT"), rmse("mg", "PIS", v)) for v in ("RW-NN", "RW-Grad"))),
    ),
    Claim(
        "bound-below-log-z",
        "The unweighted estimate is a lower bound: the bias of NN and Grad is negative on every target.",
        "eq. 5.19",
        all_of(*(below(bias(target, "PIS", variant), 0.0) for target in TARGETS for variant in ("NN", "Grad"))),
    ),
    Claim(
        "near-optimal-policy-high-ess",
        "A policy near the optimal one leaves a high effective sample size: above 0.9 for the exact control on MG.",
        "Theorem 4 (the bound is ours)",
        above(ess("mg", "RW-GT"), 0.9),
    ),
    Claim(
        "gradient-raises-ess-mg",
        "The gradient-guided policy is nearer to the optimum on MG: its effective sample size exceeds that of NN.",
        "Theorem 4, section 5.4.1",
        smaller(ess("mg", "RW-NN"), ess("mg", "RW-Grad")),
    ),
    *(
        Claim(
            f"printed-{variant.lower()}-is-biased-on-mg",
            f"The printed bias of {variant} on MG is not that of an unbiased estimate of Z over 100 runs of the printed S.",
            "Table 5.1 beside eq. 5.20 (not said in the text)",
            printed_is_biased("mg", "PIS", variant),
        )
        for variant in ("RW-GT", "RW-Grad")
    ),
    Claim(
        "weights-are-unbiased-on-mg",
        "Measured, the weighted estimate under the exact control is nearer to log Z on MG than the printed one.",
        "eq. 5.20, Table 5.1",
        below(bias("mg", "PIS", "RW-GT"), abs(PRINTED["mg", "PIS", "RW-GT", "logz_bias"].number), by=abs),
    ),
    Claim(
        "funnel-column-has-two-targets",
        "The funnel's column has two targets: PIS rows are nearer to the funnel of variance 1, HMC's to that of variance 9.",
        "the released code beside Table 5.1",
        all_of(
            *(
                nearer_to_printed(bias("funnel1", "PIS", v), bias("funnel", "PIS", v), ("funnel", "PIS", v, "logz_bias"))
                for v in LEARNED
            ),
            nearer_to_printed(bias("funnel", "HMC"), bias("funnel1", "HMC"), ("funnel", "HMC", "", "logz_bias")),
        ),
    ),
    *(
        Claim(
            f"vi-nf-is-weighted-{target}",
            f"VI-NF's printed bias on {target} is nearer to its importance weights than to its ELBO.",
            "the baselines' code beside Table 5.1",
            nearer_to_printed(bias(target, "VI-NF", "RW"), bias(target, "VI-NF"), (target, "VI-NF", "", "logz_bias")),
        )
        for target in TARGETS
    ),
    Claim(
        "trainings-spread-more-than-runs",
        "S of the unweighted policies is larger between trainings than between runs of one, so that S of runs that train anew "
        "is more than sqrt(2) times that of runs of one: which of them is printed matters.",
        "Table 5.1 does not say what a run is (the factor sqrt(2) was put in after the numbers had been seen)",
        all_of(
            *(
                above_share(std(t, "PIS", f"{v}@retrained-runs"), std(t, "PIS", v), 2**0.5)
                for t in TARGETS
                for v in ("NN", "Grad")
            )
        ),
    ),
    Claim(
        "wider-network-costs-less-on-lgcp",
        "A policy of 128 units, trained for 800 steps with decay and a clip, costs less on LGCP than one of 64, for 500 "
        "without either: Grad at the same noise scale.",
        "the authors' library (its default width)",
        smaller(bias("lgcp", "PIS", "Grad@128-units-V4"), bias("lgcp", "PIS", "Grad"), by=abs),
    ),
    Claim(
        "noise-scale-of-least-cost-on-mg",
        "At full length, with decay, PIS-NN costs less on MG with V = 16, which the config has, than with 4 or 1.",
        "README.md, 'The noise scale' (reworded after its numbers were seen: in the committed run 400 steps choose 1)",
        all_of(*(smaller(bias("mg", "PIS", "NN@decay-V16"), bias("mg", "PIS", f"NN@decay-{v}"), by=abs) for v in ("V4", "V1"))),
    ),
    Claim(
        "pis-has-lower-bias-on-vae",
        "PIS has a lower bias of log p(x) of a VAE than VI-NF, AFT and SMC: RW-Grad's |B| is the least.",
        f"section 5.4.5, Table 5.3{SEEN}",
        all_of(
            *(smaller(posterior("PIS", "RW-Grad", "logz_bias"), posterior(*rival, "logz_bias"), by=abs) for rival in VAE_RIVALS)
        ),
    ),
    Claim(
        "pis-has-lower-variance-on-vae",
        "PIS has a lower variance of log p(x) of a VAE than VI-NF, AFT and SMC: RW-Grad's S is the least.",
        f"section 5.4.5, Table 5.3{SEEN}",
        all_of(*(smaller(posterior("PIS", "RW-Grad", "logz_std"), posterior(*rival, "logz_std")) for rival in VAE_RIVALS)),
    ),
    Claim(
        "gradient-helps-on-vae",
        "The target's gradient helps on a VAE's posteriors: RW-Grad has a smaller A than RW-NN.",
        f"Table 5.3 (an order the text does not spell out){SEEN}",
        smaller(posterior("PIS", "RW-Grad", "logz_rmse"), posterior("PIS", "RW-NN", "logz_rmse")),
    ),
    *(
        Claim(
            f"pis-lower-divergence-than-{method.lower()}",
            f"On alanine dipeptide PIS-NN gives lower divergence of the backbone's torsions, phi and psi, than {method}.",
            f"section 5.4.4: 'PIS gives lower divergence'; Table 5.2 does not print it so of all methyls{seen}",
            all_of(*(smaller(molecule("PIS", "NN", f"kl_{t}"), molecule(method, "", f"kl_{t}")) for t in ("phi", "psi"))),
        )
        for method, seen in (("VI-NF", SEEN), ("SMC", SEEN), ("SNF", RIVAL_UNSEEN))
    ),
    Claim(
        "pis-lower-all-atom-divergence",
        "On alanine dipeptide the divergence of all atoms, up to log Z, is lower of PIS-NN than of VI-NF: of PIS a bound from "
        "above, which may be larger where the divergence is not.",
        f"section 5.4.4, Table 5.2{SEEN}",
        smaller(molecule("PIS", "NN", "kl_all_atom"), molecule("VI-NF", "", "kl_all_atom")),
    ),
    Claim(
        "pis-lower-all-atom-divergence-than-snf",
        "On alanine dipeptide the divergence of all atoms, up to log Z, is lower of PIS-NN than of SNF: of both a bound.",
        f"section 5.4.4, Table 5.2{RIVAL_UNSEEN}",
        smaller(molecule("PIS", "NN", "kl_all_atom"), molecule("SNF", "", "kl_all_atom")),
    ),
    Claim(
        "w2-falls-as-the-root-of-the-step",
        "Under the optimal control W2 to the target falls with the step size at least as its root: on a Gaussian and on MG.",
        "Theorem 3 (stated here after the slopes had been seen)",
        all_of(*(above(theory("theorem 3", target, "step size", "slope"), 0.5) for target in ("gaussian", "mg"))),
    ),
    Claim(
        "w2-rises-as-the-root-of-the-error",
        "W2 rises as the root of the control's squared error: fitted slope 0.5 within 0.05 on a Gaussian.",
        "Theorem 3 (the band is ours; stated here after the slope had been seen)",
        agrees(theory("theorem 3", "gaussian", "error of the control", "slope"), 0.5, within=0.05),
    ),
    Claim(
        "ess-of-an-error-of-eps",
        "An error |u - u*|^2 of eps / T leaves at least 1 - eps of the ESS of u*, the steps being as many and fine (10,000).",
        "Theorem 4 (stated here after exp(-eps) had been computed; first of the ESS itself, which failed by the steps of u* "
        "alone, and corrected after that)",
        all_of(*(above_share(ess_of(eps), ess_of(0), 1 - eps) for eps in (0.01, 0.1, 0.3, 0.9))),
    ),
    Claim(
        "uncontrolled-estimate-fails-with-dimension",
        "The control estimated from uncontrolled trajectories gets worse with every doubling of the dimension.",
        "section 5.3.3 of eq. 5.8: 'prevents the algorithm from being used in high or even medium dimension'",
        monotone([theory("eq 5.8", "gaussian", f"d={d}", "control_error") for d in (1, 2, 4, 8, 16, 32)], increasing=True),
    ),
    Claim(
        "half-the-inner-ring",
        "Without gradient PIS-NN and VI-NF almost cover half of the inner ring: between 0.35 and 0.65 of its arcs.",
        "section 5.4.1, fig. 5.2 (the band is ours)",
        all_of(*(agrees(covered(method), 0.5, within=0.15) for method in ("PIS-NN", "VI-NF"))),
    ),
    Claim(
        "gradient-covers-more-of-the-inner-ring",
        "The gradient information can help cover more modes: PIS-Grad covers more of the inner ring than PIS-NN.",
        "section 5.4.1, fig. 5.2",
        smaller(covered("PIS-NN"), covered("PIS-Grad")),
    ),
    Claim(
        "gradient-converges-faster",
        "The gradient information leads to faster convergence: D_KL(Q^u | Q*), averaged over the training, is smaller.",
        "section 5.3.3",
        all_of(
            *(
                smaller(path_kl(target, "Grad", "path_kl_of_training"), path_kl(target, "NN", "path_kl_of_training"))
                for target in ("mg", "funnel", "rings")
            )
        ),
    ),
    Claim(
        "gradient-leaves-a-smaller-discrepancy",
        "The gradient information leads to a smaller discrepancy D_KL(Q^u | Q*) at the end of the training.",
        "section 5.3.3",
        all_of(*(smaller(path_kl(target, "Grad"), path_kl(target, "NN")) for target in ("mg", "funnel", "rings"))),
    ),
    Claim(
        "near-modes-are-easy",
        "When the modes are not far from each other, all methods work well: A below 0.1 at distance 1, of importance sampling, "
        "SMC, VI-NF with weights and RW-Grad.",
        "section 5.4.2 (the bound is ours; AFT is not measured)",
        all_of(*(below(apart("1", *method), 0.1) for method in (*OTHERS, ("PIS", "RW-Grad")))),
    ),
    Claim(
        "pis-keeps-working-apart",
        "When the modes are separated the advantage of PIS becomes clear: at distance 4 RW-Grad has a "
        "smaller A than importance sampling, SMC and VI-NF with weights.",
        "section 5.4.2 (AFT is not measured)",
        all_of(*(smaller(apart("4", "PIS", "RW-Grad"), apart("4", *method)) for method in OTHERS)),
    ),
    Claim(
        "not-sensitive-to-the-number-of-steps",
        "The training is not sensitive to the number of steps: A of RW-Grad on MG with 25 and with 100 steps "
        "differ by less than 0.1.",
        "section 5.3.3 (the bound is ours)",
        agrees(with_steps(25), with_steps(100), within=0.1),
    ),
    Claim(
        "unweighted-not-sensitive-to-the-number-of-steps",
        "Nor is the unweighted estimate: A of Grad on MG with 25 and with 100 steps differ by less than 0.1.",
        "section 5.3.3 (the bound is ours; stated here after the numbers had been seen)",
        agrees(with_steps(25, "Grad"), with_steps(100, "Grad"), within=0.1),
    ),
]
