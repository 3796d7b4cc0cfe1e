"""Predictions and answers from elsewhere: plain tables, with no store, no split and no model of ours."""

from __future__ import annotations
