"""A decision's dossier: all of it proven offline, nothing of it changed unnoticed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.audit_story import (
    ASKED,
    DIGEST,
    VERA,
    Story,
    day,
    graph,
    tell_all,
    tell_work,
    telling,
)
from tests.integration.conftest import Serve, Served
from tests.integration.dossier_story import (
    CARD,
    COMMENT,
    tell_columns,
    tell_dossier,
    tell_outcomes,
    tell_shadow,
)

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.common.v1.common_pb2 import AsOf
from modelkeep.events import inventory
from modelkeep.keystore import ERASED, Keystore
from modelkeep.proof import dossier as form
from modelkeep.proof import dsse, verdict
from modelkeep.proof.checkpoint import open_signed
from modelkeep.proof.dossier import Dossier
from modelkeep.proof.dossier_file import Outcome, Trusted, judge
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.note import SigningKey
from modelkeep.proof.rotation import endorse, open_rotation
from modelkeep_services.audit import dossier_page, dossier_words
from modelkeep_services.audit.dossier_words import learned

NOBODY = "01890000-0000-7000-8000-000000000000"


@dataclass
class Told:
    served: Served
    story: Story

    def ask(self, *roles: str, tenant: str = "", **request: Any) -> bytes:
        stub = AuditServiceStub(self.served.channel)
        request.setdefault("decision", self.story.decision)
        answer = self.served.call(
            stub.GetDossier,
            pb.GetDossierRequest(**request),
            *(roles or ("auditor",)),
            tenant=tenant or self.story.tenant,
        )
        return cast("bytes", answer.envelope)

    def trusted(self, **more: Any) -> Trusted:
        folder = self.served.node.home.checkpoints
        return Trusted(
            read_keys(str(folder / "checkpoint.vkey")),
            read_keys(str(folder / "dossiers.vkeys")),
            **more,
        )

    def judge(self, raw: bytes, **more: Any) -> Outcome:
        return judge(raw, self.trusted(**more))

    def signer(self) -> SigningKey:
        return SigningKey.load(self.served.node.home.keys / "dossier.key")


Tell = Callable[[Callable[[Story], object]], Told]


def tell_alone(serve: Serve, teller: Callable[[Story], object]) -> Told:
    """Tell it to a ledger of its own: what was known by a time is the whole log's."""
    served = serve("audit")
    with telling(served.node.home, served.store) as story:
        teller(story)
    served.settle()
    return Told(served, story)


@pytest.fixture(scope="module")
def tell(serve_once: Serve) -> Tell:
    """Tell a story to a tenant of its own. They share a service, and its clock: only
    the first to be told finds anything known when its decision was made.
    """
    served, tenants = serve_once("audit"), count()

    def to_a_tenant(teller: Callable[[Story], object]) -> Told:
        tenant = f"bank{next(tenants)}"
        with telling(served.node.home, served.store, tenant) as story:
            teller(story)
        served.settle()
        return Told(served, story)

    return to_a_tenant


@pytest.fixture(scope="module")
def told(serve_once: Serve) -> Told:
    return tell_alone(serve_once, tell_dossier)


@pytest.fixture(scope="module")
def raw(told: Told) -> bytes:
    return told.ask()


@pytest.fixture(scope="module")
def said(told: Told, raw: bytes) -> Dossier:
    found = told.judge(raw).said
    assert found is not None
    return found


# --- what it proves ----------------------------------------------------------------


def test_all_of_a_dossier_is_proven_offline(told: Told, raw: bytes) -> None:
    outcome = told.judge(raw)
    assert not outcome.wrong
    assert outcome.code == 0
    assert len(outcome.checks) >= 14


def test_it_holds_the_row_and_what_became_of_it(told: Told, said: Dossier) -> None:
    assert str(said.id) == told.story.decision
    assert said.decision.score == told.story.scores[ASKED]
    assert said.decision.reference == str(ASKED)
    assert said.outcome is not None
    assert (said.outcome.value, said.outcome.is_number) == (1, False)
    assert said.card == CARD.decode()


def test_then_and_now_are_told_apart(said: Dossier) -> None:
    then = {(one.kind, one.key) for one in said.then.claims}
    assert {kind for kind, _ in then} == {
        "model",
        "version",
        "card",
        "deployment",
        "verdict",
        "exception",
        "validation",
        "lineage",
        "window",
        "health",
        "budget",
    }
    later = {(one.claim.kind, one.event.name) for one in learned(said)}
    assert later >= {
        ("alert", "monitoring.alert-raised"),
        ("alert", "monitoring.alert-resolved"),
        ("finding", "inventory.finding-raised"),
        ("health", "insight.health-band-changed"),
        ("model", "inventory.retired"),
        ("window", "monitoring.window-restated"),
        ("disposition", "monitoring.disposition-recorded"),
    }
    (own,) = (c for c in said.now.claims if c.derived.get("holds_the_decision"))
    assert [said.events[one].name.partition(".")[2] for one in own.events] == [
        "window-closed",
        "window-restated",
    ]


def test_what_is_known_at_an_earlier_moment_is_less(told: Told) -> None:
    moment = AsOf()
    moment.time.FromDatetime(day(5, 2))
    outcome = told.judge(told.ask(as_of=moment))
    assert outcome.said is not None
    assert not outcome.wrong
    assert outcome.said.outcome is None
    names = {event.name for event in outcome.said.events.values()}
    assert "monitoring.alert-raised" in names
    assert "monitoring.alert-resolved" not in names
    assert any("outcome" in gap for gap in outcome.said.gaps)


def test_checkpoints_kept_elsewhere_are_held_against_it(told: Told, raw: bytes) -> None:
    folder = told.served.node.home.checkpoints
    keys = read_keys(str(folder / "checkpoint.vkey"))
    kept = told.judge(raw, kept=gather(folder, keys))
    assert not kept.wrong
    assert any("kept" in check.what for check in kept.checks)
    assert not any("--checkpoint" in one for one in kept.unproven)
    assert any("--checkpoint" in one for one in told.judge(raw).unproven)


def test_an_outcome_that_is_a_number_is_proven_too(tell: Tell) -> None:
    numbers = tell(lambda story: tell_dossier(story, number=True))
    outcome = numbers.judge(numbers.ask())
    assert not outcome.wrong
    assert outcome.said is not None
    assert outcome.said.outcome is not None
    # 2 is a number here, and not "never"
    assert (outcome.said.outcome.value, outcome.said.outcome.is_number) == (2.0, True)


# --- nothing is changed unnoticed ---------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_byte_that_is_changed_is_refused_and_named(
    told: Told, raw: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != raw[at]))
    outcome = told.judge(raw[:at] + bytes([byte]) + raw[at + 1 :])
    assert outcome.code == 1
    assert outcome.said is None
    assert all(outcome.wrong)


def test_a_byte_changed_inside_says_which_part_it_was(told: Told, raw: bytes) -> None:
    body = base64.b64decode(json.loads(raw)["payload"])
    victim = next(e for e in form.unsigned(raw).events.values() if "deployed" in e.name)
    changed = body.replace(rb"\"share\":1.0", rb"\"share\":0.0")
    assert changed != body
    envelope = json.loads(raw) | {"payload": base64.b64encode(changed).decode()}
    outcome = told.judge(json.dumps(envelope, separators=(",", ":")).encode() + b"\n")
    assert "does not fit" in outcome.wrong[0]
    assert f"event {victim.id} (inventory.deployed" in outcome.wrong[1]


OWN_WORDS = ("gaps", "personal", "issued_at")
"""What the signer says by himself: only his signature stands for it."""


def leaves_of(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(found, dict | list):
        items = found.items() if isinstance(found, dict) else enumerate(found)
        for key, value in items:
            yield from leaves_of(value, (*path, key))
    else:
        yield path


def is_own_word(path: tuple[Any, ...]) -> bool:
    if path[:2] == ("predicate", "then") and path[-1] == "let_it_serve":
        return False
    if "derived" in path or path[:2] == ("predicate", "verdict"):
        return True
    if path[0] == "predicate" and path[1] in OWN_WORDS:
        return True
    # a claim's name is read from its events; the second moment may be a later one
    return path[-1] == "key" or path == ("predicate", "now", "time")


def facts_of(body: Any) -> list[tuple[Any, ...]]:
    places = [path for path in leaves_of(body) if not is_own_word(path)]
    assert len(places) > 300
    return places


def test_whoever_signs_can_change_no_fact_either(told: Told, raw: bytes) -> None:
    """Values of the body are changed by somebody who holds the dossiers' key."""
    body = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    places = facts_of(body)
    chance = random.Random(7)  # noqa: S311  # which values, not a secret
    chosen = [path for path in places if path[1:3] != ("log", "events")]
    chosen += chance.sample([p for p in places if p not in chosen], 40)
    change(told, body, chosen)


@pytest.mark.slow
def test_whoever_signs_can_change_not_one_fact(told: Told, raw: bytes) -> None:
    body = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    change(told, body, facts_of(body))


@pytest.mark.slow
def test_thousands_of_changed_bytes_are_refused(told: Told, raw: bytes) -> None:
    chance = random.Random(11)  # noqa: S311  # which bytes, not a secret
    for _ in range(10_000):
        at = chance.randrange(len(raw))
        byte = raw[at] ^ chance.randrange(1, 256)
        outcome = told.judge(raw[:at] + bytes([byte]) + raw[at + 1 :])
        assert outcome.code == 1
        assert all(outcome.wrong)


def change(told: Told, body: Any, chosen: list[tuple[Any, ...]]) -> None:
    """Change each of these values, sign the body again, and be refused."""
    for path in chosen:
        forged = json.loads(json.dumps(body))
        inside = forged
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = other(inside[path[-1]])
        payload = json.dumps(forged, sort_keys=True, ensure_ascii=False).encode()
        outcome = told.judge(dsse.seal(dsse.IN_TOTO, payload, told.signer()))
        assert outcome.code == 1, path
        assert all(outcome.wrong), path


def other(value: Any) -> Any:
    match value:
        case None:
            return 3
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.5
    changed = "A" if value[:1] != "A" else "B"
    return changed + value[1:]


def test_events_cannot_be_exchanged_for_others_of_the_log(
    told: Told, raw: bytes
) -> None:
    """The finding's event stands in for the alert's: both are in the log."""
    body = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    claims = {one["kind"]: one for one in body["predicate"]["now"]["claims"]}
    claims["alert"]["events"] = claims["finding"]["events"]
    payload = json.dumps(body, sort_keys=True).encode()
    outcome = told.judge(dsse.seal(dsse.IN_TOTO, payload, told.signer()))
    assert any("which is inventory.finding-raised" in one for one in outcome.wrong)


def test_another_verdict_cannot_be_said_to_have_let_it_serve(
    told: Told, raw: bytes
) -> None:
    body = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    for claim in body["predicate"]["then"]["claims"]:
        if claim["kind"] == "verdict":
            claim["events"] = claim["events"][:-1]
    payload = json.dumps(body, sort_keys=True).encode()
    outcome = told.judge(dsse.seal(dsse.IN_TOTO, payload, told.signer()))
    assert "its deployment names that verdict" in outcome.wrong


def test_nothing_learned_later_passes_for_known_then(told: Told, raw: bytes) -> None:
    body = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    now = body["predicate"]["now"]["claims"]
    body["predicate"]["then"]["claims"] += [c for c in now if c["kind"] == "alert"]
    payload = json.dumps(body, sort_keys=True).encode()
    outcome = told.judge(dsse.seal(dsse.IN_TOTO, payload, told.signer()))
    assert any("was not known by then" in one for one in outcome.wrong)


def test_another_signer_is_not_believed(told: Told, raw: bytes) -> None:
    body = base64.b64decode(json.loads(raw)["payload"])
    stranger = SigningKey.generate("modelkeep-dossiers")
    outcome = told.judge(dsse.seal(dsse.IN_TOTO, body, stranger))
    assert "signed by none of the keys given" in outcome.wrong[0]


def test_who_wrote_the_events_is_checked_where_all_of_an_append_is_here(
    told: Told, raw: bytes
) -> None:
    folder = told.served.node.home.checkpoints
    writers = read_keys(str(told.served.node.home.keys / "writers.vkeys"))
    outcome = told.judge(raw, writers=writers)
    assert not outcome.wrong
    assert any("signed by their writer" in check.what for check in outcome.checks)
    # the log's own key wrote nothing, whatever it is called
    strange = replace(read_keys(str(folder / "checkpoint.vkey"))[0])
    strange.__dict__["id"] = writers[0].id
    wrong = told.judge(raw, writers=[strange]).wrong
    assert wrong
    assert all("the writer's signature of event" in one for one in wrong)


def test_a_key_that_was_replaced_still_judges_what_it_signed(
    told: Told, raw: bytes, said: Dossier
) -> None:
    old = SigningKey.load(told.served.node.home.keys / "checkpoint.key")
    new = SigningKey.generate(old.name)
    last, _ = open_signed(said.checkpoint.encode(), [old.verifier])
    change = open_rotation(endorse(old, new, last, "2026-01-01T00:00:00Z"))
    trusted = replace(told.trusted(), log=[new.verifier])
    assert judge(raw, trusted).wrong
    assert not judge(raw, replace(trusted, rotations=[change])).wrong
    # and what it signs of a longer log afterwards counts for nothing
    earlier = last._replace(size=last.size - 1)
    before = open_rotation(endorse(old, new, earlier, "2026-01-01T00:00:00Z"))
    assert judge(raw, replace(trusted, log=[old.verifier], rotations=[before])).wrong


def test_the_verdict_policy_signed_goes_with_it(told: Told) -> None:
    policy = SigningKey.generate("modelkeep-verdicts")
    artifact = "sha256:" + sha256(graph()).hexdigest()
    said = {
        "request": "r1",
        "verdict": "ALLOW",
        "model": "credit",
        "version": "v1",
        "digest": DIGEST,
        "issuedAt": "2013-05-01T00:00:00Z",
    }
    files = {"model.onnx": artifact}
    signed = verdict.seal(verdict.VERDICT, files, said, policy)
    raw = told.ask(verdict=signed)
    good = told.judge(raw, verdicts=[policy.verifier])
    assert not good.wrong
    assert any("policy's own signature" in check.what for check in good.checks)
    assert not any("policy's own" in one for one in good.unproven)
    assert any("no key was given" in one for one in told.judge(raw).unproven)
    stranger = SigningKey.generate("modelkeep-verdicts")
    bad = told.judge(raw, verdicts=[stranger.verifier])
    assert any("the verdict's own signature" in one for one in bad.wrong)
    for other_one in (
        b"no envelope",
        verdict.seal(verdict.VERDICT, files, said | {"request": "r2"}, policy),
        b"x" * 70_000,
    ):
        error = refused(told, verdict=other_one)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "verdict" in str(error.details())


# --- who may have one, and what is not to be had -------------------------------------


def refused(told: Told, *roles: str, **request: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as found:
        told.ask(*roles, **request)
    return found.value


@pytest.mark.parametrize("role", ["auditor", "validator", "risk_officer", "owner"])
def test_whoever_answers_for_models_may_have_it(told: Told, role: str) -> None:
    assert told.judge(told.ask(role)).code == 0


@pytest.mark.parametrize("role", ["serving", "operator", "policy_author", "engineer"])
def test_others_may_not(told: Told, role: str) -> None:
    assert refused(told, role).code() is grpc.StatusCode.PERMISSION_DENIED


def test_another_tenant_does_not_find_it(told: Told) -> None:
    assert refused(told, tenant="other").code() is grpc.StatusCode.NOT_FOUND


def test_a_decision_that_nobody_logged_is_not_found(told: Told) -> None:
    error = refused(told, decision=NOBODY)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert NOBODY in str(error.details())


def test_before_it_was_logged_it_is_not_found(told: Told) -> None:
    moment = AsOf()
    moment.time.FromDatetime(day(4, 1))
    assert refused(told, as_of=moment).code() is grpc.StatusCode.NOT_FOUND


def test_personal_words_stay_sealed_unless_they_are_asked_for(told: Told) -> None:
    plain = told.judge(told.ask()).said
    opened = told.judge(told.ask(open_personal=True))
    assert plain is not None
    assert opened.said is not None
    assert set(plain.personal.values()) == {"[sealed]"}
    assert list(opened.said.personal.values()) == [COMMENT]
    assert any("were opened" in one for one in opened.unproven)
    error = refused(told, "owner", open_personal=True)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_what_was_erased_says_so_and_everything_still_proves(tell: Tell) -> None:
    erased = tell(tell_dossier)
    tenant, now = erased.story.tenant, datetime.now(UTC)
    with Keystore(erased.served.node.home.subjects) as keys:
        held = [one.key_id for one in keys.keys_of(tenant, "applicant-7")]
        assert keys.destroy(tenant, held, "an erasure", now) == held
    outcome = erased.judge(erased.ask(open_personal=True))
    assert not outcome.wrong
    assert outcome.said is not None
    assert list(outcome.said.personal.values()) == [ERASED]


def gaps(told: Told) -> str:
    outcome = told.judge(told.ask())
    assert not outcome.wrong
    assert outcome.said is not None
    return "\n".join(outcome.said.gaps)


def test_a_version_that_was_never_registered_is_a_gap(tell: Tell) -> None:
    found = gaps(tell(lambda story: tell_work(story, NOBODY)))
    assert "version credit/v1 was not registered when it decided" in found
    assert "no rule is known to have let credit/v1 serve in prod" in found
    assert "v1 was not deployed in prod when it decided" in found


def test_a_missing_card_and_an_unknown_outcome_are_gaps(serve: Serve) -> None:
    found = gaps(tell_alone(serve, tell_all))
    assert "no model card was attached to credit/v1 when it decided" in found
    assert "nothing is known of its outcome" in found


def test_a_third_party_s_model_says_whose_it_is(tell: Tell) -> None:
    def vendor(story: Story) -> None:
        story.tell(
            "model",
            "credit",
            day(3, 1),
            inventory.ModelRegistered(
                model="credit",
                title="Bought",
                kind="vendor",
                purpose="Decides",
                owner="dana",
                owner_issuer="https://id.bank",
            ),
        )
        tell_work(story, NOBODY)

    assert "credit is a third party's" in gaps(tell(vendor))


def test_a_decision_in_the_shadow_bound_nobody(serve: Serve) -> None:
    def shadow(story: Story) -> None:
        tell_shadow(story)
        tell_all(story)

    assert "v1 decided in the shadow" in gaps(tell_alone(serve, shadow))


def test_a_batch_that_proves_columns_proves_no_row_and_that_is_said(
    tell: Tell,
) -> None:
    told = tell(tell_columns)
    outcome = told.judge(told.ask())
    assert not outcome.wrong
    assert any("proves columns, not single rows" in one for one in outcome.unproven)
    assert outcome.said is not None
    assert any("the row is not proven" in gap for gap in outcome.said.gaps)


def test_a_row_changed_in_its_file_gives_no_dossier(tell: Tell) -> None:
    from pyarrow import compute, parquet  # noqa: PLC0415  # the forger's tools

    forged = tell(tell_all)
    table = parquet.read_table(forged.story.parquet)
    place = table.schema.get_field_index("score")
    scores = compute.add(table["score"], 0.1)
    parquet.write_table(table.set_column(place, "score", scores), forged.story.parquet)
    error = refused(forged)
    assert error.code() is grpc.StatusCode.DATA_LOSS
    assert "the object was changed" in str(error.details())


def test_the_last_word_on_an_outcome_counts(tell: Tell) -> None:
    def twice(story: Story) -> None:
        tell_all(story)
        tell_outcomes(story, day(6, 1))
        tell_outcomes(story, day(6, 5), word=0)

    corrected = tell(twice)
    outcome = corrected.judge(corrected.ask())
    assert not outcome.wrong
    assert outcome.said is not None
    assert outcome.said.outcome is not None
    assert outcome.said.outcome.value == 0


# --- the page ----------------------------------------------------------------------


def test_a_page_is_made_of_the_file_alone_and_carries_it(
    told: Told, raw: bytes, said: Dossier
) -> None:
    page = dossier_page.render(said, raw)
    again = told.judge(raw).said
    assert again is not None
    assert dossier_page.render(again, raw) == page
    assert base64.b64encode(raw).decode() in page
    assert "default-src 'none'" in page
    assert "<script" not in page
    for words in ("credit v1", "approved by vera", "the spring is special"):
        assert words in page


def test_nothing_in_an_event_is_markup_on_the_page(tell: Tell) -> None:
    def hostile(story: Story) -> None:
        tell_all(story)
        story.tell(
            "model",
            "credit",
            day(3, 9),
            inventory.FindingRaised(
                model="credit",
                finding="f2",
                title="<img src=x onerror=alert(1)>",
                severity="high",
                vector="fairness",
                owner="dana",
                due_at=day(6, 1),
                raised_by=VERA,
            ),
        )

    hostile_told = tell(hostile)
    raw = hostile_told.ask()
    said = hostile_told.judge(raw).said
    assert said is not None
    page = dossier_page.render(said, raw)
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_every_number_on_the_page_opens_an_event(said: Dossier) -> None:
    page = dossier_words.page_of(said)
    numbers = {line.number for line in page.events}
    cells = [fact.cell for section in page.sections for fact in section.facts]
    cells += [c for s in page.sections for t in s.tables for row in t.rows for c in row]
    assert {n for cell in cells for n in cell.refs} <= numbers
    assert len(numbers) == len(said.events)


def test_paper_carries_the_file_and_is_the_same_each_time(
    raw: bytes, said: Dossier
) -> None:
    pytest.importorskip("typst")
    from modelkeep_services.audit import dossier_paper  # noqa: PLC0415, an extra

    paper = dossier_paper.render(said, raw)
    assert paper.startswith(b"%PDF-")
    assert b"pdfaid" in paper
    assert dossier_paper.render(said, raw) == paper
    # what the fonts lack is no reason to write nothing, and nothing is markup
    odd = form.Claim(
        "alert", '漢 #panic("no") *b* <e1> $x$', said.then.claims[0].events, {}
    )
    moment = said.then._replace(claims=[*said.then.claims, odd])
    plain = dossier_paper.render(replace(said, then=moment), raw)
    assert plain.startswith(b"%PDF-")
    assert b"pdfaid" not in plain


def test_a_decision_s_id_is_read_in_either_case(told: Told) -> None:
    upper = told.ask(decision=told.story.decision.upper())
    outcome = told.judge(upper)
    assert outcome.said is not None
    assert outcome.said.id == UUID(told.story.decision)


def test_an_artifact_in_hand_is_known_for_one(told: Told, tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    file.write_bytes(b"another model")
    wrong = told.judge(told.ask(), artifacts={"other.onnx": "sha256:" + "0" * 64})
    assert any("is none of its artifacts" in one for one in wrong.wrong)
