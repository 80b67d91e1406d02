"""HTTP server of the labelling page: the page and its API. The logic is in :mod:`.session`."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt
from pydantic.functional_validators import AfterValidator

from bizcharts_pipeline.core.clock import naive_utc
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.images.first_frame import first_frame
from bizcharts_pipeline.images.structure import PictureRejected
from bizcharts_pipeline.labels.ledger import storable_text
from bizcharts_pipeline.web.auth import Access, AccessMiddleware
from bizcharts_pipeline.web.session import Decision, LabelSession, NotOffered

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI, Response

STATIC = Path(__file__).parent / "static"
HISTORY_PAGE = 12
_MOST = 2**63 - 1
_STRANGER = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Labeller · BizCharts</title>
<h1>This address lacks its token</h1>
<p>Open the whole address that <code>bizcharts label</code> printed in the terminal: it ends in
<code>?token=…</code>, and changes with every start. Without the token, nothing can be read or labelled here.</p>
</html>
"""
_FILES = {"labeller.css": "text/css", "labeller.js": "text/javascript", "labeller.svg": "image/svg+xml"}


def _moment(moment: datetime) -> datetime:
    try:
        return naive_utc(moment)
    except OverflowError:
        raise ValueError("time out of range") from None


class LabelRequest(BaseModel):
    """Request body of a label; ``rating`` is null if the post is skipped."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    thread_id: Annotated[StrictInt, Field(ge=0, le=_MOST)]
    labeled_at: Annotated[datetime, AfterValidator(_moment)]
    rating: Annotated[StrictInt, Field(ge=1, le=3)] | None
    seconds: float | None = Field(None, ge=0, le=86_400)
    flag: Literal["irony", "not crypto", "unreadable", "illegal"] | None = None
    notes: str | None = Field(None, max_length=2000)
    saw_suggestion: bool = False
    image_visible: bool | None = None
    keys: Annotated[StrictInt, Field(ge=0)]  # number of standing labels known to the page


class UndoRequest(BaseModel):
    """Request body of an undo; ``keys`` is the number of standing labels known to the page."""

    model_config = ConfigDict(extra="forbid")

    keys: Annotated[StrictInt, Field(ge=0)]


def labeller_app(session: LabelSession, access: Access) -> "FastAPI":
    """Return the ASGI application of the labelling page for one session, protected by ``access``."""
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.requests import Request

    def refused(request: Request, error: Exception) -> "Response":
        if isinstance(error, NotOffered):
            return _json({"error": str(error), "view": session.view()}, 409)
        return _json({"error": str(error)}, 503)

    def malformed(request: Request, error: Exception) -> "Response":
        assert isinstance(error, RequestValidationError)
        problems = (f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
        return _json({"error": "; ".join(problems)}, 422)

    app = FastAPI(title="BizCharts labeller", openapi_url=None, docs_url=None, redoc_url=None)
    app.add_exception_handler(BizchartsError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.include_router(_page(access))
    app.include_router(_requests(session, access), prefix="/api/labeller")
    app.add_middleware(AccessMiddleware, access=access)
    return app


def _page(access: Access) -> "APIRouter":
    """Return the routes of the page; a token in its address becomes a cookie and is removed from the address."""
    from fastapi import APIRouter
    from starlette.requests import Request
    from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response

    router = APIRouter()

    @router.get("/", response_class=Response)
    def page(request: Request, token: str = "") -> Response:
        if token and access.admits(token):
            return RedirectResponse("/", 303, headers={"Set-Cookie": access.cookie})
        if not access.knows(dict(request.headers)):
            return HTMLResponse(_STRANGER, 403)
        return FileResponse(STATIC / "labeller.html", media_type="text/html")

    @router.get("/static/{name}", response_class=Response)
    def static(name: str) -> Response:
        if name not in _FILES:
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(STATIC / name, media_type=_FILES[name])

    return router


def _requests(session: LabelSession, access: Access) -> "APIRouter":
    from fastapi import APIRouter
    from starlette.responses import PlainTextResponse, Response

    router = APIRouter(default_response_class=Response)
    labelling, filters = session.settings.labelling, session.filters

    @router.get("/sitting")
    def sitting() -> Response:
        return _json(
            {
                "csrf": access.csrf,
                "labeller": filters.labeller,
                "session": filters.session,
                "blur": labelling.blur,
                "mask_text": labelling.mask_text,
                "suggestions": labelling.suggestions,
                "streak_warning": labelling.streak_warning,
            }
        )

    @router.get("/view")
    def view() -> Response:
        return _json(session.view())

    @router.post("/labels")
    def label(body: LabelRequest) -> Response:
        decision = Decision(
            thread_id=body.thread_id,
            labeled_at=body.labeled_at,
            rating=body.rating,
            seconds=body.seconds,
            flag=body.flag,
            notes=body.notes,
            saw_suggestion=body.saw_suggestion,
            image_visible=body.image_visible,
            keys=body.keys,
        )
        return _json(session.decide(decision))

    @router.post("/undo")
    def undo(body: UndoRequest) -> Response:
        return _json(session.undo(body.keys))

    @router.get("/history")
    def history(before: Annotated[int, Field(ge=0, le=_MOST)] = 0) -> Response:
        return _json(session.history(before, HISTORY_PAGE))

    @router.get("/strata")
    def strata() -> Response:
        return _json({"strata": session.strata()})

    @router.get("/pictures/{thread_id}")
    def picture(thread_id: int) -> Response:
        found = session.picture(thread_id)
        try:
            content = first_frame(read_regular(found[0]), found[1]) if found else None
        except (OSError, PictureRejected, IndexError):
            content = None
        if found is None or content is None:
            return PlainTextResponse("There is no picture to show.", 404)
        return Response(content, media_type=found[1])

    return router


def _json(value: dict[str, Any], status: int = 200) -> "Response":
    from starlette.responses import Response

    return Response(storable_text(json.dumps(value, ensure_ascii=False)), status, media_type="application/json")
