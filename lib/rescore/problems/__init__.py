"""Problems whose answer is known, and distances to it.

| module | what |
| --- | --- |
| `exact` | `ExactProblem`: data with the exact score of their diffusion; starting points and exact draws by seed |
| `flow` | where the exact probability flow takes a state |
| `distances` | samples against the data and against the exact flow, by seed |
| `runs` | `ExactRuns`: samplers on an exact problem, into the cells of a section |
| `gaussian` | Gaussian data, whose law after a sampler is known without sampling |
| `langevin` | Langevin dynamics with velocities at any friction: exact laws |
| `chain_map` | the law of a Langevin chain in the plane, on a grid and without samples |
| `score_norms` | how far a score is from that of a Normal, and how steep |
| `mixtures` | mixtures that several papers share |
| `planar` | distributions in the plane in standard coordinates, and distances to them |
"""

from rescore.problems.exact import ExactProblem

__all__ = ["ExactProblem"]
