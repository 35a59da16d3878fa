"""Score-matching objectives: `objective(network, process, x0, generator)` gives one loss per sample, (n,).

| class | network predicts | source |
| --- | --- | --- |
| `DSM` | noise under K = R or L, or the score | Score-SDE eq. 7; DDPM eq. 14; thesis eq. 7.5 |
| `ncsn` (a `DSM`) | the score | NCSN eqs. 5, 6 |
| `LCSS` | as `DSM` | LCSS eqs. 19 to 21 |
| `TraceMatching` | as `DSM`, isotropic processes | LCSS eqs. 5 to 7; sliced score matching |
| `HSM` | the velocities' noise | CLD eq. 8 |
| `VelocityDSM` | the velocities' noise given v_0 | CLD, appendix B.3 |
| `SoftScoreMatching` | the residual x_0 - x_t, x_0 or the score, for a `Corruption` | Soft Diffusion eqs. 7 to 12 |
| `CleanPrediction` | the residual or x_0, for a `Corruption` | Bansal et al. |

`rescore.objectives.pointwise` has score matching at one density, without time; `rescore.objectives.hutchinson` the variance of
random probes. Times of training: `UniformTimes`, `ImportanceTimes`, `DiscreteTimes`, `RepeatedTimes`. `score_of` turns a
trained network into the score that samplers and likelihoods take.

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
    Score-SDE: arXiv:2011.13456.
    DDPM: arXiv:2006.11239.
    NCSN: arXiv:1907.05600.
    Soft Diffusion: arXiv:2209.05442.
    LCSS: arXiv:2412.03962.
    CLD: arXiv:2112.07068.
"""

from rescore.objectives.matching import DSM, HSM, LCSS, VelocityDSM, ncsn
from rescore.objectives.network import Network, Predicts, score_of
from rescore.objectives.soft import CleanPrediction, SoftScoreMatching, clean_of, clean_of_score, score_of_clean
from rescore.objectives.times import DiscreteTimes, ImportanceTimes, RepeatedTimes, Times, UniformTimes
from rescore.objectives.trace import TraceMatching

__all__ = [
    "DSM",
    "HSM",
    "LCSS",
    "CleanPrediction",
    "DiscreteTimes",
    "ImportanceTimes",
    "Network",
    "Predicts",
    "RepeatedTimes",
    "SoftScoreMatching",
    "Times",
    "TraceMatching",
    "UniformTimes",
    "VelocityDSM",
    "clean_of",
    "clean_of_score",
    "ncsn",
    "score_of",
    "score_of_clean",
]
