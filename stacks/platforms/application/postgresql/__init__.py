"""The capability type `postgresql`: a relational database in which each use has its own database and role."""

from wecityctl.model.catalogue import Binding, CapabilityType, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="postgresql",
    platform="application",
    title="relational database 关系型数据库",
    engines=("postgresql",),
    licence="PostgreSQL",
    program=f"{__name__}.program:PostgreSQL",
    ports=(Port("postgresql", 5432),),
    images=("postgresql",),
    pods=(Pods(cpu="250m", memory="512Mi", storage="10Gi"),),
    binding=Binding(
        "postgresql",
        keys=("database", "username", "password", "uri", "sslmode", "sslrootcert"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        separator="_",
        stores_data=True,
    ),
    versions=("15",),
    architectures=("amd64", "arm64"),
    health="a table is made and a row committed on 5432, read in another session, and the table dropped",
    probe=f"{__name__}.health:PROBE",
    backup=f"{__name__}.backup:SCRIPTS",
    tls=True,
    limits=UseLimits(connections=20, storage="2Gi", statement_seconds=600),
    # Each connection in use takes several megabytes of the server's memory.
    connections={"small": 95, "medium": 195, "large": 395},
)
