"""What Tables 7.1 to 7.3 say, of networks trained on the digits, MNIST and CIFAR-10."""

from dataclasses import replace

from rescore.ledger.claims import Claim, Predicate, Selector, all_of, apart, monotone, on_the_network, row_on, smaller

PROCESSES = ("DDPM", "BDM", "CLD")
STOCHASTIC = {"DDPM": "EM", "BDM": "Ancestral", "CLD": "EM"}  # the slow sampler that Table 7.3 prints
LAMBDAS = ("0", "0.1", "0.3", "0.5", "0.7", "1")


def fid(table: str, method: str, variant: str, nfe: int) -> Selector:
    """A cell of Tables 7.1 to 7.3 with a network trained on the digits, at gpu and paper on CIFAR-10."""
    return row_on(("digits", "cifar10"), table=table, method=method, variant=variant, metric="fid", nfe=nfe)


def trained_best(nfe: int) -> Predicate:
    rivals = [(name, rival) for name in PROCESSES for rival in (STOCHASTIC[name], "Prob.Flow Heun")] + [("DDPM", "2nd Heun")]
    return all_of(*(smaller(fid("7.3", "gDDIM", name, nfe), fid("7.3", rival, name, nfe)) for name, rival in rivals))


OF_ONE_NETWORK = [
    *(
        Claim(
            f"trained-r-beats-l-{steps}-steps",
            f"On the trained network R has a smaller FID than L with {nfes[0]} and {nfes[1]} evaluations.",
            "Table 7.1",
            all_of(*(smaller(fid("7.1", "gDDIM", "K=R", n), fid("7.1", "gDDIM", "K=L", n)) for n in nfes)),
        )
        for steps, nfes in {"few": (20, 30), "many": (40, 50)}.items()
    ),
    Claim(
        "trained-l-breaks-down",
        "On the trained network L breaks down: its FID at 20 evaluations is more than 100 above that of R.",
        "Table 7.1 (printed 368 and 3.90); the bound is ours",
        apart(fid("7.1", "gDDIM", "K=L", 20), fid("7.1", "gDDIM", "K=R", 20), 100.0),
    ),
    Claim(
        "trained-lambda-hurts",
        "On the trained network a larger lambda makes gDDIM's FID worse with 50 evaluations: 0, 0.3 and 1.",
        "Table 7.2",
        monotone([fid("7.2", "gDDIM", f"lam={value}", 50) for value in ("0", "0.3", "1")], increasing=True),
    ),
    Claim(
        "trained-gddim-beats-em",
        "On the trained network gDDIM is better than Euler-Maruyama at every lambda.",
        "Table 7.2",
        all_of(*(smaller(fid("7.2", "gDDIM", f"lam={v}", 50), fid("7.2", "EM", f"lam={v}", 50)) for v in LAMBDAS)),
    ),
    Claim(
        "trained-noise-helps-em",
        "On the trained network Euler-Maruyama is better with lambda 0.7 than without noise.",
        "Table 7.2 (printed 45 and 346)",
        smaller(fid("7.2", "EM", "lam=0.7", 50), fid("7.2", "EM", "lam=0", 50)),
    ),
    *(
        Claim(
            f"trained-gddim-best-{nfe}",
            f"On the trained networks gDDIM has the smallest FID of the printed samplers with {nfe} evaluations "
            "(Heun for RK45).",
            "Table 7.3",
            trained_best(nfe),
        )
        for nfe in (10, 20, 50)
    ),
    *(
        Claim(
            f"trained-fid-falls-{name}",
            f"The FID of gDDIM on the trained network of {name} falls from 10 to 20 to 50 evaluations.",
            "Table 7.3",
            monotone([fid("7.3", "gDDIM", name, nfe) for nfe in (10, 20, 50)], increasing=False),
        )
        for name in PROCESSES
    ),
    Claim(
        "trained-twenty-times-ancestral",
        "On the trained network of BDM gDDIM with 50 evaluations outperforms ancestral sampling with 1000.",
        "section 7.5, Table 7.3",
        smaller(fid("7.3", "gDDIM", "BDM", 50), fid("7.3", "Ancestral", "BDM", 1000)),
    ),
]
TRAINED = [
    *(replace(claim, predicate=on_the_network(claim.predicate)) for claim in OF_ONE_NETWORK),
    Claim(
        "trained-cld-worst-at-10",
        "On the trained networks gDDIM with 10 evaluations is behind on CLD.",
        "Table 7.3 (printed 13.41, 4.17 and 4.52)",
        all_of(*(smaller(fid("7.3", "gDDIM", name, 10), fid("7.3", "gDDIM", "CLD", 10)) for name in ("DDPM", "BDM"))),
    ),
]


def image(method: str, nfe: int, *datasets: str) -> Selector:
    """A cell of Table 7.3's DDPM column with a scale's one network, trained on the first of these data sets that it has."""
    return row_on(datasets, table="7.3", method=method, variant="DDPM", metric="fid", nfe=nfe)


def mnist(method: str, nfe: int) -> Selector:
    return image(method, nfe, "mnist")


ON_MNIST = ", by the FID of one network trained on MNIST"
MNIST = [
    *(
        Claim(
            f"mnist-gddim-best-{nfe}",
            f"Of the samplers of VP gDDIM has the smallest FID with {nfe} evaluations (Heun for RK45){ON_MNIST}.",
            "Table 7.3",
            on_the_network(
                all_of(*(smaller(mnist("gDDIM", nfe), mnist(rival, nfe)) for rival in ("EM", "Prob.Flow Heun", "2nd Heun")))
            ),
        )
        for nfe in (10, 20)
    ),
    Claim(
        "mnist-fid-falls",
        f"The FID of gDDIM on VP falls from 10 to 20 evaluations{ON_MNIST}.",
        "Table 7.3",
        on_the_network(smaller(mnist("gDDIM", 20), mnist("gDDIM", 10))),
    ),
    Claim(
        "image-steps-help",
        "With 10 evaluations gDDIM of several steps is better than that of one, which is DDIM, by the FID of one network "
        "trained on MNIST (laptop) or CIFAR-10 (gpu and paper).",
        "Tables 6.2 and 7.3 (printed 4.17 and 11.14)",
        on_the_network(smaller(*(image(method, 10, "mnist", "cifar10") for method in ("gDDIM", "gDDIM, q=1")))),
    ),
]
