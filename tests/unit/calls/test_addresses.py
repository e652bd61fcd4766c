"""Which addresses the rules let outgoing calls go to."""

from __future__ import annotations

import pytest

from workflow_runner.calls.addresses import AddressRefused, AddressRules
from workflow_runner.cli.addresses import address_rules
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import WorkflowFault
from workflow_runner.errors import InvalidInput


def allowed(host: str, address: str, allow: str = "", deny: str = "") -> bool:
    return AddressRules(allow.split(), deny.split()).refusal(host, address) is None


class TestDefaults:
    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "93.184.216.34", "fd12::1", "2606:4700::1111", "0.0.0.0"]
    )
    def test_most_may_be_called(self, address: str) -> None:
        assert allowed("any.test", address)

    @pytest.mark.parametrize(
        "address",
        [
            "169.254.169.254",
            "169.254.170.2",
            "fe80::1",
            "fe80::1%eth0",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "2001:0:102:304::5601:5601",
        ],
    )
    def test_metadata_and_link_local_addresses_may_not_however_they_are_written(self, address: str) -> None:
        assert not allowed("any.test", address)
        assert not allowed("any.test", address, allow="*"), "everything does not open them"
        assert not allowed("any.test", address, allow="0.0.0.0/0 ::/0")
        assert not allowed("any.test", address, allow="any.test"), "nor does a name, which may lead anywhere"

    def test_one_that_is_allowed_by_its_own_address_is_open(self) -> None:
        assert allowed("any.test", "169.254.170.2", allow="169.254.170.0/24 *")
        assert not allowed("any.test", "169.254.169.254", allow="169.254.170.0/24 *")

    def test_what_is_no_address_is_refused(self) -> None:
        assert not allowed("any.test", "127.1.1")


class TestDenied:
    @pytest.mark.parametrize(
        ("deny", "host", "address"),
        [
            ("10.0.0.0/8", "any.test", "10.9.9.9"),
            ("10.0.0.0/8", "any.test", "::ffff:10.9.9.9"),
            ("127.0.0.0/8", "any.test", "0.0.0.0"),
            ("::1", "any.test", "::"),
            ("127.0.0.0/8", "any.test", "::127.0.0.1"),
            ("0.0.0.0/8", "any.test", "0.0.0.0"),
            ("192.0.2.7", "any.test", "192.0.2.7"),
            ("[2001:db8::7]", "any.test", "2001:db8::7"),
            ("Internal.Test", "internal.test", "192.0.2.7"),
            ("internal.test", "INTERNAL.test.", "192.0.2.7"),
            ("*.internal.test", "a.b.internal.test", "192.0.2.7"),
            ("*", "any.test", "192.0.2.7"),
        ],
    )
    def test_denied_is_denied_whatever_is_allowed(self, deny: str, host: str, address: str) -> None:
        assert not allowed(host, address, deny=deny)
        assert not allowed(host, address, deny=deny, allow=f"* {host} {address}")

    @pytest.mark.parametrize(
        ("deny", "host", "address"),
        [
            ("10.0.0.0/8", "any.test", "11.0.0.1"),
            ("*.internal.test", "internal.test", "192.0.2.7"),
            ("*.internal.test", "notinternal.test", "192.0.2.7"),
            ("::1", "any.test", "::2"),
        ],
    )
    def test_others_are_not(self, deny: str, host: str, address: str) -> None:
        assert allowed(host, address, deny=deny)


class TestAllowed:
    def test_only_what_is_listed(self) -> None:
        listed = "api.test *.example.com 10.0.0.0/8"
        assert allowed("api.test", "192.0.2.7", allow=listed)
        assert allowed("x.example.com", "192.0.2.7", allow=listed)
        assert allowed("any.test", "10.1.1.1", allow=listed)
        assert not allowed("any.test", "192.0.2.7", allow=listed)
        assert not allowed("example.com", "192.0.2.7", allow=listed)
        assert not allowed("127.0.0.1", "127.0.0.1", allow=listed)

    def test_an_address_that_stands_for_an_allowed_one_is_judged_itself(self) -> None:
        assert allowed("any.test", "::ffff:10.1.1.1", allow="10.0.0.0/8")
        assert not allowed("any.test", "64:ff9b::a01:101", allow="10.0.0.0/8"), "a gateway's address is another one"


class TestNames:
    RULES = AddressRules(deny=["10.0.0.0/8"])

    def test_of_a_names_addresses_those_are_left_that_may_be_called(self) -> None:
        found = ["10.0.0.1", "192.0.2.7", "169.254.169.254", "2001:db8::7"]
        assert self.RULES.allowed("many.test", found) == ["192.0.2.7", "2001:db8::7"]

    def test_a_name_with_none_that_may_be_called_is_refused(self) -> None:
        with pytest.raises(AddressRefused) as caught:
            self.RULES.allowed("inside.test", ["10.0.0.1", "10.0.0.2"])
        assert (caught.value.host, caught.value.why) == ("inside.test", "it is denied")

    def test_a_name_without_addresses_is_nobodys_fault(self) -> None:
        assert self.RULES.allowed("none.test", []) == []


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "10.0.0.1/8", "300.1.1.1", "1.2", "a b", "http://x", "a..b", "*x", "x:80", ""]
)
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        AddressRules(deny=[entry])
    assert caught.value.code == "settings.invalid"


def test_a_refusal_says_what_was_asked_of_whom_and_why() -> None:
    with pytest.raises(WorkflowFault) as caught:
        AddressRules(deny=["10.0.0.0/8"]).check("GET http://x.test/", "x.test", "10.0.0.1")
    problem = caught.value.problem
    assert (problem.type, problem.status) == (problems.AUTHORIZATION, 403)
    assert str(problem.detail).startswith("call.address-refused: GET http://x.test/: the address of 'x.test' may not be called")
    assert "10.0.0.1" not in str(problem.detail), "an author learns nothing about the network"


class TestSettings:
    def test_options_add_to_the_environment(self) -> None:
        environment = {
            "WORKFLOW_RUNNER_ALLOW_ADDRESSES": "a.test, b.test",
            "WORKFLOW_RUNNER_DENY_ADDRESSES": "10.0.0.0/8 c.test",
        }
        rules = address_rules(["d.test"], ["a.test"], environment)
        assert rules is not None
        judged = {name: rules.refusal(name, "192.0.2.7") is None for name in ("a.test", "b.test", "c.test", "d.test", "e.test")}
        assert judged == {"a.test": False, "b.test": True, "c.test": False, "d.test": True, "e.test": False}
        assert rules.refusal("b.test", "10.1.1.1") is not None

    def test_where_nothing_is_said_there_are_none(self) -> None:
        assert address_rules((), (), {"WORKFLOW_RUNNER_ALLOW_ADDRESSES": " ,"}) is None
