"""Conformance tests that anybody can run on their own parts."""
