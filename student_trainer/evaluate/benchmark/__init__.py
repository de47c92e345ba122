"""Landmark benchmarks: the models side by side on them, a teacher that is an API among these."""
