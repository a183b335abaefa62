"""Refusals as problem+json (RFC 9457), each of which says what to do about it."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from kebyt5.errors import InputError
from kebyt5.generation.constraints import ConstraintError
from kebyt5.serving.logs import log
from kebyt5.serving.schemas import ONE, SEVERAL

NO_SUCH_PATH = "there is no such path; /openapi.json lists the paths"
"""Detail of what is refused with 404."""

MEDIA_TYPE = "application/problem+json"

_MAX_NAME = 60
"""Most characters of a field's name in a pointer; clients may send names of any length."""


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    at: str = Field(description="JSON pointer to the field, into body, query, path or header")
    detail: str


class ProblemDetails(BaseModel):
    """Says why a request is refused (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Too Many Requests",
                "status": 429,
                "detail": "128 of 128 places are taken; try again in 3 s",
            }
        }
    )
    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


class Problem(Exception):
    """Ends a request with a refusal.

    Args:
        status: Status code of the HTTP response.
        detail: One sentence that says what is wrong and what to do.
        headers: Headers of the response.
        errors: The fields at fault, each with `at` and `detail`.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(status, detail, headers, errors)  # what pickling passes to `__init__`
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"

    def body(self) -> bytes:
        """Encodes the problem as JSON; lone surrogates, which a detail may quote, are escaped."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = self.errors
        return json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")

    def response(self) -> Response:
        """Makes an HTTP response of the problem."""
        return Response(self.body(), self.status, self.headers, MEDIA_TYPE)


def internal_problem() -> Problem:
    """Makes the problem that a client is told of when the server itself is at fault."""
    return Problem(500, "the server failed to answer this request; its log has the reason")


def problem_of(error: BaseException) -> Problem:
    """Makes the problem that a client is told of when an exception ended its request."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ConstraintError | InputError):
        return Problem(422, str(error))
    if isinstance(error, TimeoutError):
        return Problem(
            504, "the request was not done within its deadline; allow more time, or ask for less"
        )
    return internal_problem()


def report(error: Exception) -> Problem:
    """Makes the problem that a client is told of, and logs an error that is the server's own.

    The log has no message of the error, which may quote what the client wrote.
    """
    problem = problem_of(error)
    if problem.status == 500:
        log("failed", logging.ERROR, error)
    return problem


def install_handlers(app: FastAPI) -> None:
    """Installs handlers that turn every refusal of an app into problem+json."""

    async def ours(request: Request, error: Exception) -> Response:
        return problem_of(error).response()

    for kind in (Problem, InputError, ConstraintError, TimeoutError):
        app.add_exception_handler(kind, ours)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = {
            400: "the body cannot be read; send JSON in UTF-8, not nested hundreds of levels deep"
            " and without numbers of thousands of digits",
            404: NO_SUCH_PATH,
            405: f"{request.method} is not allowed; the header Allow lists what this path accepts",
        }.get(error.status_code, str(error.detail))
        return Problem(error.status_code, detail, error.headers).response()

    app.add_exception_handler(HTTPException, http)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _invalid(error).response()

    app.add_exception_handler(RequestValidationError, validation)


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()[:20]
    if any(each["type"] == "json_invalid" for each in found):
        reason = found[0].get("ctx", {}).get("error", "")
        where = f"at character {found[0]['loc'][-1]}"
        return Problem(400, f"the body is not valid JSON: {reason} {where}")
    errors = [
        # The value that the client sent is not repeated: it may be long.
        {"at": _pointer(each["loc"]), "detail": _plain_message(each)}
        for each in found
    ]
    first = errors[0]
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, f"{first['at']}: {first['detail']}{rest}", errors=errors)


def _pointer(place: Sequence[str | int]) -> str:
    """Makes a JSON pointer (RFC 6901), without the names of pydantic's alternatives."""
    parts = [part for n, part in enumerate(place) if n != 2 or part not in (ONE.tag, SEVERAL.tag)]
    return "".join(f"/{_escaped(str(part))}" for part in parts)


def _escaped(part: str) -> str:
    shown = part if len(part) <= _MAX_NAME else f"{part[:_MAX_NAME]}…"
    return shown.replace("~", "~0").replace("/", "~1")


def _plain_message(error: Mapping[str, Any]) -> str:
    """Returns pydantic's message for an error, or one of our own where that is plainer."""
    is_body = tuple(error["loc"]) == ("body",)
    remedy = "; set Content-Type: application/json" if is_body else ""
    return {
        "string_unicode": "the text has a lone surrogate, which is not a character; leave it out",
        "extra_forbidden": "there is no such field; leave it out, or see /openapi.json for names",
        "missing": "this required field is missing",
        "model_attributes_type": f"expected a JSON object{remedy}",
    }.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
