import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.distributed.shares import Node, Share, capacity, share_out

machines = st.lists(st.integers(1, 96).map(lambda n: Node(float(n))), min_size=1, max_size=6)


@given(nodes=machines, replicas=st.integers(1, 200))
def test_the_wanted_replicas_fit_into_the_nodes(nodes, replicas):
    share = share_out(nodes, replicas, None)
    assert capacity(nodes, share) >= replicas
    assert 1 <= share.threads <= max(1.0, share.num_cpus)
    assert share.num_gpus == 0


@given(nodes=machines, replicas=st.integers(1, 40))
def test_a_share_larger_by_a_core_would_not_fit(nodes, replicas):
    share = share_out(nodes, replicas, None)
    larger = share.num_cpus + 1.0
    assert sum(math.floor(node.n_cpus / larger) for node in nodes) < replicas


def test_one_replica_takes_all_cores_as_threads():
    assert share_out([Node(8.0)], 1, None) == Share(8.0, 0.0, 8)


def test_three_replicas_on_two_cores_get_a_fraction_and_one_thread():
    share = share_out([Node(2.0)], 3, None)
    assert share == Share(0.666, 0.0, 1)


def test_without_a_number_there_is_one_replica_for_a_core():
    share = share_out([Node(2.0), Node(4.0)], None, None)
    assert share == Share(1.0, 0.0, 1)
    assert capacity([Node(2.0), Node(4.0)], share) == 6


def test_threads_that_the_user_gave_are_kept():
    assert share_out([Node(2.0)], 2, None, threads=2).threads == 2


def test_a_cluster_without_nodes_is_asked_for_one_core_a_replica():
    assert share_out([], 5, None) == Share(1.0, 0.0, 1)
    assert share_out([Node(0.0)], None, None) == Share(1.0, 0.0, 1)


def test_gpu_replicas_divide_the_cores_of_their_node():
    nodes = [Node(16.0, 2.0), Node(4.0)]
    share = share_out(nodes, None, 0.5)
    assert share == Share(1.0, 0.5, 4)
    assert capacity(nodes, share) == 4


def test_gpu_nodes_with_few_cores_still_hold_all_their_replicas():
    nodes = [Node(2.0, 4.0)]
    share = share_out(nodes, None, 1.0)
    assert share == Share(0.5, 1.0, 1)
    assert capacity(nodes, share) == 4


def test_no_replica_at_all_is_refused():
    with pytest.raises(ValueError, match="replicas=0"):
        share_out([Node(1.0)], 0, None)
