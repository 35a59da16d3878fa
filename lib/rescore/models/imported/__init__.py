"""Weights that the authors of a paper published, as weights of our networks.

`published`: which models there are; `files`: reading the authors' formats; `names`: their names for the
tensors of a U-Net; `convert`: from their tensors to ours, each used once, or the network that would take them.
"""
