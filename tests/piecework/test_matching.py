import pytest
from hypothesis import given, strategies as st

from piecework.protocol.matching import RuntimeName, TagSet, offers_runtime, worker_tags

names = st.text("abc", min_size=1, max_size=3)
features = st.lists(names, max_size=4)


@pytest.mark.parametrize(
    ("offered", "wanted", "fits"),
    [
        (["wasi"], "wasi", True),
        (["wasi"], "capsule", False),
        (["wasi+simd+threads"], "wasi+simd", True),
        (["wasi+simd"], "wasi+simd+threads", False),
        (["wasi+threads+simd"], "wasi+simd+threads", True),
        (["wasi+simd"], "wasi", True),
        (["wasi", "capsule+http"], "capsule", True),
        (["wasi"], "Wasi", False),
        ([], "wasi", False),
        ([""], "", True),
    ],
)
def test_a_worker_runs_what_it_lists_or_the_same_base_with_fewer_features(offered, wanted, fits):
    assert offers_runtime(offered, wanted) is fits


@given(names, features, features)
def test_more_features_never_make_a_worker_fit_less(base, wanted, extra):
    runtime = "+".join([base, *wanted])
    assert offers_runtime(["+".join([base, *extra, *wanted])], runtime)


def test_empty_features_do_not_count():
    assert RuntimeName.parse("wasi++simd+") == RuntimeName("wasi", frozenset({"simd"}))


def test_tags_are_sorted_by_their_first_character():
    tags = TagSet.parse(["near", "+gpu", "-slow", "+", "-", ""])
    assert tags == TagSet(frozenset({"near"}), frozenset({"gpu"}), frozenset({"slow"}))


@pytest.mark.parametrize(
    ("job", "worker", "admitted"),
    [
        ([], [], True),
        (["near"], [], True),
        (["+gpu"], [], False),
        (["+gpu"], ["gpu", "big"], True),
        (["-slow"], ["slow"], False),
        (["-slow"], [], True),
        (["+gpu", "-slow"], ["gpu", "slow"], False),
    ],
)
def test_needed_tags_must_be_there_and_rejected_ones_must_not(job, worker, admitted):
    assert TagSet.parse(job).admits(frozenset(worker)) is admitted


def test_a_contract_adds_tags_to_the_workers_own_and_takes_some_away():
    assert worker_tags(["+gpu", "big"], ["near", "-big"]) == {"gpu", "near"}
    assert worker_tags(["gpu"]) == {"gpu"}


@given(st.lists(names), st.lists(names))
def test_what_a_worker_loses_in_a_contract_no_job_can_need_of_it(registered, lost):
    tags = worker_tags(registered, [f"-{name}" for name in lost])
    assert not any(TagSet.parse([f"+{name}"]).admits(tags) for name in lost)
