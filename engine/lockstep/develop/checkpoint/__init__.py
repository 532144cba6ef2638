"""Checkpoint: write what a replay of all revisions leads to as one SQL file that a person can review.

An upgrade of an empty database loads it (`lockstep.upgrade.load_checkpoint`). `snapshot` is what `migrator checkpoint`
reads of a database to write one, and `migrator check` to prove it equal.
"""
