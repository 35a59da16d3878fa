"""What figs. 2 to 6 show, of one NCSNv2 for each objective, trained on MNIST: written before any of its numbers was seen."""

from rescore.ledger.claims import Claim, Predicate, Selector, all_of, on_the_network, row, smaller

RIVALS = ("SSM", "FD-SSM")
OF_ONE = "by the FID of one network of each, trained on MNIST"


def fid(method: str, when: str) -> Selector:
    return row(table="figs. 2-6", dataset="mnist14", method=method, variant=f"NCSNv2, {when}", metric="fid")


def ahead(when: str, rivals: tuple[str, ...]) -> Predicate:
    return on_the_network(all_of(*(smaller(fid("LCSS", when), fid(method, when)) for method in rivals)))


MNIST = [
    Claim(
        "mnist-faster-convergence",
        f"In the early stages of training LCSS's samples are better than those of SSM and FD-SSM, {OF_ONE}.",
        "section 4.2.3, figs. 2 and 3, left; early is here a fifth of the training",
        ahead("early", RIVALS),
    ),
    Claim(
        "mnist-long-training",
        f"At the end of the training LCSS's samples are better than those of SSM and FD-SSM, {OF_ONE}.",
        "section 4.2.3, figs. 2 and 3, right, and fig. 4",
        ahead("late", RIVALS),
    ),
    Claim(
        "mnist-more-realistic-than-dsm",
        f"At the end of the training LCSS's samples are more realistic than those of DSM, {OF_ONE}.",
        "section 4.2.3, figs. 4 to 6; the two networks are the same by the identity, so that the margin is 0",
        ahead("late", ("DSM",)),
    ),
    Claim(
        "mnist-no-decline",
        "LCSS goes on without a decline: its samples are better at the end of the training than early, by the FID of one "
        "network trained on MNIST.",
        "section 4.2.3: LCSS retained superior performance, unlike SSM, FD-SSM and DSM",
        on_the_network(smaller(fid("LCSS", "late"), fid("LCSS", "early"))),
    ),
]
