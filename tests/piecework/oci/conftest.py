import pytest
from fake_registry import FakeRegistry


@pytest.fixture(scope="module")
def shared_registry():
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def registry(shared_registry):
    """A registry with nothing in it."""
    for kept in (
        shared_registry.blobs,
        shared_registry.manifests,
        shared_registry.answers,
        shared_registry.requests,
        shared_registry.uploads,
    ):
        kept.clear()
    shared_registry.chunk_bytes = 0
    return shared_registry
