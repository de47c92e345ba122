"""Tuples of an anchor, an image of its label and hard negatives: drawn, mined, and put into steps."""
