"""The capability type `sign-in`: people sign in at the city's entry point, for the routes that ask for it."""

from wecityctl.model.catalogue import CapabilityType, CapabilityUse, Pods, Port

TYPE = CapabilityType(
    name="sign-in",
    platform="application",
    title="sign-in at the entry point 统一登录",
    engines=("mod_auth_openidc",),
    licence="Apache-2.0",
    program=f"{__name__}.program:SignIn",
    ports=(Port("https", 8443, "https"),),
    images=("sign-in",),
    pods=(Pods(memory="96Mi"),),
    uses=(CapabilityUse("identity", "users"),),
    sign_in=f"{__name__}.configuration:INTERFACE",
    versions=("2.4",),
    architectures=("amd64",),
    health="the service answers on 8443 which clients it has, and nothing to whoever names none",
    probe=f"{__name__}.health:PROBE",
    tls=True,
)
