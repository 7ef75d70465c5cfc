"""IoT access by MQTT, in which each use has topics, devices and limits of its own."""

from wecityctl.model.catalogue import Binding, CapabilityType, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="iot",
    platform="data",
    title="IoT access 物联网接入",
    engines=("mosquitto",),
    licence="EPL-2.0",
    program=f"{__name__}.program:Iot",
    ports=(Port("mqtt", 8883), Port("metrics", 9100, "http")),
    images=("iot",),
    pods=(Pods(memory="256Mi", storage="2Gi"),),
    binding=Binding(
        "mqtt",
        keys=("username", "password", "prefix", "uri"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    versions=("2.0.11",),
    architectures=("amd64",),
    health="a retained message is published, read and cleared on 8883",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    limits=UseLimits(connections=100, storage="4Mi"),
)
