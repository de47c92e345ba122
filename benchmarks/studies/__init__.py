"""Experiments that a document reports: they answered a question once, and can be asked again."""
