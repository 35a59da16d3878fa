"""What the paper says about LCSS, as predicates over records. Printed numbers come from published.csv."""

from pathlib import Path

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, apart, below, monotone, row, smaller
from rescore.ledger.diff import DEFAULT_FLOOR
from rescore.ledger.published import read_published

from reproductions.lcss.images_claims import MNIST

PRINTED = {
    (one.table, one.dataset, one.method, one.variant, one.metric): one.number
    for one in read_published(Path(__file__).with_name("published.csv"), "lcss")
}
PROCESSES = ("VE", "subVP")
NOISE, OVER = ("0.1", "0.5", "1", "10"), "error_over_bound"  # of the noised digits
STAND_INS = {"MLP": "checkerboard", "NCSNv2": "ffhq256"}  # network: the printed data set


def density(method: str, metric: str = "tv") -> Selector:
    return row(table="1", dataset="checkerboard", method=method, metric=metric)


def drawn(method: str, metric: str = "tv") -> Selector:
    """Of the law of eq. 31's chains."""
    return row(table="eq. 31", dataset="checkerboard", method=method, metric=metric)


def curve(method: str, metric: str) -> Selector:
    return row(table="fig8", dataset="checkerboard", method=method, metric=metric)


def cost(method: str, network: str) -> Selector:
    return row(table="2", method=method, variant=network, metric="train_time_ratio")


def printed_ratio(method: str, network: str) -> float:
    ms = {name: PRINTED["2", STAND_INS[network], name, network, "train_time_ms"] for name in (method, "LCSS")}
    return ms[method] / ms["LCSS"]


def like_printed(method: str, network: str) -> Predicate:
    """The measured ratio is the printed one, within the ledger's floor for numbers printed without an error."""
    ratio = printed_ratio(method, network)
    return agrees(cost(method, network), ratio, DEFAULT_FLOOR * ratio)


def dearer(methods: tuple[str, ...], network: str) -> Predicate:
    return all_of(*(above(cost(method, network), 1.0) for method in methods))


def quality(method: str, process: str, metric: str) -> Selector:
    """Table 3 on the digits."""
    return row(table="3", dataset="digits", method=method, variant=f"MLP ({process})", metric=metric)


def printed_order(process: str, metric: str) -> Predicate:
    """The printed gap between DSM and LCSS: LCSS's number above DSM's."""
    return smaller(quality("DSM", process, metric), quality("LCSS", process, metric))


def learning(method: str, metric: str) -> Selector:
    return row(table="stability", method=method, metric=metric)


def moment(method: str, metric: str, sigma: str) -> Selector:
    return row(table="moments", method=method, metric=metric, variant=f"sigma={sigma}")


def draws(variant: str, metric: str, method: str = "LCSS") -> Selector:
    return row(table="draws", method=method, variant=variant, metric=metric)


def probed(method: str, variant: str, metric: str) -> Selector:
    """At the exact score of the noised digits, or of Gaussian data."""
    return row(table="hutchinson", method=method, variant=variant, metric=metric)


def slope(method: str) -> Selector:
    return row(table="minimisers", method=method)


def literal(variant: str) -> Selector:
    return row(table="sigma_t", variant=variant)


def ablated(gamma: str, metric: str = "variance_ratio") -> Selector:
    """A network trained with gamma."""
    return row(table="fig7", dataset="digits", variant=f"MLP (VE), gamma={gamma}", metric=metric)


def limit(gamma: str, metric: str = "variance_ratio") -> Selector:
    """gamma times the score of a network trained with gamma = 1."""
    return row(table="fig7", dataset="digits", variant=f"MLP (VE), {gamma} x score", metric=metric)


CLAIMS = [
    Claim(
        "density-beats-ssm",
        "On the checkerboard LCSS estimates the density more accurately than SSM and FD-SSM.",
        "section 4.2.1, Table 1 (the density figure)",
        all_of(*(smaller(density("LCSS"), density(method)) for method in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "score-beats-ssm",
        "On the checkerboard LCSS learns the score of the noised data better than SSM and FD-SSM.",
        "section 4.2.1; the error of the score is ours",
        all_of(*(smaller(density("LCSS", "score_error"), density(m, "score_error")) for m in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "density-like-dsm",
        "On the checkerboard the accuracy of DSM is similar to that of LCSS.",
        "section 4.2.1; the bound, 0.05 in total variation, is ours",
        agrees(density("LCSS"), density("DSM"), 0.05),
    ),
    Claim(
        "density-beats-dsm",
        "LCSS is slightly more consistent than DSM in regions of high density.",
        "section 4.2.1; asked of the total variation",
        smaller(density("LCSS"), density("DSM")),
    ),
    Claim(
        "langevin-beats-ssm",
        "Samples of eq. 31 show the density more accurately with LCSS than with SSM and FD-SSM.",
        "section 4.2.1 and appendix B, the density figure; total variation of the samples' law",
        all_of(*(smaller(drawn("LCSS"), drawn(method)) for method in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "langevin-like-dsm",
        "Samples of eq. 31 with DSM are similar in accuracy to those with LCSS.",
        "section 4.2.1 and appendix B; the bound, 0.05 in total variation, is ours",
        agrees(drawn("LCSS"), drawn("DSM"), 0.05),
    ),
    Claim(
        "langevin-bright-regions",
        "Samples of eq. 31 with LCSS are slightly more consistent than those with DSM in regions of high density.",
        "section 4.2.1; asked of the spread of the samples' density on the bright squares",
        smaller(drawn("LCSS", "bright_spread"), drawn("DSM", "bright_spread")),
    ),
    Claim(
        "langevin-shows-what-is-learnt",
        "Samples of eq. 31, with its step of 0.1 and 1000 steps, have the density that was learnt, whatever the objective.",
        "appendix B; the bound, 0.1 in total variation to f on the grid, is ours",
        all_of(*(below(drawn(method, "tv_to_grid"), 0.1) for method in ("SSM", "FD-SSM", "DSM", "LCSS"))),
    ),
    Claim(
        "loss-falls-faster",
        "The loss of LCSS falls faster than those of SSM and FD-SSM: a fifth of the training makes more of the fall.",
        "section 4.2.1, fig. 8",
        all_of(*(smaller(curve(method, "early_share"), curve("LCSS", "early_share")) for method in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "loss-steadier-than-ssm",
        "The loss of LCSS falls more stably than those of SSM and FD-SSM: its noise is less beside its fall.",
        "section 4.2.1, fig. 8",
        all_of(*(smaller(curve("LCSS", "noise_over_fall"), curve(m, "noise_over_fall")) for m in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "loss-steadier-than-dsm",
        "LCSS maintains a stable loss: it is less noisy than DSM's.",
        "section 4.2.1, fig. 8",
        smaller(curve("LCSS", "loss_noise"), curve("DSM", "loss_noise")),
    ),
    Claim(
        "lcss-is-fastest",
        "An iteration of LCSS costs less than one of SSM and FD-SSM, for the MLP and for NCSNv2.",
        "Table 2, section 4.2.2",
        all_of(*(dearer(("SSM", "FD-SSM"), network) for network in STAND_INS)),
    ),
    Claim(
        "lcss-is-faster-than-dsm",
        "An iteration of LCSS costs less than one of DSM, for the MLP and for NCSNv2.",
        "Table 2, section 4.2.2",
        all_of(*(dearer(("DSM",), network) for network in STAND_INS)),
    ),
    *(
        Claim(
            f"ratio-{method.lower()}-{network.lower()}",
            f"{network}: an iteration of {method} costs what Table 2 prints, relative to LCSS.",
            "Table 2, as a ratio; within 5 %",
            like_printed(method, network),
        )
        for network in STAND_INS
        for method in ("SSM", "FD-SSM", "DSM")
    ),
    *(
        Claim(
            f"fid-{process.lower()}",
            f"LCSS has a higher (worse) FID than DSM under {process}.",
            "Table 3, section 4.2.3; here digits",
            printed_order(process, "fid"),
        )
        for process in PROCESSES
    ),
    *(
        Claim(
            f"is-{process.lower()}",
            f"LCSS has a higher (better) inception score than DSM under {process}.",
            "Table 3, section 4.2.3; here digits",
            printed_order(process, "is"),
        )
        for process in PROCESSES
    ),
    Claim(
        "bpd-ve",
        "LCSS needs more bits per dimension than DSM under VE.",
        "Table 3, section 4.2.3; here digits",
        printed_order("VE", "bpd"),
    ),
    Claim(
        "bpd-subvp",
        "LCSS needs fewer bits per dimension than DSM under subVP.",
        "Table 3, section 4.2.3; here digits",
        smaller(quality("LCSS", "subVP", "bpd"), quality("DSM", "subVP", "bpd")),
    ),
    Claim(
        "faster-convergence",
        "After a fifth of the training LCSS is ahead of SSM and FD-SSM.",
        "section 4.2.3, figs. 2 and 3; here the denoising error on held-out digits",
        all_of(*(smaller(learning("LCSS", "early_error"), learning(method, "early_error")) for method in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "long-training",
        "At the end of the training LCSS is ahead of SSM and FD-SSM.",
        "section 4.2.3; here the denoising error on held-out digits",
        all_of(*(smaller(learning("LCSS", "final_error"), learning(method, "final_error")) for method in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "fewer-spikes-than-ssm",
        "LCSS's loss has fewer spikes than SSM's and FD-SSM's.",
        "section 4.2.1 ('stability in loss reduction'); the text has spikes of DSM alone",
        all_of(*(smaller(learning("LCSS", "spikes"), learning(method, "spikes")) for method in ("SSM", "FD-SSM"))),
    ),
    Claim(
        "fewer-spikes-than-dsm",
        "LCSS's loss has fewer spikes than DSM's.",
        "section 4.2.3, summary",
        smaller(learning("LCSS", "spikes"), learning("DSM", "spikes")),
    ),
    Claim(
        "variance-of-projection",
        "Without random projection a single sample's loss varies less: LCSS below SSM, at every noise level.",
        "section 3.1; here on Gaussian data at the true score",
        all_of(*(smaller(moment("LCSS", "loss_std", s), moment("SSM", "loss_std", s)) for s in ("0.01", "0.1", "1", "10"))),
    ),
    Claim(
        "one-draw-is-enough",
        "Sampling x' only once yields satisfactory performance: four draws about the same images end no more than 0.03 lower.",
        "sections 3.2 and 4.1, eq. 19; here the denoising error of networks of the digits, whose unit is that of "
        "the noise; bound ours",
        apart(draws("draws=4", "final_error"), draws("draws=1", "final_error"), -0.03),
    ),
    Claim(
        "one-draw-at-equal-cost",
        "With as many evaluations of the network, one draw about each image is ahead of four about each of a quarter of them.",
        "section 3.2, eq. 19; here the denoising error of networks of the digits",
        smaller(draws("draws=1", "final_error"), draws("draws=4, same cost", "final_error")),
    ),
    Claim(
        "more-draws-do-not-pay",
        "One draw is the best use of an evaluation: at equal cost the variance of the training's signal grows with the draws.",
        "section 3.2, eq. 19; closed form on Gaussian data at the true score",
        all_of(
            *(
                monotone([draws(f"sigma={s}, draws={k}", "variance_at_equal_cost", "closed form") for k in (1, 4, 16)], True)
                for s in ("0.1", "1", "10")
            )
        ),
    ),
    Claim(
        "hutchinson-bound",
        "The error of Hutchinson's estimate is at most |A|_F / sqrt(M), whatever the probe: of 100 errors 99 are within.",
        "section 2.3; here A is the Jacobian of the exact score of noised digits",
        all_of(
            *(
                above(probed(probe, f"sigma={s}, M={m}", "within_bound"), 0.99)
                for probe in ("gaussian", "rademacher", "sphere")
                for s in NOISE
                for m in (1, 16)
            )
        ),
    ),
    Claim(
        "hutchinson-rate",
        "The error of Hutchinson's estimate falls like |A|_F / sqrt(M): its ratio to that is the same for M = 1 and 16.",
        "section 2.3; Gaussian probes, bound 0.15 ours",
        all_of(
            *(
                agrees(probed("gaussian", f"sigma={s}, M=16", OVER), probed("gaussian", f"sigma={s}, M=1", OVER), 0.15)
                for s in NOISE
            )
        ),
    ),
    Claim(
        "projection-error-counts",
        "With M = 1 the error of the projection is not negligible: more than a tenth of the trace.",
        "section 2.3; here Gaussian probes on noised digits; the bound is ours",
        all_of(*(above(probed("gaussian", f"sigma={s}, M=1", "relative_error"), 0.1) for s in NOISE)),
    ),
    Claim(
        "projection-fails-in-high-dimension",
        "The error of a random projection, beside the trace, grows with the dimension.",
        "section 2.3: SSM and FD-SSM cannot handle high-dimensional data due to their variance; here of N(0, I), "
        "in closed form",
        monotone([probed("gaussian", f"d={d}", "relative_error") for d in (64, 3072, 196608)], increasing=True),
    ),
    Claim(
        "stein-identity",
        "The inner product with the noise has the mean of the trace of the Jacobian.",
        "Corollary 2, eq. 16; here on noised digits, where the trace is -64 / sigma^2 at most; the bound, 2 / sigma^2, is ours",
        all_of(
            *(
                agrees(probed("Stein", f"sigma={s}", "trace_mean"), probed("trace", f"sigma={s}", "trace_mean"), 2.0)
                for s in NOISE
            )
        ),
    ),
    Claim(
        "stein-without-the-variance",
        "LCSS does without the variance of random projection: the inner product varies less than SSM's and FD-SSM's one probe.",
        "section 3.1, comparison; here on noised digits at the exact score, at every noise level",
        all_of(
            *(
                smaller(probed("Stein", f"sigma={s}", "trace_std"), probed(probe, f"sigma={s}, M=1", "trace_std"))
                for probe in ("gaussian", "sphere")
                for s in NOISE
            )
        ),
    ),
    Claim(
        "gradient-differs-from-dsm",
        "LCSS learns something else than DSM: their gradients from one draw differ by more than rounding.",
        "section 3.1 (DSM learns an approximation, LCSS the true score); bound 1e-6 ours, in float64",
        all_of(
            *(
                above(row(table="identity", variant=f"{name}, float64"), 1e-6)
                for name in ("MLP, eq. 18", "MLP (VE), eq. 19", "MLP (subVP), eq. 19")
            )
        ),
    ),
    Claim(
        "learns-the-true-score",
        "The minimiser of LCSS is the score of the data, that of DSM is not.",
        "sections 2.3 and 3.1; here linear scores on Gaussian data, within 1e-6",
        all_of(agrees(slope("LCSS"), slope("score of the data"), 1e-6), above(slope("DSM"), -1 / 0.7 + 1e-6)),
    ),
    Claim(
        "lemma-1",
        "What eq. 11 neglects is small beside the regulariser that eq. 10 adds.",
        "Lemma 1, eqs. 10, 11 and 17; 'small' is read as a tenth, at sigma = 0.01",
        below(row(table="eq. 11", variant="sigma=0.01"), 0.1, abs),
    ),
    Claim(
        "sigma-is-g",
        "The standard deviation of the VE kernel is g(t), so that sigma_t = g(t) gives the score that a sampler needs.",
        "sections 3.2 and 4.1, taken literally; within 10 % of the data's variance",
        all_of(agrees(literal("VE, t=0.5"), 1.0, 0.1), agrees(literal("VE, sigma_t = g(t)"), 1.0, 0.1)),
    ),
    Claim(
        "gamma-below-1",
        "With gamma = 0.5 only noisy images come out: their variance is more than twice that of the data.",
        "section 4.4, fig. 7; the bound is ours",
        above(ablated("0.5"), 2.0),
    ),
    Claim(
        "gamma-above-1",
        "With gamma = 10 textures are lost: neighbours differ less than with gamma = 2, and there less than in the data.",
        "section 4.4, fig. 7; asked of the roughness",
        all_of(
            smaller(ablated("10", "roughness_ratio"), ablated("2", "roughness_ratio")),
            below(ablated("2", "roughness_ratio"), 1.0),
        ),
    ),
    Claim(
        "gamma-above-1-limit",
        "The same of gamma times the score of a network trained with gamma = 1, which a training with gamma tends to.",
        "section 4.4, fig. 7, eq. 21; added after a first run, in which gamma = 10 was far from trained",
        all_of(
            smaller(limit("10", "roughness_ratio"), limit("2", "roughness_ratio")), below(limit("2", "roughness_ratio"), 1.0)
        ),
    ),
    Claim(
        "gamma-contour",
        "The larger gamma, the smaller the spread of the samples.",
        "section 4.4: gamma scales the length of the score",
        monotone([ablated(gamma) for gamma in ("0.5", "2", "10")], increasing=False),
    ),
    *MNIST,
]
