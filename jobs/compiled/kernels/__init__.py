"""The inner loops, in Numba: compiled once, kept on disk, and loaded by every worker."""
