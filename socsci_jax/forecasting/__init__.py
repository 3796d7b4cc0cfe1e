"""Forecasts of experiments that have not been run, with intervals learned from studies that the model never saw."""
