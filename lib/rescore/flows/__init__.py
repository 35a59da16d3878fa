"""Normalizing flows of a library: `transport` by reverse KL, `density` by maximum likelihood."""
