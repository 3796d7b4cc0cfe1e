"""The pages of a forecast and of its score."""
