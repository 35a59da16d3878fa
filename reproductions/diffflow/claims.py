"""What the paper says about DiffFlow, as predicates over records of short trainings on other data."""

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, below, row, smaller

SHARP = ("rings", "olympic_rings", "tree", "carpet")
SMOOTH = ("spirals", "checkerboard")
SETS = SHARP + SMOOTH
FEW = (5, 10, 20)  # sampling steps


def plane(dataset: str, method: str, metric: str, variant: str = "") -> Selector:
    """Figure 3.5 in numbers."""
    return row(table="fig3.5", dataset=dataset, method=method, metric=metric, variant=variant)


def better(metric: str, rival: str, datasets: tuple[str, ...]) -> Predicate:
    return all_of(*(smaller(plane(name, "DiffFlow", metric), plane(name, rival, metric)) for name in datasets))


def swept(dataset: str, method: str, nfe: int, table: str = "3.4") -> Selector:
    return row(table=table, dataset=dataset, method=method, nfe=nfe)


def tabular(dataset: str, method: str) -> Selector:
    return row(table="3.1", dataset=dataset, method=method)


def degrades_less(rival: str, datasets: tuple[str, ...]) -> Predicate:
    return all_of(*(smaller(swept(d, "DiffFlow", n, "3.5"), swept(d, rival, n, "3.5")) for d in datasets for n in FEW))


def cost(metric: str, variant: str = "", dataset: str = "rings") -> Selector:
    return row(dataset=dataset, method="DiffFlow", metric=metric, variant=variant)


CLAIMS = [
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
        "section 3.3.3: significantly less training time; the bound 2 is ours",
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
        "The cached states are below 5 percent of what plain back-propagation keeps.",
        "section 3.3.2: about 2 percent of the memory, of images; the bound is ours",
        below(cost("states_percent_of_autograd"), 5.0),
    ),
    *(
        Claim(
            f"tabular-below-{rival.lower()}",
            f"On the three embedded tabular sets DiffFlow's negative log-likelihood is below that of {rival}.",
            "section 3.4.2, Table 3.1: better than most flows and autoregressive models",
            all_of(*(smaller(tabular(d, "DiffFlow"), tabular(d, rival)) for d in ("wine", "breast_cancer", "patches"))),
        )
        for rival in ("RealNVP", "MAF")
    ),
]
