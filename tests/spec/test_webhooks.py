"""Which addresses alerts may be sent to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic_core import PydanticCustomError

from wecityctl.model.city import Alerts
from wecityctl.session import open_session
from wecityctl.spec.schema.places import check_webhook

EXAMPLE = Path(__file__).parents[2] / "examples" / "xingcheng-operations"


@pytest.mark.parametrize(
    "url",
    [
        "https://oncall.example/hooks/city",
        "https://oncall.example./a?b[]=%7Bc%7D&d=~e;f",
        "https://xn--fiq228c.xn--fiqs8s:8443/",
        "https://192.0.2.8:8443/city",
        "http://10.1.2.3/a",
        "http://[fd12::1]:8080/a",
    ],
)
def test_a_webhook_is_outside_the_clusters(url: str) -> None:
    assert check_webhook(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        # Alertmanager reads the addresses of all tenants or does not start.
        ("https://oncall.example/%zz", "is not the URL of a webhook"),
        ("https://oncall.example/{{", "is not the URL of a webhook"),
        ("https://oncall.example/{{.CommonLabels.a}}", "is not the URL of a webhook"),
        ("https://oncall.example/a\\b", "is not the URL of a webhook"),
        ("https://on^call.example/", "is not the URL of a webhook"),
        ("https://on%41call.example/", "neither a name nor an address"),
        ("https://on,call.example/", "neither a name nor an address"),
        ("https://127.1/", "neither a name nor an address"),
        ("https://2130706433/", "neither a name nor an address"),
        ("https://0x7f000001/", "neither a name nor an address"),
        # A pod's resolver finds these in the cluster.
        ("https://localhost./", "is inside the cluster"),
        ("https://kubernetes.default.svc./", "is inside the cluster"),
        ("https://kubernetes.default/", "is inside the cluster"),
        ("https://vault.platform-operations:8200/", "is inside the cluster"),
        ("https://vault:8200/", "is inside the cluster"),
        # Plain http is taken at private addresses, and these count as such.
        ("http://[::ffff:127.0.0.1]:9093/-/reload", "written as IPv6"),
        ("http://[::ffff:169.254.169.254]/latest", "written as IPv6"),
        ("http://[fd12::1%25eth0]/", "written as IPv6"),
        ("http://[fd00:ec2::254]/latest", "metadata service"),
        ("https://100.100.100.200/latest", "metadata service"),
    ],
)
def test_a_webhook_that_is_inside_or_that_no_sender_reads_is_refused(url: str, why: str) -> None:
    with pytest.raises(PydanticCustomError, match=why):
        check_webhook(url)


def test_files_say_in_which_ranges_a_webhook_is_found(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "city")
    file = tmp_path / "city" / "city.yaml"
    url = "https://oncall.xingcheng.gov.example/hooks/city"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(f'"{url}"', f'"{url}", addresses: [10.8.4.0/24]'), encoding="utf-8")
    assert open_session(tmp_path / "city").city.alerts == Alerts(url, ("10.8.4.0/24",))
