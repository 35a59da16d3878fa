"""What the paper says, as predicates over records on pictures of 32 pixels height by trained networks of their pieces."""

from rescore.ledger.claims import Claim, agrees, all_of, smaller

from reproductions.diffcollage.law_claims import ahead, picture

WIDE, CIRCLE, CUBE = (f"{what}, trained" for what in ("wide", "circle", "cube"))
RIVALS = ("Baseline", "Replacement")
SCENES = ("sky", "brick wall")

TRAINED_CLAIMS = [
    Claim(
        "trained-sky-without-seams",
        "With networks of pieces of 32x32 DiffCollage's skies have no seams: within 0.2 of the photograph itself, and smoother "
        "ones than concatenated squares and outpainting by replacement.",
        "fig. 4.4; the bound is ours",
        all_of(
            agrees(picture("sky", WIDE, "DiffCollage", "seam"), picture("sky", "wide", "real images", "seam"), within=0.2),
            ahead("sky", WIDE, ("seam",), RIVALS),
        ),
    ),
    Claim(
        "trained-wall-without-seams",
        "With networks of pieces of 32x32 DiffCollage's brick walls have smoother seams than concatenated squares and "
        "outpainting by replacement.",
        "fig. 4.4 ('Replace and Recon introduce discontinuity artifacts')",
        ahead("brick wall", WIDE, ("seam",), RIVALS),
    ),
    Claim(
        "trained-sky-correlations",
        "With networks the correlations of DiffCollage's skies, at lags within a piece, are nearer to the law's than those of "
        "concatenated squares and of outpainting by replacement.",
        "section 4.5.2 ('capture global information')",
        ahead("sky", WIDE, ("near_lags",), RIVALS),
    ),
    Claim(
        "trained-circles-close",
        "With networks a cycle closes the panorama: its wrap is smoother than an open one's, of sky and of bricks, and of the "
        "sky a step like every other, within 0.2.",
        "section 4.5.4, fig. 4.9 (top); the bound is ours",
        all_of(
            agrees(picture("sky", CIRCLE, "DiffCollage", "wrap_seam"), 1.0, within=0.2),
            *(smaller(*(picture(scene, what, "DiffCollage", "wrap_seam") for what in (CIRCLE, WIDE))) for scene in SCENES),
        ),
    ),
    Claim(
        "trained-cube",
        "With networks the edges of DiffCollage's cubes are smoother than those of independent faces and of outpainting.",
        "section 4.5.4, fig. 4.9 (bottom)",
        ahead("sky", CUBE, ("seam",), RIVALS),
    ),
]
