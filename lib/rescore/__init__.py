"""rescore: published numbers of score-based and SDE generative models, measured again."""

__version__ = "0.1.0"
