"""Valid inference from predictions and a few human answers, conjoint experiments and games.

Arrays in, estimates and intervals out: nothing here knows a study store, and nothing needs JAX.
"""
