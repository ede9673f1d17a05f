"""How good is a ranking, and is the difference real: full ranking, metrics, paired tests."""
