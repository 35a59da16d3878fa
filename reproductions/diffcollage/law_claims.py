"""What the paper says, as predicates over records on contents of a known law, made of exact pieces."""

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, below, monotone, row, smaller

USUAL = {"DDIM": 50, "DEIS": 20, "rho2Midpoint": 20, "gDDIM": 50}  # evaluations: ours, for the paper names none


def solved(dataset: str, method: str, metric: str, nfe: int, variant: str = "") -> Selector:
    """A number of a content of known law, by a sampler."""
    return row(table="samplers", dataset=dataset, method=method, metric=metric, nfe=nfe, variant=variant)


def at_usual(dataset: str, metric: str, within: float) -> Predicate:
    """Every other sampler at its usual evaluations is as good as DDIM at its own."""
    usual = {method: solved(dataset, method, metric, nfe) for method, nfe in USUAL.items()}
    return all_of(*(agrees(other, usual["DDIM"], within) for method, other in usual.items() if method != "DDIM"))


def picture(scene: str, what: str, method: str, metric: str) -> Selector:
    """A number of pictures of 32 pixels height."""
    return row(table="pictures", dataset=scene, variant=what, method=method, metric=metric)


def ahead(scene: str, what: str, metrics: tuple[str, ...], rivals: tuple[str, ...]) -> Predicate:
    """DiffCollage has the smaller numbers."""
    pairs = ((metric, rival) for metric in metrics for rival in rivals)
    return all_of(*(smaller(picture(scene, what, "DiffCollage", m), picture(scene, what, rival, m)) for m, rival in pairs))


def changing(variant: str, metric: str) -> Selector:
    """A number of the picture whose texture changes."""
    return row(table="fig4.6", dataset="sky to gravel", method="DiffCollage", variant=variant, metric=metric)


def stroked(how: str, metric: str, start: float = 0.5) -> Selector:
    """A number of walls from strokes."""
    return row(table="strokes", dataset="brick wall", method=how, metric=metric, variant=f"from t={start:g}")


LAW_CLAIMS = [
    Claim(
        "sampler-agnostic",
        "DDIM, DEIS, a solver of DPM-Solver's kind and gDDIM sample one composed score without any modification: "
        "at their usual "
        "evaluations they end as near to the data, within 0.01 of the unit variance (Gaussian chain).",
        "section 4.4.2 ('DiffCollage is sampler-agnostic'); the evaluations and the bound are ours",
        at_usual("Gaussian chain", "frechet", 0.01),
    ),
    Claim(
        "sampler-agnostic-modes",
        "The same of contents that are far from Gaussian: the shares of neighbouring modes are as right, within 0.02.",
        "section 4.4.2; the evaluations and the bound are ours",
        at_usual("mode chain", "tv_neighbours", 0.02),
    ),
    Claim(
        "advanced-samplers",
        "With advanced samplers fewer iterations do: DEIS and the midpoint rule are at 20 evaluations nearer to where the flow "
        "ends than DDIM at 50.",
        "section 4.4.2",
        all_of(
            *(
                smaller(solved("Gaussian chain", fast, "to_flow", 20), solved("Gaussian chain", "DDIM", "to_flow", 50))
                for fast in ("DEIS", "rho2Midpoint")
            )
        ),
    ),
    Claim(
        "noise-helps",
        "At many steps stochastic sampling is better than deterministic: at 100 evaluations DDIM with eta 1 ends "
        "nearer to the data.",
        "README of the released code; here a Gaussian chain",
        smaller(solved("Gaussian chain", "DDIM", "frechet", 100, "eta=1"), solved("Gaussian chain", "DDIM", "frechet", 100)),
    ),
    Claim(
        "sky-without-seams",
        "With exact pieces of 32x32 DiffCollage's skies have no seams: within 0.1 of draws of the law itself, "
        "and smoother ones than "
        "concatenated squares and outpainting by replacement.",
        "fig. 4.4; the bound is ours",
        all_of(
            agrees(picture("sky", "wide", "DiffCollage", "seam"), picture("sky", "wide", "exact draws", "seam"), within=0.1),
            ahead("sky", "wide", ("seam",), ("Baseline", "Replacement")),
        ),
    ),
    Claim(
        "sky-correlations",
        "DiffCollage captures global information: correlations within a piece and beyond are nearer to the law's than those of "
        "concatenated squares.",
        "section 4.5.2 ('capture global information')",
        ahead("sky", "wide", ("near_lags", "far_lags"), ("Baseline",)),
    ),
    Claim(
        "sky-beats-outpainting",
        "In the same correlations DiffCollage is ahead of outpainting by replacement.",
        "Table 4.1, in which FID+ says so",
        ahead("sky", "wide", ("near_lags", "far_lags"), ("Replacement",)),
    ),
    Claim(
        "wall-joins",
        "On a brick wall more of DiffCollage's neighbouring tiles may follow each other than where squares are concatenated.",
        "section 4.5.1 ('clear boundaries' of the baseline)",
        smaller(picture("brick wall", "wide", "Baseline", "joins"), picture("brick wall", "wide", "DiffCollage", "joins")),
    ),
    Claim(
        "wall-beats-outpainting",
        "On a brick wall more of DiffCollage's neighbouring tiles may follow each other than of outpainting by replacement.",
        "fig. 4.4 ('Replace and Recon introduce discontinuity artifacts')",
        smaller(picture("brick wall", "wide", "Replacement", "joins"), picture("brick wall", "wide", "DiffCollage", "joins")),
    ),
    Claim(
        "sky-circle-closes",
        "A cycle closes the panorama: its wrap is a step like every other, within 0.2, and smoother than an open one's.",
        "section 4.5.4, fig. 4.9 (top); the bound is ours",
        all_of(
            agrees(picture("sky", "circle", "DiffCollage", "wrap_seam"), 1.0, within=0.2),
            smaller(picture("sky", "circle", "DiffCollage", "wrap_seam"), picture("sky", "wide", "DiffCollage", "wrap_seam")),
        ),
    ),
    Claim(
        "sky-cube",
        "A sky all around: the edges of DiffCollage's cubes are steps like every other, within 0.2, and smoother than those of "
        "independent faces and of outpainting.",
        "section 4.5.4, fig. 4.9 (bottom); the bound is ours",
        all_of(
            agrees(picture("sky", "cube", "DiffCollage", "seam"), 1.0, within=0.2),
            ahead("sky", "cube", ("seam",), ("Baseline", "Replacement")),
        ),
    ),
    Claim(
        "natural-transition",
        "Under interpolated conditions a picture transitions naturally from one given square into a totally different one: its "
        "roughness rises from each half piece to the next.",
        "fig. 4.6, section 4.5.1 (CLIP embeddings there, covariances here)",
        monotone([changing("interpolated", f"roughness_{k}") for k in range(1, 9)], increasing=True),
    ),
    Claim(
        "no-sudden-change",
        "No half piece changes by more than a half of the whole way, and all by less than where the condition "
        "switches in the middle.",
        "fig. 4.6; the bound and the rival are ours",
        all_of(
            below(changing("interpolated", "largest_step"), 0.5),
            smaller(changing("interpolated", "largest_step"), changing("switched", "largest_step")),
        ),
    ),
    Claim(
        "strokes-without-seams",
        "From strokes, by SDEdit, more of DiffCollage's neighbouring tiles may follow each other than where squares are made "
        "independently, from each time.",
        "section 4.5.2 ('this fails to model the interactions between the split images, resulting in discontinuities')",
        all_of(*(smaller(stroked("Split", "joins", t), stroked("DiffCollage", "joins", t)) for t in (0.3, 0.5, 0.7))),
    ),
    Claim(
        "strokes-faithful",
        "DiffCollage's walls keep to the strokes, the more so the later it begins, and within 0.02 as closely as "
        "single squares.",
        "section 4.5.2 (SDEdit); the bound is ours",
        all_of(
            monotone([stroked("DiffCollage", "to_strokes", t) for t in (0.3, 0.5, 0.7)], increasing=True),
            agrees(stroked("DiffCollage", "to_strokes"), stroked("Split", "to_strokes"), within=0.02),
        ),
    ),
    Claim(
        "doodle",
        "Panoramas all around from a simple doodle: more than nine tenths of the blocks show their label, and "
        "the edges of the cube "
        "are smoother than those of faces that are made by themselves under the same doodle.",
        "section 4.5.4, fig. 4.9 (bottom); the bound is ours",
        all_of(
            above(row(table="doodle", method="DiffCollage", metric="labels"), 0.9),
            smaller(*(row(table="doodle", method=method, metric="seam") for method in ("DiffCollage", "Baseline"))),
        ),
    ),
]
