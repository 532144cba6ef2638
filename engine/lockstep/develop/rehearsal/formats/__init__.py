"""Formats: a rehearsal written for each kind of reader. Each module has one function, `write`."""
