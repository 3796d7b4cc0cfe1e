"""How people would answer: exact distributions over levels, or sampled answers, for each item and persona."""
