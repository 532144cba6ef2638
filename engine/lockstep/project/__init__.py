"""Project: the Alembic project on disk: configuration, env.py, revisions, seals, manifest."""
