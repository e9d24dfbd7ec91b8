"""Patterns of hosts, and which addresses are public: the same in every version of Python."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_docstatus.protocol.hosts import HostPatterns, address_in, is_public
from airflow_provider_docstatus.services import AITRONOS

PATTERNS = HostPatterns.of(["Files.Example.com.", "*.s3.amazonaws.com", "10.0.0.0/8", "192.0.2.7", "fd00::/8"])


@pytest.mark.parametrize(
    "host",
    [
        "files.example.com",
        "FILES.example.com",
        "files.example.com.",
        "bucket.s3.amazonaws.com",
        "my.bucket.s3.amazonaws.com",
        "10.1.2.3",
        "192.0.2.7",
        "fd00::1",
        "[fd00::1]",
        "::ffff:10.1.2.3",
        "64:ff9b::a01:203",
    ],
)
def test_a_host_matches(host):
    assert PATTERNS.match(host)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "x.files.example.com",
        "files.example.com.evil.example",
        "s3.amazonaws.com",
        "evils3.amazonaws.com",
        "s3.amazonaws.com.evil.example",
        "11.0.0.1",
        "192.0.2.8",
        "10",
        "0xa.1.2.3",
        "167838211",  # 10.1.2.3 as one number, as some resolvers read it
        "::ffff:11.0.0.1",
        "",
    ],
)
def test_a_host_does_not_match(host):
    assert not PATTERNS.match(host)
    assert not HostPatterns().match(host)


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.com", "*.*.com", "a.*.com", "https://a", "a/b", "a:9000", "10.0.0.1/8", "", "a b", "1.2.3", "[::1]", "\u0430.com"],
)
def test_what_is_no_pattern_is_refused_when_it_is_read(pattern):
    with pytest.raises(ValueError, match="is no host, no"):
        HostPatterns.of(["a.example.com", pattern])
    with pytest.raises(ValueError, match="aitronos: link_hosts: "):
        replace(AITRONOS, link_hosts=(pattern,))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "2001:0:7f00:1::",  # Teredo
        "3fff::1",
        "5f00::1",
        "100::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:7f00:1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "192.0.0.192",
    ],
)
def test_an_address_is_not_public(address):
    assert not is_public(address_in(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "52.216.1.1", "2001:4860::1", "2600:1f00::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_an_address_is_public(address):
    assert is_public(address_in(address))


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "0x7f000001", "a.example.com", "", "1.2.3.4.5"])
def test_a_name_is_no_address(host):
    assert address_in(host) is None
