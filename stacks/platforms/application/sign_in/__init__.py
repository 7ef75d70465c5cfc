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
    health="the way that says whether somebody is signed in answers 401 to nobody",
    tls=True,
)
