"""``GET /v1/models``: which teacher is served, and under which limits.

In: a key. Out: the model's card with its revision, description, limits and the key that signs receipts.
"""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from shared.protocol import MODELS_PATH, ModelCard, ModelList
from teacher_service.errors import ModelNotFound
from teacher_service.metering.ledger import KeyRecord
from teacher_service.routes.callers import REFUSALS, caller
from teacher_service.service import service_of

router = APIRouter(responses=REFUSALS)


@router.get(MODELS_PATH, summary="The teacher that is served")
async def list_models(request: Request, key: Annotated[KeyRecord, Depends(caller)]) -> ModelList:
    """A list of one."""
    return ModelList(data=[service_of(request).card])


@router.get(MODELS_PATH + "/{model_id}", summary="One model by name")
async def get_model(request: Request, model_id: str, key: Annotated[KeyRecord, Depends(caller)]) -> ModelCard:
    """The card of the teacher that is served."""
    card = service_of(request).card
    if model_id != card.id:
        raise ModelNotFound(f"This model is not served here; the one that is: {card.id!r}.", param="model")
    return card
