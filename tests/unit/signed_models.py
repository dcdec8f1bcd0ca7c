"""A folder of two files, and the signature that `model_signing` 1.1.1 wrote over it;
and signatures of the same shape by keys of our own.

openssl ecparam -name prime256v1 -genkey -noout -out k.pem
model_signing sign key model --private_key k.pem --signature model.sig
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelkeep.proof.dsse import IN_TOTO, pae

FILES: Final = {"a.onnx": b"hello", "tok.json": b"tokenizer"}

KEY: Final = b64decode(
    """
    LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFR
    Y0RRZ0FFdkgwZDNzeVJIWHdMWlJ6NWpPRjdZY3hLNnNvcQpveC9ia3V0ZEsvS3NTQ1NYdmI1NlNl
    SEs1eFIramgrdG1sMmc5RUdEMTc4TjExOHJvSFp6VzVaUG5BPT0KLS0tLS1FTkQgUFVCTElDIEtF
    WS0tLS0tCg==
    """
)

SIGNATURE: Final = b64decode(
    """
    eyJtZWRpYVR5cGUiOiJhcHBsaWNhdGlvbi92bmQuZGV2LnNpZ3N0b3JlLmJ1bmRsZS52MC4zK2pz
    b24iLCJ2ZXJpZmljYXRpb25NYXRlcmlhbCI6eyJwdWJsaWNLZXkiOnsiaGludCI6Ijk5NzU0MTFi
    NGE4MTRhNDYxMTdhMzJmZjNmYzhkMzRhM2M1NDhlNjAwMzZhYTNjOTVmZTE3NmIxYTgwYzkzOTci
    fSwidGxvZ0VudHJpZXMiOltdfSwiZHNzZUVudmVsb3BlIjp7InBheWxvYWQiOiJld29nSUNKZmRI
    bHdaU0k2SUNKb2RIUndjem92TDJsdUxYUnZkRzh1YVc4dlUzUmhkR1Z0Wlc1MEwzWXhJaXdLSUNB
    aWMzVmlhbVZqZENJNklGc0tJQ0FnSUhzS0lDQWdJQ0FnSW01aGJXVWlPaUFpYlNJc0NpQWdJQ0Fn
    SUNKa2FXZGxjM1FpT2lCN0NpQWdJQ0FnSUNBZ0luTm9ZVEkxTmlJNklDSXpOak16T0RrMFlqRmlO
    emt4WTJaaVpHWmhNemt6TlRrd1pHWTROekExWkdVMFpUSm1PRFUyTnpaaVpUaGtPVGRpT0RRMFl6
    Z3pNVEEwTkRRd1lqYzFJZ29nSUNBZ0lDQjlDaUFnSUNCOUNpQWdYU3dLSUNBaWNISmxaR2xqWVhS
    bFZIbHdaU0k2SUNKb2RIUndjem92TDIxdlpHVnNYM05wWjI1cGJtY3ZjMmxuYm1GMGRYSmxMM1l4
    TGpBaUxBb2dJQ0p3Y21Wa2FXTmhkR1VpT2lCN0NpQWdJQ0FpY21WemIzVnlZMlZ6SWpvZ1d3b2dJ
    Q0FnSUNCN0NpQWdJQ0FnSUNBZ0ltNWhiV1VpT2lBaVlTNXZibTU0SWl3S0lDQWdJQ0FnSUNBaVlX
    eG5iM0pwZEdodElqb2dJbk5vWVRJMU5pSXNDaUFnSUNBZ0lDQWdJbVJwWjJWemRDSTZJQ0l5WTJZ
    eU5HUmlZVFZtWWpCaE16QmxNalpsT0ROaU1tRmpOV0k1WlRJNVpURmlNVFl4WlRWak1XWmhOelF5
    TldVM016QTBNek0yTWprek9HSTVPREkwSWdvZ0lDQWdJQ0I5TEFvZ0lDQWdJQ0I3Q2lBZ0lDQWdJ
    Q0FnSW01aGJXVWlPaUFpZEc5ckxtcHpiMjRpTEFvZ0lDQWdJQ0FnSUNKaGJHZHZjbWwwYUcwaU9p
    QWljMmhoTWpVMklpd0tJQ0FnSUNBZ0lDQWlaR2xuWlhOMElqb2dJalZtT1RkbE16YzNOR00xTVdW
    a1pERmtOak0zTURaak1tVmpNemd5Tm1NMU5qUmhNRFkzTnprME56Y3dZMlJoWWpCbU9HTTBOemsz
    T1RjeFkyRmpaamtpQ2lBZ0lDQWdJSDBLSUNBZ0lGMHNDaUFnSUNBaWMyVnlhV0ZzYVhwaGRHbHZi
    aUk2SUhzS0lDQWdJQ0FnSW1oaGMyaGZkSGx3WlNJNklDSnphR0V5TlRZaUxBb2dJQ0FnSUNBaVlX
    eHNiM2RmYzNsdGJHbHVhM01pT2lCbVlXeHpaU3dLSUNBZ0lDQWdJbTFsZEdodlpDSTZJQ0ptYVd4
    bGN5SXNDaUFnSUNBZ0lDSnBaMjV2Y21WZmNHRjBhSE1pT2lCYkNpQWdJQ0FnSUNBZ0lpNW5hWFFp
    TEFvZ0lDQWdJQ0FnSUNJdVoybDBhSFZpSWl3S0lDQWdJQ0FnSUNBaUxtZHBkR0YwZEhKcFluVjBa
    WE1pTEFvZ0lDQWdJQ0FnSUNJdVoybDBhV2R1YjNKbElnb2dJQ0FnSUNCZENpQWdJQ0I5Q2lBZ2ZR
    cDkiLCJwYXlsb2FkVHlwZSI6ImFwcGxpY2F0aW9uL3ZuZC5pbi10b3RvK2pzb24iLCJzaWduYXR1
    cmVzIjpbeyJzaWciOiJNRVFDSUE1QklWLzRFMmpKLzdIWVRobjdJRnkwT2tqcTVUS1ozKzhiYkxB
    L29mNFpBaUFFTVZlL0o2RTJwd0tQNDhUUG13VXBOSFN3c3ZKTVJLbHpVbEdvc3lVS2ZnPT0iLCJr
    ZXlpZCI6IiJ9XX19
    """
)

ALGORITHMS: Final[Mapping[int, hashes.HashAlgorithm]] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}


def statement() -> Any:
    """What the reference tool said of the two files."""
    return json.loads(b64decode(json.loads(SIGNATURE)["dsseEnvelope"]["payload"]))


def listing(*digests: str) -> Any:
    """The same, of other files: their digests in hex."""
    said = statement()
    said["predicate"]["resources"] = [
        {"name": f"file-{n}", "algorithm": "sha256", "digest": one}
        for n, one in enumerate(digests)
    ]
    whole = sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
    said["subject"] = [{"name": "m", "digest": {"sha256": whole}}]
    return said


def signed(key: ec.EllipticCurvePrivateKey, said: object) -> bytes:
    body = json.dumps(said).encode()
    made = key.sign(pae(IN_TOTO, body), ec.ECDSA(ALGORITHMS[key.key_size]))
    bundle = json.loads(SIGNATURE)
    bundle["dsseEnvelope"]["payload"] = b64encode(body).decode()
    bundle["dsseEnvelope"]["signatures"] = [{"sig": b64encode(made).decode()}]
    return json.dumps(bundle).encode()


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    found = key.public_key()
    return found.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
