"""One suite, two stores."""

from store.conftest import home  # noqa: F401 - fixtures
