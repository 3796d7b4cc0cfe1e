"""Readers of files: one file becomes a table with labels and missing codes, a text, or a questionnaire."""
