"""Upgrade: bring a database to a release; the order is told in one module, each stage has one."""
