"""Refusals as problem+json (RFC 9457), each of which says what to do."""

import json
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
from kebyt5.serving.schemas import ONE, SEVERAL

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    at: str = Field(description="JSON pointer to the field, into body, query, path or header")
    detail: str


class ProblemDetails(BaseModel):
    """Why a request is refused (RFC 9457)."""

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
    """Ends a request; the detail is one sentence that says what is wrong and what to do.

    Args:
        status: Of the HTTP response.
        detail: The sentence.
        headers: Of the response.
        errors: The fields concerned.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(status, detail, headers, errors)  # as it is pickled
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"

    def body(self) -> bytes:
        """The problem as JSON; in ASCII, as a detail may quote lone surrogates."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = self.errors
        return json.dumps(content).encode()

    def response(self) -> Response:
        """The problem as a response."""
        return Response(self.body(), self.status, self.headers, MEDIA_TYPE)


def internal_problem() -> Problem:
    """What a client is told of an error of ours."""
    return Problem(500, "the server failed at this request; its log has the reason")


def problem_of(error: BaseException) -> Problem:
    """What a client is told of an error that ended its request."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ConstraintError | InputError):
        return Problem(422, str(error))
    if isinstance(error, TimeoutError):
        return Problem(504, "not done within the deadline; allow more seconds, or ask for less")
    return internal_problem()


def install_handlers(app: FastAPI) -> None:
    """Makes every refusal of an app problem+json."""

    async def ours(request: Request, error: Exception) -> Response:
        return problem_of(error).response()

    for kind in (Problem, InputError, ConstraintError, TimeoutError):
        app.add_exception_handler(kind, ours)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = {
            400: "the body cannot be read; send JSON in UTF-8, not nested hundreds of levels deep"
            " and without numbers of thousands of digits",
            404: "no such path; /openapi.json lists them",
            405: f"not with {request.method}; the header Allow has what this path takes",
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
        return Problem(400, f"the body is no JSON: {reason} at character {found[0]['loc'][-1]}")
    errors = [
        # What the client sent is not repeated: it knows it, and it may be long.
        {"at": _pointer(each["loc"]), "detail": _mended(each)}
        for each in found
    ]
    first = errors[0]
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, f"{first['at']}: {first['detail']}{rest}", errors=errors)


def _pointer(place: Sequence[str | int]) -> str:
    return "".join(f"/{part}" for part in place if part not in (ONE.tag, SEVERAL.tag))


def _mended(error: Mapping[str, Any]) -> str:
    """A message of pydantic's, in plainer words where it needs them."""
    is_body = tuple(error["loc"]) == ("body",)
    remedy = "; set Content-Type: application/json" if is_body else ""
    return {
        "string_unicode": "text with a lone surrogate, which is no character; leave it out",
        "extra_forbidden": "no such field; leave it out, or see /openapi.json for the names",
        "missing": "this field is missing; give it",
        "model_attributes_type": f"expected a JSON object{remedy}",
    }.get(error["type"], str(error["msg"]).removeprefix("Value error, "))


__all__ = [
    "MEDIA_TYPE",
    "FieldProblem",
    "Problem",
    "ProblemDetails",
    "install_handlers",
    "internal_problem",
    "problem_of",
]
