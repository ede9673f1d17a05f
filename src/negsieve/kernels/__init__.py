"""The hot paths: compiled kernels, each beside its torch twin: its oracle, its GPU path and its fallback."""
