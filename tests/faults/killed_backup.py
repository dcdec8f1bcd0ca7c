"""Takes a backup and says so when half of it is copied, then goes on until killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from modelkeep.home import Home
from modelkeep.store import copying
from modelkeep_services.backup.take import take


def main() -> None:
    home, out = Home(Path(sys.argv[1])), Path(sys.argv[2])
    copying.PAGES = 1  # type: ignore[misc]  # slow enough to be killed in the middle

    def slowly(done: int, total: int) -> None:
        if done * 2 >= total:
            os.write(1, b"half\n")
            time.sleep(30)

    take(home, out, progress=slowly)


if __name__ == "__main__":
    main()
