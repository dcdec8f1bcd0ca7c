"""Where checkpoints go besides the folder, as the environment says.

MODELKEEP_WEBHOOKS          addresses, spaces between them, that each checkpoint is told
MODELKEEP_WEBHOOK_SECRET    the file of the secret that signs it [keys/webhook.secret]
MODELKEEP_WITNESSES         a policy file: who cosigns, where, and how many must
MODELKEEP_TIMESTAMPS        the address of a time-stamping authority (RFC 3161)
MODELKEEP_TIMESTAMP_ROOTS   PEM: the certificates that vouch for it
MODELKEEP_OUTBOUND_HOSTS    if set, only these hosts are called, also private ones
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.errors import Invalid
from modelkeep.home import Home
from modelkeep.outbound import Destination
from modelkeep.proof import timestamp
from modelkeep.proof.errors import ProofError
from modelkeep.proof.policy import Policy
from modelkeep_services.audit.webhooks import secret_of

WEBHOOKS: Final = "MODELKEEP_WEBHOOKS"
SECRET: Final = "MODELKEEP_WEBHOOK_SECRET"  # noqa: S105  # a variable's name
WITNESSES: Final = "MODELKEEP_WITNESSES"
TIMESTAMPS: Final = "MODELKEEP_TIMESTAMPS"
ROOTS: Final = "MODELKEEP_TIMESTAMP_ROOTS"
HOSTS: Final = "MODELKEEP_OUTBOUND_HOSTS"


class Timestamping(NamedTuple):
    """`roots` is a PEM file."""

    authority: Destination
    roots: Path


class Outside(NamedTuple):
    """What was configured, read and found sound; nothing of it was called yet."""

    webhooks: tuple[Destination, ...] = ()
    secret: bytes = b""
    policy: Policy | None = None
    policy_text: bytes = b""
    witnesses: Mapping[str, Destination] = {}
    timestamping: Timestamping | None = None

    @classmethod
    def configured(
        cls, home: Home, environment: Mapping[str, str] = os.environ
    ) -> Outside:
        """Raises Invalid, naming the variable."""
        hosts = environment.get(HOSTS, "").split()
        urls = environment.get(WEBHOOKS, "").split()
        policy, text = _policy(environment.get(WITNESSES, ""))
        return cls(
            webhooks=tuple(_at(WEBHOOKS, url, hosts) for url in urls),
            secret=_secret(home, environment) if urls else b"",
            policy=policy,
            policy_text=text,
            witnesses=_addresses(policy, hosts) if policy else {},
            timestamping=_timestamping(environment, hosts),
        )


def policy_of(environment: Mapping[str, str] = os.environ) -> Policy | None:
    """Return the policy alone, for who only wants to know what was cosigned."""
    return _policy(environment.get(WITNESSES, ""))[0]


def _at(variable: str, url: str, hosts: list[str]) -> Destination:
    try:
        return Destination.parse(url, hosts)
    except Invalid as error:
        raise Invalid.field(variable, error.violations[0].description) from None


def _secret(home: Home, environment: Mapping[str, str]) -> bytes:
    given = environment.get(SECRET)
    try:
        return secret_of(Path(given) if given else home.keys / "webhook.secret")
    except OSError as error:
        raise Invalid.field(SECRET, str(error)) from None


def _policy(path: str) -> tuple[Policy | None, bytes]:
    if not path:
        return None, b""
    try:
        policy = Policy.load(Path(path))
        text = Path(path).read_bytes()
    except (ProofError, OSError) as error:
        raise Invalid.field(WITNESSES, str(error)) from None
    return policy, text


def _addresses(policy: Policy, hosts: list[str]) -> dict[str, Destination]:
    found = {
        one.name: _at(WITNESSES, one.url, hosts) for one in policy.witnesses if one.url
    }
    if not policy.met([one.key for one in policy.witnesses if one.name in found]):
        raise Invalid.field(
            WITNESSES, f"no quorum {policy.quorum} of those with an address"
        )
    return found


def _timestamping(
    environment: Mapping[str, str], hosts: list[str]
) -> Timestamping | None:
    url, roots = environment.get(TIMESTAMPS, ""), environment.get(ROOTS, "")
    if not url:
        return None
    if not timestamp.possible():
        raise Invalid.field(TIMESTAMPS, "needs the extra: modelkeep[timestamp]")
    try:
        timestamp.certificates(Path(roots))
    except (ProofError, OSError) as error:
        raise Invalid.field(ROOTS, str(error)) from None
    return Timestamping(_at(TIMESTAMPS, url, hosts), Path(roots))
