"""The subset of RunPod's GraphQL API used by its SDK; every query is validated against this schema."""

from datetime import datetime
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync

from bizcharts_pipeline.demo.pods.billing import OFFERS, GpuOffer
from bizcharts_pipeline.demo.pods.cloud import HOST, Cloud, RentedPod
from bizcharts_pipeline.demo.pods.faults import PodFault
from bizcharts_pipeline.demo.pods.machine import Phase, PodOrder

NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again.",
    "There are no longer any instances available with the request specifications. Please try again later.",
    "There are no longer any instances available with enough disk space.",
)
_UNAUTHORISED = "You are not authorised to do this."
_SCHEMA = build_schema(
    """
    scalar Void
    enum CloudTypeEnum { ALL SECURE COMMUNITY }
    input GpuTypeFilter { id: String }
    input GpuLowestPriceInput { gpuCount: Int! }
    input PodFilter { podId: String! }
    input PodTerminateInput { podId: String! }
    input EnvironmentVariableInput { key: String!, value: String! }
    input PodFindAndDeployOnDemandInput {
        name: String!
        imageName: String!
        cloudType: CloudTypeEnum
        startSsh: Boolean
        gpuTypeId: String!
        supportPublicIp: Boolean
        gpuCount: Int
        volumeInGb: Int
        minVcpuCount: Int
        minMemoryInGb: Int
        allowedCudaVersions: [String!]
        dataCenterId: String
        countryCode: String
        dockerArgs: String
        containerDiskInGb: Int
        ports: String
        volumeMountPath: String
        env: [EnvironmentVariableInput!]
        templateId: String
        networkVolumeId: String
        minDownload: Int
        minUpload: Int
    }
    type LowestPrice { minimumBidPrice: Float, uninterruptablePrice: Float }
    type GpuType {
        id: String!
        displayName: String
        manufacturer: String
        memoryInGb: Int
        cudaCores: Int
        maxGpuCount: Int
        secureCloud: Boolean
        communityCloud: Boolean
        securePrice: Float
        communityPrice: Float
        oneMonthPrice: Float
        threeMonthPrice: Float
        oneWeekPrice: Float
        communitySpotPrice: Float
        secureSpotPrice: Float
        lowestPrice(input: GpuLowestPriceInput): LowestPrice
    }
    type Port { ip: String, isIpPublic: Boolean, privatePort: Int, publicPort: Int, type: String }
    type Runtime { ports: [Port!] }
    type PodMachine { gpuDisplayName: String, podHostId: String }
    type Pod {
        id: String!
        name: String
        containerDiskInGb: Int
        costPerHr: Float
        desiredStatus: String
        dockerArgs: String
        dockerId: String
        env: [String!]
        gpuCount: Int
        imageName: String
        lastStatusChange: String
        machineId: String
        memoryInGb: Int
        podType: String
        port: Int
        ports: String
        uptimeSeconds: Int
        vcpuCount: Int
        volumeInGb: Int
        volumeMountPath: String
        runtime: Runtime
        machine: PodMachine
    }
    type NetworkVolume { id: String!, name: String, size: Int, dataCenterId: String }
    type User { id: String!, pubKey: String, networkVolumes: [NetworkVolume!], pods: [Pod!] }
    type Query { gpuTypes(input: GpuTypeFilter): [GpuType!], pod(input: PodFilter!): Pod, myself: User }
    type Mutation {
        podFindAndDeployOnDemand(input: PodFindAndDeployOnDemandInput!): Pod
        podTerminate(input: PodTerminateInput!): Void
    }
    """
)


def answer(cloud: Cloud, query: object, pod_scope: str | None) -> tuple[int, dict[str, Any]]:
    """Return status and body of the simulated GraphQL API for a query.

    Args:
        cloud: the account.
        query: the text of the query.
        pod_scope: the pod whose own key was used; ``None``: the account's key.
    """
    if not isinstance(query, str):
        return 400, {"errors": [{"message": "The body must hold a query."}]}
    result = graphql_sync(_SCHEMA, query, root_value=_Root(cloud, pod_scope))
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [{"message": error.message} for error in result.errors]
    invalid = result.errors and result.data is None and result.errors[0].path is None
    return (400 if invalid else 200), body


class _Root:
    """Resolvers of queries and mutations; names and arguments are the schema's."""

    def __init__(self, cloud: Cloud, pod_scope: str | None) -> None:
        self._cloud = cloud
        self._scope = pod_scope

    def gpuTypes(self, info: Any, input: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        wanted = (input or {}).get("id")
        return [_gpu(offer) for offer in OFFERS if wanted in (None, offer.gpu)]

    def pod(self, info: Any, input: dict[str, Any]) -> dict[str, Any] | None:
        self._admit(input["podId"])
        pod = self._cloud.get(input["podId"])
        return None if pod is None else _pod(pod)

    def myself(self, info: Any) -> dict[str, Any]:
        self._admit(None)
        return {
            "id": "user_demo",
            "pubKey": None,
            "networkVolumes": [],
            "pods": [_pod(pod) for pod in self._cloud.pods()],
        }

    def podFindAndDeployOnDemand(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:
        self._admit(None)
        offer = next((offer for offer in OFFERS if offer.gpu == input["gpuTypeId"]), None)
        cloud = input.get("cloudType") or "ALL"
        if cloud == "ALL":
            cloud = "SECURE"
        name = input["name"]
        if offer is None or offer.usd_per_hour(cloud) is None or self._cloud.chance.meets(PodFault.NO_CAPACITY, name):
            raise GraphQLError(self._cloud.chance.random(f"capacity {name}").choice(NO_CAPACITY))
        pod = self._cloud.create(
            PodOrder(
                name=name,
                image=input["imageName"],
                gpu=offer.gpu,
                cloud=cloud,
                data_center=input.get("dataCenterId"),
                disk_gb=input.get("containerDiskInGb") or 10,
                ports=tuple(filter(None, (input.get("ports") or "").split(","))),
                start_command=input.get("dockerArgs") or "",
                environment={entry["key"]: entry["value"] for entry in input.get("env") or ()},
            )
        )
        return _pod(pod)

    def podTerminate(self, info: Any, input: dict[str, Any]) -> None:
        self._admit(input["podId"])
        if not self._cloud.terminate(input["podId"]):
            raise GraphQLError("pod not found to terminate")

    def _admit(self, pod_id: str | None) -> None:
        """Allow everything with the account's key, and with a pod's key only requests about that pod."""
        if self._scope is not None and pod_id != self._scope:
            raise GraphQLError(_UNAUTHORISED)


def _gpu(offer: GpuOffer) -> dict[str, Any]:
    prices = [float(price) for price in (offer.secure, offer.community) if price is not None]
    return {
        "id": offer.gpu,
        "displayName": offer.displayed,
        "manufacturer": "Nvidia",
        "memoryInGb": offer.memory_gb,
        "maxGpuCount": 8,
        "secureCloud": offer.secure is not None,
        "communityCloud": offer.community is not None,
        "securePrice": None if offer.secure is None else float(offer.secure),
        "communityPrice": None if offer.community is None else float(offer.community),
        "lowestPrice": {"minimumBidPrice": None, "uninterruptablePrice": min(prices)},
    }


def _pod(pod: RentedPod) -> dict[str, Any]:
    """Return a pod as in query results; the desired status is RUNNING long before the pod runs."""
    order = pod.order
    runtime: dict[str, Any] | None = None
    if pod.phase is not Phase.PLACED:
        runtime = {"ports": None if pod.port is None else _ports(pod.port)}
    return {
        "id": pod.pod_id,
        "name": order.name,
        "containerDiskInGb": order.disk_gb,
        "costPerHr": pod.usd_per_hour,
        "desiredStatus": "EXITED" if pod.phase is Phase.EXITED else "RUNNING",
        "dockerArgs": order.start_command,
        "env": [f"{name}={value}" for name, value in order.environment.items()],
        "gpuCount": 1,
        "imageName": order.image,
        "lastStatusChange": _displayed(pod.created_at),
        "machineId": pod.machine_id,
        "memoryInGb": 62,
        "podType": "RESERVED",
        "ports": ",".join(order.ports),
        "uptimeSeconds": 0,  # always 0 in the real API's answers too
        "vcpuCount": 16,
        "volumeInGb": 0,
        "volumeMountPath": "/workspace",
        "runtime": runtime,
        "machine": {"gpuDisplayName": pod.offer.displayed, "podHostId": f"{pod.pod_id}-{pod.machine_id}"},
    }


def _ports(public: int) -> list[dict[str, Any]]:
    """Return the ports, including a port of RunPod's proxy that does not lead to the pod's sshd."""
    proxied = {"ip": "100.65.0.1", "isIpPublic": False, "privatePort": 19123, "publicPort": 60123, "type": "http"}
    return [proxied, {"ip": HOST, "isIpPublic": True, "privatePort": 22, "publicPort": public, "type": "tcp"}]


def _displayed(moment: datetime) -> str:
    return moment.strftime("Rented by User: %a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")
