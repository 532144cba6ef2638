"""The compose file, run: the order, what a failed migrator stops, and what a second `up` leaves alone."""

import re
from datetime import datetime

import httpx

BROKEN = '''
"""Divide by zero."""

from alembic import op

revision = "0badc0de0bad"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("SELECT 1 / 0")


def downgrade():
    pass
'''


def moment(text):
    """Parse the engine's time of day: nanoseconds are more than Python's datetime holds."""
    return datetime.fromisoformat(re.sub(r"\.(\d{6})\d*", r".\1", text))


def with_a_broken_revision(stack, tmp_path):
    """Return an override that lays one more revision, which fails, over the image's."""
    image = stack.env["MIGRATOR_IMAGE"]
    heads = stack.engine.docker("run", "--rm", "--workdir=/srv/migrator", image, "alembic", "heads").stdout
    broken = tmp_path / "broken.py"
    broken.write_text(BROKEN.format(head=heads.split()[0]))
    broken.chmod(0o644)
    tmp_path.chmod(0o755)
    target = "/srv/migrator/versions/2099_01_01_0000-0badc0de0bad_divide_by_zero.py"
    return {"services": {"migrator": {"volumes": [f"{broken}:{target}:ro"]}}}


def add_user(stack, email):
    """Create a user over HTTP; return the answer's body."""
    answer = httpx.post(f"{stack.url}/users", json={"email": email, "name": "Ada"}, timeout=60)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_database_then_migrator_then_app_and_a_second_up_changes_nothing(stack):
    stack.up()
    stack.until_healthy("app")
    postgres, migrator, app = (stack.container(service) for service in ("postgres", "migrator", "app"))
    assert (migrator["State"]["Status"], migrator["State"]["ExitCode"]) == ("exited", 0)
    assert moment(postgres["State"]["StartedAt"]) < moment(migrator["State"]["StartedAt"])
    assert moment(migrator["State"]["FinishedAt"]) <= moment(app["State"]["StartedAt"])
    assert httpx.get(f"{stack.url}/readyz", timeout=60).status_code == 200
    user = add_user(stack, "ada@example.org")

    stack.up()
    for service, before in (("postgres", postgres), ("app", app)):
        after = stack.container(service)
        assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert stack.container("migrator")["State"]["ExitCode"] == 0
    assert httpx.get(f"{stack.url}/users/{user['id']}", timeout=60).json()["email"] == "ada@example.org"


def test_data_outlives_the_containers(stack):
    stack.up()
    stack.until_healthy("app")
    user = add_user(stack, "grace@example.org")
    stack.compose("down", "--timeout", "5")
    stack.up()
    stack.until_healthy("app")
    assert httpx.get(f"{stack.url}/users/{user['id']}", timeout=60).json()["email"] == "grace@example.org"


def test_a_failed_revision_keeps_the_app_from_starting(stack, tmp_path):
    done = stack.up(with_a_broken_revision(stack, tmp_path), check=False)
    assert done.returncode != 0
    assert stack.container("migrator")["State"]["ExitCode"] == 4
    assert "Traceback" not in stack.logs("migrator")
    # Compose v2 creates the container ahead of time; neither version starts it.
    app = stack.container("app")
    assert app is None or app["State"]["Status"] == "created"


def test_a_wrong_setting_keeps_the_app_from_starting(stack):
    wrong = {"services": {"migrator": {"environment": {"MIGRATOR_LOCK_TIMEOUT": "soon"}}}}
    done = stack.up(wrong, check=False)
    assert done.returncode != 0
    assert stack.container("migrator")["State"]["ExitCode"] == 2
    assert "MIGRATOR_LOCK_TIMEOUT" in stack.logs("migrator")
    app = stack.container("app")
    assert app is None or app["State"]["Status"] == "created"


def test_a_failed_migrator_leaves_the_app_that_serves_alone(stack, tmp_path):
    stack.up()
    stack.until_healthy("app")
    before = stack.container("app")
    assert stack.up(with_a_broken_revision(stack, tmp_path), check=False).returncode != 0
    assert stack.container("migrator")["State"]["ExitCode"] == 4
    after = stack.container("app")
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    add_user(stack, "still@example.org")


def test_the_app_signs_in_as_a_role_that_cannot_change_the_schema(stack):
    stack.up()
    stack.until_healthy("app")
    code = (
        "import os, psycopg2\n"
        "c = psycopg2.connect(os.environ['DATABASE_URL']).cursor()\n"
        "try: c.execute('CREATE TABLE public.mine ()')\n"
        "except psycopg2.errors.InsufficientPrivilege as refused: print(refused)\n"
    )
    done = stack.compose("exec", "-T", "app", "python", "-c", code)
    assert "permission denied for schema public" in done.stdout


def test_compose_builds_the_images_it_names(stack):
    stack.env.update({"APP_IMAGE": "lockstep-test/compose-app", "MIGRATOR_IMAGE": "lockstep-test/compose-migrator"})
    try:
        stack.compose("build")
        for name in ("app", "migrator"):
            assert stack.engine.inspect(f"lockstep-test/compose-{name}")["Config"]["Entrypoint"] is None
    finally:
        stack.engine.docker("image", "rm", "--force", "lockstep-test/compose-app", "lockstep-test/compose-migrator")
