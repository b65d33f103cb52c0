"""Engines map one function over the fragments of a plan. They only schedule; the function is the same on all."""
