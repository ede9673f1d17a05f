"""Ranking, metrics and fair comparison."""
