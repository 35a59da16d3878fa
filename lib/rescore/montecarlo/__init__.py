"""Estimates of log Z and samples of unnormalised densities by Markov chains and particles: what PIS compares with."""
