"""The stand-in's API: paths, schemas, statuses and headers as Render's official description has them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.render.platform import OWNER, TYPES

LIMITS = {"GET": 400, "logs": 30, "jobs": 100, "deploys": 10}


@dataclasses.dataclass
class Fault:
    """Something that goes wrong a number of times, on requests whose method and path it names."""

    where: str
    times: int
    status: int = 500
    headers: dict = dataclasses.field(default_factory=dict)
    carried_out: bool = False  # the request is done, and only its answer is lost
    hang_s: float = 0.0
    body: str = '{"id": "err-1", "message": "injected"}'


def stamp(moment):
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def service_json(service):
    docker = {
        "dockerCommand": service.written.get("dockerCommand", ""),
        "dockerContext": service.written["dockerContext"],
        "dockerfilePath": service.written["dockerfilePath"],
    }
    details = {
        "env": "docker",
        "runtime": "docker",
        "plan": "starter",
        "region": service.written["region"],
        "buildPlan": "starter",
        "envSpecificDetails": docker,
    }
    if service.type == "cron":
        details["schedule"] = service.written["schedule"]
    else:
        docker["preDeployCommand"] = service.written.get("preDeployCommand", "")
        details |= {
            "healthCheckPath": service.written.get("healthCheckPath", ""),
            "numInstances": 1,
            "openPorts": [],
            "url": f"https://{service.name}.onrender.com",
        }
    trigger = service.written["autoDeployTrigger"]
    return {
        "id": service.id,
        "autoDeploy": "no" if trigger == "off" else "yes",
        "autoDeployTrigger": trigger,
        "branch": service.branch,
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        "dashboardUrl": f"https://dashboard.render.com/{service.type}/{service.id}",
        "name": service.name,
        "notifyOnFail": "default",
        "ownerId": OWNER,
        "repo": service.repo,
        "rootDir": "",
        "slug": service.name,
        "suspended": "suspended" if service.suspended else "not_suspended",
        "suspenders": ["user"] if service.suspended else [],
        "type": TYPES[service.type],
        "serviceDetails": details,
    }


def deploy_json(deploy):
    return {
        "id": deploy.id,
        "commit": {"id": deploy.commit, "message": "a commit", "createdAt": stamp(deploy.created)},
        "status": deploy.status,
        "trigger": deploy.trigger,
        "createdAt": stamp(deploy.created),
        "updatedAt": stamp(deploy.created),
    }


def job_json(job):
    known = {"startedAt": stamp(job.started), "finishedAt": stamp(job.finished)}
    return {
        "id": job.id,
        "serviceId": job.service,
        "startCommand": job.command,
        "planId": "plan-crn-001",
        "createdAt": stamp(job.created),
        "status": job.status,  # null until it has started
        **{name: value for name, value in known.items() if value},
    }


def error(status, message):
    return JSONResponse({"id": "err-0", "message": message}, status)


class Api:
    """The API of one platform; `asked` has every request, `faults` what is to go wrong."""

    def __init__(self, platform):
        self.platform = platform
        self.asked = []
        self.faults = []
        self.forbidden = False
        self._left = dict(LIMITS)
        routes = [
            Route("/services", self.services),
            Route("/services/{id}", self.service),
            Route("/services/{id}/deploys", self.deploys),
            Route("/services/{id}/deploys", self.deploy, methods=["POST"]),
            Route("/services/{id}/deploys/{deploy}", self.one_deploy),
            Route("/services/{id}/jobs", self.jobs),
            Route("/services/{id}/jobs", self.start, methods=["POST"]),
            Route("/services/{id}/jobs/{job}", self.job),
            Route("/services/{id}/jobs/{job}/cancel", self.cancel, methods=["POST"]),
            Route("/logs", self.logs),
        ]
        self._app = Starlette(routes=[Mount("/v1", routes=routes)])

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        answer = await self._guarded(scope, receive)
        await answer(scope, receive, send)

    async def _guarded(self, scope, receive):
        line = f"{scope['method']} {scope['path'].removeprefix('/v1')}"
        self.asked.append(line)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.platform.keys:
            return error(401, "Unauthorized")
        if self.forbidden:
            return error(403, "you do not have access to this workspace")
        fault = next((one for one in self.faults if one.times > 0 and re.search(one.where, line)), None)
        if fault:
            fault.times -= 1
            if fault.carried_out:
                await self._answer(scope, receive)
            await asyncio.sleep(fault.hang_s)
            return Response(fault.body, fault.status, fault.headers, "application/json")
        answer = await self._answer(scope, receive)
        self._limits(scope, answer)
        return answer

    def _limits(self, scope, answer):
        last = scope["path"].rsplit("/", 1)[-1]
        kind = last if last == "logs" or (scope["method"] == "POST" and last in LIMITS) else "GET"
        self._left[kind] = max(0, self._left[kind] - 1)
        answer.headers["RateLimit-Limit"] = str(LIMITS[kind])
        answer.headers["RateLimit-Remaining"] = str(self._left[kind])
        answer.headers["RateLimit-Reset"] = "57"  # as observed: seconds, not a date

    async def _answer(self, scope, receive):
        """Run the application and keep its answer, so that a fault can lose it."""
        parts = {"body": b""}

        async def keep(message):
            if message["type"] == "http.response.start":
                parts["status"] = message["status"]
                parts["headers"] = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                parts["body"] += message.get("body", b"")

        await self._app({**scope}, receive, keep)
        headers = {name: value for name, value in parts["headers"].items() if name != "content-length"}
        return Response(parts["body"], parts["status"], headers)

    # What the description describes

    def _service(self, request):
        return next((one for one in self.platform.services.values() if one.id == request.path_params["id"]), None)

    async def services(self, request):
        found = [
            one
            for one in self.platform.services.values()
            if wanted(request, "name", one.name) and wanted(request, "type", TYPES[one.type])
            and wanted(request, "ownerId", OWNER)
        ]  # fmt: skip
        return page(request, "service", [(one.id, service_json(one)) for one in found])

    async def service(self, request):
        one = self._service(request)
        return JSONResponse(service_json(one)) if one else error(404, "service not found")

    async def deploys(self, request):
        one = self._service(request)
        if one is None:
            return error(404, "service not found")
        found = [deploy for deploy in one.deploys if wanted(request, "status", deploy.status)]
        return page(request, "deploy", [(deploy.id, deploy_json(deploy)) for deploy in found])

    async def one_deploy(self, request):
        one = self._service(request)
        found = [deploy for deploy in one.deploys if deploy.id == request.path_params["deploy"]] if one else []
        return JSONResponse(deploy_json(found[0])) if found else error(404, "deploy not found")

    async def deploy(self, request):
        one = self._service(request)
        if one is None:
            return error(404, "service not found")
        given = await request.json()
        if one.type == "cron" and "commitId" in given:
            return error(400, "commitId is not supported for cron jobs")
        commit = given.get("commitId") or self.platform.newest
        deploy = self.platform.deploy(one, commit, "api")
        return JSONResponse(deploy_json(deploy), 201) if deploy else Response(status_code=202)

    async def jobs(self, request):
        one = self._service(request)
        if one is None:
            return error(404, "service not found")
        found = [job for job in self.platform.jobs if job.service == one.id]
        return page(request, "job", [(job.id, job_json(job)) for job in found])

    async def start(self, request):
        one = self._service(request)
        if one is None:
            return error(404, "service not found")
        given = await request.json()
        if not isinstance(given.get("startCommand"), str) or set(given) - {"startCommand", "planId"}:
            return error(400, "startCommand is required")
        job = self.platform.start_job(one, given["startCommand"])
        return JSONResponse(job_json(job), 201) if job else error(400, "the service has no successful build")

    def _job(self, request):
        return next((job for job in self.platform.jobs if job.id == request.path_params["job"]), None)

    async def job(self, request):
        job = self._job(request)
        if job is None:
            return error(404, "job not found")
        lag = {"status": self.platform.jobs_shown_as} if self.platform.jobs_shown_as and job.status else {}
        return JSONResponse(job_json(job) | lag)

    async def cancel(self, request):
        job = self._job(request)
        if job is None:
            return error(404, "job not found")
        job.status = "canceled"
        if job.program:
            job.program.terminate()
        return JSONResponse(job_json(job))

    async def logs(self, request):
        query = request.query_params
        if query.get("ownerId") != OWNER:
            return error(400, "ownerId is required")
        if "resource" not in query:
            return error(400, "resource is required")
        if not self.platform.has_logs:
            return JSONResponse({"hasMore": False, "nextStartTime": "2026-01-01T00:00:00Z",
                                 "nextEndTime": "2026-01-01T00:00:00Z", "logs": []})  # fmt: skip
        lines = [
            line for job in self.platform.jobs if wanted(request, "resource", job.id) for line in list(job.lines)
            if not query.get("startTime") or stamp(line[1]) >= query["startTime"]
        ]  # fmt: skip
        limit = int(query.get("limit", 20))
        shown = lines[:limit] if query.get("direction") == "forward" else lines[-limit:]
        end = stamp(shown[-1][1]) if shown else "2026-01-01T00:00:00Z"
        labels = [{"name": "resource", "value": query["resource"]}, {"name": "type", "value": "app"}]
        logs = [{"id": id_, "message": text, "timestamp": stamp(at), "labels": labels} for id_, at, text in shown]
        return JSONResponse({"hasMore": len(lines) > limit, "nextStartTime": end, "nextEndTime": end, "logs": logs})


def wanted(request, name, value):
    """Tell whether a filter lets a value through: a list joined by commas, or the parameter more than once."""
    given = [part for text in request.query_params.getlist(name) for part in text.split(",")]
    return not given or value in given


def page(request, name, items):
    """Return one page of a list: an array of the item with its cursor; the last one's asks for the next page."""
    limit = int(request.query_params.get("limit", 20))
    if not 1 <= limit <= 100:
        return error(400, "limit must be between 1 and 100")
    cursor = request.query_params.get("cursor")
    cursors = [f"c-{id_}" for id_, _ in items]
    first = cursors.index(cursor) + 1 if cursor in cursors else 0
    shown = list(zip(cursors, items, strict=True))[first : first + limit]
    return JSONResponse([{"cursor": cursor_, name: item} for cursor_, (_, item) in shown])


@contextlib.contextmanager
def served(platform):
    """Serve the API of a platform on a port of its own."""
    api = Api(platform)
    listener = socket.create_server(("127.0.0.1", 0))
    platform.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    running = uvicorn.Server(uvicorn.Config(api, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        running.should_exit = True
        thread.join(15)
        listener.close()
