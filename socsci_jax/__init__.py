"""socsci_jax: fine-tune open language models on survey experiments and predict how people would answer.

Importing the package loads nothing heavy; each room imports what it needs when it is used.
"""

__version__ = "0.1.0"
