"""The parts of ``experiments/realhns.py``: what is published, what is run, how, and what is said of it."""
