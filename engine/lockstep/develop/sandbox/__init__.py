"""Sandbox: throw-away databases and servers, on which nothing of anybody's is touched."""
