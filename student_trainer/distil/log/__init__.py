"""The record of a training: what its steps write, for TensorBoard too, and how it is read again."""
