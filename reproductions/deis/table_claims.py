"""What Table 6.2 says about its columns, of exact scores or of any network; with it all claims on one network of images."""

from collections.abc import Callable
from dataclasses import replace

from rescore.ledger.claims import Claim, Selector, all_of, either, monotone, on_the_network, row, smaller

TABLE = "Table 6.2"


def cell(column: str, nfe: int, metric: str = "sw2_flow") -> Selector:
    """One cell of Table 6.2 on the digits; `sw2_flow`, for the floor of `sw2` hides all differences but the grossest."""
    method, variant = ("DDIM", "") if column == "DDIM" else ("DEIS", column)
    return row(table="6.2", dataset="digits_exact", method=method, variant=variant, metric=metric, nfe=nfe)


def trained(column: str, nfe: int, dataset: str = "digits") -> Selector:
    """One cell of Table 6.2, the FID of a network trained on a data set."""
    method, variant = ("DDIM", "") if column == "DDIM" else ("DEIS", column)
    return row(table="6.2", dataset=dataset, method=method, variant=variant, metric="fid", nfe=nfe)


def image(column: str, nfe: int) -> Selector:
    """The same of the scale's one U-Net: MNIST's at laptop, CIFAR-10's at gpu and paper."""
    return either(trained(column, nfe, "mnist"), trained(column, nfe, "cifar10"))


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
            all_of(
                *(
                    smaller(cell("tAB3", n), cell(c, m))
                    for n, runge_kutta in rivals.items()
                    for c, m in (dict.fromkeys(multistep, n) | runge_kutta).items()
                )
            ),
        ),
    ]


ON_IMAGES = ", by the FID of one network trained on MNIST (laptop) or CIFAR-10 (gpu and paper)"
_OF_IMAGES = [
    *table_claims("image-", ON_IMAGES, image),
    Claim(
        "image-deis-beats-ddim",
        f"DEIS beats DDIM with 5 and with 10 evaluations, by polynomials of each degree in t and in rho{ON_IMAGES}.",
        TABLE,
        all_of(
            *(smaller(image(f"{of}{r}", n), image("DDIM", n)) for of in ("tAB", "rhoAB") for r in (1, 2, 3) for n in (5, 10))
        ),
    ),
    *(
        Claim(
            f"image-fid-falls-{column}",
            f"The FID of {column} falls from 5 to 10 to 20 evaluations{ON_IMAGES}.",
            TABLE,
            monotone([image(column, nfe) for nfe in (5, 10, 20)], increasing=False),
        )
        for column in ("DDIM", "tAB3")
    ),
]
IMAGES = [replace(claim, predicate=on_the_network(claim.predicate)) for claim in _OF_IMAGES]
