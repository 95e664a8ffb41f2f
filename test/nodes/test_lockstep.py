"""Lockstep: which command answers the image that waits, and when the image is due again."""

from safe_skills.nodes.lockstep import Lockstep


def test_only_the_stamp_of_the_image_that_waits_answers_it():
    lockstep = Lockstep()
    assert not lockstep.waiting
    assert not lockstep.answers(0)
    lockstep.show(7, now=1.0)
    assert lockstep.waiting
    assert lockstep.answers(7)
    assert not lockstep.answers(6)
    lockstep.answered()
    assert not lockstep.answers(7)
    assert not lockstep.due(100.0)


def test_an_image_without_an_answer_is_due_again():
    lockstep = Lockstep(repeat_after=0.5)
    lockstep.show(7, now=1.0)
    assert not lockstep.due(1.4)
    assert lockstep.due(1.5)
    lockstep.show(7, now=1.5)
    assert not lockstep.due(1.9)
    assert lockstep.answers(7)
