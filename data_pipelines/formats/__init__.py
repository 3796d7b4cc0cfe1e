"""Readers of file formats: each turns a file into a table with labels, or into a questionnaire.  No JAX."""
