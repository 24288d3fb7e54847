"""How many files and sockets a gateway may have open: as many as its system allows, and it says so."""

import re
import resource
from pathlib import Path

from tests.engine.simulator import Engine
from tests.gateway.process import running


async def test_a_low_limit_is_raised_as_far_as_it_goes_and_a_lower_one_is_told(tmp_path: Path) -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 10_000)
    async with Engine("faq") as engine:
        for most, told in ((hard, f"at most {hard:,}, raised from 256\n"), (1000, "at most 1,000 and each .*-Hn")):
            folder = tmp_path / str(most)
            folder.mkdir()
            async with running(folder, "--upstream", engine.url, files=(256, most)) as gateway:
                await gateway.answers()
                assert re.search(f"open files: {told}", gateway.printed)
                assert re.search(rf"Max open files +{most} +{most} ", gateway.proc("limits"))
