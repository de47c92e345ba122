"""Labels: of images, of the batches of a training, and those that the teacher's similarities make.

In: manifests, public sets, or similarities. Out: class numbers, -1 for an image without a label;
multi-hot rows where images have several; or who counts as relevant to whom.
"""

from student_trainer.distil.labels.of_batch import UNLABELLED
from student_trainer.distil.labels.relevance import mixup_labels, similarity_labels

__all__ = ["UNLABELLED", "mixup_labels", "similarity_labels"]
