"""Going back: release 1 deployed again, before and after release 2's drop was applied."""

from __future__ import annotations

import signal

import httpx
import pytest

from local.story.switch import until


@pytest.fixture
def second_over_first(tale, first, second):
    """Release 1 has served; release 2 is migrated for while it does, or after it ended."""

    def migrate(*, serving):
        tale.migrate(first)
        instance = tale.instance(first)
        instance.until_ready()
        if not serving:
            assert instance.end(signal.SIGTERM) == 0
        done = tale.migrate(second)
        assert ("deferred" in done.out) == serving
        return instance

    return migrate


def breaking_revision(tale):
    ((revision,),) = tale.place.rows("SELECT broken_by FROM migrator.release WHERE broken_by IS NOT NULL")
    return revision


def test_release_1_started_again_after_the_drop_is_refused_with_the_name_of_the_revision(
    tale, first, second, second_over_first
):
    second_over_first(serving=False)
    revision = breaking_revision(tale)
    gate = first.gate(tale.place)
    assert gate.code == 1
    assert gate.last.startswith("gate: closed for release sha256:")
    assert f"revision {revision} changed the schema in a way that this release cannot live with" in gate.last
    instance = tale.instance(first)
    until(
        lambda: (
            revision in httpx.get(f"{instance.url}/readyz", trust_env=False, timeout=60).text if instance.url else False
        ),
        "it",
    )
    answers = {path: instance.status(path) for path in ("/readyz", "/users", "/organisations", "/users/1", "/nothing")}
    assert set(answers.values()) == {503}
    assert (instance.status("/healthz"), instance.status("/version")) == (200, 200)
    assert second.gate(tale.place).code == 0


def test_release_1_started_again_before_the_drop_is_served(tale, first, second, second_over_first):
    second_over_first(serving=True).end(signal.SIGTERM)
    assert first.gate(tale.place).code == 0
    again = tale.instance(first)
    again.until_ready()
    made = httpx.post(f"{again.url}/users", json=first.new_user("anna", None), trust_env=False, timeout=60)
    assert (made.status_code, made.json()["name"], made.json()["phone_number"]) == (201, "anna", "+49 30 1234")
    assert "deferred" in tale.migrate(second, "--deferred-only").out


def test_an_old_migrator_image_has_nothing_to_do_while_the_schema_serves_its_release(tale, first, second_over_first):
    second_over_first(serving=True)
    steps = tale.place.rows("SELECT count(*) FROM migrator.step")
    done = tale.migrate(first)
    assert done.last.startswith(
        "done: nothing to apply, the database is ahead of this image and serves this release, at "
    )
    assert tale.place.rows("SELECT count(*) FROM migrator.step") == steps


def test_an_old_migrator_image_is_refused_once_its_release_is_broken(tale, first, second_over_first):
    second_over_first(serving=False)
    revision = breaking_revision(tale)
    done = first.migrator(tale.place, "upgrade")
    assert done.code == 1
    assert done.last == (
        f"refused: the database is at {revision}, which this image does not have, and revision {revision} broke the "
        "release of this image. Cure: deploy a newer release, or take that revision back with `migrator downgrade` "
        "of the image that has it. (exit 1; run it again after that change)"
    )


def test_a_release_that_a_downgrade_serves_again_is_let_in_again(tale, first, second, second_over_first):
    second_over_first(serving=False)
    back = second.migrator(tale.place, "downgrade", "-1")
    assert back.code == 0, back.out + back.err
    assert (first.gate(tale.place).code, second.gate(tale.place).code) == (0, 0)
