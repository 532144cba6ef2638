"""What a release is called, and that ledgers of before are understood."""

import concurrent.futures
import hashlib

import pytest

from lockstep_gate import release, verdict
from lockstep_gate.contract import ModelsError
from lockstep_gate.errors import LockstepError
from lockstep_gate.release import Release
from tests.app.rig import BUILD, ROOT

MODELS = ROOT / "app" / "storage" / "models.py"
BY_FILE, BY_CONTRACT, BY_JSON = BUILD.names


def ask(migrated, build=BUILD):
    from sqlalchemy import create_engine, make_url  # noqa: PLC0415

    engine = create_engine(make_url(migrated.url).set(drivername="postgresql+psycopg2"))
    try:
        return verdict.ask(engine, build)
    finally:
        engine.dispose()


def test_a_models_file_is_named_by_its_bytes_first_as_ledgers_have_it():
    assert BY_FILE == BUILD.digest == "sha256:" + hashlib.sha256(MODELS.read_bytes()).hexdigest()
    assert release.name_of_contract(release.contract_of(MODELS)) == BY_CONTRACT
    assert BY_CONTRACT.startswith("contract1:")


def test_what_is_no_single_file_is_named_by_its_contract(tmp_path):
    emitted = tmp_path / "contract.json"
    emitted.write_text(release.contract_of(MODELS).to_json() + "\n")
    assert release.of(emitted).names == (BY_CONTRACT, BY_JSON)
    assert release.of("app.storage.models:Base").names == (BY_CONTRACT, BY_JSON)


def test_a_release_is_served_under_whichever_of_its_names_the_ledger_has(bare):
    bare.make_ledger()
    bare.record(BY_CONTRACT)
    answer = ask(bare)
    assert (answer.state, answer.name) == (verdict.State.SERVED, BY_CONTRACT)
    bare.record(BY_FILE)
    assert ask(bare) is verdict.SERVED


def test_the_preferred_name_decides_where_the_ledger_has_both(bare):
    bare.make_ledger()
    bare.record(BY_CONTRACT)
    bare.record(BY_FILE)
    bare.execute("UPDATE migrator.release SET broken_by = 'a1' WHERE digest = %s", BY_FILE)
    answer = ask(bare)
    assert (answer.state, answer.name) == (verdict.State.BROKEN, BY_FILE)
    bare.execute("UPDATE migrator.release SET broken_by = NULL")
    bare.execute("UPDATE migrator.release SET broken_by = 'a1' WHERE digest = %s", BY_CONTRACT)
    assert ask(bare) is verdict.SERVED


def test_a_release_that_the_ledger_has_never_heard_of_is_not_served(migrated):
    assert ask(migrated, Release(("sha256:x", "contract1:x"))) == verdict.NOT_RECORDED


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "tables": [], "sequences": []}', "\xff"])
def test_a_contract_that_cannot_be_read_is_said_to_be_so(tmp_path, text):
    path = tmp_path / "contract.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LockstepError) as caught:
        release.of(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("contract.json", "models.py"):
        with pytest.raises(ModelsError, match=name):
            release.of(tmp_path / name)


def test_the_migrator_gives_the_same_name():
    from lockstep import settings  # noqa: PLC0415
    from lockstep.project import environment, release_contract  # noqa: PLC0415

    assert release_contract.digest(environment.load(settings.load({}))) == BUILD.digest


def test_several_threads_may_name_the_release_at_once():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: release.of(MODELS).names, range(40))) == {BUILD.names}
