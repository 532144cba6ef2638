"""Run the whole product on this machine, with no Docker: database, then migrator, then app."""
