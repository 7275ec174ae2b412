"""Runs the Autobahn cases against the module: run.py client|server LUA [PATTERN of cases to leave out...]

For the client it starts kosoku's fuzzing server, which contains the cases, and client.lua; for the server it starts
server.lua and kosoku's fuzzing client. It prints every case whose verdict is not OK or INFORMATIONAL, then the totals.
The exit status is 1 if there was any.
"""

import asyncio
import collections
import fnmatch
import pathlib
import subprocess
import sys

import kosoku
import kosoku.cases

AT_ONCE = 4
BEST = {"OK", "INFORMATIONAL"}


def script(name):
    return str(pathlib.Path(__file__).with_name(name))


def matching(patterns):
    """The ids to leave out: kosoku's own patterns know `*` only."""
    return [case for case in kosoku.cases.CASES if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]


async def results_of_client(lua, excluded):
    ids = [case for case in kosoku.cases.CASES if case not in excluded]
    async with kosoku.run_fuzzingserver(None, excluded or None, host="127.0.0.1", port=0) as server:
        process = await asyncio.create_subprocess_exec(
            lua, script("client.lua"), str(server.port), str(AT_ONCE), stdin=asyncio.subprocess.PIPE
        )
        await process.communicate("\n".join(ids).encode())
        if process.returncode != 0:
            print(f"the client failed with status {process.returncode}")
            return []
        return await server.get_result()


async def results_of_server(lua, excluded):
    with subprocess.Popen([lua, script("server.lua")], stdout=subprocess.PIPE) as process:
        try:
            url = f"ws://127.0.0.1:{int(process.stdout.readline())}"
            return await kosoku.run_fuzzingclient(url, None, excluded or None, AT_ONCE)
        finally:
            process.terminate()


async def main(role, lua, excluded):
    try:
        results = await {"client": results_of_client, "server": results_of_server}[role](lua, excluded)
    except kosoku.FailureError as failure:
        results = failure.results
    totals = collections.Counter()
    for case in results:
        verdict, close = case.behavior.value, case.behavior_close.value
        totals[verdict] += 1
        if verdict not in BEST or close not in BEST:
            totals["not as good as can be"] += 1
            print(f"{case.case_id}: {verdict}, close {close}: {case.result} {case.result_close}")
    bad = totals.pop("not as good as can be", 0)
    print(f"{role}: {len(results)} cases:", ", ".join(f"{count} {verdict}" for verdict, count in totals.items()))
    print(f"{len(results) - bad} passed, {bad} failed")
    return 1 if bad or not results else 0


sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], matching(sys.argv[3:]))))
