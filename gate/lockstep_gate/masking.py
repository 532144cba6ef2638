"""Masking: a text that somebody else's code wrote, made fit to be shown: no password, no control character."""

from __future__ import annotations

import re

# Texts, which `re` compiles once they are needed: a run with nothing to do has nothing to mask.
# What somebody else's code puts into its error may be the database's URL.
_CREDENTIALS = r"(\w://[^\s:/@]*:)[^\s/]*@|(password\s*=\s*)('[^']*'|[^\s&]+)"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f]"
_SECRET = ("KEY", "PASSWORD", "SECRET", "TOKEN", "URL", "DSN")
_PUBLIC = ("RENDER_EXTERNAL_URL",)
_SHORTEST_SECRET = 4


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text with the passwords of URLs and connection strings, and the given secrets, taken out.

    What is left is fit for a terminal and a ledger.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    text = re.sub(_CONTROL, "?", text).encode("utf-8", "backslashreplace").decode()
    return re.sub(_CREDENTIALS, lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)


def variable(name: str, value: str) -> str:
    """Return a variable's value, or only that it is set where its name says that it may hold a secret."""
    hidden = name not in _PUBLIC and any(word in name for word in _SECRET)
    return f"(set, {len(value)} characters)" if hidden and value else value
