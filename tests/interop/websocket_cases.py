"""Autobahn's cases against the WebSocket server at a URL: `websocket_cases.py URL CASES...`, where "1.*" is a whole section.

For each case a line "CASE BEHAVIOUR CLOSING", in Autobahn's words, with "-" for a space.
"""

import asyncio
import os
import sys

from kosoku import FailureError, run_fuzzingclient


async def main(url, cases):
    try:
        results = await run_fuzzingclient(url, cases=cases, concurrency=8)
    except FailureError as error:
        results = error.results
    for result in results:
        behaviour = result.behavior.value.replace(" ", "-")
        closing = result.behavior_close.value.replace(" ", "-")
        print(result.case_id, behaviour, closing)
    sys.stdout.flush()
    # The interpreter's own end trips over the runner's threads.
    os._exit(0)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
