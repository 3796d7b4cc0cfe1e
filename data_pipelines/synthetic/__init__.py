"""Invented studies and documents with known true answers."""
