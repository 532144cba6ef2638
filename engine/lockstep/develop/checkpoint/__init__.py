"""Checkpoint: a replay of all revisions in, one reviewed SQL file out; it and an empty database in, the head out.

`file` is its text, `load` what an upgrade does with it, and `snapshot` what `migrator checkpoint` and `migrator check`
read of a database to write one and to prove it equal.
"""
