"""Errors as problem details (RFC 9457), each with the status that says whose mistake it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.errors import (
    AlreadyExists,
    ClosedError,
    CommitUnknown,
    ConnectionFailed,
    DatabaseBusy,
    Error,
    IntegrityError,
    InvalidQuery,
    NotFoundError,
    SerializationFailure,
    TableNotFound,
    ValueRefused,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
LARGEST_BODY = 4 * 2**20
logger = logging.getLogger("holdfast")


class Fault(BaseModel):
    """What is wrong with one part of a request."""

    where: list[str | int]
    message: str


class Problem(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[Fault] = []


class NotAllowed(Error):
    """The caller is known, and may not do it."""


_STATUS: tuple[tuple[type[Error], int], ...] = (
    (NotFoundError, 404),
    (NotAllowed, 403),
    (AlreadyExists, 409),
    (IntegrityError, 409),
    (ValueRefused, 422),
    (InvalidQuery, 422),
    # What may be otherwise in a while, without any change of the request.
    (ConnectionFailed, 503),
    (DatabaseBusy, 503),
    (SerializationFailure, 503),
    (CommitUnknown, 503),
    (ClosedError, 503),
    (TableNotFound, 503),
)
_SAID = {
    503: "the database does not answer just now; try again",
    500: "something went wrong, and was written to the log",
}


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, faults: Any = ()
) -> JSONResponse:
    """A response that says what went wrong."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, faults=list(faults))
    return JSONResponse(body.model_dump(), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have every error of the application answered so."""
    app.add_middleware(Limited)
    app.add_exception_handler(Error, _ours)
    app.add_exception_handler(HTTPException, _https)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unknown)


class Limited:
    """The application, which takes no body larger than ``LARGEST_BODY``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise HTTPException(413, f"a body has at most {LARGEST_BODY} bytes")
            return message

        await self.app(scope, counted, send)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with, for its description."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs")
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


async def _ours(request: Request, exc: Exception) -> JSONResponse:
    status = next((status for kind, status in _STATUS if isinstance(exc, kind)), 500)
    if status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, type(exc).__name__)
    detail = _SAID.get(status) or (exc.message if isinstance(exc, Error) else "")
    if isinstance(exc, TableNotFound):
        detail = "the database has not been migrated; run: holdfast agents init"
    return problem(status, detail, headers={"Retry-After": str(RETRY_SECONDS)} if status == 503 else None)


async def _https(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    return problem(exc.status_code, str(exc.detail), headers=exc.headers)


async def _invalid(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    # Without what was given: it may be a password.
    faults = [Fault(where=list(one["loc"]), message=one["msg"]) for one in exc.errors()]
    return problem(422, "the request is not as it must be", faults=faults)


async def _unknown(request: Request, exc: Exception) -> JSONResponse:
    return problem(500, _SAID[500])
