"""How many distinct inputs the corpora of nonsense hold: `pytest tests/torture/test_nonsense_count.py -s` prints it."""

from lockstep import settings
from lockstep.project import checkpoint_file
from tests.torture import test_nonsense as files
from tests.torture import test_nonsense_inside as inside
from tests.torture import test_nonsense_outside as outside
from tests.torture.corpora import checkpoints

SQL = "CREATE TABLE public.t (\n    id integer NOT NULL,\n    name text\n);\n\nINSERT INTO public.t VALUES (1, 'one');"
SEALS = {"a1": "ast1:" + "0" * 64, "b2": "ast1:" + "1" * 64}


def counted():
    good = checkpoint_file.text(checkpoint_file.Checkpoint(18, ("b2",), SEALS, SQL))
    durations = [option.name for option in settings.OPTIONS if option.kind == "duration"]
    kinds = {
        "revision files": files.files(),
        "configurations": files.INIS,
        "durations": [(name, value) for name in durations for value in files.NUMBERS],
        "contracts": files.CONTRACTS,
        "edits of the ledger": files.EDITS,
        "URLs": inside.URLS,
        "arguments": map(tuple, inside.ARGUMENTS),
        "variables": inside.VARIABLES,
        "models": inside.MODELS,
        "env.py": inside.ENVS,
        "manifests": inside.manifests(inside.sealed('{"written": 1, "heads": ["x"], "seals": "", "files": []}'), "x"),
        "checkpoints": [
            *checkpoints.edited(good),
            *checkpoints.raw(good),
            *checkpoints.wrong_heads(good),
            *checkpoints.wrong_sql(good),
        ],
        "answers of the platform's API": outside.ANSWERS,
        "requests to the app": outside.REQUESTS,
    }
    return {kind: len(set(inputs)) for kind, inputs in kinds.items()}


def test_there_are_more_than_a_thousand_distinct_inputs():
    found = counted()
    print(*(f"\n{count:5} {kind}" for kind, count in found.items()), f"\n{sum(found.values()):5} in all")
    assert sum(found.values()) > 1000
