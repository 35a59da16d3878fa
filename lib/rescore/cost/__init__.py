"""What computations take: evaluations of scores, networks and densities; bytes that graphs keep; time."""
