"""The official `render` client reads the answers of the stand-in: they satisfy the schemas it was generated from."""

import pytest
from render.public_api.api.deploys import list_deploys, retrieve_deploy
from render.public_api.api.logs import list_logs
from render.public_api.api.one_off_jobs import list_job, post_job, retrieve_job
from render.public_api.api.services import list_services, retrieve_service
from render.public_api.client import AuthenticatedClient
from render.public_api.models.error import Error
from render.public_api.models.job_status import JobStatus
from render.public_api.models.list_logs_response_200 import ListLogsResponse200
from render.public_api.models.post_job_body import PostJobBody
from render.public_api.models.service_type import ServiceType

from tests.render.platform import OWNER, commit_id


@pytest.fixture
def client(migrated):
    migrated.platform.push("one", "migrator")
    migrated.platform.settled(migrated.migrator, "one")
    with AuthenticatedClient(base_url=migrated.platform.url, token=migrated.platform.key) as opened:
        yield opened


def test_it_reads_services_and_deploys(migrated, client):
    found = list_services.sync(client=client, name=["migrator"], type_=[ServiceType.CRON_JOB])
    assert [one.service.id for one in found] == [migrated.migrator.id]
    assert found[0].service.service_details.schedule == migrated.migrator.written["schedule"]
    web = retrieve_service.sync(migrated.app.id, client=client)
    assert web.service_details.health_check_path == "/readyz"
    (item,) = list_deploys.sync(migrated.migrator.id, client=client)
    assert (item.deploy.commit.id, str(item.deploy.status)) == (commit_id("one"), "live")
    assert retrieve_deploy.sync(migrated.migrator.id, item.deploy.id, client=client).id == item.deploy.id


def test_it_reads_jobs_that_have_started_and_their_log(migrated, client):
    job = migrated.platform.start_job(migrated.migrator, "migrator --version")
    migrated.platform.done(job)
    (item,) = list_job.sync(migrated.migrator.id, client=client)
    assert item.job.status is JobStatus.SUCCEEDED
    assert retrieve_job.sync(migrated.migrator.id, job.id, client=client).finished_at > item.job.created_at
    log = list_logs.sync(client=client, owner_id=OWNER, resource=[job.id])
    assert isinstance(log, ListLogsResponse200)
    assert [line.message for line in log.logs] == [job.text]


def test_it_cannot_read_a_job_that_has_not_started_which_is_why_it_is_not_used(migrated, client):
    migrated.platform.job_starts.clear()
    with pytest.raises(ValueError, match="None is not a valid JobStatus"):
        post_job.sync(migrated.migrator.id, client=client, body=PostJobBody(start_command="migrator --version"))
    migrated.platform.job_starts.set()


def test_it_reads_the_errors(migrated, client):
    assert isinstance(retrieve_service.sync("srv-none", client=client), Error)
    with AuthenticatedClient(base_url=migrated.platform.url, token="rnd_other_key_of_nobody") as stranger:
        assert retrieve_service.sync(migrated.app.id, client=stranger).message == "Unauthorized"


def test_pages_are_joined_by_the_cursor_of_the_last_item(migrated, client):
    for _ in range(3):
        migrated.platform.deploy(migrated.migrator, commit_id("one"))
        migrated.platform.settled(migrated.migrator, "one")
    first = list_deploys.sync(migrated.migrator.id, client=client, limit=3)
    rest = list_deploys.sync(migrated.migrator.id, client=client, limit=3, cursor=first[-1].cursor)
    assert [item.deploy.id for item in first + rest] == [deploy.id for deploy in migrated.migrator.deploys]
    assert (len(first), len(rest)) == (3, 1)
