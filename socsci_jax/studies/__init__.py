"""What was asked of whom: schema, scale reading, prompt layouts, splits and the study store. No JAX."""
