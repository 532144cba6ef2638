"""Users: people, known by their e-mail address, who may belong to an organisation."""

from __future__ import annotations

from starlette.routing import Route

from app.bodies import Body, Email, Id, Line, PhoneNumber
from app.resources import Collection, Member, Resource
from app.storage.models import User


class NewUser(Body):
    """What it takes to add a user."""

    email: Email
    name: Line
    phone_number: PhoneNumber | None = None
    organisation_id: Id | None = None


class UserChange(Body):
    """What may change. A field left out stays as it is: its default here is never read."""

    email: Email = ""
    name: Line = ""
    phone_number: PhoneNumber | None = None
    organisation_id: Id | None = None


RESOURCE = Resource(
    table=User.__table__,  # type: ignore[arg-type]
    singular="user",
    new=NewUser,
    change=UserChange,
    duplicate="a user with this e-mail address exists already",
    dangling="there is no organisation with this id",
    filters=("organisation_id",),
)


class Users(Collection):
    """All users."""

    resource = RESOURCE


class OneUser(Member):
    """One user."""

    resource = RESOURCE


ROUTES = [Route("/users", Users), Route("/users/{id}", OneUser)]
