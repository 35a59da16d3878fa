"""What the paper says about CLD, and what its theory promises, checked on exact scores and of trained networks.

Closed forms have no error, so those claims hold or fail. A claim about FID is asked of the Frechet distance on the Gaussian of
the digits (`digits_gaussian`): the same formula on pixels.
"""

from collections.abc import Iterable
from dataclasses import replace

from rescore.ledger.claims import (
    Claim,
    Predicate,
    Selector,
    above,
    all_of,
    below,
    monotone,
    on_the_network,
    row,
    row_on,
    smaller,
)

from reproductions.cld.learned_claims import DIGITS, LEARNED, TIMES

WEIGHT_TIMES = ("1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "0.5", "1")
UNDER, NEAR, OVER = ("0.125", "0.25", "0.5"), ("0.8", "1.25"), ("2", "4", "8")
STRIDINGS = ("US", "QS")


def score_curve(method: str, metric: str, t: str) -> Selector:
    return row(table="fig2", method=method, metric=metric, variant=f"t={t}")


def friction(ratio: str, metric: str) -> Selector:
    return row(table="fig5", metric=metric, variant=f"Gamma/critical={ratio}")


def first_of_regimes(metric: str) -> Predicate:
    """Critical damping has the smaller time, of three regimes."""
    return all_of(*(smaller(friction("1", metric), friction(ratio, metric)) for ratio in ("0.25", "4")))


def weight(method: str, metric: str, variant: str) -> Selector:
    return row(table="fig6", method=method, metric=metric, variant=variant)


def toy(method: str, variant: str, metric: str, nfe: int) -> Selector:
    return row(table="fig11", dataset="mixture9", method=method, variant=variant, metric=metric, nfe=nfe)


def frechet(variant: str, nfe: int, method: str = "CLD", table: str = "9") -> Selector:
    return row(table=table, dataset="digits_gaussian", method=method, variant=variant, metric="frechet", nfe=nfe)


def gaussian_error(problem: str, variant: str, nfe: int) -> Selector:
    return row(table="fig8", dataset=problem, variant=variant, metric="covariance_error", nfe=nfe)


def flow_error(tolerance: str) -> Selector:
    return row(table="9", dataset="digits_exact", method="CLD", variant=f"ODE-RK45-{tolerance}", metric="solver_rmse")


def sscs_against(method: str, metric: str, budgets: Iterable[int]) -> Predicate:
    """SSCS has the smaller metric on the mixture for each striding and budget."""
    pairs = [(toy("CLD", f"SSCS-{s}", metric, n), toy(method, f"EM-{s}", metric, n)) for s in STRIDINGS for n in budgets]
    return all_of(*(smaller(*pair) for pair in pairs))


def hsm_below_dsm(metric: str, stabiliser: str) -> Predicate:
    names = [f"eps_num={stabiliser} t={t}" for t in WEIGHT_TIMES]
    return all_of(*(smaller(weight("HSM", metric, name), weight("DSM", metric, name)) for name in names))


def nearest(variant: str, nfe: int) -> Selector:
    return row(table="9", dataset="digits_exact", method="CLD", variant=variant, metric="nearest", nfe=nfe)


def smaller_at(metric: str, times: Iterable[str], method: str = "CLD") -> Predicate:
    return all_of(*(smaller(score_curve(method, metric, t), score_curve("VPSDE", metric, t)) for t in times))


def fid(variant: str, nfe: int, method: str = "CLD", table: str = "9") -> Selector:
    """FID of a network trained on the digits, at gpu and paper on CIFAR-10."""
    return row_on(("digits", "cifar10"), table=table, method=method, variant=variant, metric="fid", nfe=nfe)


def ablation(table: str, variant: str) -> Selector:
    return fid(variant, 150, "CLD-ablation", table)


OF_ONE_NETWORK = [
    *(
        Claim(
            f"trained-fid-falls-{method}",
            f"The FID of {method}-QS on the trained network falls from 50 to 150 to 500 evaluations.",
            "Table 9, PSLD Table 5",
            monotone([fid(f"{method}-QS", nfe) for nfe in (50, 150, 500)], increasing=False),
        )
        for method in ("EM", "SSCS")
    ),
    Claim(
        "trained-quadratic-striding-helps",
        "On the trained network quadratic striding beats uniform striding with 50 evaluations, for SSCS and for EM.",
        "Table 9 (FID 20.5, 81.1); PSLD Table 5",
        all_of(*(smaller(fid(f"{m}-QS", 50), fid(f"{m}-US", 50)) for m in ("SSCS", "EM"))),
    ),
    Claim(
        "trained-sscs-beats-em-150",
        "On the trained network SSCS-QS beats EM-QS with 150 evaluations.",
        "Tables 3 and 9 (FID 3.07, 7.00)",
        smaller(fid("SSCS-QS", 150), fid("EM-QS", 150)),
    ),
    Claim(
        "trained-sscs-beats-em-50",
        "On the trained network SSCS beats EM with 50 evaluations, uniform and quadratic striding.",
        "PSLD Table 5 (FID 75, 120; 21, 25)",
        all_of(*(smaller(fid(f"SSCS-{s}", 50), fid(f"EM-{s}", 50)) for s in STRIDINGS)),
    ),
    Claim(
        "trained-long-em-beats-sscs-150",
        "On the trained network EM-QS with 1000 evaluations beats SSCS-QS with 150.",
        "Tables 3 and 9 (FID 2.27, 3.07)",
        smaller(fid("EM-QS", 1000), fid("SSCS-QS", 150)),
    ),
]

TRAINED = [
    *(replace(claim, predicate=on_the_network(claim.predicate)) for claim in OF_ONE_NETWORK),
    Claim(
        "trained-sscs-beats-ddim-150",
        "On networks trained alike CLD with SSCS-QS beats VPSDE with DDIM, 150 evaluations each.",
        "Table 3 (FID 3.07, 3.15)",
        smaller(fid("SSCS-QS", 150), fid("DDIM", 150, "VPSDE")),
    ),
    Claim(
        "trained-mass-optimal",
        "Networks trained with M^-1 = 4 beat those with 1 and 16.",
        "Table 4 (FID 3.14, 3.23, 3.16; sampler not stated, here EM-QS)",
        all_of(*(smaller(ablation("4", "M^-1=4"), ablation("4", f"M^-1={m}")) for m in (1, 16))),
    ),
    Claim(
        "trained-small-gamma-better",
        "Networks trained with gamma = 0.04 beat those with gamma = 1.",
        "Table 5 (FID 3.14, 3.27; sampler not stated, here EM-QS)",
        smaller(ablation("5", "gamma=0.04"), ablation("5", "gamma=1")),
    ),
    Claim(
        "trained-mixed-score-helps",
        "Networks with the mixed score beat those without.",
        "section 5.3 (FID 3.14, 3.56; sampler not stated, here EM-QS)",
        smaller(ablation("sec5.3", "mixed-score"), ablation("sec5.3", "no-mixed-score")),
    ),
    Claim(
        "trained-hsm-beats-dsm",
        "Networks trained by hybrid score matching beat those trained by denoising score matching.",
        "section 3.2: HSM reduces the variance of the objective (no number printed; sampler EM-QS)",
        smaller(ablation("sec5.3", "mixed-score"), ablation("hsm", "DSM")),
    ),
    *DIGITS,
]

CLAIMS = [
    *TRAINED,
    *LEARNED,
    Claim(
        "xi-smaller-early",
        "The score of CLD's velocities is nearer to a Normal's than VPSDE's score for t up to 0.3: xi is smaller.",
        "Fig. 2, top (the range is ours)",
        smaller_at("xi", TIMES[:8]),
    ),
    Claim(
        "xi-smaller-always",
        "xi of CLD is smaller than xi of VPSDE at every t, with beta = 4.",
        "Fig. 2, top",
        smaller_at("xi", TIMES),
    ),
    Claim(
        "xi-smaller-always-same-beta",
        "The same with VPSDE's beta for both.",
        "Fig. 2, top; its beta is not stated",
        smaller_at("xi", TIMES, "CLD-VP-beta"),
    ),
    Claim(
        "jacobian-smaller",
        "What the network of CLD must represent has a smaller Jacobian than VPSDE's at every t.",
        "Fig. 2, bottom",
        smaller_at("jacobian", TIMES),
    ),
    Claim(
        "mixed-score-simplifies",
        "The mixed score leaves the network a smaller Jacobian, for CLD and VPSDE, from t = 0.1 on.",
        "App. E.1 (the range is ours: earlier the two differ by little)",
        all_of(
            *(
                smaller(score_curve(m, "jacobian_mixed", t), score_curve(m, "jacobian", t))
                for m in ("CLD", "VPSDE")
                for t in TIMES[5:]
            )
        ),
    ),
    Claim(
        "critical-decays-fastest",
        "Critical damping has the largest rate of decay.",
        "Fig. 5, app. A.2",
        all_of(*(smaller(friction(r, "decay_rate"), friction("1", "decay_rate")) for r in (*UNDER, *NEAR, *OVER))),
    ),
    Claim(
        "critical-mixes-first",
        "Critical damping is the first to be mixed, of all frictions: KL to the equilibrium below 0.01.",
        "Fig. 5 (the tolerance and the start are ours)",
        all_of(*(smaller(friction("1", "mixing_time"), friction(r, "mixing_time")) for r in (*UNDER, *NEAR, *OVER))),
    ),
    Claim(
        "underdamped-oscillates",
        "Below critical damping the mean overshoots its limit, at critical damping it does not.",
        "Fig. 5 (a), (b)",
        all_of(below(friction("1", "overshoot"), 1e-12), *(above(friction(r, "overshoot"), 0.1) for r in UNDER)),
    ),
    Claim(
        "overdamped-slow",
        "The more friction above the critical one, the later the dynamics is mixed.",
        "Fig. 5 (c), (d)",
        monotone([friction(r, "mixing_time") for r in ("1", "1.25", *OVER)], increasing=True),
    ),
    Claim(
        "joint-critical-mixes-first",
        "For critical damping x and v converge quickly to the prior: their joint density is the first to stay within a total "
        "variation of 0.01, of friction 1/4, 1 and 4 times the critical one.",
        "Fig. 5 (frictions, data and tolerance are ours)",
        first_of_regimes("mixing_time_tv"),
    ),
    Claim(
        "joint-critical-moments-first",
        "The same of their mean and covariance, within 0.01 of the prior's in W2.",
        "Fig. 5 (frictions, data and tolerance are ours)",
        first_of_regimes("mixing_time_moments"),
    ),
    Claim(
        "joint-underdamped-swings-back",
        "In the underdamped regime paths of x oscillate, their correlation with an earlier value falling below -0.1; at "
        "critical damping and above it is never negative.",
        "Fig. 5 (a) to (d) (that the correlation says so is our reading)",
        all_of(
            below(friction("0.25", "autocorrelation"), -0.1),
            *(above(friction(ratio, "autocorrelation"), -1e-12) for ratio in ("1", "4")),
        ),
    ),
    Claim(
        "hsm-bounded",
        "ell of HSM stays bounded as t -> 0: its slope in log t is above -0.1.",
        "Fig. 6",
        above(weight("HSM", "ell_slope_at_0", "eps_num=0"), -0.1),
    ),
    Claim(
        "hsm-bounded-stabilised",
        "With 1e-9 on the diagonal of the covariance, ell of HSM stays bounded as t -> 0 and ell of DSM does not.",
        "Fig. 6",
        all_of(
            above(weight("HSM", "ell_slope_at_0", "eps_num=1e-09"), -0.1),
            below(weight("DSM", "ell_slope_at_0", "eps_num=1e-09"), -0.1),
        ),
    ),
    Claim(
        "hsm-weights-smaller",
        "ell of HSM is below ell of DSM at every t, with the stabiliser 1e-9.",
        "Fig. 6",
        hsm_below_dsm("ell", "1e-09"),
    ),
    Claim(
        "hsm-less-noise",
        "The regression target of HSM has a smaller variance than that of DSM at every t, without stabiliser.",
        "Fig. 7 (there: covariance of gradients); Rao-Blackwell",
        hsm_below_dsm("target_variance", "0"),
    ),
    Claim(
        "sscs-keeps-equilibrium",
        "SSCS keeps the equilibrium exactly however long its steps; EM does not.",
        "Fig. 8 (b)",
        all_of(
            *(below(gaussian_error("equilibrium", f"SSCS-{s}", n), 1e-12) for s in STRIDINGS for n in (25, 50, 100)),
            *(above(gaussian_error("equilibrium", f"EM-{s}", n), 1e-3) for s in STRIDINGS for n in (25, 50, 100)),
        ),
    ),
    Claim(
        "sscs-more-accurate",
        "SSCS leaves a smaller error of the covariance than EM on N(0, 0.3).",
        "Fig. 8: 'overall more accurate'",
        all_of(
            *(
                smaller(gaussian_error("gaussian", f"SSCS-{s}", n), gaussian_error("gaussian", f"EM-{s}", n))
                for s in STRIDINGS
                for n in (25, 50, 100)
            )
        ),
    ),
    Claim(
        "sscs-second-order",
        "SSCS, a symmetric splitting, converges with order 2 (above 1.9).",
        "theory of the Strang splitting; Fig. 8",
        all_of(*(above(row(table="fig8", variant=f"SSCS-{s}", metric="order"), 1.9) for s in STRIDINGS)),
    ),
    Claim(
        "sscs-beats-em-toy",
        "On the mixture SSCS leaves fewer points off the modes than EM at n = 10 and 20.",
        "Fig. 11",
        sscs_against("CLD", "off_mode", (10, 20)),
    ),
    Claim(
        "sscs-beats-em-toy-sw2",
        "On the mixture SSCS is nearer to the data in SW2 than EM at n = 10 and 20.",
        "Fig. 11",
        sscs_against("CLD", "sw2", (10, 20)),
    ),
    Claim(
        "sscs-beats-vp-toy",
        "On the mixture CLD with SSCS leaves fewer points off the modes than VPSDE with EM at n = 10 and 20.",
        "Fig. 11",
        sscs_against("VPSDE", "off_mode", (10, 20)),
    ),
    Claim(
        "sscs-beats-vp-toy-sw2",
        "On the mixture CLD with SSCS is nearer to the data in SW2 than VPSDE with EM at n = 10 and 20.",
        "Fig. 11",
        sscs_against("VPSDE", "sw2", (10, 20)),
    ),
    Claim(
        "quadratic-striding-helps",
        "With 50 evaluations quadratic striding beats uniform striding, for SSCS and for EM.",
        "Table 9 (FID 20.5, 81.1); PSLD Table 5",
        all_of(*(smaller(frechet(f"{m}-QS", 50), frechet(f"{m}-US", 50)) for m in ("SSCS", "EM"))),
    ),
    Claim(
        "sscs-beats-em-150",
        "With 150 evaluations SSCS-QS beats EM-QS.",
        "Tables 3 and 9 (FID 3.07, 7.00)",
        smaller(frechet("SSCS-QS", 150), frechet("EM-QS", 150)),
    ),
    Claim(
        "sscs-beats-em-50",
        "With 50 evaluations SSCS beats EM, uniform and quadratic striding.",
        "PSLD Table 5 (FID 75, 120; 21, 25)",
        all_of(*(smaller(frechet(f"SSCS-{s}", 50), frechet(f"EM-{s}", 50)) for s in STRIDINGS)),
    ),
    Claim(
        "sscs-beats-em-50-nearest",
        "With 50 evaluations samples of SSCS are nearer to a digit than those of EM, both stridings.",
        "PSLD Table 5 (FID 75, 120; 21, 25)",
        all_of(*(smaller(nearest(f"SSCS-{s}", 50), nearest(f"EM-{s}", 50)) for s in STRIDINGS)),
    ),
    Claim(
        "long-em-beats-sscs-150",
        "EM-QS with 1000 evaluations beats SSCS-QS with 150, and EM-QS with 150.",
        "Tables 3 and 9 (FID 2.27, 3.07, 7.00)",
        all_of(
            smaller(frechet("EM-QS", 1000), frechet("SSCS-QS", 150)), smaller(frechet("EM-QS", 1000), frechet("EM-QS", 150))
        ),
    ),
    Claim(
        "sscs-beats-ddim-150",
        "With 150 evaluations CLD with SSCS-QS beats VPSDE with DDIM.",
        "Table 3 (FID 3.07, 3.15)",
        smaller(frechet("SSCS-QS", 150), frechet("DDIM", 150, "VPSDE")),
    ),
    Claim(
        "mass-optimal",
        "M^-1 = 4 beats 1 and 16.",
        "Table 4 (FID 3.14, 3.23, 3.16; sampler not stated, here EM-QS)",
        all_of(*(smaller(frechet("M^-1=4", 150, table="4"), frechet(f"M^-1={m}", 150, table="4")) for m in (1, 16))),
    ),
    Claim(
        "small-gamma-better",
        "gamma = 0.04 beats gamma = 1.",
        "Table 5 (FID 3.14, 3.27; sampler not stated, here EM-QS)",
        smaller(frechet("M^-1=4", 150, table="4"), frechet("gamma=1", 150, table="5")),
    ),
    Claim(
        "tolerance-1e-4-is-enough",
        "Tolerances 1e-4 and 1e-5 give samples that differ by little: RMS below 0.02 of the range [-1, 1].",
        "Fig. 17 (the bound is ours)",
        below(flow_error("1e-4"), 0.02),
    ),
    Claim(
        "looser-tolerance-worse",
        "The error of the ODE's samples grows with the tolerance, from 1e-4 to 1e-1.",
        "Fig. 17, PSLD Table 6",
        monotone([flow_error(tolerance) for tolerance in ("1e-4", "1e-3", "1e-2", "1e-1")], increasing=True),
    ),
]
