"""Formats: a rehearsal in, a text for one kind of reader out. Each module has one function, `write`."""
