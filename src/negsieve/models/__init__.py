"""Recommenders, a model a file."""
