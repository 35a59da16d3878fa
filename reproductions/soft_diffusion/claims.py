"""What the paper says, as predicates over records: of networks on the digits, and of exact posterior means on a Gaussian.

FID here is between digits, through a small classifier. The paper's steps are kept where it names them: 280 for its best model,
2000 for the MSE-matched schedule; masking on 64 pixels takes 16 and 64 steps where 4096 pixels took 1024 and 4096.
"""

from rescore.ledger.claims import Claim, Selector, all_of, below, monotone, row, smaller

CLEAN = "blur; clean-prediction loss (Bansal et al.)"
MSE = "blur; MSE-matched blur schedule"
JOINT = "blur; noise and blur change together"
LOW, LOWEST = "blur; sigma_max=0.05", "blur; sigma_max=0.025"
MOMENTUM, NAIVE, FLOW = (f"blur; {name}" for name in ("Momentum Sampler", "Naive Sampler", "Probability Flow Momentum Sampler"))
IMAGE, UNIT = "blur; image predicted (eq. 8)", "blur; w(t) = 1"
SCORES = tuple(f"blur; score predicted (eq. 7); cutoff={cutoff:g}" for cutoff in (0.1, 0.01, 0.001))
HEUN = "blur; Heun's method on the flow"
MASKING_CLEAN = "masking; clean-prediction loss (Bansal et al.)"
REVERSE, VE_FLOW = "reverse diffusion", "probability flow"  # of networks of noise alone
EFFICIENT = 1.1  # an iteration with C_t over one of noise alone: our bound for "very efficiently"
STEPS = 280
LENGTHS = (250, 500, 1000)  # of the training of masks
CURVE = (10, 20, 50, 100, 280)
FEW = (10, 20, 50)


def trained(variant: str, nfe: int | None = STEPS, metric: str = "fid", method: str = "Soft Diffusion") -> Selector:
    return row(dataset="digits", method=method, variant=variant, metric=metric, nfe="" if nfe is None else nfe)


def ve(variant: str, nfe: int = STEPS) -> Selector:
    return trained(variant, nfe, method="VE SDE")


def gap(dataset: str, against: str) -> Selector:
    return row(table="fig6", dataset=dataset, variant=f"blur; {against}", metric="schedule_gap")


def time_ratio(variant: str) -> Selector:
    return row(table="D", variant=f"{variant}; ncsnpp", metric="train_time_ratio")


def held_out(variant: str, metric: str) -> Selector:
    return row(table="held out", dataset="digits", variant=variant, metric=metric)


def exact(variant: str, nfe: int = STEPS, metric: str = "frechet", method: str = "Soft Diffusion") -> Selector:
    return row(table="exact", dataset="digits_gaussian", method=method, variant=variant, metric=metric, nfe=nfe)


def masks(variant: str, length: int, nfe: int) -> Selector:
    return row(table="E", dataset="digits", variant=f"{variant}; after {length} steps of training", metric="fid", nfe=nfe)


def path(variant: str, metric: str) -> Selector:
    return row(table="fig6", dataset="digits", variant=f"blur; {variant}", metric=metric)


CLAIMS = [
    Claim(
        "momentum-beats-naive",
        "The Momentum Sampler gives a smaller FID than the Naive Sampler, from the same networks.",
        "Fig. 4: 1.85 against 27.82",
        smaller(trained(MOMENTUM), trained(NAIVE)),
    ),
    Claim(
        "momentum-beats-naive-exact",
        "So it is with exact posterior means, at every number of steps.",
        "Fig. 4, asked without a network",
        all_of(*(smaller(exact(MOMENTUM, nfe), exact(NAIVE, nfe)) for nfe in CURVE)),
    ),
    Claim(
        "naive-lacks-diversity",
        "Samples of the Naive Sampler have less variance than those of the Momentum Sampler.",
        "Section 3.2: generated images that lack diversity",
        smaller(trained(NAIVE, metric="variance_ratio"), trained(MOMENTUM, metric="variance_ratio")),
    ),
    Claim(
        "naive-lacks-diversity-exact",
        "So it is with exact posterior means, at every number of steps.",
        "Section 3.2, asked without a network",
        all_of(*(smaller(exact(NAIVE, n, "variance_ratio"), exact(MOMENTUM, n, "variance_ratio")) for n in CURVE)),
    ),
    Claim(
        "momentum-converges",
        "With exact posterior means the Momentum Sampler and its flow come nearer to the data with every finer grid.",
        "Eqs. 16 and 44, discretised SDE and ODE",
        all_of(*(monotone([exact(variant, nfe) for nfe in CURVE], increasing=False) for variant in (MOMENTUM, FLOW))),
    ),
    Claim(
        "soft-beats-clean",
        "Networks of Soft Score Matching sample with a smaller FID than those of the clean-prediction loss.",
        "Section 4, Training Objective: 1.85 against 5.91",
        smaller(trained(MOMENTUM), trained(CLEAN)),
    ),
    Claim(
        "soft-learns-the-score",
        "Trained by Soft Score Matching, networks are nearer to the score of unseen images than trained by its upper bound.",
        "Section 3.1: the clean-prediction loss is an upper bound of eq. 12",
        smaller(held_out("blur", "soft_loss"), held_out(CLEAN, "soft_loss")),
    ),
    Claim(
        "wasserstein-beats-mse",
        "The schedule of the shortest path gives a smaller FID than the MSE-matched one at as many steps.",
        "F.1.2: 1.85 against 8.35",
        smaller(trained(MOMENTUM), trained(MSE)),
    ),
    Claim(
        "wasserstein-needs-fewer-steps",
        "280 steps on the schedule of the shortest path are better than 2000 on the MSE-matched one.",
        "F.1.2: best FID after 280 and 2000 steps",
        smaller(trained(MOMENTUM), trained(MSE, 2000)),
    ),
    Claim(
        "wasserstein-beats-mse-exact",
        "With exact posterior means too, the schedule of the shortest path is better at every number of steps.",
        "F.1.2, asked without a network",
        all_of(*(smaller(exact(MOMENTUM, nfe), exact(MSE, nfe)) for nfe in CURVE)),
    ),
    Claim(
        "path-has-smaller-hops",
        "The largest hop between neighbours on the shortest path is smaller than on the MSE-matched path of as many nodes.",
        "Section 3.3, eq. 22",
        smaller(path("Wasserstein schedule", "largest_hop"), path("MSE-matched blur schedule", "largest_hop")),
    ),
    Claim(
        "joint-noise-works",
        "Noise and blur that change together give a FID between those of the two-stage schedule and of the Naive Sampler.",
        "F.1.1: 4.31, between 1.85 and 27.82",
        all_of(smaller(trained(MOMENTUM), trained(JOINT)), smaller(trained(JOINT), trained(NAIVE))),
    ),
    Claim(
        "noise-is-needed",
        "The less noise, the worse the samples: FID grows from sigma_max = 0.1 to 0.05 to 0.025.",
        "F.1.1, Fig. 7",
        monotone([trained(MOMENTUM), trained(LOW), trained(LOWEST)], increasing=True),
    ),
    Claim(
        "masking-needs-many-steps",
        "Masking gains from more steps: 16, 64 and 256 on 64 pixels.",
        "Section 4: 30.92 with 1024 steps, 12.37 with 4096",
        monotone([trained("masking", nfe) for nfe in (16, 64, 256)], increasing=False),
    ),
    Claim(
        "blur-beats-masking",
        "Blur gives a smaller FID in 50 steps than masking in 256.",
        "Section 4: 1.85 with 280 steps against 12.37 with 4096",
        smaller(trained(MOMENTUM, 50), trained("masking", 256)),
    ),
    Claim(
        "flow-beats-momentum",
        "The flow's FID is a little smaller than the Momentum Sampler's.",
        "Section 4, CIFAR-10: 3.86 and 3.91",
        smaller(trained(FLOW), trained(MOMENTUM)),
    ),
    Claim(
        "more-steps-help",
        "FID falls with every increase of the steps from 10 to 100.",
        "Figs. 3 and 8",
        monotone([trained(MOMENTUM, nfe) for nfe in (10, 20, 50, 100)], increasing=False),
    ),
    Claim(
        "fewer-steps-than-ve",
        "With few steps (10 to 50), blur is better than noise alone under the same sampler, with exact posterior means.",
        "Figs. 3 and 8: fewer steps than NCSN++ (VE)",
        all_of(*(smaller(exact(MOMENTUM, n), exact("reverse diffusion", n, method="VE SDE")) for n in FEW)),
    ),
    Claim(
        "no-memorising",
        "Samples are not nearer to the training images than unseen digits are.",
        "F.3, Fig. 9",
        smaller(row(table="real", dataset="digits", variant="held out", metric="nearest"), trained(MOMENTUM, metric="nearest")),
    ),
    Claim(
        "score-alone-would-not-work",
        "Networks that predict the score itself sample with a larger FID than those of the residual, whatever is left out of "
        "the blur's inverse.",
        "Section 3.1, eq. 7: it would not work in practice",
        all_of(*(smaller(trained(MOMENTUM), trained(score)) for score in SCORES)),
    ),
    Claim(
        "residual-beats-image",
        "Networks that predict the residual sample with a smaller FID than those that predict the clean image.",
        "Section 3.1, eq. 10: the optimization landscape becomes smoother",
        smaller(trained(MOMENTUM), trained(IMAGE)),
    ),
    Claim(
        "residual-learns-better",
        "After as long a training, networks that predict the residual are nearer to the score of unseen images.",
        "Section 3.1, eq. 10: the optimization landscape becomes smoother",
        smaller(held_out("blur", "soft_loss"), held_out(IMAGE, "soft_loss")),
    ),
    Claim(
        "weighting-of-the-paper",
        "w(t) = 1 / sigma^2, which all the paper's experiments have, gives a smaller FID than w(t) = 1.",
        "Section 3.1 and appendix D; the paper names both and compares none",
        smaller(trained(MOMENTUM), trained(UNIT)),
    ),
    Claim(
        "outperforms-ve",
        "Blur gives a smaller FID than noise alone, with networks of the same size and training, in 280 steps each.",
        "Table 1: 1.85 and 3.25 (NCSN++, VE SDE)",
        smaller(trained(MOMENTUM), ve(REVERSE)),
    ),
    Claim(
        "fewer-steps-than-ve-trained",
        "With few steps (10 to 50), blur gives a smaller FID than noise alone, with networks of the same size and training.",
        "Figs. 3 and 8: fewer steps than NCSN++ (VE)",
        all_of(*(smaller(trained(MOMENTUM, n), ve(REVERSE, n)) for n in FEW)),
    ),
    Claim(
        "quality-of-ve-in-fewer-steps",
        "Blur in 50 steps has a smaller FID than noise alone in 280.",
        "Figs. 3 and 8: significantly less steps to achieve the same or better quality",
        smaller(trained(MOMENTUM, 50), ve(REVERSE)),
    ),
    Claim(
        "flow-outperforms-ve-flow",
        "The flow with blur has a smaller FID than the probability flow of noise alone.",
        "Section 4, CIFAR-10: 3.86 and 10.54",
        smaller(trained(FLOW), ve(VE_FLOW)),
    ),
    Claim(
        "masking-clean-needs-fewer-steps",
        "Masking with the clean-prediction loss has in 16 steps a smaller FID than with the soft loss in 256.",
        "Appendix E: Soft Score Matching sometimes leads to slower sampling",
        smaller(trained(MASKING_CLEAN, 16), trained("masking", 256)),
    ),
    Claim(
        "masking-clean-needs-fewer-steps-early",
        "So it is after every length of one training: masking with the clean-prediction loss has in 16 steps a smaller FID "
        "than with the soft loss in 64.",
        "Appendix E: Soft Score Matching sometimes leads to slower sampling; it names no length. Written after the claim above "
        "had failed, before these numbers",
        all_of(*(smaller(masks(MASKING_CLEAN, length, 16), masks("masking", length, 64)) for length in LENGTHS)),
    ),
    Claim(
        "projecting-is-efficient",
        "Of a convolutional network, an iteration with blur or masks takes less than 1.1 times one with noise alone.",
        "Appendix D: no overhead other than projecting, which can be done very efficiently; the bound is ours",
        all_of(*(below(time_ratio(variant), EFFICIENT) for variant in ("blur", "masking"))),
    ),
    Claim(
        "better-solver-exact",
        "With exact posterior means Heun's method leaves a smaller distance than the paper's solver of the flow, with no more "
        "evaluations.",
        "Appendix B: more sophisticated ways to solve the ODE",
        all_of(*(smaller(exact(HEUN, nfe - 1), exact(FLOW, nfe)) for nfe in CURVE)),
    ),
    Claim(
        "better-solver",
        "So it is with networks and few evaluations (10 to 50), by FID.",
        "Appendix B: more sophisticated ways to solve the ODE",
        all_of(*(smaller(trained(HEUN, nfe - 1), trained(FLOW, nfe)) for nfe in FEW)),
    ),
    Claim(
        "schedules-depend-on-the-data",
        "The schedules of two data sets are further apart than those of different images of the same one.",
        "Section 4 and Fig. 6: the scheduling is dataset specific",
        all_of(*(smaller(gap(name, "other images"), gap("digits", "other data")) for name in ("digits", "faces"))),
    ),
]
