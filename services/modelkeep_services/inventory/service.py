"""The inventory's table: request to command, row to response."""

from __future__ import annotations

from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import NotFound
from modelkeep.identity import FIRST_LINE, ROLES
from modelkeep.paging import page
from modelkeep.service import Asked, Host, Service, Target, read, write
from modelkeep.wire import fill
from modelkeep_services.inventory import domain, views

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["InventoryService"]


def model_stream(command: domain.ModelCommand, _: Context) -> Target:
    return Target("model", command.model)


def get_model(request: pb.GetModelRequest, asked: Asked) -> pb.GetModelResponse:
    row = asked.read.get(views.models, request.model)
    if row is None:
        raise NotFound("model", request.model)
    return pb.GetModelResponse(model=fill(pb.Model(), row))


def list_models(request: pb.ListModelsRequest, asked: Asked) -> pb.ListModelsResponse:
    rows, token = page(asked.read, views.models, request.page)
    return pb.ListModelsResponse(
        models=[fill(pb.Model(), row) for _, row in rows], next_token=token
    )


WRITES = [
    write(
        "RegisterModel", domain.RegisterModel, domain.MODEL, model_stream, FIRST_LINE
    ),
]
READS = [
    read("GetModel", get_model, ROLES),
    read("ListModels", list_models, ROLES),
]


def service(_: Host) -> Service:
    return Service(
        name="inventory",
        descriptor=DESCRIPTOR,
        writes=WRITES,
        reads=READS,
        views=[views.models],
    )
