"""Bodies: a request in, its JSON body as a checked object out.

What clients send is bounded in size and time before it is parsed, and parsed before it is believed.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from anyio import fail_after
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from app.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

BODY_TIMEOUT_S = 20
MEDIA_TYPES = ("application/json", "application/merge-patch+json")
SHOWN_FAULTS = 20
BIGINT_MAX = 2**63 - 1


def _like(pattern: str, problem: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise PydanticCustomError("form", problem)  # type: ignore[arg-type]
        return value

    return AfterValidator(check)


# PostgreSQL refuses NUL, and the other control characters only forge lines in logs and mails.
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    _like(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*", "Control characters are not allowed"),
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, max_length=254),
    _like(r"[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+", "Should be an e-mail address"),
]
PhoneNumber = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=32),
    _like(
        r"\+?[0-9][0-9 ()./-]+", "Should be a phone number: digits, spaces and ( ) . / -, with or without a leading +"
    ),
]
Id = Annotated[int, Field(ge=1, le=BIGINT_MAX)]


class Body(BaseModel):
    """What every body has in common: exact types, and nothing that is not asked for."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


B = TypeVar("B", bound=Body)


async def read(request: Request, kind: type[B], *, limit_bytes: int) -> dict[str, Any]:
    """Return the values that the body gives, checked as `kind`; raise a Problem where it is not one."""
    _check_media_type(request.headers.get("content-type", ""))
    raw = await _bytes(request, limit_bytes)
    try:
        return kind.model_validate_json(raw).model_dump(exclude_unset=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {faults[0]['msg'].partition(': ')[2]}")
    errors = [{"where": _where(fault["loc"]), "problem": fault["msg"]} for fault in faults[:SHOWN_FAULTS]]
    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the body does not fit; see errors", errors=errors)


def _check_media_type(content_type: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip('"') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    if media_type not in MEDIA_TYPES or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "send JSON in UTF-8, with the header Content-Type: application/json",
            headers={"Accept": ", ".join(MEDIA_TYPES)},
        )


async def _bytes(request: Request, limit_bytes: int) -> bytes:
    """Return the body; a body that is chunked, or larger than it says, is counted as it comes."""
    too_large = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {limit_bytes} bytes at most")
    if int(request.headers.get("content-length", "0")) > limit_bytes:
        raise too_large
    body = bytearray()
    try:
        with fail_after(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit_bytes:
                    raise too_large
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {BODY_TIMEOUT_S} s") from None
    return bytes(body)


def _where(location: Iterable[int | str]) -> str:
    return ".".join(str(part)[:80] for part in location) or "body"
