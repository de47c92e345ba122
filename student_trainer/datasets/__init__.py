"""The public data sets of the field in the layouts that they are published in, and a user's own lists."""
