"""An answer in the form that was asked for: JSON with floats or base64, or raw float32 rows; the same bits.

In: a settled :class:`~teacher_service.embed.Answer`. Out: one HTTP response with its accounts and receipt.
"""

import base64

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from shared.protocol import OCTET_STREAM, Header
from shared.receipts import to_header
from teacher_service.embed import Answer
from teacher_service.inference.responses import Descriptor


def respond(request: Request, answer: Answer, model_id: str, revision: str) -> Response:
    """Raw rows if ``Accept`` asks for them, else OpenAI's JSON."""
    headers = _headers(answer, revision)
    if OCTET_STREAM in request.headers.get("accept", ""):
        rows = b"".join([descriptor.data for descriptor in answer.descriptors])
        return Response(rows, headers=headers, media_type=OCTET_STREAM)
    document = _document(answer, model_id, revision)
    # orjson writes the shortest text that reads back as the same float32.
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, headers=headers, media_type="application/json")


def _headers(answer: Answer, revision: str) -> dict[str, str]:
    settled = answer.settlement
    return {
        Header.EMBEDDING_DIM: str(len(answer.descriptors[0].data) // 4),
        Header.QUERIES_SUBMITTED: str(len(answer.descriptors)),
        Header.QUERIES_CHARGED: str(settled.charged),
        Header.QUERIES_REPLAYED: str(settled.replayed),
        Header.QUERIES_REMAINING: str(settled.remaining),
        Header.TEACHER_REVISION: revision,
        Header.RECEIPT: to_header(answer.receipt),
        **answer.rate_headers,
    }


def _document(answer: Answer, model_id: str, revision: str) -> dict[str, object]:
    """The members of :class:`shared.protocol.EmbeddingResponse`, without a model's cost per float."""
    settled = answer.settlement
    as_text = answer.submission.encoding_format == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _embedding(descriptor, as_text)}
            for index, descriptor in enumerate(answer.descriptors)
        ],
        "model": model_id,
        "teacher_revision": revision,
        "usage": {
            "prompt_tokens": settled.charged,
            "total_tokens": settled.charged,
            "submitted": len(answer.descriptors),
            "charged": settled.charged,
            "replayed": settled.replayed,
            "remaining": settled.remaining,
        },
        "receipt": answer.receipt.model_dump(mode="json"),
    }


def _embedding(descriptor: Descriptor, as_text: bool) -> object:
    if as_text:
        return base64.b64encode(descriptor.data).decode("ascii")
    return np.frombuffer(descriptor.data, dtype="<f4")
