"""The table of endpoints."""

import importlib
import inspect
import pkgutil

from piecework.server import api
from piecework.server.api.table import ENDPOINTS
from piecework.server.web.endpoint import endpoints_of


def test_every_view_stands_in_the_table_once():
    modules = [
        importlib.import_module(each.name) for each in pkgutil.walk_packages(api.__path__, "piecework.server.api.")
    ]
    functions = [each for module in modules for each in vars(module).values() if inspect.isfunction(each)]
    noted = {each for function in functions for each in endpoints_of(function)}
    assert noted == set(ENDPOINTS)
    assert len({(each.method, each.path) for each in ENDPOINTS}) == len(ENDPOINTS) > 50
