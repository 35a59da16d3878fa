"""What the paper says about DiffCollage, as predicates over records on textures and watch data."""

from rescore.ledger.claims import Claim, Predicate, Selector, above, agrees, all_of, monotone, row, smaller

from reproductions.diffcollage.law_claims import LAW_CLAIMS
from reproductions.diffcollage.trained_claims import TRAINED_CLAIMS

OTHERS = ("Baseline", "Replacement", "Reconstruction")
AUTOREGRESSIVE = OTHERS[1:]
EXACT = "exact pieces"
TRANSFORMER = "one transformer"
TEXTURES = {"brick": "4.1", "grass": "4.2", "gravel": "4.2"}


def wide(texture: str, method: str, metric: str, variant: str = "") -> Selector:
    """A number of the wide images of Tables 4.1 and 4.2."""
    return row(table=TEXTURES[texture], dataset=texture, method=method, metric=metric, variant=variant)


def at_length(method: str, ratio: int) -> Selector:
    return row(table="fig4.5", method=method, metric="sequential passes", variant=f"W/H {ratio}")


def motion(method: str, metric: str, variant: str = "") -> Selector:
    return row(table="4.3", dataset="BasicMotions", method=method, metric=metric, variant=variant)


def part(table: str, method: str, metric: str) -> Selector:
    return row(table=table, method=method, metric=metric)


def best(metric: str, textures: tuple[str, ...], rivals: tuple[str, ...] = OTHERS, variant: str = "") -> Predicate:
    """DiffCollage has the smallest value."""
    return all_of(
        *(
            smaller(wide(t, "DiffCollage", metric, variant), wide(t, rival, metric, variant))
            for t in textures
            for rival in rivals
        )
    )


CLAIMS = [
    Claim(
        "fid-plus-best-brick",
        "DiffCollage has a smaller FID+ than the baseline, replacement and reconstruction, on brick.",
        "Table 4.1 (printed 4.54 against 24.15, 10.25 and 8.97)",
        best("fid_plus", ("brick",)),
    ),
    *(
        Claim(
            f"fid-plus-best-{texture}",
            f"DiffCollage has a smaller FID+ than replacement and reconstruction, on {texture}.",
            "Table 4.2",
            best("fid_plus", (texture,), AUTOREGRESSIVE),
        )
        for texture in ("grass", "gravel")
    ),
    *(
        Claim(
            f"fid-plus-best-{texture}-exact",
            f"With exact scores of all pieces in place of networks, DiffCollage has a smaller FID+ than {names}, on {texture}.",
            "Tables 4.1 and 4.2, whose networks are large; exact scores of the training patches are our limit of that",
            best("fid_plus", (texture,), rivals, EXACT),
        )
        for texture, rivals, names in (
            ("brick", OTHERS, "the baseline, replacement and reconstruction"),
            ("grass", AUTOREGRESSIVE, "replacement and reconstruction"),
            ("gravel", AUTOREGRESSIVE, "replacement and reconstruction"),
        )
    ),
    Claim(
        "reconstruction-beats-replacement",
        "Reconstruction has a smaller FID+ than replacement, on all three textures.",
        "Tables 4.1 and 4.2",
        all_of(*(smaller(wide(t, "Reconstruction", "fid_plus"), wide(t, "Replacement", "fid_plus")) for t in TEXTURES)),
    ),
    Claim(
        "baseline-worst",
        "Concatenated squares have a larger FID+ than any outpainting, on brick.",
        "Table 4.1",
        all_of(*(smaller(wide("brick", m, "fid_plus"), wide("brick", "Baseline", "fid_plus")) for m in AUTOREGRESSIVE)),
    ),
    Claim(
        "fid-plus-above-fid",
        "The crops of long images are worse than the squares of the same model: FID+ exceeds FID for every method.",
        "Table 4.2",
        all_of(
            *(
                smaller(wide(t, method, "fid"), wide(t, method, "fid_plus"))
                for t in ("grass", "gravel")
                for method in (*AUTOREGRESSIVE, "DiffCollage")
            )
        ),
    ),
    Claim(
        "boundaries-of-the-baseline",
        "Concatenated squares show clear boundaries: their seams are more than twice as rough as the rest, on all textures.",
        "section 4.5.1; the bound is ours",
        all_of(*(above(wide(t, "Baseline", "seam"), 2.0) for t in TEXTURES)),
    ),
    Claim(
        "autoregression-leaves-seams",
        "Replacement and reconstruction introduce discontinuities that DiffCollage lacks: rougher seams on all textures.",
        "fig. 4.4",
        best("seam", tuple(TEXTURES), AUTOREGRESSIVE),
    ),
    Claim(
        "no-seam",
        "DiffCollage's images are as smooth at the borders of pieces as elsewhere: within 0.1 of the photographs' ratio.",
        "fig. 4.4; the bound is ours",
        all_of(*(agrees(wide(t, "DiffCollage", "seam"), wide(t, "real images", "seam"), within=0.1) for t in TEXTURES)),
    ),
    Claim(
        "autoregression-deteriorates",
        "The quality of autoregressive images deteriorates as they grow: the FID at their ends exceeds that at their middle.",
        "section 4.5.1, fig. 4.4",
        all_of(*(above(wide(t, method, "drift"), 0.0) for t in TEXTURES for method in AUTOREGRESSIVE)),
    ),
    Claim(
        "no-drift",
        "DiffCollage does not deteriorate along the image: its FID at the ends exceeds that at the middle by less than any "
        "autoregressive method's.",
        "section 4.5.1, fig. 4.4",
        best("drift", tuple(TEXTURES), AUTOREGRESSIVE),
    ),
    Claim(
        "depth-constant",
        "DiffCollage takes as many sequential passes for an image of any length.",
        "section 4.5.1, fig. 4.5",
        agrees(at_length("DiffCollage", 2), at_length("DiffCollage", 6), within=0.5),
    ),
    Claim(
        "depth-grows",
        "The passes of the autoregressive methods grow with the length.",
        "section 4.5.1, fig. 4.5",
        all_of(*(monotone([at_length(method, ratio) for ratio in (2, 6)], increasing=True) for method in AUTOREGRESSIVE)),
    ),
    Claim(
        "speed-up",
        "At ratio 6 DiffCollage is at least 3 times faster than replacement and 6 times faster than reconstruction, in passes.",
        "section 4.5.1 (a half and once the ratio, in time); here in sequential passes",
        all_of(
            *(
                above(row(table="text", method="DiffCollage", metric=f"speedup_over_{rival.lower()}_at_6"), bound)
                for rival, bound in (("Replacement", 2.99), ("Reconstruction", 5.99))
            )
        ),
    ),
    Claim(
        "gradients-cost",
        "Reconstruction takes more passes than replacement, which needs no gradients.",
        "Table 4.1 (printed times 26.43 and 14.99)",
        smaller(wide("brick", "Replacement", "sequential passes"), wide("brick", "Reconstruction", "sequential passes")),
    ),
    Claim(
        "loop-closes",
        "A cycle closes the image: its wrap is as smooth as the rest, within 0.1, and smoother than that of every open method.",
        "section 4.5.4, fig. 4.9; the bound is ours",
        all_of(
            agrees(part("loop", "DiffCollage", "wrap_seam"), 1.0, within=0.1),
            *(smaller(part("loop", "DiffCollage", "wrap_seam"), wide("brick", method, "wrap_seam")) for method in OTHERS),
        ),
    ),
    Claim(
        "grid-without-seams",
        "A grid graph enlarges images in both directions: better FID+ and smoother seams than squares side by side.",
        "section 4.4.1, fig. 4.2",
        all_of(
            *(smaller(part("grid", "DiffCollage", metric), part("grid", "Baseline", metric)) for metric in ("fid_plus", "seam"))
        ),
    ),
    Claim(
        "cube-without-edges",
        "On a cubemap the edges between faces are smoother than between independent faces.",
        "section 4.5.4, fig. 4.9",
        smaller(part("cubemap", "DiffCollage", "seam"), part("cubemap", "Baseline", "seam")),
    ),
    Claim(
        "grid-beats-outpainting",
        "Enlarged in both directions as well, DiffCollage has a smaller FID+ than replacement and reconstruction.",
        "section 4.4.1 and Tables 4.1 and 4.2, which have no such row",
        all_of(*(smaller(part("grid", "DiffCollage", "fid_plus"), part("grid", m, "fid_plus")) for m in AUTOREGRESSIVE)),
    ),
    Claim(
        "grid-smoother-than-outpainting",
        "Outpainting in two directions introduces discontinuities that DiffCollage lacks: rougher seams.",
        "fig. 4.4, which shows one direction",
        all_of(*(smaller(part("grid", "DiffCollage", "seam"), part("grid", m, "seam")) for m in AUTOREGRESSIVE)),
    ),
    Claim(
        "cube-smoother-than-outpainting",
        "A cubemap made square by square, whose last edge nothing closes, has rougher edges than DiffCollage's.",
        "section 4.5.4, fig. 4.9, which shows no rival",
        all_of(*(smaller(part("cubemap", "DiffCollage", "seam"), part("cubemap", m, "seam")) for m in AUTOREGRESSIVE)),
    ),
    Claim(
        "connects",
        "Between two given squares DiffCollage joins both ends more smoothly than every other method.",
        "section 4.5.1, fig. 4.6",
        all_of(*(smaller(part("fig4.6", "DiffCollage", "seam"), part("fig4.6", method, "seam")) for method in OTHERS)),
    ),
    *(
        Claim(
            f"inpaints-without-seams-{method.lower()}",
            f"From sparse pixels, with {method.lower()}, DiffCollage leaves smaller seams than inpainting square by square.",
            "section 4.5.2, fig. 4.7",
            smaller(part("fig4.7", f"DiffCollage, {method}", "seam"), part("fig4.7", f"Split, {method}", "seam")),
        )
        for method in AUTOREGRESSIVE
    ),
    Claim(
        "inpaints-faithfully",
        "From sparse pixels DiffCollage with reconstruction is closer to the hidden pixels than inpainting square by square.",
        "section 4.5.2 ('faithfully recover images from given sparse pixels')",
        smaller(part("fig4.7", "DiffCollage, Reconstruction", "rmse"), part("fig4.7", "Split, Reconstruction", "rmse")),
    ),
    *(
        Claim(
            f"motion-{name}",
            statement,
            "Table 4.3",
            all_of(
                *(
                    smaller(*pair if low else pair[::-1])
                    for other in OTHERS
                    for pair in [(motion("DiffCollage", metric), motion(other, metric))]
                )
            ),
        )
        for name, metric, low, statement in (
            ("precision", "r_precision_top1", False, "Long series of DiffCollage show their activity more often than others."),
            ("fid", "fid", True, "Long series of DiffCollage have the smallest Frechet distance."),
            ("distance", "multimodal_distance", True, "Long series of DiffCollage lie nearest to their activity."),
            ("diversity", "diversity_gap", True, "The diversity of DiffCollage's long series is nearest to that of real data."),
        )
    ),
    *(
        Claim(
            f"beats-naive-{name}",
            f"From one transformer of short series DiffCollage makes long ones {than} than naive long denoising.",
            f"Table 4.3 (printed {printed})",
            smaller(*(pair if low else pair[::-1])),
        )
        for name, metric, low, than, printed in (
            ("precision", "r_precision_top1", False, "that show their activity more often", "0.611 against 0.298"),
            ("fid", "fid", True, "of a smaller Frechet distance", "0.605 against 10.690"),
            ("distance", "multimodal_distance", True, "that lie nearer to their activity", "5.569 against 7.512"),
            (
                "diversity",
                "diversity_gap",
                True,
                "whose diversity is nearer to real data's",
                "9.372 and 6.764, real data 9.471",
            ),
        )
        for pair in [(motion("DiffCollage", metric, TRANSFORMER), motion("Baseline", metric, TRANSFORMER))]
    ),
    Claim(
        "naive-is-worst",
        "Outpainting beats the naive denoising as well: replacement and reconstruction have a smaller Frechet distance.",
        "Table 4.3 (printed 1.281 and 1.012 against 10.690)",
        all_of(*(smaller(motion(m, "fid", TRANSFORMER), motion("Baseline", "fid", TRANSFORMER)) for m in AUTOREGRESSIVE)),
    ),
    Claim(
        "short-is-better",
        "Short series of the model are better than long ones of any method: a smaller Frechet distance.",
        "Table 4.3 (printed 0.492 for the model, 0.605 for DiffCollage)",
        all_of(*(smaller(motion("MDM", "fid"), motion(method, "fid")) for method in (*OTHERS, "DiffCollage"))),
    ),
    Claim(
        "several-activities",
        "With one activity a factor DiffCollage's series show the planned activities: in more than 0.9 of the pieces.",
        "section 4.5.3, fig. 4.8; the bound is ours",
        above(part("fig4.8", "DiffCollage", "accuracy"), 0.9),
    ),
    Claim(
        "amortised",
        "One network that is told which it sees can stand for the networks of pieces and of overlaps: on brick "
        "its seams stay within "
        "0.1 of theirs, and its FID+ within 1.",
        "section 4.4.2 ('diffusion models on different marginals can be amortized'); the bounds are ours",
        all_of(
            *(
                agrees(part("amortised", "DiffCollage", metric), wide("brick", "DiffCollage", metric), within)
                for metric, within in (("seam", 0.1), ("fid_plus", 1.0))
            )
        ),
    ),
    *LAW_CLAIMS,
    *TRAINED_CLAIMS,
]
