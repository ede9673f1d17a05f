"""Negative samplers: a few parts, and every published method as a composition of them."""
