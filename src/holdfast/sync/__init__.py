"""Two-way sync between a database of one's own and a hub that many share, of either engine.

>>> from holdfast.sync import Sync
"""

from holdfast.errors import HubChanged, SyncError
from holdfast.sync.merge import Clash
from holdfast.sync.report import Conflict, Plan, Quarantined, Report, Status
from holdfast.sync.syncing import Sync

__all__ = [
    "Clash",
    "Conflict",
    "HubChanged",
    "Plan",
    "Quarantined",
    "Report",
    "Status",
    "Sync",
    "SyncError",
]
