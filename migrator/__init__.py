"""The team's Alembic project: configuration, env.py, the copy of the models, and the versions."""
