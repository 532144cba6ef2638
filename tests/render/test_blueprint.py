"""The Blueprint, checked with no network: Render refuses a whole file over one field that it does not know."""

import re

import pytest
import yaml

from tests.render.platform import ROOT

FILES = [ROOT / "render.yaml", ROOT / "docs" / "render-postgres.yaml", ROOT / "docs" / "render-ci.yaml"]
TOP = {"services", "databases", "envVarGroups", "projects", "ungrouped", "previews"}
COMMON = {
    "type", "name", "runtime", "region", "plan", "branch", "repo", "autoDeployTrigger", "dockerfilePath",
    "dockerContext", "dockerCommand", "registryCredential", "envVars",
}  # fmt: skip
RUNNING = COMMON | {
    "preDeployCommand",
    "initialDeployHook",
    "maxShutdownDelaySeconds",
    "numInstances",
    "scaling",
    "disk",
}
FIELDS = {
    "web": RUNNING | {"healthCheckPath", "domains", "previews", "ipAllowList", "renderSubdomainPolicy"},
    "pserv": RUNNING | {"previews"},
    "worker": RUNNING | {"previews"},
    "cron": COMMON | {"schedule"},
}
NEEDED = {"web": {"healthCheckPath", "preDeployCommand"}, "cron": {"schedule", "dockerCommand"}}
DATABASE = {
    "name", "plan", "region", "postgresMajorVersion", "databaseName", "user", "ipAllowList", "diskSizeGB",
    "readReplicas", "highAvailability", "previewPlan",
}  # fmt: skip
REGIONS = {"oregon", "ohio", "virginia", "frankfurt", "singapore"}
FROM_DATABASE = {"connectionString", "connectionPoolString", "host", "port", "user", "password", "database"}
SECRET = re.compile(r"KEY$|PASSWORD$|_URL$|SECRET|TOKEN")
NO_SHELL = re.compile(r"[A-Za-z0-9_./=:,@-]+")


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def blueprint(request):
    return yaml.safe_load(request.param.read_text())


def services(blueprint):
    return {service["name"]: service for service in blueprint["services"]}


def test_only_fields_that_a_blueprint_has(blueprint):
    assert set(blueprint) <= TOP
    for service in blueprint["services"]:
        assert set(service) <= FIELDS[service["type"]], service["name"]
        assert NEEDED[service["type"]] <= set(service), service["name"]
    for database in blueprint.get("databases", []):
        assert set(database) <= DATABASE
        assert database["ipAllowList"] == []
        assert isinstance(database["postgresMajorVersion"], str)


def test_a_schedule_on_the_cron_job_and_nowhere_else_in_five_quoted_fields(blueprint):
    for service in blueprint["services"]:
        assert ("schedule" in service) == (service["type"] == "cron")
        assert ("preDeployCommand" in service) == (service["type"] != "cron")
    minute, hour, *rest = services(blueprint)["migrator"]["schedule"].split(" ")
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert rest == ["*", "*", "*"]


def test_both_services_get_every_commit_of_the_same_branch(blueprint):
    app, migrator = services(blueprint)["app"], services(blueprint)["migrator"]
    for field in ("branch", "region", "dockerContext", "runtime"):
        assert app[field] == migrator[field], field
    for service in (app, migrator):
        assert service["region"] in REGIONS
        assert service["runtime"] == "docker"
        assert "buildFilter" not in service
        assert "rootDir" not in service
        assert "autoDeploy" not in service
    for database in blueprint.get("databases", []):
        assert database["region"] == app["region"]


def test_both_build_on_a_push_or_the_migrator_once_ci_has_passed_where_ci_deploys_the_app(blueprint):
    app, migrator = services(blueprint)["app"], services(blueprint)["migrator"]
    triggers = app["autoDeployTrigger"], migrator["autoDeployTrigger"]
    # Never off for the migrator: its nightly run would keep to the revisions of the first day.
    assert triggers in {("commit", "commit"), ("off", "checksPass")}
    assert (triggers[0] == "off") == app["preDeployCommand"].endswith(" --wait-only")


def test_off_is_a_word_and_not_a_false(blueprint):
    assert blueprint["previews"] == {"generation": "off"}
    for service in blueprint["services"]:
        assert service["autoDeployTrigger"] in ("commit", "checksPass", "off")


def test_the_files_it_names_are_there(blueprint):
    for service in blueprint["services"]:
        assert (ROOT / service["dockerfilePath"]).is_file()
        assert (ROOT / service["dockerContext"]).is_dir()
    assert services(blueprint)["app"]["dockerfilePath"] == "./Dockerfile.app"
    assert services(blueprint)["migrator"]["dockerfilePath"] == "./Dockerfile.migrator"


def test_commands_survive_a_word_splitter_that_is_no_shell(blueprint):
    for service in blueprint["services"]:
        for field in ("preDeployCommand", "dockerCommand"):
            command = service.get(field)
            if command is None:
                continue
            words = command.split(" ")
            assert all(NO_SHELL.fullmatch(word) for word in words), command
            assert "-c" not in words
            assert words[0] in ("python", "migrator"), "the image's own, and on its PATH"


def test_the_commands_are_verbs_and_flags_that_are_there(blueprint):
    from lockstep import cli  # noqa: PLC0415
    from lockstep_gate.predeploy import command  # noqa: PLC0415

    head, *words = services(blueprint)["migrator"]["dockerCommand"].split(" ")
    assert head == "migrator"
    assert cli.parser().parse_args(words).deferred_only
    python, m, module, *flags = services(blueprint)["app"]["preDeployCommand"].split(" ")
    assert (python, m, module) == ("python", "-m", "app.predeploy")
    command._parser("predeploy", {}, needs_contract=False).parse_args(flags)


def test_images_have_no_entrypoint_that_a_command_would_be_handed_to():
    for name in ("app", "migrator"):
        lines = (ROOT / f"Dockerfile.{name}").read_text().splitlines()
        assert not [line for line in lines if line.strip().upper().startswith("ENTRYPOINT")]
        assert "ENV IMAGE_COMMIT=${RENDER_GIT_COMMIT}" in lines


def test_variables_have_one_source_each_and_no_secret_stands_in_the_file(blueprint):
    names = {database["name"] for database in blueprint.get("databases", [])}
    for service in blueprint["services"]:
        for variable in service["envVars"]:
            (source,) = set(variable) - {"key"}
            assert source in {"value", "generateValue", "sync", "fromDatabase", "fromService"}
            if source == "value":
                assert isinstance(variable["value"], str)
                assert not SECRET.search(variable["key"])
            if source == "sync":
                assert variable["sync"] is False
            if source == "fromDatabase":
                assert variable[source]["name"] in names
                assert variable[source]["property"] in FROM_DATABASE
            if source == "fromService":
                other = services(blueprint)[variable[source]["name"]]
                assert variable[source]["type"] == other["type"]
                assert variable[source]["envVarKey"] in {one["key"] for one in other["envVars"]}


def test_the_app_never_holds_the_owners_url(blueprint):
    keys = {variable["key"] for variable in services(blueprint)["app"]["envVars"]}
    assert "MIGRATOR_DATABASE_URL" not in keys
    sources = [variable.get("fromDatabase", {}).get("property") for variable in services(blueprint)["app"]["envVars"]]
    assert not {"connectionString", "password", "connectionPoolString"} & set(sources)


def test_a_database_url_in_parts_is_the_same_to_the_app():
    from app import settings  # noqa: PLC0415

    parts = {"HOST": "dpg-1-a", "PORT": "5432", "NAME": "lockstep", "USER": "app", "PASSWORD": "p@ss:w/rd%"}
    url = settings.read({f"DATABASE_{name}": value for name, value in parts.items()}).database_url
    assert (url.host, url.port, url.database) == ("dpg-1-a", 5432, "lockstep")
    assert (url.username, url.password) == ("app", "p@ss:w/rd%")
