"""Organisations: what users may belong to; deleting one leaves its users, without it."""

from __future__ import annotations

from starlette.routing import Route

from app.bodies import Body, Line
from app.resources import Collection, Member, Resource
from app.storage.models import Organisation


class NewOrganisation(Body):
    """What it takes to add an organisation."""

    name: Line


class OrganisationChange(Body):
    """What may change. A field left out stays as it is: its default here is never read."""

    name: Line = ""


RESOURCE = Resource(
    table=Organisation.__table__,  # type: ignore[arg-type]
    singular="organisation",
    new=NewOrganisation,
    change=OrganisationChange,
    duplicate="an organisation with this name exists already",
)


class Organisations(Collection):
    """All organisations."""

    resource = RESOURCE


class OneOrganisation(Member):
    """One organisation."""

    resource = RESOURCE


ROUTES = [Route("/organisations", Organisations), Route("/organisations/{id}", OneOrganisation)]
