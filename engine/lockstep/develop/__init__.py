"""Develop: what developers and CI need: autogenerate, rehearsal, checkpoints, throw-away servers."""
