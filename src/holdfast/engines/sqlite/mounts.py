"""Which file systems lie on another machine: their locks and shared memory cannot be trusted.

https://www.sqlite.org/wal.html: "WAL does not work over a network filesystem".
"""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = re.compile(
    r"(?:fuse\.)?(?:nfs4?|cifs|smb[23]?|smbfs|afs|9p|ceph|ceph-fuse|glusterfs|lustre|beegfs|gpfs|sshfs|rclone"
    r"|s3fs|davfs2?|ncpfs|vboxsf|prl_fs)"
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path) -> str | None:
    """The type of the network file system that ``path`` is on; ``None`` for a local one, or if unknown."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, found = path.resolve(), ("", "")
    for line in lines:
        # Fields up to " - " vary in number; the fifth is where it is mounted, and the type comes behind.
        before, _, after = line.partition(" - ")
        mounted = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        if place.is_relative_to(mounted) and len(mounted) >= len(found[0]):
            found = mounted, after.split(" ")[0]
    return found[1] if NETWORK.fullmatch(found[1]) else None
