"""What the note and its papers say of estimating scores, of DDPM's two losses and of NCSN."""

from rescore.ledger.claims import Claim, Selector, above, agrees, all_of, below, monotone, row, smaller

NOISES = ("3", "10")  # that fill the plane


def circle(noise: str, metric: str) -> Selector:
    return row(table="fig8", dataset="circle", variant=f"noise={noise}", metric=metric)


def band(noise: str, name: str) -> Selector:
    return row(table="fig9", dataset="mixture2d", variant=f"noise={noise}", metric=f"score_error_{name}")


def kernel(method: str, metric: str, points: int = 1000, width: float = 0.1) -> Selector:
    return row(table="eq6", dataset="mixture1d", method=method, variant=f"M={points} h={width:g}", metric=metric)


def loss(name: str, metric: str) -> Selector:
    """A network trained with L or L_simple."""
    return row(table="score-sde-2", dataset="digits", method="MLP", variant=name, metric=metric)


def dynamics(method: str, metric: str) -> Selector:
    """Of the trained NCSN."""
    return row(table="fig13b", dataset="digits", method=method, metric=metric)


def code(metric: str) -> Selector:
    """Of images encoded by the probability flow."""
    return row(table="encoding", dataset="digits", method="VP", metric=metric)


MODELS = [
    Claim(
        "encoding-is-unique",
        "Two networks trained on the same data encode an image alike: their codes are nearer than those of two images.",
        "note section 2.4, 'uniquely identifiable encoding'; Score-SDE section 4.3",
        smaller(code("networks_rmse"), code("images_rmse")),
    ),
    Claim(
        "encodings-correlate",
        "Codes of an image by two networks have a correlation above 0.9.",
        "note section 2.4, 'uniquely identifiable encoding' (the bound is ours)",
        above(code("networks_correlation"), 0.9),
    ),
    Claim(
        "encoding-does-not-depend-on-the-solver",
        "Codes by tolerances 1e-5 and 1e-3 of the solver differ by less than a hundredth.",
        "note section 2.4 (the bound is ours)",
        below(code("solvers_rmse"), 0.01),
    ),
    Claim(
        "encoding-inverts",
        "The flow back from its code gives an image again: RMS error below 0.01 of the range [-1, 1].",
        "note section 2.4, 'manipulating latent representations' (the bound is ours)",
        below(code("round_trip_rmse"), 0.01),
    ),
    Claim(
        "halfway-codes-are-nearer-to-digits",
        "Images halfway between two codes are nearer to a digit than the mean of the two images.",
        "note section 2.4, 'manipulating latent representations' (no number printed)",
        smaller(code("halfway_nearest"), code("pixel_mean_nearest")),
    ),
    Claim(
        "likelihood-loss-better-bound",
        "L gives a better bound in bits per dimension than L_simple.",
        "note eqs. 30 and 31; Score-SDE Table 2 (<=3.70, <=3.75)",
        smaller(loss("L", "bpd_bound"), loss("L_simple", "bpd_bound")),
    ),
    Claim(
        "simple-loss-better-samples",
        "L_simple gives a better FID than L.",
        "note eqs. 30 and 31; Score-SDE Table 2 (3.17, 13.51)",
        smaller(loss("L_simple", "fid"), loss("L", "fid")),
    ),
    Claim(
        "ncsn-annealing-beats-plain",
        "On a trained NCSN annealed Langevin dynamics has a better FID than Langevin dynamics with the "
        "least noise, alike in evaluations.",
        "note section 1.5, algorithm 1",
        smaller(dynamics("NCSN", "fid"), dynamics("Langevin", "fid")),
    ),
    Claim(
        "ncsn-annealing-better-inception-score",
        "And a better inception score.",
        "note section 1.5, algorithm 1",
        smaller(dynamics("Langevin", "is"), dynamics("NCSN", "is")),
    ),
    Claim(
        "ncsn-constant-signal-to-noise",
        "On a trained NCSN |alpha s| / |2 sqrt(alpha) z| is constant over the levels, within a factor of 1.5.",
        "note section 1.5 (the factor is ours, that of the exact score's claim)",
        below(row(table="sec1.5", dataset="digits", method="NCSN", metric="snr_ratio"), 1.5),
    ),
]

ESTIMATION = [
    Claim(
        "manifold-loss-does-not-converge",
        "On a manifold the loss of sliced score matching does not converge: its last quarter is over 5 % below the third.",
        "note section 1.4.1 and fig. 8 (the bound and the circle are ours)",
        above(circle("0", "loss_fall"), 0.05),
    ),
    *(
        Claim(
            f"manifold-noise-converges-{noise}",
            f"With noise of standard deviation {noise} the loss converges: its last quarter is within 5 % of the third.",
            f"note section 1.4.1 and fig. 8 (the bound is ours{'; NCSN has this noise' if noise == '0.01' else ''})",
            below(circle(noise, "loss_fall"), 0.05, by=abs),
        )
        for noise in ("0.01", "0.1")
    ),
    Claim(
        "manifold-noise-gives-the-score",
        "With noise of standard deviation 0.1 the score of the noised circle is learned: relative squared error below 0.1.",
        "note section 1.4.1 (the bound is ours)",
        below(circle("0.1", "score_error"), 0.1),
    ),
    Claim(
        "score-inaccurate-where-data-are-rare",
        "The lower the density of the data, the larger the relative error of the learned score: high, middle, low.",
        "note section 1.4.2 and fig. 9 (the bands are ours: 3 and 6 standard deviations)",
        monotone([band("0", name) for name in ("high", "middle", "low")], increasing=True),
    ),
    *(
        Claim(
            f"noise-fills-the-plane-{noise}",
            f"With noise of standard deviation {noise} the score is more accurate where the data are rare than without.",
            "note section 1.4.2 and fig. 10 (the noise is ours)",
            smaller(band(noise, "low"), band("0", "low")),
        )
        for noise in NOISES
    ),
    *(
        Claim(
            f"noised-score-accurate-everywhere-{noise}",
            f"With noise of standard deviation {noise} the relative squared error is below 0.1 in every band.",
            "note section 1.4.2 and fig. 10 (the bound and the noise are ours)",
            all_of(*(below(band(noise, name), 0.1) for name in ("high", "middle", "low"))),
        )
        for noise in NOISES
    ),
    Claim(
        "kernel-density-needs-points",
        "The score of a kernel density nears that of p(x) with more points: 100, 1000, 5000.",
        "note eq. 5 and fig. 5",
        monotone([kernel("kernel density", "score_error", m) for m in (100, 1000, 5000)], increasing=False),
    ),
    Claim(
        "kernel-width-is-a-trade-off",
        "Of 1000 points a kernel of width 0.1 beats one of 0.03, which follows the points, "
        "and one of 0.3, which blurs the modes.",
        "note eqs. 5 and 6 (the widths are ours)",
        all_of(
            *(
                smaller(kernel("kernel density", "score_error"), kernel("kernel density", "score_error", width=h))
                for h in (0.03, 0.3)
            )
        ),
    ),
    Claim(
        "explicit-matching-is-denoising",
        "J_ESM of a kernel density and J_DSM differ by a constant: their gradients are the same, to 1e-9.",
        "note eqs. 6 and 9 to 12",
        below(row(table="eq12", method="ESM against DSM", metric="gradient_difference"), 1e-9),
    ),
    Claim(
        "explicit-matching-learns-the-kernel-density",
        "A network trained by J_ESM learns the score of its kernel density: relative squared error below 0.1.",
        "note eq. 6 (the bound is ours)",
        below(kernel("KDE-ESM", "own_error"), 0.1),
    ),
    Claim(
        "explicit-and-denoising-learn-alike",
        "Networks trained by J_ESM and by J_DSM end at the same relative squared error, within 0.02.",
        "note eq. 12 (the bound is ours)",
        agrees(kernel("KDE-ESM", "own_error"), kernel("DSM", "own_error"), within=0.02),
    ),
]
