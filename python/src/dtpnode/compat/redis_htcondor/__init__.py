"""The interface of redis-htcondor, over the pool.

    >>> from dtpnode.compat.redis_htcondor import Manager
    >>> manager = Manager()
    >>> results = manager.remote_map(lambda x: x**2, range(10), return_metadata=False, progress_bar=False)
    >>> sorted(results)
    [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]

Names, arguments and metadata are those of redis-htcondor. There is no broker and there are no queues: what refers to
them is taken, and says so once where it has no meaning here. ``utils.get_chunking`` cuts files into chunks, and
``plotting`` draws what ``remote_map`` returns. ``get_worker()`` is there in the functions, also without an import, and
its ``cache`` outlasts processes and sessions.
"""

from ..._here import get_worker
from . import plotting, utils
from .manager import Manager
from .worker import Worker

__all__ = ["Manager", "Worker", "get_worker", "plotting", "utils"]
