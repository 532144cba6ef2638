"""Story: two deploys of the app under load, with real processes on a real PostgreSQL; told to a person, and a test."""
