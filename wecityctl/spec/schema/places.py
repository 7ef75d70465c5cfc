"""Checks of where states are and what encrypts their secrets. Which place a URL opens is the business of `objects`."""

from __future__ import annotations

import re
from typing import Final

from wecityctl.model.fileurl import SCHEME, FileUrlError, file_path
from wecityctl.spec.nodes import shorten
from wecityctl.spec.schema.refuse import refuse

_BACKENDS: Final = "file:///directory, s3://bucket, postgres://server/database or the https:// URL of a Pulumi service"
# Where Pulumi keeps states and we do not, by scheme.
_UNSUPPORTED: Final = {"azblob": "Azure Blob Storage", "gs": "Google Cloud Storage"}


def check_backend(text: str) -> str:
    """The URL of a state back end as it is written; empty for the local default. Raises the error of `refuse`."""
    if text.startswith(SCHEME):
        try:
            file_path(text)
        except FileUrlError as error:
            raise refuse(
                f"{shorten(text)!r} is not a state back end: {error.message}",
                "file:///directory, with %20 for a blank, %23 for #, %25 for % and %3F for ?",
                error.suggestion,
            ) from None
        return text
    if place := _UNSUPPORTED.get(text.partition("://")[0]):
        # The keys of the objects are the same in every place (pulumi/pkg backend/diy, version 1).
        raise refuse(
            f"{shorten(text)!r}: {place} is not supported as a state back end",
            f"{_BACKENDS}. If states are there, copy everything below .pulumi/ with the vendor's tool to "
            "DIRECTORY/.pulumi/ and name file:///DIRECTORY; `wecityctl state move` takes them on from there",
        )
    if not text or re.fullmatch(r"(?:file|s3|postgres|https?)://\S+", text):
        return text
    raise refuse(f"{shorten(text)!r} is not a state back end", f"empty for the local default, or {_BACKENDS}")


def check_secrets_provider(text: str) -> str:
    """A secrets provider of Pulumi as it is written. Raises the error of `refuse`."""
    if text == "passphrase" or re.fullmatch(r"(?:awskms|azurekeyvault|gcpkms|hashivault)://\S+", text):
        return text
    expected = "passphrase, or a URL of awskms://, azurekeyvault://, gcpkms:// or hashivault://"
    raise refuse(f"{shorten(text)!r} is not a secrets provider", expected)
