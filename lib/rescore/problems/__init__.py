"""Problems whose answer is known: data with their exact score, their exact flow, distances to both, and Gaussian laws."""

from rescore.problems.exact import ExactProblem

__all__ = ["ExactProblem"]
