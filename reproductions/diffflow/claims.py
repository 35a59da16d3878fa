"""What the paper says about DiffFlow, as predicates over records of short trainings on other data."""

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, below, on_the_network, row, smaller

SHARP = ("rings", "olympic_rings", "tree", "carpet")
SMOOTH = ("spirals", "checkerboard")
SETS = SHARP + SMOOTH
SWEPT = {"DiffFlow": "hat L_beta", "DDPM": "L_s", "DDIM": ""}
FEW = (5, 10, 20)  # sampling steps
LAMBDAS = ("lambda=0", "lambda=0.25", "lambda=0.5", "lambda=0.75")
NOISE = ("lambda=1, noise in the last step",)
TABLES = ("wine", "breast_cancer", "patches")
COMPARED = ("rings", "checkerboard")  # sets of the plane on which samplers are compared


def plane(dataset: str, method: str, metric: str, variant: str = "") -> Selector:
    """Figure 3.5 in numbers."""
    return row(table="fig3.5", dataset=dataset, method=method, metric=metric, variant=variant)


def better(metric: str, rival: str, datasets: tuple[str, ...]) -> Predicate:
    return all_of(*(smaller(plane(name, "DiffFlow", metric), plane(name, rival, metric)) for name in datasets))


def swept(dataset: str, method: str, nfe: int, table: str = "3.4") -> Selector:
    return row(table=table, dataset=dataset, method=method, variant=SWEPT[method], nfe=nfe)


def tabular(dataset: str, method: str) -> Selector:
    return row(table="3.1", dataset=dataset, method=method)


def degrades_less(rival: str, datasets: tuple[str, ...]) -> Predicate:
    return all_of(*(smaller(swept(d, "DiffFlow", n, "3.5"), swept(d, rival, n, "3.5")) for d in datasets for n in FEW))


def schedule(variant: str, metric: str, dataset: str = "rings") -> Selector:
    """Section 3.3.3: hat L_beta less L_beta, of the same weights."""
    return row(
        table="section-3.3.3", dataset=dataset, variant=f"hat L_beta less L_beta, {variant}", metric=f"{metric}_difference"
    )


def ddpm(variant: str, metric: str) -> Selector:
    """Table 3.3 on the digits."""
    return row(table="3.3", dataset="digits", method="DDPM", variant=variant, metric=metric)


def loss_of(variant: str, nfe: int, table: str = "3.4") -> Selector:
    """DDPM with L or L_s in Tables 3.4 and 3.5, on the digits."""
    return row(table=table, dataset="digits", method="DDPM", variant=variant, nfe=nfe)


def worse_than_whole(dataset: str, metrics: tuple[str, ...], variants: tuple[str, ...], numbers: tuple[int, ...]) -> Predicate:
    """Eq. 3.16: the distance is larger than that of lambda = 1 with a last step without noise, in ratios of one training."""
    rows = (
        row(table="eq3.16", dataset=dataset, variant=variant, metric=f"{metric}_ratio", nfe=nfe)
        for metric in metrics
        for variant in variants
        for nfe in numbers
    )
    return all_of(*(above(one, 1.0) for one in rows))


def cost(metric: str, variant: str = "", dataset: str = "rings") -> Selector:
    return row(dataset=dataset, method="DiffFlow", metric=metric, variant=variant)


def mnist(method: str, variant: str, metric: str = "bpd") -> Selector:
    """Table 3.2 on MNIST: one network of either method, its error that between images."""
    return row(table="3.2", dataset="mnist", method=method, variant=variant, metric=metric)


MNIST = [
    *(
        Claim(
            f"mnist-{name}below-ddpm",
            f"On MNIST {of} is below DDPM's in bits per dimension, image by image, of one training of each network.",
            f"section 3.4.3: better than DDPM models (Table 3.3, CIFAR-10: {printed}; Table 3.2 has no DDPM). "
            "Before it was written DDPM's number and the loss of short trials of DiffFlow on training images had been seen",
            on_the_network(below(mnist("DiffFlow less DDPM", variant, "bpd_difference"), 0.0)),
        )
        for name, of, printed, variant in (
            ("", "the likelihood of DiffFlow's ODE", "3.04 and 3.28", ""),
            ("bound-", "DiffFlow's bound", "<= 3.67 and 3.75", "ELBO"),
        )
    ),
    Claim(
        "mnist-bound-above-ode",
        "On MNIST DiffFlow's bound is above the likelihood of its ODE in bits per dimension, of one network.",
        "Table 3.3 (printed <= 3.67 and 3.04)",
        on_the_network(smaller(mnist("DiffFlow", ""), mnist("DiffFlow", "ELBO"))),
    ),
]

CLAIMS = [
    *MNIST,
    *(
        Claim(
            f"nll-below-{rival.lower()}",
            f"On the sharp sets DiffFlow's negative log-likelihood is below that of {rival}.",
            "section 3.4.1: a much lower negative likelihood, especially on sharp datasets",
            better("nll", rival, SHARP),
        )
        for rival in ("DDPM", "FFJORD")
    ),
    Claim(
        "ffjord-leaks",
        "On every planar set FFJORD leaves more mass off the support than DiffFlow.",
        "section 3.4.1: FFJORD leaks many samples out of the main modes",
        better("off_support", "FFJORD", SETS),
    ),
    Claim(
        "ddpm-blurs",
        "On the sharp sets DDPM leaves more mass off the support than DiffFlow.",
        "section 3.4.1: DDPM blurs density details",
        better("off_support", "DDPM", SHARP),
    ),
    *(
        Claim(
            f"closer-than-{rival.lower()}",
            f"On the sharp sets DiffFlow's samples are closer to the data than those of {rival}.",
            "section 3.4.1: DiffFlow produces the best samples; here in sw2",
            better("sw2", rival, SHARP),
        )
        for rival in ("DDPM", "FFJORD")
    ),
    Claim(
        "all-good-on-smooth",
        "On the spirals and the checkerboard all three come within 0.2 standard deviations of the data.",
        "section 3.4.1: good performance on smooth densities; the metric sw2 and its bound are ours",
        all_of(*(below(plane(d, m, "sw2"), 0.2) for d in SMOOTH for m in ("DiffFlow", "DDPM", "FFJORD"))),
    ),
    Claim(
        "bound-above-ode",
        "DiffFlow's negative ELBO is above the likelihood of its ODE, on the six planar sets.",
        "Table 3.3 (printed <= 3.67 and 3.04 bits per dimension)",
        all_of(*(smaller(plane(d, "DiffFlow", "nll"), plane(d, "DiffFlow", "nll", "ELBO")) for d in SETS)),
    ),
    *(
        Claim(
            f"degrades-less-than-{rival.lower()}",
            f"With 5, 10 and 20 steps, relative to 100, DiffFlow loses less quality than {rival}, on the six planar sets.",
            "Table 3.5, in sw2 for FID",
            degrades_less(rival, SETS),
        )
        for rival in ("DDPM", "DDIM")
    ),
    Claim(
        "better-at-5",
        "With 5 steps DiffFlow samples closer to the data than DDPM and DDIM, on the six planar sets.",
        "Table 3.4 (printed FID 28.31, 370.23 and 44.69)",
        all_of(*(smaller(swept(d, "DiffFlow", 5), swept(d, rival, 5)) for d in SETS for rival in ("DDPM", "DDIM"))),
    ),
    Claim(
        "ddpm-better-at-100",
        "With 100 steps DDPM trained with the simple loss samples closer to the data than DiffFlow, on the six planar sets.",
        "Table 3.4 (printed FID 10.04 and 13.43)",
        all_of(*(smaller(swept(d, "DDPM", 100), swept(d, "DiffFlow", 100)) for d in SETS)),
    ),
    *(
        Claim(
            f"images-degrade-less-than-{rival.lower()}",
            f"With 5, 10 and 20 steps, relative to 100, DiffFlow's FID grows less than {rival}'s, on the digits.",
            "Table 3.5",
            degrades_less(rival, ("digits",)),
        )
        for rival in ("DDPM", "DDIM")
    ),
    Claim(
        "images-better-at-5",
        "With 5 steps DiffFlow's images have a lower FID than DDPM's and DDIM's, on the digits.",
        "Table 3.4 (printed 28.31, 370.23 and 44.69)",
        all_of(*(smaller(swept("digits", "DiffFlow", 5), swept("digits", rival, 5)) for rival in ("DDPM", "DDIM"))),
    ),
    Claim(
        "images-ddpm-better-at-100",
        "With 100 steps DDPM trained with the simple loss has a lower FID than DiffFlow, on the digits.",
        "Table 3.4 (printed 10.04 and 13.43)",
        smaller(swept("digits", "DDPM", 100), swept("digits", "DiffFlow", 100)),
    ),
    Claim(
        "images-sde-below-ode",
        "Samples of DiffFlow's SDE have a lower FID than those of its ODE, on the digits.",
        "Table 3.3 (printed 13.43 and 14.14)",
        smaller(*(row(table="3.3", dataset="digits", variant=v, metric="fid") for v in ("hat L_beta", "hat L_beta, ODE"))),
    ),
    Claim(
        "progressive-is-faster",
        "Progressive N takes less than half the time of a fixed N for as many iterations.",
        "section 3.3.3: significantly less training time; the bound 2 is ours. The first ten iterations, the cheapest of "
        "progressive N, did not count: corrected after the numbers had been seen",
        above(cost("progressive_time_ratio"), 2.0),
    ),
    Claim(
        "progressive-is-as-good",
        "After as many iterations progressive N is within 0.1 nats of the fixed N, at the fixed N.",
        "section 3.3.3: the bound is ours",
        agrees(cost("nll", "progressive"), cost("nll", "fixed"), within=0.1),
    ),
    Claim(
        "slower-than-ddpm",
        "On the plane an iteration of DiffFlow costs 3 to 12 times one of DDPM.",
        "section 3.6: about 6 times slower; a factor of 2 on either side is ours",
        all_of(
            above(cost("train_time_ratio", dataset="2-D toys"), 3.0), below(cost("train_time_ratio", dataset="2-D toys"), 12.0)
        ),
    ),
    Claim(
        "states-are-few",
        "The cached states are below 5 percent of all the memory of a training with the adjoint, on the digits.",
        "section 3.3.2: about 2 percent of all the memory being used during training, of images; the bound is ours. The claim "
        "spoke of plain back-propagation on the rings, then of what graphs save without weights, gradients and the optimiser's "
        "moments, of which it failed: each time it was corrected after the number had been seen",
        below(cost("states_percent_of_training", dataset="digits"), 5.0),
    ),
    *(
        Claim(
            f"tabular-below-{rival.lower()}",
            f"On the three embedded tabular sets DiffFlow's negative log-likelihood is below that of {rival}.",
            "section 3.4.2, Table 3.1: better than most flows and autoregressive models",
            all_of(*(smaller(tabular(d, "DiffFlow"), tabular(d, rival)) for d in TABLES)),
        )
        for rival in ("RealNVP", "MAF")
    ),
    *(
        Claim(
            f"tabular-below-{rival.lower()}",
            f"On the three embedded tabular sets DiffFlow's negative log-likelihood is below that of {rival}.",
            f"section 3.4.2, Table 3.1: {where}",
            all_of(*(smaller(tabular(d, "DiffFlow"), tabular(d, rival)) for d in TABLES)),
        )
        for rival, where in (
            ("MADE", "better than most autoregressive models"),
            ("NAF", "it excels NAF on all but GAS"),
            ("FFJORD", "it outperforms FFJORD by a wide margin on all but HEPMASS"),
        )
    ),
    *(
        Claim(
            f"images-below-{rival.lower()}",
            f"On the digits DiffFlow's bits per dimension are below those of {rival}.",
            f"Table 3.2 (printed 0.93 and {printed})",
            smaller(
                row(table="3.2", dataset="digits", method="DiffFlow", variant=""),
                row(table="3.2", dataset="digits", method=rival),
            ),
        )
        for rival, printed in (("RealNVP", "1.06"), ("FFJORD", "0.99"))
    ),
    Claim(
        "random-times-lower-bound",
        "With progressive N, random times (hat L_beta) end at a lower bound on the fixed grid than that grid "
        "itself (L_beta), on the rings.",
        "section 3.3.3: lower loss when we conduct progressive training; the bound is on the grid of L_beta",
        below(schedule("progressive", "nll"), 0.0),
    ),
    Claim(
        "random-times-lower-on-other-grids",
        "With progressive N, random times (hat L_beta) end at a lower bound on random grids than fixed times "
        "(L_beta), on the rings.",
        "section 3.3.3: lower loss under different sets of times",
        below(schedule("progressive", "nll_random_grids"), 0.0),
    ),
    Claim(
        "random-times-are-more-stable",
        "With random times the loss jumps less where N grows, and varies less in the last iterations, on the rings.",
        "section 3.3.3: better stability when N grows; both measures of it are ours",
        all_of(*(below(schedule("progressive", metric), 0.0) for metric in ("loss_jump", "loss_std"))),
    ),
    *(
        Claim(
            f"images-random-times-lower-{metric}",
            f"After as many iterations random times (hat L_beta) have {text} than fixed times (L_beta), on the digits.",
            f"Table 3.3 (printed {printed}); trainings cut short",
            below(schedule("progressive", metric, "digits"), 0.0),
        )
        for metric, text, printed in (("bpd", "a lower bound", "<= 3.67 and 3.71"), ("fid", "a lower FID", "13.43 and 13.87"))
    ),
    Claim(
        "ddpm-l-has-the-lower-bound",
        "DDPM trained with L has a lower bound of its bits per dimension than with the simple loss, on the digits.",
        "Table 3.3 (printed <= 3.70 and 3.75)",
        smaller(ddpm("L", "bpd"), ddpm("L_s", "bpd")),
    ),
    Claim(
        "ddpm-simple-has-the-lower-fid",
        "DDPM trained with the simple loss has a lower FID than with L, on the digits.",
        "Table 3.3 (printed 3.17 and 13.51)",
        smaller(ddpm("L_s", "fid"), ddpm("L", "fid")),
    ),
    Claim(
        "ddpm-ode-below-bound",
        "The likelihood of DDPM's ODE is below the bound of its SDE, for the simple loss, on the digits.",
        "Table 3.3 (printed 3.28 and <= 3.75)",
        smaller(ddpm("L_s (ODE)", "bpd"), ddpm("L_s", "bpd")),
    ),
    Claim(
        "ddpm-simple-better-at-100",
        "With 100 steps DDPM trained with the simple loss has a lower FID than with L, on the digits.",
        "Table 3.4 (printed 10.04 and 22.23)",
        smaller(loss_of("L_s", 100), loss_of("L", 100)),
    ),
    Claim(
        "ddpm-l-degrades-less",
        "With 5, 10 and 20 steps, relative to 100, DDPM trained with L loses less quality than with the simple "
        "loss, on the digits.",
        "Table 3.5 (printed 16.80 and 37.02 with 5 steps)",
        all_of(*(smaller(loss_of("L", n, "3.5"), loss_of("L_s", n, "3.5")) for n in FEW)),
    ),
    Claim(
        "images-degrade-less-than-ddpm-l",
        "With 5, 10 and 20 steps, relative to 100, DiffFlow's FID grows less than that of DDPM trained with L, on the digits.",
        "Table 3.5",
        all_of(*(smaller(swept("digits", "DiffFlow", n, "3.5"), loss_of("L", n, "3.5")) for n in FEW)),
    ),
    Claim(
        "lambda-1-is-best",
        "Samples by lambda = 1 are closer to the data than by every lower lambda, with 30 steps, on the rings "
        "and the checkerboard.",
        "section 3.4: empirically, lambda = 1 has the best performance; here in sw2",
        all_of(*(worse_than_whole(d, ("sw2",), LAMBDAS, (30,)) for d in COMPARED)),
    ),
    Claim(
        "images-lambda-1-is-best",
        "Samples by lambda = 1 have a lower FID than by every lower lambda, with 30 steps, on the digits.",
        "section 3.4: empirically, lambda = 1 has the best performance",
        worse_than_whole("digits", ("fid",), LAMBDAS, (30,)),
    ),
    Claim(
        "last-noise-hurts",
        "Noise in the last step puts samples farther from the data and off its support, with 5 and 30 steps, on "
        "the rings and the checkerboard.",
        "section 3.4.3: noise at the last step significantly lowers sampling quality",
        all_of(*(worse_than_whole(d, ("sw2", "off_support"), NOISE, (5, 30)) for d in COMPARED)),
    ),
    Claim(
        "images-last-noise-hurts",
        "Noise in the last step makes FID higher, with 5 and 30 steps, on the digits.",
        "section 3.4.3: noise at the last step significantly lowers sampling quality",
        worse_than_whole("digits", ("fid",), NOISE, (5, 30)),
    ),
    Claim(
        "ode-samples-closer-than-ffjord",
        "Samples of DiffFlow's ODE are closer to the data than those of FFJORD, on the rings and the checkerboard.",
        "section 3.6: the marginal-equivalent ODE performs much better than its counterpart trained with an ODE; here in sw2",
        all_of(
            *(
                smaller(row(table="eq3.16", dataset=d, variant="lambda=0", metric="sw2", nfe=30), plane(d, "FFJORD", "sw2"))
                for d in COMPARED
            )
        ),
    ),
    Claim(
        "ode-likelihood-below-ffjord",
        "The negative log-likelihood of DiffFlow's ODE is below that of FFJORD, on the spirals and the checkerboard too.",
        "section 3.6, as before; written after these numbers were seen",
        better("nll", "FFJORD", SMOOTH),
    ),
    *(
        Claim(
            name,
            f"DiffFlow samples at least 10 times faster than DDPM, each with as many steps as it needs, on {where}.",
            "section 3.1: a 20 times speedup without decreasing sampling quality much; the measure and the "
            f"bound, half of it, are ours{corrected}",
            all_of(*(above(cost("sampling_time_ratio", dataset=d), 10.0) for d in datasets)),
        )
        for name, where, datasets, corrected in (
            ("samples-faster", "the rings and the checkerboard", COMPARED, ""),
            (
                "images-sample-faster",
                "the digits",
                ("digits",),
                ". DiffFlow's images were drawn in smaller batches than DDPM's: corrected after the numbers had been seen",
            ),
        )
    ),
]
