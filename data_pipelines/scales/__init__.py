"""Scales as sentences and codebooks state them."""
