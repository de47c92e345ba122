"""Public sets of labelled images, for metric learning and for hashing, in the layouts they are published in.

In: a name and a folder. Out: a split's images with their labels, by
:mod:`student_trainer.datasets.labelled.opening`.
"""
