"""Deployments in a service without HTTP."""

FILES = {"bucket": "b", "objectPath": "o", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
POSTPAID = {"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"}
TOKENS = {"paymentTiming": "Postpaid", "chargeType": "Tokens"}
PREPAID = {
    "paymentTiming": "Prepaid",
    "reservation": {"reservationTimeUnit": "Month", "reservationLength": 1},
}
RESOURCE = {"region": "bj", "type": "GPU-1-1", "qps": 5, "replicasCount": 1}
UNIT_SECONDS = MODEL_SECONDS = 10


def version(local, name="bot", description=""):
    """Return the ids of a version that is ready, as members of a request."""
    sets = local.ok("DescribeCustomModelSets")["customModelSetList"]
    known = {row["modelSetName"]: row["modelSetId"] for row in sets}
    set_id = known.get(name) or local.model_set(name)
    body = {"modelSetId": set_id, "sourceType": "Import", "importMeta": FILES, "description": description}
    model_id = local.ok("CreateCustomModel", **body)["modelId"]
    local.clock.time += MODEL_SECONDS
    return {"modelSetId": set_id, "modelId": model_id}


def order(local, **more):
    """Return the body of a CreateService."""
    names = {"name": "faq", "urlSuffix": "faq_1", "protocolVersion": 2}
    return {**version(local), **names, "resourceConfig": RESOURCE, "billing": POSTPAID, **more}


def deploy(local, **more):
    return local.ok("CreateService", **order(local, **more))["serviceId"]


def serve(local, **more):
    """Return the id of a service that serves."""
    service_id = deploy(local, **more)
    local.clock.time += MODEL_SECONDS
    return service_id


def show(local, service_id):
    return local.ok("DescribeService", serviceId=service_id)


def unit(local, count=2, billing=None):
    """Return the id of compute units that run."""
    config = {"region": "bj", "type": "gpu-1"}
    body = {"computeUnitCount": count, "computeUnitConfig": config, "billing": billing or POSTPAID}
    unit_id = local.ok("PurchaseComputeUnit", **body)["instanceId"]
    local.clock.time += UNIT_SECONDS
    return unit_id
