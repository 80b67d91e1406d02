"""RunPod's REST API (v2): pods and the GPU catalogue, with the statuses and formats of its OpenAPI page."""

import getpass
import json
import re
from typing import Any
from urllib.parse import parse_qs

from bizcharts_pipeline.demo.pods.billing import OFFERS, GpuOffer
from bizcharts_pipeline.demo.pods.cloud import DATA_CENTERS, HOST, Cloud, RentedPod
from bizcharts_pipeline.demo.pods.faults import PodFault
from bizcharts_pipeline.demo.pods.machine import Phase, PodOrder

Answer = tuple[int, Any]

NO_CAPACITY = "There are no instances currently available with the requested specifications."
_CURSOR = "after:"
_GPU_FIELDS = {"id", "count", "minCudaVersion", "allowedCudaVersions"}
_FIELDS = {
    *("name", "image", "args", "disk", "env", "ports", "registry"),
    *("cloud", "cpu", "dataCenterIds", "globalNetworking", "gpu", "mounts", "startJupyter", "startSsh", "templateId"),
}
_STATUS = {
    Phase.PLACED: "STARTING",
    Phase.STARTED: "RUNNING",
    Phase.PUBLISHED: "RUNNING",
    Phase.EXITED: "EXITED",
}


def answer(cloud: Cloud, method: str, path: str, query: str, body: bytes, pod_scope: str | None) -> Answer:
    """Return status and body of the simulated REST API's response. ``pod_scope`` is the pod whose own key was used,
    ``None`` for the account's key."""
    if path == "/v2/catalog/gpus" and method == "GET":
        return 200, {"gpus": [_gpu(offer, parse_qs(query)) for offer in OFFERS]}
    if path == "/v2/pods":
        if pod_scope is not None:
            return problem(403, "access denied")
        if method == "GET":
            return _page(cloud, parse_qs(query))
        return _create(cloud, body) if method == "POST" else problem(405, "The method is not allowed for this path.")
    if path.startswith("/v2/pods/"):
        return _one(cloud, method, path.removeprefix("/v2/pods/"), pod_scope)
    return problem(404, "resource not found")


def _page(cloud: Cloud, query: dict[str, list[str]]) -> Answer:
    """Return one page of the list of pods; a cursor is the position after the previous page."""
    pods = cloud.pods()
    if cursor := query.get("cursor", [""])[0]:
        if not re.fullmatch(rf"{_CURSOR}\d+\.\d+", cursor):
            return problem(422, "Request validation failed.", "cursor: malformed")
        pods = [pod for pod in pods if pod.born > float(cursor.removeprefix(_CURSOR))]
    page = pods[: cloud.chance.faults.page_pods]
    more = len(page) < len(pods)
    pages = {"nextCursor": f"{_CURSOR}{page[-1].born:.9f}" if more else None, "hasNextPage": more}
    return 200, {"pods": [_pod(pod) for pod in page], "pagination": pages}


def problem(status: int, detail: str, *errors: str) -> Answer:
    """Return an error of the simulated REST API in the format of RFC 9457."""
    told: dict[str, Any] = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    return status, {**told, "errors": list(errors)} if errors else told


_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


def _one(cloud: Cloud, method: str, pod_id: str, pod_scope: str | None) -> Answer:
    if pod_scope not in (None, pod_id):
        return problem(403, "access denied")
    pod = cloud.get(pod_id)
    if pod is None:
        return problem(404, "resource not found")
    if method == "GET":
        return 200, _pod(pod)
    if method == "DELETE":
        return (204, None) if cloud.terminate(pod_id) else problem(404, "resource not found")
    return problem(405, "The method is not allowed for this path.")


def _create(cloud: Cloud, body: bytes) -> Answer:
    try:
        wanted = json.loads(body)
    except ValueError:
        return problem(400, "The body is not JSON.", "body: not JSON")
    if not isinstance(wanted, dict) or (unknown := sorted(set(wanted) - _FIELDS)):
        return problem(422, "Request validation failed.", *(f"{name}: unknown field" for name in unknown))
    gpu = wanted.get("gpu")
    missing = [name for name in ("name", "image") if not isinstance(wanted.get(name), str) or not wanted[name]]
    environment = wanted.get("env") or {}
    if missing or not isinstance(gpu, dict) or not all(isinstance(value, str) for value in environment.values()):
        return problem(422, "Request validation failed.", *(f"{name}: required" for name in missing or ["gpu"]))
    if wrong := sorted(set(gpu) - _GPU_FIELDS):
        return problem(422, "Request validation failed.", *(f"gpu.{name}: unknown field" for name in wrong))
    placed = wanted.get("cloud", "SECURE")
    offer = next((offer for offer in OFFERS if offer.gpu == gpu.get("id")), None)
    if offer is None:
        return problem(400, "The request breaks a rule.", f"gpu.id: no GPU {gpu.get('id')!r}")
    if offer.usd_per_hour(placed) is None or cloud.chance.meets(PodFault.NO_CAPACITY, wanted["name"]):
        return problem(400, NO_CAPACITY)
    order = PodOrder(
        name=wanted["name"],
        image=wanted["image"],
        gpu=offer.gpu,
        cloud=placed,
        data_center=next(iter(wanted.get("dataCenterIds") or ()), None),
        disk_gb=int(wanted.get("disk") or 10),
        ports=tuple(wanted.get("ports") or ()),
        start_command=wanted.get("args") or "",
        environment=environment,
    )
    return 201, _pod(cloud.create(order))


def _gpu(offer: GpuOffer, query: dict[str, list[str]]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": offer.gpu,
        "name": offer.displayed,
        "pool": offer.pool,
        "manufacturer": "NVIDIA",
        "memory": offer.memory_gb,
        "secure": offer.secure is not None,
        "community": offer.community is not None,
        "price": {
            "secure": float(offer.secure or 0),
            "community": float(offer.community or 0),
            "serverless": float(offer.serverless),
        },
        "maxCount": 8,
    }
    if query.get("include") == ["AVAILABILITY"]:
        cloud = query.get("cloud", ["SECURE"])[0]
        told["availability"] = "NONE" if offer.usd_per_hour(cloud) is None else "HIGH"
    return told


def _pod(pod: RentedPod) -> dict[str, Any]:
    order = pod.order
    exited = pod.phase is Phase.EXITED
    running = pod.phase in (Phase.STARTED, Phase.PUBLISHED)
    direct = proxy = None
    ports: list[dict[str, Any]] = []
    if running and pod.port is not None:
        login = getpass.getuser()
        command = f"ssh {login}@{HOST} -p {pod.port}"
        direct = {"host": HOST, "port": pod.port, "username": login, "command": command}
        ports = [{"private": 22, "public": pod.port, "type": "tcp", "ip": HOST}]
    user = f"{pod.pod_id}-{pod.machine_id}"
    proxy = {"host": "ssh.runpod.io", "port": 22, "username": user, "command": f"ssh {user}@ssh.runpod.io"}
    return {
        "id": pod.pod_id,
        "name": order.name,
        "status": _STATUS[pod.phase],
        "actions": ["start", "terminate"] if exited else ["stop", "restart", "terminate"],
        "image": order.image,
        "args": order.start_command,
        "disk": order.disk_gb,
        "mounts": {},
        "ports": list(order.ports),
        "env": dict(order.environment),
        "registry": None,
        "gpu": {"id": order.gpu, "count": 1, "vcpuCount": 16, "memory": 62},
        "cloud": order.cloud,
        "dataCenterId": order.data_center or DATA_CENTERS[0],
        "cudaVersion": "13.0",
        "ssh": {"proxy": proxy, "direct": direct},
        "template": None,
        "cost": 0.0 if exited else pod.usd_per_hour,
        "locked": False,
        "globalNetworking": {"enabled": False},
        "runtime": {"uptime": 0, "gpus": [], "ports": ports} if running else None,
        "createdAt": pod.created_at.isoformat().replace("+00:00", "Z"),
        "startedAt": None,
    }
