"""Asking a teacher's database with a student's queries: the better network describes the database, once.

In: student and teacher, and the run folder. Out: whether the student's training made it fit for that
(:mod:`.fitness`), how its descriptors become comparable with the teacher's (:mod:`.bridge`), and the scores.
"""
