"""The shapes of the channels by which messages of apps leave the city."""

from __future__ import annotations

from wecityctl.spec.schema import names
from wecityctl.spec.schema.base import Schema, options

_SINK = "Whether messages are kept for their senders instead of being sent, where there is nothing to send by."
_ADDRESSES = "Ranges in which that server answers; without them it is on the internet, or named by its address."
_AUTHORITY = "Secret of the city with certificates that verify the server, in PEM; without it the public ones do."


class MailChannel(Schema):
    """The relay that mail is handed to, by SMTP with STARTTLS."""

    sink: bool = options(_SINK, default=False)
    server: names.MailServer | None = options(
        "The relay and its port, which is 587 if none is named.", "relay.xingcheng.gov.example:587", default=None
    )
    sender: names.Email | None = options(
        "The address that mail comes from.", "noreply@xingcheng.gov.example", default=None
    )
    addresses: list[names.Source] = options(_ADDRESSES, ["203.0.113.0/28"], default_factory=list)
    credentials: names.CredentialName | None = options(
        "Secret of the city with USER:PASSWORD for the relay; without it nobody signs in.", "mail-relay", default=None
    )
    authority: names.CredentialName | None = options(_AUTHORITY, "mail-authority", default=None)


class PostChannel(Schema):
    """The server that messages are posted to, as JSON by HTTPS."""

    sink: bool = options(_SINK, default=False)
    url: names.WebhookUrl | None = options(
        "Where messages are posted to, by https alone.", "https://sms.example/messages", default=None
    )
    addresses: list[names.Source] = options(_ADDRESSES, ["203.0.113.0/28"], default_factory=list)
    credentials: names.CredentialName | None = options(
        "Secret of the city with a token, which is sent as `Authorization: Bearer`.", "sms-token", default=None
    )
    authority: names.CredentialName | None = options(_AUTHORITY, "sms-authority", default=None)


class Notification(Schema):
    """The channels that apps may send messages by, through the capability `notification`."""

    mail: MailChannel | None = options("By mail.", default=None)
    sms: PostChannel | None = options("By SMS, through a gateway.", default=None)
    webhook: PostChannel | None = options("To a system of the city's.", default=None)
