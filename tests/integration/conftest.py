"""What pytest has to know of these tests before it reads them."""


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: only with tests/run.sh --full")
