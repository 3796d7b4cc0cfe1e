"""Drafts a study specification from a deposit: by rules, then by a model where rules leave a hole.  No JAX."""
