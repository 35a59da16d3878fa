"""What chapter 6 says about its solvers, asked of exact scores, and of Table 6.2 also with a network trained on the digits."""

from collections.abc import Callable

from rescore.ledger.claims import Claim, Predicate, Selector, agrees, all_of, below, monotone, row, smaller

TABLE = "Table 6.2"
EVERYWHERE = ("mixture1d", "mixture1d_narrow", "digits_exact")


def cell(column: str, nfe: int, metric: str = "sw2_flow") -> Selector:
    """One cell of Table 6.2 on the digits; `sw2_flow`, for the floor of `sw2` hides all differences but the grossest."""
    method, variant = ("DDIM", "") if column == "DDIM" else ("DEIS", column)
    return row(table="6.2", dataset="digits_exact", method=method, variant=variant, metric=metric, nfe=nfe)


def trained(column: str, nfe: int) -> Selector:
    """One cell of Table 6.2, the FID of the network trained on the digits."""
    method, variant = ("DDIM", "") if column == "DDIM" else ("DEIS", column)
    return row(table="6.2", dataset="digits", method=method, variant=variant, metric="fid", nfe=nfe)


def error(dataset: str, method: str, nfe: int, grid: str = "uniform") -> Selector:
    """The median distance to the exact solution."""
    return row(table="fig6.5", dataset=dataset, method=method, variant=grid, metric="solver_median", nfe=nfe)


def better(left: str, right: str, datasets: tuple[str, ...], nfes: tuple[int, ...] = (10, 20)) -> Predicate:
    """`left` has the smaller error at each of these evaluations."""
    return all_of(*(smaller(error(d, left, n), error(d, right, n)) for d in datasets for n in nfes))


def order(method: str, stated: int) -> Predicate:
    """The measured order is within 0.3 of the stated one."""
    return agrees(row(table="orders", method=method, variant=f"order-{stated}", metric="order"), float(stated), within=0.3)


def change(dataset: str, name: str, part: str) -> Selector:
    return row(table="fig6.4", dataset=dataset, method=name, variant=part, metric="relative_change")


def table_claims(prefix: str, where: str, cell: Callable[[str, int], Selector]) -> list[Claim]:
    """What Table 6.2 says about its columns, asked of the cells that `cell` selects."""
    rivals = {10: {"rho2Heun": 10, "rho3Kutta": 12, "rho4RK": 12}, 20: {"rho2Heun": 20, "rho3Kutta": 21, "rho4RK": 20}}
    multistep = ("DDIM", "rhoAB1", "rhoAB2", "rhoAB3", "tAB1", "tAB2")
    return [
        *(
            Claim(
                f"{prefix}higher-order-better-at-{nfe}",
                f"With {nfe} evaluations each order of tAB is better than the one below, DDIM being order 0{where}.",
                TABLE,
                monotone([cell(c, nfe) for c in ("tAB3", "tAB2", "tAB1", "DDIM")], increasing=True),
            )
            for nfe in (5, 10)
        ),
        Claim(
            f"{prefix}time-beats-rho",
            f"Polynomials in t are better than polynomials in rho with up to 20 evaluations{where}.",
            TABLE,
            all_of(*(smaller(cell(f"tAB{r}", n), cell(f"rhoAB{r}", n)) for r in (1, 2, 3) for n in (5, 10, 20))),
        ),
        Claim(
            f"{prefix}runge-kutta-worse-at-few-evaluations",
            f"With 5 to 8 evaluations the Runge-Kutta methods are worse than DDIM with 5{where}.",
            TABLE,
            all_of(*(smaller(cell("DDIM", 5), cell(c, n)) for c, n in (("rho2Heun", 6), ("rho3Kutta", 6), ("rho4RK", 8)))),
        ),
        Claim(
            f"{prefix}tab3-best",
            f"tAB3 is the best of the ten with 10 and with 20 evaluations{where}.",
            TABLE,
            all_of(*(
                smaller(cell("tAB3", n), cell(c, m))
                for n, runge_kutta in rivals.items() for c, m in (dict.fromkeys(multistep, n) | runge_kutta).items()
            )),
        ),
    ]  # fmt: skip


CLAIMS = [
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
        "fig. 6.4",
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
        "eqs. 6.14 and 6.17",
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
