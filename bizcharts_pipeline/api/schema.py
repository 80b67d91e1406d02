"""The answers' forms for OpenAPI, made of the rows' dataclasses and the data dictionary.

``SCHEMA`` grows when a field is renamed, removed or means something else; the path (``/v1``) then grows with it.
"""

from dataclasses import fields
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from bizcharts_pipeline.exports.dictionary import CANDLES, COINS, COPIES, GENERALS, INDEX, SHILLING, SWITCHES, Column
from bizcharts_pipeline.index.copypasta import CopyGroup
from bizcharts_pipeline.index.generals import General
from bizcharts_pipeline.index.shilling import CoinSigns
from bizcharts_pipeline.warehouse.as_of import Candle
from bizcharts_pipeline.warehouse.model_previews import ModelSwitch
from bizcharts_pipeline.warehouse.published import CoinReading, Reading

SCHEMA = 1


class Answer(BaseModel):
    """The fields of every answer, besides its rows."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(description="version of the answers' form")
    as_of: datetime | None = Field(description="the moment that was asked for; null: the present")
    newest_computed_at: datetime | None = Field(description="when the newest row behind the answer was computed")
    next: str | None = Field(description="path of the next page; null: this is the last one")


class ErrorDetail(BaseModel):
    """The error of a request."""

    status: int
    message: str
    parameter: str | None = Field(description="the parameter that is wrong; null: none is")


class ErrorAnswer(BaseModel):
    """An error."""

    error: ErrorDetail


class HealthAnswer(BaseModel):
    """Whether the index is up to date."""

    status: str = Field(description="ok; stale: the newest row is too old; empty: there is none")
    newest_computed_at: datetime | None
    newest_hour: datetime | None = Field(description="begin of the newest hour that has a reading")
    age_seconds: float | None = Field(description="since the newest row was computed")


def _rows(name: str, kind: type[Any], columns: tuple[Column, ...], order: str = "ascending by time") -> Any:
    """The model of one kind of rows, and of the answer that has a list of them."""
    said = {column.name: f"{column.meaning} ({column.unit})" for column in columns}
    described: dict[str, Any] = {
        field.name: (field.type, Field(description=said[field.name])) for field in fields(kind)
    }
    row = create_model(name, __config__=ConfigDict(extra="forbid"), **described)
    return create_model(f"{name}Answer", __base__=Answer, rows=(list[row], Field(description=order)))


IndexAnswer = _rows("IndexRow", Reading, INDEX)
CoinsAnswer = _rows("CoinRow", CoinReading, COINS)
SwitchesAnswer = _rows("SwitchRow", ModelSwitch, SWITCHES)
CandlesAnswer = _rows("CandleRow", Candle, CANDLES)
GeneralsAnswer = _rows("GeneralRow", General, GENERALS, "most threads first; those of no general last")
ShillingAnswer = _rows("ShillingRow", CoinSigns, SHILLING, "most suspected posts first")
CopiesAnswer = _rows("CopiesRow", CopyGroup, COPIES, "largest group first; those that do not count in the index last")
