import pytest

from eqr_ray.distributed.roster import Patience, Phase, Roster

PATIENCE = Patience(in_flight=2, quiet_s=30, ping_s=15, hang_s=900, give_up_s=600, tries=3)


def roster_with(n_ready: int, patience: Patience = PATIENCE) -> Roster:
    roster = Roster(patience, now=0.0)
    for number in range(n_ready):
        roster.ready(roster.enlist(0.0), f"node-{number + 1}", 0.0)
    return roster


def test_only_a_ready_replica_takes_orders():
    roster = Roster(PATIENCE, now=0.0)
    name = roster.enlist(0.0)
    assert roster.takers() == ()
    with pytest.raises(RuntimeError, match="starting"):
        roster.sent(name, 1, 0.0)
    roster.ready(name, "node", 1.0)
    assert roster.takers() == (name,)


def test_a_replica_never_holds_more_orders_than_allowed():
    roster = roster_with(1)
    roster.sent("replica-1", 1, 0.0)
    roster.sent("replica-1", 2, 0.0)
    assert roster.takers() == ()
    with pytest.raises(RuntimeError, match="with 2 orders"):
        roster.sent("replica-1", 3, 0.0)
    roster.returned("replica-1", 1, 1.0)
    assert roster.takers() == ("replica-1",)


def test_idle_replicas_come_first():
    roster = roster_with(3)
    roster.sent("replica-1", 1, 0.0)
    roster.sent("replica-3", 2, 0.0)
    assert roster.takers() == ("replica-2", "replica-1", "replica-3")


def test_a_name_is_never_used_twice():
    roster = roster_with(2)
    roster.gone("replica-2", "died")
    assert roster.enlist(1.0) == "replica-3"


def test_a_quiet_replica_is_pinged_once_and_lost_when_it_does_not_answer():
    roster = roster_with(2)
    roster.sent("replica-1", 1, 0.0)
    assert roster.checks(30.0).probe == ()
    assert roster.checks(30.5).probe == ("replica-1",)
    assert roster.checks(40.0).probe == ()
    assert roster.checks(40.0).lost == ()
    assert roster.checks(46.0).lost == ("replica-1",)


def test_a_quiet_replica_that_answers_is_kept_until_its_slice_hangs():
    roster = roster_with(1)
    roster.sent("replica-1", 1, 0.0)
    for now in range(31, 900, 31):
        checks = roster.checks(float(now))
        assert checks.lost == ()
        if checks.probe:
            roster.answered("replica-1", float(now))
    assert roster.checks(901.0).lost == ("replica-1",)


def test_a_second_slice_waits_for_its_turn_without_counting_as_hanging():
    roster = roster_with(1)
    roster.sent("replica-1", 1, 0.0)
    roster.sent("replica-1", 2, 0.0)
    roster.returned("replica-1", 1, 800.0)
    assert roster.checks(920.0).lost == ()
    assert roster.checks(1701.0).lost == ("replica-1",)


def test_an_idle_replica_is_not_pinged():
    assert roster_with(1).checks(1e6).probe == ()


def test_replicas_on_a_draining_node_finish_their_orders_and_get_no_more():
    roster = roster_with(2)
    roster.sent("replica-1", 1, 0.0)
    assert roster.retire(2, frozenset({"node-1"})) == ("replica-1",)
    assert roster.takers() == ("replica-2",)
    assert roster.leavers() == ()
    assert roster.missing(2) == 1
    roster.returned("replica-1", 1, 1.0)
    assert roster.leavers() == ("replica-1",)
    roster.left("replica-1")
    assert "replica-1" not in roster


def test_surplus_replicas_leave_and_starting_ones_first():
    roster = roster_with(2)
    starting = roster.enlist(0.0)
    assert roster.retire(2, frozenset()) == (starting,)
    assert roster.retire(1, frozenset()) == ("replica-2",)
    assert roster.retire(1, frozenset()) == ()
    assert roster.count(Phase.READY) == 1


def test_lost_replicas_are_missing():
    roster = roster_with(3)
    assert roster.missing(3) == 0
    roster.gone("replica-2", "died")
    assert roster.missing(3) == 1
    assert roster.missing(5) == 3


def test_replicas_that_die_before_their_first_result_end_the_run():
    roster = Roster(PATIENCE, now=0.0)
    for _ in range(2):
        roster.gone(roster.enlist(0.0), "died")
    assert roster.why_give_up(1.0) is None
    roster.gone(roster.enlist(0.0), "ValueError: no such weights")
    assert "3 replicas in a row" in (roster.why_give_up(1.0) or "")
    assert "ValueError: no such weights" in (roster.why_give_up(1.0) or "")


def test_a_result_shows_that_the_engine_works_so_deaths_count_anew():
    roster = roster_with(1)
    for _ in range(2):
        roster.gone(roster.enlist(0.0), "preempted")
    roster.sent("replica-1", 1, 0.0)
    roster.returned("replica-1", 1, 1.0)
    roster.gone(roster.enlist(0.0), "preempted")
    assert roster.why_give_up(1.0) is None


def test_a_run_without_any_replica_gives_up_after_its_patience():
    roster = roster_with(1)
    assert roster.why_give_up(5000.0) is None
    roster.gone("replica-1", "the node was lost")
    roster.enlist(5000.0)
    assert roster.why_give_up(5600.0) is None
    assert "no replica could be had for 600 s (the node was lost)" in (roster.why_give_up(5601.0) or "")


def test_a_run_that_never_got_a_replica_names_the_resources():
    roster = Roster(PATIENCE, now=0.0)
    roster.enlist(0.0)
    assert "CPUs or GPUs" in (roster.why_give_up(601.0) or "")


def test_machines_that_are_lost_do_not_speak_against_the_engine():
    roster = Roster(PATIENCE, now=0.0)
    for _ in range(5):
        roster.gone(roster.enlist(0.0), "the node was lost", machine_lost=True)
    assert roster.why_give_up(1.0) is None


def test_replicas_that_die_on_a_blank_board_or_of_every_ordinary_slice_end_the_run():
    roster = roster_with(2)
    assert roster.why_give_up(1.0, controls_failed=2) is None
    assert "3 replicas in a row died on a blank board" in (roster.why_give_up(1.0, controls_failed=3) or "")
    assert roster.why_give_up(1.0, losses_in_a_row=7) is None
    assert "8 slices in a row were lost" in (roster.why_give_up(1.0, losses_in_a_row=8) or "")


def test_a_slice_is_slow_against_what_slices_take_and_is_named_until_it_is_copied():
    roster = roster_with(2)
    roster.sent("replica-1", 1, 0.0)
    assert roster.slow(1e6) == (), "nobody knows yet how long slices take"
    for slice_id in range(2, 12):
        roster.sent("replica-2", slice_id, float(slice_id))
        roster.returned("replica-2", slice_id, slice_id + 1.0)
    assert roster.slow(4.9) == ()
    assert roster.slow(5.1) == (1,)
    assert roster.is_idle("replica-2")
    assert not roster.is_idle("replica-1")
    roster.copied(1)
    assert roster.slow(100.0) == ()


def test_the_slice_that_a_replica_is_at_is_the_first_it_was_sent():
    roster = roster_with(1)
    assert roster.oldest("replica-1") is None
    roster.sent("replica-1", 4, 0.0)
    roster.sent("replica-1", 5, 0.0)
    assert roster.oldest("replica-1") == 4
    roster.returned("replica-1", 4, 1.0)
    assert roster.oldest("replica-1") == 5


def test_replicas_that_idle_for_long_are_not_busy_and_leave_before_busy_ones():
    roster = roster_with(3)
    roster.sent("replica-3", 1, 0.0)
    assert roster.n_busy(5.0, idle_s=10.0) == 3
    assert roster.n_busy(15.0, idle_s=10.0) == 1
    assert roster.n_nodes() == 3
    assert set(roster.retire(1, frozenset())) == {"replica-1", "replica-2"}
