from __future__ import annotations

import pytest

from simulator.directives import Directive, DirectiveError, DirectiveQueue, directive_in, parse_directive


def test_a_prompt_without_a_directive_has_none() -> None:
    assert directive_in("a cat") is None
    assert directive_in("a [[simple]] cat") is None


def test_an_empty_directive_means_the_defaults() -> None:
    assert directive_in("a cat [[sim]]") == Directive()
    assert parse_directive("") == Directive()


def test_every_default_of_the_interface_can_be_written_out() -> None:
    text = (
        "[[sim seconds=2 ack=0.3 outcome=completed submit=ok result=edit says=busy progress=0 "
        "loading=yes rewrite=no modal=no named=yes retry_after=1 components=v1 scope=user buckets=none]]"
    )

    written = directive_in(f"a cat {text}, sleeping")

    assert written is not None
    assert written.written == set(Directive.__slots__) - {"written"}
    assert Directive(written=written.written) == written


def test_a_directive_may_stand_bare_or_in_its_brackets() -> None:
    assert parse_directive("outcome=failed seconds=1") == parse_directive("[[sim outcome=failed seconds=1]]")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[sim outcom=failed]]", "unknown key 'outcom'"),
        ("[[sim outcome=broken]]", "outcome=broken is none of completed"),
        ("[[sim outcome]]", "outcome= is none of"),
        ("[[sim submit=418]]", "submit=418 is none of"),
        ("[[sim seconds=soon]]", "seconds=soon is no number of seconds"),
        ("[[sim seconds=-1]]", "seconds=-1 is no number"),
        ("[[sim seconds=nan]]", "seconds=nan is no number"),
        ("[[sim progress=1.5]]", "progress=1.5 is no whole number"),
        ("[[sim loading=false]]", "loading=false is neither yes nor no"),
        ("[[sim ack=1 ack=2]]", "ack stands twice"),
        ("[[sim ack=1", "not closed"),
        ("[[sim ack=1]] [[sim ack=1]]", "more than one"),
    ],
)
def test_a_directive_that_is_not_understood_is_refused_by_name(text: str, fault: str) -> None:
    with pytest.raises(DirectiveError) as refusal:
        directive_in(f"a cat {text}")

    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "ack_s", "finish_s"),
    [
        ("", 0.3, 2.0),
        ("seconds=0.1", 0.1, 0.1),
        ("ack=5", 5.0, 5.0),
        ("ack=5 seconds=1", 5.0, 5.0),
        ("outcome=silent seconds=60", 0.3, 10.0),
        ("outcome=ephemeral seconds=4", 0.3, 4.0),
        ("outcome=moderated", 0.3, 0.3),
        ("outcome=moderated loading=no", 0.3, 0.3),
        ("outcome=moderated loading=yes", 0.3, 2.0),
        ("outcome=moderated seconds=1", 0.3, 1.0),
    ],
)
def test_a_directive_says_when_a_job_answers_and_when_it_ends(text: str, ack_s: float, finish_s: float) -> None:
    directive = parse_directive(text)

    assert (directive.ack_s, directive.finish_s) == (ack_s, finish_s)


def test_waiting_directives_are_used_up_in_order_by_the_channels_they_are_for() -> None:
    queue = DirectiveQueue()
    for outcome, channel_id, count in (("failed", "1", 1), ("silent", None, 2)):
        queue.add(parse_directive(f"outcome={outcome}"), count=count, channel_id=channel_id)

    taken = [queue.take(channel_id) for channel_id in ("2", "1", "1", "1")]

    assert [directive and directive.outcome for directive in taken] == ["silent", "failed", "silent", None]
    assert len(queue) == 0
