"""Known deposits, one module each."""
