"""The reference of recipes as lines for a terminal."""

from collections.abc import Iterator

from purespike.reference.entry import Key, Topic
from purespike.reference.sections import sections
from purespike.reference.titles import TITLES


def overview() -> Iterator[str]:
    """What ``purespike recipe`` can tell, without importing PyTorch."""
    yield "A recipe is a YAML file of these sections; every key has a default."
    for topic in sections().topics:
        if topic.name != "recipe":
            names = ", ".join(key.place.partition(".")[2] for key in topic.keys)
            yield f"\n{topic.name}: {topic.about}\n  {names}"
    yield f"\nNames in recipes: {', '.join(TITLES)}."
    yield "\nTell me more: purespike recipe classifier, purespike recipe switch_epoch, purespike recipe pgd"


def lines(heading: str, topic: Topic) -> Iterator[str]:
    """A topic, key by key."""
    if heading != "key":
        about = f": {topic.about}" if topic.about else ""
        yield f"{topic.name} ({heading.lower()}){about}"
    for key in topic.keys:
        yield from _key(key)


def _key(key: Key) -> Iterator[str]:
    default = f"default {key.default}" if key.default else "must be given"
    facts = [fact for fact in (key.kind, key.limits, default if key.kind else "") if fact]
    yield f"  {key.place}: {', '.join(facts)}" if facts else f"  {key.place}"
    also = f" Also: {', '.join(key.others)}." if key.others else ""
    yield f"      {key.about}{also}"
    if key.scaling:
        yield f"      Elsewhere: {key.scaling}"
