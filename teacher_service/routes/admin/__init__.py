"""``/v1/admin``: keys, grants, usage and exports, for whoever holds the admin key.

In: nothing. Out: one router, every route of which stands behind the admin key.
"""

from fastapi import APIRouter, Depends

from teacher_service.routes.admin import exports, keys, usage
from teacher_service.routes.admin.door import REFUSALS, admin, only_known_parameters

router = APIRouter(
    dependencies=[Depends(admin), Depends(only_known_parameters)], responses=REFUSALS, tags=["admin"]
)
for _module in (keys, usage, exports):
    router.include_router(_module.router)
