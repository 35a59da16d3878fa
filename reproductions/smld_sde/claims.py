"""What the note and its two papers say about samplers, checked on exact scores and of trained networks."""

from dataclasses import replace

from rescore.ledger.claims import Claim, Selector, above, agrees, all_of, below, either, monotone, on_the_network, row, smaller

from reproductions.smld_sde.estimation_claims import ESTIMATION, MODELS

PREDICTORS = ("ancestral", "reverse diffusion", "probability flow")
ONLY_FLOW = "fig. 17 prints it for probability flow alone"


def example(method: str, metric: str, variant: str = "") -> Selector:
    """A number of the note's Langevin example."""
    return row(table="fig7", dataset="mixture1d", method=method, variant=variant, metric=metric)


def toy(method: str, metric: str) -> Selector:
    return row(table="ncsn-toy", dataset="mixture2d", method=method, metric=metric)


def cell(method: str, variant: str, table: str = "fig17") -> Selector:
    """A cell of fig. 17 on the digits' Gaussian."""
    return row(table=table, dataset="digits_gaussian", method=method, variant=variant, metric="sw2")


def sampled(method: str, variant: str, metric: str) -> Selector:
    """A cell of fig. 17 on the mixture in the plane, from samples."""
    return row(table="fig17", dataset="mixture2d_unit", method=method, variant=variant, metric=metric)


def each_predictor(kind: str, better: str, worse: str) -> list:
    return [smaller(cell(name, f"{kind} {better}"), cell(name, f"{kind} {worse}")) for name in PREDICTORS]


def fid(method: str, kind: str, scheme: str, steps: int = 1) -> Selector:
    """A cell of fig. 17 with a trained network: `scheme` P, PC or C of `steps` times N steps.

    N is 100 on the digits; on CIFAR-10, at gpu 50 and at paper the printed 1000.
    """

    def of(dataset: str, n: int) -> Selector:
        nfe = (2 if scheme == "PC" else 1) * steps * n
        return row(table="fig17", dataset=dataset, method=method, variant=f"{kind} {scheme}{steps * n}", metric="fid", nfe=nfe)

    return either(of("digits", 100), of("cifar10", 1000), of("cifar10", 50))


def table(number: int, kind: str, metric: str) -> Selector:
    """A number of Score-SDE Table 2 or 3 with a trained network: an MLP of the digits, the papers' of CIFAR-10."""
    network = "NCSN++ cont." if kind == "VE" else "DDPM++ cont."
    columns = dict(table=f"score-sde-{number}", variant=kind, metric=metric)
    return either(row(dataset="digits", method="MLP", **columns), row(dataset="cifar10", method=network, **columns))


OF_ONE_NETWORK = [
    *(
        Claim(
            f"trained-corrector-beats-more-steps-{kind}",
            f"On the trained network of {kind} PC beats P with the same evaluations, for each predictor.",
            f"note {printed}",
            all_of(*(smaller(fid(name, kind, "PC"), fid(name, kind, "P", 2)) for name in PREDICTORS)),
        )
        for kind, printed in (
            ("VE", "fig. 17, where it is so printed"),
            ("VP", f"{ONLY_FLOW} (ancestral 3.21 against 3.11, reverse diffusion 3.18 against 3.10)"),
        )
    ),
    *(
        Claim(
            f"trained-more-steps-help-{kind}",
            f"On the trained network of {kind} twice the predictor steps are better, for each predictor.",
            "note fig. 17",
            all_of(*(smaller(fid(name, kind, "P", 2), fid(name, kind, "P")) for name in PREDICTORS)),
        )
        for kind in ("VE", "VP")
    ),
    Claim(
        "trained-corrector-alone-worst",
        "On the trained networks the corrector alone is worse than every predictor with a corrector.",
        "note fig. 17",
        all_of(
            *(
                smaller(fid(name, kind, "PC"), fid("corrector only", kind, "C", 2))
                for kind in ("VE", "VP")
                for name in PREDICTORS
            )
        ),
    ),
    Claim(
        "trained-flow-worst-predictor-ve",
        "On the trained network of VE the probability flow is the worst predictor without corrector.",
        "note fig. 17 (15.41 against 4.79 and 4.98)",
        all_of(*(smaller(fid(n, "VE", "P"), fid("probability flow", "VE", "P")) for n in PREDICTORS[:2])),
    ),
    Claim(
        "bound-is-a-bound",
        "The ELBO's bits per dimension are above those of the probability flow, on VP, subVP and VE.",
        "Score-SDE Table 2 (<=3.70, <=3.75 and 3.28 on VP); the two are likelihoods of two models of one score",
        all_of(*(smaller(table(2, kind, "bpd"), table(2, kind, "bpd_bound")) for kind in ("VP", "subVP", "VE"))),
    ),
]

TRAINED = [
    *MODELS,
    *(replace(claim, predicate=on_the_network(claim.predicate)) for claim in OF_ONE_NETWORK),
    Claim(
        "trained-vp-beats-ve",
        "Without corrector VP has smaller FIDs than VE, for each predictor.",
        "note fig. 17",
        all_of(*(smaller(fid(name, "VP", "P"), fid(name, "VE", "P")) for name in PREDICTORS)),
    ),
    Claim(
        "trained-subvp-best-likelihood",
        "subVP has fewer bits per dimension than VP.",
        "Score-SDE Table 2 (3.02 and 3.16)",
        smaller(table(2, "subVP", "bpd"), table(2, "VP", "bpd")),
    ),
    Claim(
        "trained-ve-best-samples",
        "VE with a corrector has a smaller FID than VP and subVP.",
        "Score-SDE Table 3 (2.38, 2.55 and 2.61)",
        all_of(*(smaller(table(3, "VE", "fid"), table(3, kind, "fid")) for kind in ("VP", "subVP"))),
    ),
]

MNIST = [
    Claim(
        "mnist-bound-is-a-bound",
        "The ELBO's bits per dimension are above those of the probability flow, on VP, of one network trained on MNIST.",
        "Score-SDE Table 2 (<=3.70 and 3.28); the two are likelihoods of two models of one score",
        on_the_network(
            smaller(
                *(row(table="score-sde-2", dataset="mnist", variant="VP", metric=metric) for metric in ("bpd", "bpd_bound"))
            )
        ),
    )
]

CLAIMS = [
    *TRAINED,
    *MNIST,
    *ESTIMATION,
    Claim(
        "langevin-reaches-the-modes",
        "After 100 Langevin steps the particles around each mode have its mean and standard deviation, within 0.05.",
        "note fig. 7 (the bound is ours)",
        all_of(
            *(
                agrees(example("Langevin", f"{name}_{side}"), value, within=0.05)
                for side, mode in (("right", (2.0, 0.5)), ("left", (-2.0, 0.2)))
                for name, value in zip(("mean", "std"), mode, strict=True)
            )
        ),
    ),
    Claim(
        "langevin-samples-the-mixture",
        "After 100 Langevin steps the particles are draws of p(x): the right mode has its weight 0.6, within 0.01.",
        "note fig. 7 and eqs. 15-17 (the bound is ours)",
        agrees(example("Langevin", "weight_right"), 0.6, within=0.01),
    ),
    Claim(
        "slow-mixing",
        "Longer Langevin dynamics does not recover the weights of separated modes: they stay off by over 0.01.",
        "note section 1.4.3 (the bound is ours)",
        above(example("Langevin", "weight_right", "long"), 0.61),
    ),
    Claim(
        "weights-are-those-of-the-start",
        "Langevin dynamics does not see the weights: the right mode gets the mass that started in its basin, within 0.01.",
        "note section 1.4.3 (the bound is ours)",
        agrees(example("Langevin", "weight_right"), example("uniform start", "weight_right"), within=0.01),
    ),
    Claim(
        "annealing-recovers-the-weights",
        "Annealed Langevin dynamics recovers the weight 0.6 of the right mode, within 0.01.",
        "note section 1.5 and algorithm 1 (the bound is ours)",
        agrees(example("annealed Langevin", "weight_right"), 0.6, within=0.01),
    ),
    Claim(
        "langevin-fails-in-the-plane",
        "On two modes in the plane Langevin dynamics misses the weight 0.8 by over 0.1, annealed Langevin by less than 0.03.",
        "note figs. 11 and 12; NCSN section 3.2.2 and fig. 3 (the bounds are ours)",
        all_of(
            below(toy("Langevin", "weight_right"), 0.7),
            agrees(toy("annealed Langevin", "weight_right"), 0.8, within=0.03),
            smaller(toy("annealed Langevin", "sw2"), toy("Langevin", "sw2")),
        ),
    ),
    Claim(
        "constant-signal-to-noise",
        "Steps proportional to sigma^2 keep |alpha s| / |2 sqrt(alpha) z| constant over the levels, within a factor of 1.5.",
        "note section 1.5 (the factor is ours)",
        below(toy("annealed Langevin", "snr_ratio"), 1.5),
    ),
    Claim(
        "no-noise-is-gradient-descent",
        "Without the noise particles descend to the modes: no spread is left, standard deviations below 0.02.",
        "note proposition 1.2 (the bound is ours)",
        all_of(*(below(example("Langevin", f"std_{side}", "no noise"), 0.02) for side in ("right", "left"))),
    ),
    Claim(
        "printed-discretisation",
        "With the noise multiplied by the step size, as printed, the right mode gets its spread, within 0.05.",
        "note eq. 14 (the bound is ours)",
        agrees(example("Langevin", "std_right", "eq. 14"), 0.5, within=0.05),
    ),
    Claim(
        "predictors-beat-corrector-ve",
        "Reverse diffusion and ancestral sampling are better for SMLD than Langevin dynamics, at equal evaluations.",
        "note section 2.3.2; fig. 17, VE P2000 against C2000",
        all_of(*(smaller(cell(name, "VE P2000"), cell("corrector only", "VE C2000")) for name in PREDICTORS[:2])),
    ),
    Claim(
        "corrector-only-worst",
        "The corrector alone is worse than every predictor of as many evaluations, VE and VP.",
        "note fig. 17; Score-SDE section 4.2",
        all_of(
            *(
                smaller(cell(name, f"{kind} P2000"), cell("corrector only", f"{kind} C2000"))
                for kind in ("VE", "VP")
                for name in PREDICTORS
            )
        ),
    ),
    *(
        Claim(
            f"corrector-beats-more-steps-{kind.lower()}",
            f"1000 predictor steps, each with a corrector step, beat 2000 predictor steps, for every predictor ({kind}).",
            f"Score-SDE section 4.2; {printed}",
            all_of(*each_predictor(kind, "PC1000", "P2000")),
        )
        for kind, printed in (("VE", "so printed in fig. 17"), ("VP", ONLY_FLOW))
    ),
    *(
        Claim(
            f"corrector-improves-{kind.lower()}",
            f"A corrector step improves every predictor: PC1000 is better than P1000 ({kind}).",
            "Score-SDE section 4.2; fig. 17",
            all_of(*each_predictor(kind, "PC1000", "P1000")),
        )
        for kind in ("VE", "VP")
    ),
    Claim(
        "more-steps-help",
        "Twice the predictor steps improve every predictor, VE and VP.",
        "note fig. 17, P2000 against P1000",
        all_of(*each_predictor("VE", "P2000", "P1000"), *each_predictor("VP", "P2000", "P1000")),
    ),
    Claim(
        "flow-is-the-worst-predictor",
        "At 1000 steps the discrete probability flow is the worst predictor, VE and VP.",
        "note fig. 17, P1000",
        all_of(
            *(
                smaller(cell(name, f"{kind} P1000"), cell("probability flow", f"{kind} P1000"))
                for kind in ("VE", "VP")
                for name in PREDICTORS[:2]
            )
        ),
    ),
    *(
        Claim(
            f"reverse-diffusion-beats-ancestral-{kind.lower()}",
            f"Reverse diffusion is better than ancestral sampling at 1000 steps ({kind}).",
            "Score-SDE section 4.1; fig. 17",
            smaller(cell("reverse diffusion", f"{kind} P1000"), cell("ancestral", f"{kind} P1000")),
        )
        for kind in ("VE", "VP")
    ),
    Claim(
        "linear-beats-rounding-for-flow",
        "For the VE probability flow of 2000 steps interpolated levels beat rounded ones.",
        "Score-SDE Table 1 (10.54) against Table 4, the note's fig. 17 (12.87)",
        smaller(cell("probability flow", "VE P2000", "score-sde-1"), cell("probability flow", "VE P2000")),
    ),
    Claim(
        "smld-worse-than-ddpm",
        "SMLD samples worse than DDPM: VE P1000 is worse than VP P1000, reverse diffusion and ancestral sampling.",
        "note section 2.3.2; fig. 17",
        all_of(*(smaller(cell(name, "VP P1000"), cell(name, "VE P1000")) for name in PREDICTORS[:2])),
    ),
    Claim(
        "all-levels-recover-the-weights",
        "Every sampler that passes through all noise levels finds the weight 0.8 within 0.03, correctors alone too.",
        "note sections 1.5 and 2.5 (the bound is ours)",
        all_of(
            *(
                agrees(sampled(name, f"{kind} {budget}", "weight_right"), 0.8, within=0.03)
                for kind in ("VE", "VP")
                for name in PREDICTORS
                for budget in ("P1000", "PC1000")
            ),
            *(agrees(sampled("corrector only", f"{kind} C2000", "weight_right"), 0.8, within=0.03) for kind in ("VE", "VP")),
        ),
    ),
    Claim(
        "last-denoising-helps",
        "SMLD samples are worse when the noise of the last step is kept.",
        "Score-SDE appendix G",
        smaller(cell("reverse diffusion", "VE P1000"), cell("reverse diffusion", "VE P1000 not denoised")),
    ),
    Claim(
        "large-sigma-needed",
        "SMLD must end at a variance large enough for its Gaussian start: sigma_max 50 is better than 5, and 5 than 0.5.",
        "note section 2.3.3",
        monotone(
            [row(table="largest-sigma", variant=f"VE sigma_max {sigma}") for sigma in ("0.5", "5", "50")], increasing=False
        ),
    ),
    *(
        Claim(
            f"{'flow' if name == 'probability flow' else name.replace(' ', '-')}-converges",
            f"The error of {name} falls with the number of steps, from 30 to 100 to 1000, VE and VP.",
            source,
            all_of(
                *(
                    monotone([row(table="steps", method=name, variant=kind, nfe=n) for n in (30, 100, 1000)], increasing=False)
                    for kind in ("VE", "VP")
                )
            ),
        )
        for name, source in (
            ("ancestral", "note section 2.2.2: DDPM's sampling is a discretised reverse SDE; eq. 51 for SMLD"),
            ("reverse diffusion", "note eqs. 21 and 50"),
            ("probability flow", "note section 2.4: the ODE has the SDE's marginals"),
        )
    ),
]
