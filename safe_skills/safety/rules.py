"""Which checks a gate makes, in which order, and what each of them does: its rules.

A rule is written as a text, so that a parameter file can list them:

    CHECK [ACTION [TRIGGERS [RELEASES]]]        "tracking hold 3 5"

ACTION is observe, limit, hold or stop. TRIGGERS is the number of consecutive judgements that break
the rule before it acts, RELEASES the number of those in order before it lets go again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class RuleAction(IntEnum):
    """What a broken rule does to a command; the values are those of `GateState`."""

    OBSERVE = 0  # nothing: it is reported
    LIMIT = 1  # it is made smaller
    HOLD = 2  # no motion, until the rule is kept again
    STOP = 3  # the emergency stop latches


class RuleForm(NamedTuple):
    """What may be said of a check in a rule.

    Attributes:
        native: what it does of its own: makes a step shorter, or forbids it.
        action: what it does by default.
        least: the least that it must do.
        debounced: whether it may wait for more than one judgement.
        triggers: default number of judgements before it acts.
        releases: default number of judgements before it lets go.
        required: whether it may not be left out.
    """

    native: RuleAction
    action: RuleAction
    least: RuleAction = RuleAction.OBSERVE
    debounced: bool = True
    triggers: int = 1
    releases: int = 1
    required: bool = False


MOST = 1000
"""Largest number of judgements for TRIGGERS and RELEASES."""


@dataclass(frozen=True)
class Rule:
    """A check's place among the others.

    Attributes:
        check: its name.
        action: what it does.
        triggers: consecutive judgements that break it before it acts.
        releases: consecutive judgements that keep it before it lets go.
    """

    check: str
    action: RuleAction
    triggers: int = 1
    releases: int = 1

    def __str__(self) -> str:
        """The rule as `parse_rules` reads it, no longer than it has to be."""
        numbers = "" if self.triggers == self.releases == 1 else f" {self.triggers} {self.releases}"
        return f"{self.check} {self.action.name.lower()}{numbers}"


def default_rules(forms: Mapping[str, RuleForm]) -> tuple[Rule, ...]:
    """The rules where none are given: every check, doing what it does by default."""
    return tuple(
        Rule(name, form.action, form.triggers, form.releases) for name, form in forms.items()
    )


def parse_rules(texts: Iterable[str], forms: Mapping[str, RuleForm]) -> tuple[Rule, ...]:
    """Reads rules in the order in which they are to judge.

    Args:
        texts: one a rule.
        forms: what there is, by name.

    Raises:
        ValueError: one line: an unknown or repeated check, another action or number, a rule that
            does less than it must, one that is missing, or keep_out before workspace.
    """
    rules = [_parse(text, forms) for text in texts]
    names = [rule.check for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"checks: expected each check once, got {name} {names.count(name)} times"
            )
    missing = [name for name, form in forms.items() if form.required and name not in names]
    if missing:
        raise ValueError(
            f"checks: expected {', '.join(missing)} among them, which cannot be left out"
        )
    # The workspace cuts each coordinate by itself, which may turn a step into a zone.
    if "keep_out" in names and names.index("keep_out") < names.index("workspace"):
        raise ValueError("checks: expected workspace before keep_out, got them the other way round")
    return tuple(rules)


def _parse(text: str, forms: Mapping[str, RuleForm]) -> Rule:
    words = str(text).split()
    if not 1 <= len(words) <= 4:
        raise ValueError(f"checks: expected CHECK [ACTION [TRIGGERS [RELEASES]]], got {text!r}")
    form = forms.get(words[0])
    if form is None:
        raise ValueError(f"checks: expected one of {', '.join(forms)}, got {words[0]!r}")
    action, numbers = form.action, [form.triggers, form.releases]
    if len(words) > 1:
        known = [kind.name.lower() for kind in RuleAction if kind >= form.least]
        if words[1] not in known:
            raise ValueError(
                f"checks: {words[0]}: expected one of {', '.join(known)}, got {words[1]!r}"
            )
        action, numbers = RuleAction[words[1].upper()], [1, 1]
    for place, word in enumerate(words[2:]):
        if not word.isascii() or not word.isdigit() or not 1 <= int(word) <= MOST:
            raise ValueError(f"checks: {words[0]}: expected 1 to {MOST} judgements, got {word!r}")
        numbers[place] = int(word)
    waits = not form.debounced and (numbers[0] > 1 or (numbers[1] > 1 and action == form.native))
    if waits:
        raise ValueError(
            f"checks: {words[0]}: acts on every command that breaks it, expected no numbers but 1, "
            f"got {' '.join(words[2:])}"
        )
    return Rule(words[0], action, *numbers)


class Debounce:
    """Counts consecutive judgements; says whether a rule acts now.

    Args:
        rule: gives the numbers.
        active: whether it acts already.
    """

    def __init__(self, rule: Rule, active: bool = False) -> None:
        self._rule = rule
        self.active = active
        self._count = 0

    def peek(self, broken: bool) -> bool:
        """Whether the rule would act after one judgement more, which is not counted."""
        needed = self._rule.releases if self.active else self._rule.triggers
        changes = broken != self.active and self._count + 1 >= needed
        return broken if changes else self.active

    def note(self, broken: bool) -> bool:
        """Takes one judgement; returns whether the rule acts now."""
        acts = self.peek(broken)
        self._count = self._count + 1 if broken != self.active and acts == self.active else 0
        self.active = acts
        return acts
