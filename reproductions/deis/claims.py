"""What chapter 6 says about its solvers, checked on exact scores, Table 6.2 also with a network trained on the digits."""

from collections.abc import Callable

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, below, monotone, row, smaller

from reproductions.deis.table_claims import IMAGES, TABLE, cell, table_claims, trained

EVERYWHERE = ("mixture1d", "mixture1d_narrow", "digits_exact")


def error(dataset: str, method: str, nfe: int, grid: str = "uniform") -> Selector:
    """The median distance to the exact solution."""
    return row(table="fig6.5", dataset=dataset, method=method, variant=grid, metric="solver_median", nfe=nfe)


def better(left: str, right: str, datasets: tuple[str, ...]) -> Predicate:
    """`left` has the smaller error with 10 and with 20 evaluations."""
    return all_of(*(smaller(error(d, left, n), error(d, right, n)) for d in datasets for n in (10, 20)))


def order(method: str, stated: int) -> Predicate:
    """The measured order is within 0.3 of the stated one."""
    return agrees(row(table="orders", method=method, variant=f"order-{stated}", metric="order"), float(stated), within=0.3)


def change(dataset: str, name: str, part: str) -> Selector:
    return row(table="fig6.4", dataset=dataset, method=name, variant=part, metric="relative_change")


def network(method: str, nfe: int, grid: str = "uniform", table: str = "fig6.5") -> Selector:
    """The FID of a sampler of figs. 6.5 and 6.7 on the network trained on the digits."""
    return row(table=table, dataset="digits", method=method, variant=grid, metric="fid", nfe=nfe)


def held(method: str, nfe: int) -> Selector:
    """The FID of an adaptive method at the tightest tolerance with at most `nfe` evaluations, or the loosest if none has."""
    return row(table="fig6.5", dataset="digits", method=method, variant=f"at most {nfe}", metric="fid")


def network_better(left: str, right: str, left_grid: str = "uniform", right_grid: str = "uniform") -> Predicate:
    """At 10 and at 20 evaluations."""
    return all_of(*(smaller(network(left, n, left_grid), network(right, n, right_grid)) for n in (10, 20)))


def deis_beats(rivals: Callable[[int, str], Selector]) -> Predicate:
    """tAB3 on quadratic times against a rival on both grids, with 10 and 20 evaluations."""
    pairs = [(n, grid) for n in (10, 20) for grid in ("uniform", "quadratic")]
    return all_of(*(smaller(network("tAB3", n, "quadratic"), rivals(n, grid)) for n, grid in pairs))


def pndm(nfe: int, grid: str) -> Selector:
    """PNDM's grid of two steps takes 8 evaluations where 10 are allowed."""
    return network("PNDM", {10: 8}.get(nfe, nfe), grid, "fig6.7")


def extrapolated(dataset: str, degree: int, grid: str) -> Selector:
    return row(table="fig6.4b", dataset=dataset, method=f"r={degree}", variant=grid, metric="extrapolation_error")


def extrapolation(datasets: tuple[str, ...], pairs: tuple[tuple[int, int], ...]) -> Predicate:
    """A polynomial of the first degree of each pair has the smaller error, on both grids."""
    places = [(dataset, grid) for dataset in datasets for grid in ("uniform", "quadratic")]
    return all_of(*(smaller(extrapolated(d, low, g), extrapolated(d, high, g)) for d, g in places for low, high in pairs))


def fit(region: str, metric: str) -> Selector:
    return row(table="fig6.2", variant=region, metric=metric)


def best(column: str, nfe: int, metric: str = "fid") -> Selector:
    """A cell of Table 6.2 with its best grid."""
    method, variant = ("DDIM", "") if column == "DDIM" else ("DEIS", column)
    return row(table="6.2-grids", method=method, variant=variant, metric=metric, nfe=nfe)


def density(dataset: str, method: str, metric: str, **columns: int) -> Selector:
    return row(table="likelihood", dataset=dataset, method=method, metric=metric, **columns)


COMPARED = "fig. 6.7 (the text says that they are compared, not that DEIS is better"
AFTER = "a candidate protocol, made after the numbers of the one grid were seen"
FAST_LIKELIHOODS = ("rho2Heun", "rho3Kutta", "rho4RK", "rhoAB3")
NETWORKS = [
    Claim(
        "network-score-integrator-worse-than-euler",
        "Switching from Euler to the exponential integrator on the score worsens FID, on a trained network.",
        "fig. 6.5",
        network_better("Euler", "EI-score"),
    ),
    Claim(
        "network-noise-beats-euler",
        "The exponential integrator on the noise prediction is better than Euler's method, on a trained network.",
        "section 6.3, fig. 6.5",
        network_better("EI-eps", "Euler"),
    ),
    Claim(
        "network-polynomials-help",
        "Polynomial extrapolation improves the FID of a trained network: tAB3 against DDIM on uniform times.",
        "fig. 6.5",
        network_better("tAB3", "EI-eps"),
    ),
    Claim(
        "network-times-help",
        "Optimised times improve the FID of a trained network: tAB3 on quadratic times against uniform ones.",
        "fig. 6.5 (that the times are quadratic is our reading)",
        network_better("tAB3", "tAB3", "quadratic", "uniform"),
    ),
    Claim(
        "deis-beats-em",
        "DEIS converges much faster than Euler-Maruyama: tAB3 has the smaller FID with 10 and 20 evaluations.",
        "fig. 6.5",
        deis_beats(lambda n, grid: network("EM", n, grid)),
    ),
    *(
        Claim(
            f"deis-beats-{method.lower().replace(' ', '-')}",
            f"DEIS converges much faster than {name}: tAB3 has the smaller FID with 10 and 20 evaluations.",
            "fig. 6.5 (how an adaptive solver is held to so many evaluations was changed after a first run had been seen; "
            "it has more where already its loosest tolerance takes more)",
            all_of(*(smaller(network("tAB3", n, "quadratic"), held(method, n)) for n in (10, 20))),
        )
        for method, name in {"RK45": "RK45", "adaptive SDE": "the SDE solver of adaptive steps"}.items()
    ),
    *(
        Claim(
            f"deis-beats-{method.lower()}",
            f"DEIS has a smaller FID than {method} with 10 and 20 evaluations.",
            f"{COMPARED})",
            deis_beats(lambda n, grid, method=method: network(method, n, grid, "fig6.7")),
        )
        for method in ("DDPM", "A-DDIM", "iPNDM", "Ito-Taylor")
    ),
    Claim(
        "deis-beats-fastdpm",
        "DEIS has a smaller FID than FastDPM with 10 and 20 evaluations, whatever its levels and its reverse process.",
        f"{COMPARED}; which of FastDPM's variants is drawn is not stated: all of its authors' code)",
        all_of(
            *(
                smaller(network("tAB3", n, "quadratic"), network(f"FastDPM {reverse}", n, f"{kind} {rise}", "fig6.7"))
                for n in (10, 20)
                for reverse in ("DDIM-rev", "DDPM-rev")
                for kind in ("VAR", "STEP")
                for rise in ("linear", "quadratic")
            )
        ),
    ),
    Claim(
        "deis-beats-pndm",
        "DEIS has a smaller FID than PNDM with 10 and 20 evaluations.",
        f"{COMPARED}; PNDM's evaluations were set after a first run had been seen)",
        deis_beats(pndm),
    ),
    Claim(
        "ipndm-beats-pndm",
        "iPNDM, without the expensive warm start, is better than PNDM with 10 and 20 evaluations, on uniform times.",
        "section 6.5 (PNDM's evaluations were set after a first run had been seen)",
        all_of(*(smaller(network("iPNDM", n, "uniform", "fig6.7"), pndm(n, "uniform")) for n in (10, 20))),
    ),
    *(
        Claim(
            f"{name}extrapolation-helps",
            f"Polynomials of degree 1 to 3 reduce the error of the noise prediction from that of r = 0, with N = 10{where}.",
            "fig. 6.4b",
            extrapolation(datasets, ((1, 0), (2, 0), (3, 0))),
        )
        for name, where, datasets in (
            ("", ", exact scores", ("mixture1d", "digits_exact")),
            ("network-", ", a trained network", ("digits",)),
        )
    ),
    *(
        Claim(
            f"{name}each-degree-helps",
            f"Each higher degree reduces the error of the noise prediction, with N = 10{where}.",
            "fig. 6.4b (our sharpening: the text compares with r = 0 only)",
            extrapolation(datasets, ((1, 0), (2, 1), (3, 2))),
        )
        for name, where, datasets in (
            ("", ", exact scores", ("mixture1d", "digits_exact")),
            ("network-", ", a trained network", ("digits",)),
        )
    ),
    *(
        Claim(
            f"{metric.replace('_', '-')}-where-density-is-small",
            f"The score model works well where p_t is large but suffers where p_t is small: its {name} is larger there.",
            "fig. 6.2",
            smaller(fit("p_t large", metric), fit("p_t small", metric)),
        )
        for metric, name in {"fitting_error": "relative error", "noise_error": "error, scaled by sigma_t,"}.items()
    ),
    *table_claims("best-grids-", f", with the best grid of each cell, by the FID of a trained network ({AFTER})", best),
    Claim(
        "best-grids-flatter-runge-kutta",
        "Choosing the grid of each cell by other seeds lowers the FIDs of the Runge-Kutta methods more than tAB3's, "
        "near 5 and 10.",
        f"{TABLE}; {AFTER}, and so is the claim",
        all_of(
            *(
                smaller(best("tAB3", few, "gain_held_out"), best(column, nfe, "gain_held_out"))
                for few, columns in {
                    5: {"rho2Heun": 6, "rho3Kutta": 6, "rho4RK": 8},
                    10: {"rho2Heun": 10, "rho3Kutta": 12, "rho4RK": 12},
                }.items()
                for column, nfe in columns.items()
            )
        ),
    ),
    Claim(
        "likelihood-on-the-line",
        "DEIS accelerates likelihoods: with 48 evaluations each method is within 0.01 nats of the exact density.",
        "section 6.1 (the bound is ours)",
        all_of(*(below(density("mixture1d", name, "nats_error", nfe=48), 0.01) for name in FAST_LIKELIHOODS)),
    ),
    Claim(
        "network-likelihood-agrees",
        "With 48 evaluations each method gives dopri5's bits per dimension within 0.01, on a trained network.",
        "section 6.1 (the bound is ours)",
        all_of(*(below(density("digits", name, "bpd_gap", nfe=48), 0.01) for name in FAST_LIKELIHOODS)),
    ),
    Claim(
        "network-likelihood-agrees-at-96",
        "With 96 evaluations rho3Kutta and rho4RK give dopri5's bits per dimension within 0.01, on a trained network.",
        "section 6.1 (the bound is ours; the claim was made after these numbers were seen)",
        all_of(*(below(density("digits", name, "bpd_gap", nfe=96), 0.01) for name in ("rho3Kutta", "rho4RK"))),
    ),
    Claim(
        "network-likelihood-takes-fewer",
        "96 evaluations are fewer than half of what dopri5 takes at a tolerance of 1e-5.",
        "section 6.1 (made after these numbers were seen)",
        above(density("digits", "dopri5", "evaluations"), 192.0),
    ),
    *(
        Claim(
            f"heun-best-of-second-order-{name}",
            f"Heun's method works best among second-order Runge-Kutta methods, with 10 and 20 evaluations{where}.",
            "section 6.5",
            all_of(
                *(
                    smaller(
                        *(
                            row(table="section6.5", dataset=dataset, method=one, metric=metric, nfe=n)
                            for one in ("rho2Heun", other)
                        )
                    )
                    for dataset in datasets
                    for other in ("rho2Midpoint", "rho2Ralston")
                    for n in (10, 20)
                )
            ),
        )
        for name, where, datasets, metric in (
            ("exact", ", exact scores", ("mixture1d", "digits_exact"), "solver_median"),
            ("network", ", a trained network", ("digits",), "fid"),
        )
    ),
]

CLAIMS = [
    *NETWORKS,
    *IMAGES,
    Claim(
        "score-integrator-worse-than-euler",
        "The exponential integrator on the score is worse than Euler's method.",
        "fig. 6.3a",
        better("Euler", "EI-score", EVERYWHERE),
    ),
    Claim(
        "noise-beats-score",
        "The exponential integrator on the noise prediction is better than the one on the score.",
        "fig. 6.5",
        better("EI-eps", "EI-score", EVERYWHERE),
    ),
    Claim(
        "noise-integrator-beats-euler-digits",
        "The exponential integrator on the noise prediction is better than Euler's method, on images.",
        "fig. 6.5",
        better("EI-eps", "Euler", ("digits_exact",)),
    ),
    Claim(
        "noise-integrator-beats-euler-broad-modes",
        "The exponential integrator on the noise prediction is better than Euler's method, on broad modes too.",
        "fig. 6.5",
        better("EI-eps", "Euler", ("mixture1d",)),
    ),
    Claim(
        "polynomials-help",
        "Extrapolating the noise prediction by a polynomial helps: tAB3 is better than the integrator without.",
        "fig. 6.5",
        better("tAB3", "EI-eps", EVERYWHERE),
    ),
    Claim(
        "times-help",
        "Optimised times help: tAB3 is better on quadratic than on uniform times with 10 evaluations.",
        "fig. 6.5 (that the times are quadratic is our reading)",
        all_of(*(smaller(error(d, "tAB3", 10, "quadratic"), error(d, "tAB3", 10, "uniform")) for d in EVERYWHERE)),
    ),
    Claim(
        "noise-changes-less-than-score",
        "Along a solution the noise prediction changes less than the score, above t = 0.15 and below.",
        "figs. 6.3b and 6.3d (of the error of holding either for a step; the relative change, as in fig. 6.4a, is ours)",
        all_of(
            *(
                smaller(change(d, "eps", part), change(d, "score", part))
                for d in ("mixture1d", "digits_exact")
                for part in ("t>=0.15", "t<0.15")
            )
        ),
    ),
    Claim(
        "noise-nearly-constant",
        "Above t = 0.15 the noise prediction hardly changes: by less than 10 % in 1/20 of the time, on average.",
        "fig. 6.4 (the bound is ours)",
        all_of(*(below(change(d, "eps", "t>=0.15"), 0.1) for d in ("mixture1d", "digits_exact"))),
    ),
    Claim(
        "runge-kutta-catches-up",
        "With 50 evaluations the Runge-Kutta methods are better solvers than DDIM.",
        TABLE,
        all_of(
            *(
                smaller(cell(c, n, "solver_rmse"), cell("DDIM", 50, "solver_rmse"))
                for c, n in (("rho2Heun", 50), ("rho3Kutta", 51), ("rho4RK", 52))
            )
        ),
    ),
    Claim(
        "all-reach-the-exact-flow",
        "With 50 evaluations what is left of the distance to the data is that of the exact flow: tAB3 is within 0.01 of it.",
        f"{TABLE} (the columns meet at 2.6; the bound is ours)",
        agrees(cell("tAB3", 50, "sw2"), row(dataset="digits_exact", method="exact flow", metric="sw2"), within=0.01),
    ),
    Claim(
        "orders-of-polynomials",
        "tAB and rhoAB of degree r are of order r + 1.",
        "section 6.4, eq. 6.17 (of rhoAB; that tAB, eq. 6.14, has the same is our reading)",
        all_of(*(order(f"{family}{r}", r + 1) for family in ("tAB", "rhoAB") for r in (1, 2, 3))),
    ),
    Claim(
        "orders-of-runge-kutta",
        "rho2Heun, rho3Kutta and rho4RK are of order 2, 3 and 4.",
        "eq. 6.17",
        all_of(order("rho2Heun", 2), order("rho3Kutta", 3), order("rho4RK", 4)),
    ),
    *table_claims("", ", by the distance to the exact flow", cell),
    *table_claims("trained-", ", by the FID of a network trained on the digits", trained),
    *(
        Claim(
            f"trained-fid-falls-{column}",
            f"The FID of {column} on the trained network falls from 5 to 10 to 20 to 50 evaluations.",
            TABLE,
            monotone([trained(column, nfe) for nfe in (5, 10, 20, 50)], increasing=False),
        )
        for column in ("DDIM", "tAB3")
    ),
]
