"""Flags: the verbs, what each takes besides the settings, and a quick reader for a plain command line.

Each flag has an environment variable. A job is usually started with a verb and a few flags with values: to read those
with argparse would take longer than to ask the database whether there is anything to do.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

from lockstep import settings

VERBS = {
    "upgrade": "apply pending revisions; what the pre-deploy job runs",
    "plan": "show pending revisions in order, with the SQL each will run; changes nothing",
    "status": "show where the database is, what is pending, and the last runs",
    "backfill": "change rows in batches, as revisions declared it; also status, pause, resume, cancel",
    "history": "show what was applied, when, by which commit, how long it took and waited",
    "downgrade": "take revisions back; for developers",
    "revision": "write a new revision from the models, on a throw-away database",
    "rehearse": "run pending revisions on a throw-away PostgreSQL and watch what each statement locks",
    "check": "check models copy, heads, seals, and that the migrations lead to the models",
    "checkpoint": "write what all revisions lead to as one file, which an empty database is loaded from",
    "sql": "print the SQL of revisions without a database",
    "wait": "wait until the database answers",
    "doctor": "print what only the live platform can tell, secrets masked; changes nothing",
}
# What each verb alone takes: names, help, and how it is read.
SWITCH: dict = {"switch": True}
OWN: dict[str, tuple[tuple[tuple[str, ...], str, dict], ...]] = {
    "upgrade": (
        (("revision",), "target; default head", {"env": "MIGRATOR_TARGET", "nargs": "?", "default": "head"}),
        (("--accept-edited",), "record the new seal of an applied revision that was edited",
         {"env": "MIGRATOR_ACCEPT_EDITED", "metavar": "REV"}),
        (("--deferred-only",), "apply only what an earlier run held back; for a nightly job",
         {"env": "MIGRATOR_DEFERRED_ONLY", **SWITCH}),
        (("--check-drift",), "afterwards compare the database with the models; for a nightly job",
         {"env": "MIGRATOR_CHECK_DRIFT", **SWITCH}),
        (("--expect-commit",), "refuse unless this image was built from that commit",
         {"env": "MIGRATOR_EXPECT_COMMIT", "metavar": "SHA"}),
        (("--run-id",), "a name for this run, kept in the ledger; for whoever started it",
         {"env": "MIGRATOR_RUN_ID", "metavar": "NAME"}),
    ),
    "downgrade": (
        (("revision",), "target: -1, a revision, or base", {}),
        (("--yes",), "go on although the app is in session", {"env": "MIGRATOR_YES", **SWITCH}),
    ),
    "plan": ((("revision",), "target; default head", {"nargs": "?", "default": "head"}),),
    "history": (
        (("--limit",), "how many entries to show; default 50", {"env": "MIGRATOR_LIMIT", "type": int, "default": "50"}),
    ),
    "sql": (
        (("range",), "which revisions; default all", {"nargs": "?", "default": "head", "metavar": "FROM:TO"}),
    ),
    "revision": (
        (("-m", "--message"), "what changes, in a few words", {"env": "MIGRATOR_MESSAGE"}),
        (("--empty",), "write an empty revision to fill in", {"env": "MIGRATOR_EMPTY", **SWITCH}),
        (("--merge",), "join several heads into one", {"env": "MIGRATOR_MERGE", **SWITCH}),
        (("--no-rehearsal",), "do not rehearse what was written", {"env": "MIGRATOR_NO_REHEARSAL", **SWITCH}),
    ),
}  # fmt: skip
ELSEWHERE = ("backfill", "rehearse")  # verbs whose flags are declared beside what does their work


def plain(argv: list[str]) -> SimpleNamespace | None:
    """Return what argparse would make of a verb with whole flags and their values; None for any other command line."""
    verb, words = argv[0] if argv else "", _separated(argv[1:])
    if verb not in VERBS or verb in ELSEWHERE:
        return None
    read = {
        option.flag: (option.name, option.kind == "switch" and "yes")
        for option in settings.OPTIONS
        if option.kind != "pairs"
    }
    read |= {"--json": ("json", True), "--debug": ("debug", True)}
    found = {option.name: None for option in settings.OPTIONS}
    found |= {"verb": verb, "json": switched("MIGRATOR_JSON"), "debug": switched("MIGRATOR_DEBUG")}
    for names, _, more in OWN.get(verb, ()):
        if "type" in more or (not names[0].startswith("-") and "nargs" not in more):
            return None
        name = names[-1].lstrip("-").replace("-", "_")
        found[name] = default(more)
        if names[0].startswith("-"):
            read |= dict.fromkeys(names, (name, bool(more.get("switch"))))
    while words:
        name, switch = read.get(words.pop(0), ("", False))
        if not name or (not switch and (not words or words[0].startswith("-"))):
            return None
        found[name] = switch or words.pop(0)
    return SimpleNamespace(**found)


def _separated(words: list[str]) -> list[str]:
    return [part for word in words for part in (word.split("=", 1) if word.startswith("--") else (word,))]


def default(more: dict) -> object:
    """Return what a flag is where it is not given: its variable, or else its default."""
    variable = more.get("env")
    given = os.environ.get(variable) if variable else None
    if more.get("switch"):
        return settings.is_on(given or "")
    return given if given is not None else more.get("default")


def switched(variable: str) -> bool:
    """Tell whether a variable switches something on."""
    return settings.is_on(os.environ.get(variable, ""))
