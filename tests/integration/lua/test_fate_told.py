"""fate_told: what sessions tell of interactions, beside what is told of channels."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.connection import Call, Store
from tests.support.fleet import FAR_MS
from tests.support.looks import Spot


class Interaction:
    """Interaction 7 of one token's user; each call is one event."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.last: tuple[Any, ...] = ()

    def tell(
        self,
        fate: str = "",
        value: str = "",
        *,
        nonce: str = "n1",
        message: tuple[int, int, str] | None = None,
        interaction: int = 7,
        life_ms: int = FAR_MS,
    ) -> list[str]:
        """An event; ``message``: id, ms of its last edit, text."""
        unlisted = message or ("", 0, "")
        self.last = ("d1", interaction, nonce, life_ms, fate, value, *unlisted)
        return self.again()

    def again(self) -> list[str]:
        reply: list[str] = self.store.do(Call("fate_told", self.last, lambda reply: reply))
        return reply

    def known(self, interaction: int = 7) -> dict[str, str]:
        found: Any = self.store.client.hgetall(self.store.keys.of("fate", "d1", str(interaction)))
        return dict(found)

    def named(self, nonce: str = "n1") -> str | None:
        found: Any = self.store.client.get(self.store.keys.of("nonce", "d1", nonce))
        return found if found is None else str(found)

    def lives_ms(self, *key: str) -> int:
        client: Any = self.store.client
        return int(client.pttl(self.store.keys.of(*key)))


@pytest.fixture
def interaction(store: Store) -> Interaction:
    return Interaction(store)


def test_a_nonce_leads_to_its_interaction_and_back(interaction: Interaction) -> None:
    assert interaction.tell("created") == ["news"]

    assert interaction.named() == "7"
    assert interaction.known() == {"nonce": "n1", "created": ""}


def test_a_nonce_that_is_told_of_another_interaction_stays_the_firsts(interaction: Interaction) -> None:
    interaction.tell("created")

    interaction.tell("created", interaction=8)

    assert interaction.named() == "7"
    assert interaction.known(8)["nonce"] == "n1"


def test_an_interaction_keeps_the_nonce_that_was_told_first(interaction: Interaction) -> None:
    interaction.tell("created")

    assert interaction.tell("created", nonce="n2") == ["known"]

    assert interaction.known()["nonce"] == "n1"


def test_a_nonce_that_is_told_later_is_news(interaction: Interaction) -> None:
    interaction.tell("created", nonce="")

    assert interaction.tell("created") == ["news"]

    assert interaction.known()["nonce"] == "n1"


def test_what_is_told_adds_up_in_any_order(interaction: Interaction) -> None:
    interaction.tell("failed", "2", nonce="")
    interaction.tell("succeeded", nonce="")
    interaction.tell("created")

    assert interaction.known() == {"failed": "2", "succeeded": "", "created": "", "nonce": "n1"}


def test_a_message_without_a_nonce_is_told_of_its_interaction(interaction: Interaction) -> None:
    interaction.tell(nonce="", message=(9, 0, "text"))

    assert interaction.known() == {"message:9": "0 text"}


def test_of_a_message_the_latest_edit_stays(interaction: Interaction) -> None:
    assert interaction.tell(message=(9, 500, "second")) == ["news"]
    assert interaction.tell(message=(9, 0, "first")) == ["known"]
    assert interaction.known()["message:9"] == "500 second"

    assert interaction.tell(message=(9, 600, "third")) == ["news"]
    assert interaction.known()["message:9"] == "600 third"


@pytest.mark.parametrize("event", ["created", "message"])
def test_an_event_that_comes_again_is_none(interaction: Interaction, event: str) -> None:
    interaction.tell(message=(9, 0, "text")) if event == "message" else interaction.tell(event)
    before = interaction.known()

    with Spot(interaction.store).hints() as heard:
        assert interaction.again() == ["known"]
        interaction.tell("succeeded")
        hints = [heard.get_message(timeout=5), heard.get_message()]

    assert interaction.known() == {**before, "succeeded": ""}
    assert [hint and hint["data"] for hint in hints] == ["fate d1 7 n1", None]


def test_a_hint_names_the_nonce_although_the_event_did_not(interaction: Interaction) -> None:
    interaction.tell("created")

    with Spot(interaction.store).hints() as heard:
        interaction.tell(nonce="", message=(9, 0, "text"))
        hint = heard.get_message(timeout=5)

    assert hint["data"] == "fate d1 7 n1"


def test_a_hint_of_an_interaction_without_a_nonce_has_none(interaction: Interaction) -> None:
    with Spot(interaction.store).hints() as heard:
        interaction.tell("failed", "1", nonce="")
        hint = heard.get_message(timeout=5)

    assert hint["data"] == "fate d1 7 "


def test_all_of_it_ends_by_itself_and_news_prolong_it(interaction: Interaction) -> None:
    interaction.tell("created", life_ms=5000)
    assert 0 < interaction.lives_ms("fate", "d1", "7") <= 5000
    assert 0 < interaction.lives_ms("nonce", "d1", "n1") <= 5000

    interaction.tell("succeeded", life_ms=60_000)

    assert interaction.lives_ms("fate", "d1", "7") > 5000
