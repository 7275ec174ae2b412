-- Out of memory: an allocation of Lua's fails, over scripts that use every function, option and event type. Whatever
-- fails is a memory error of Lua's, or nothing; the script goes on after it, and gets every event, exactly once. The
-- host is refusals.c; the scripts are in the folder refusals.
-- Here one of many allocations fails in each run, others in each version of Lua. With WEBSOCKET_SWEEP=all in the
-- environment it is each of them, in each of the host's ways (some minutes for a version).
-- Runs on every version of Lua.

local helper = require "helper"

local is_full = os.getenv("WEBSOCKET_SWEEP") == "all"

-- The ways, and how many allocations lie between two that fail.
local strides = { once = 31, until_caught = 37, busy_once = 61, busy_until_caught = 67, collect = 1 }
local names = { until_caught = "until", busy_once = "busy-once", busy_until_caught = "busy-until" }
local offsets = { ["5.1"] = 1, ["5.2"] = 7, ["5.3"] = 13, ["5.4"] = 19, ["5.5"] = 25, jit = 29 }

describe("when Lua's allocator refuses an allocation:", function()
  local arguments, host
  lazy_setup(function()
    local raw, peer, secure = helper.serve("raw"), helper.serve("own"), helper.serve("raw-tls")
    arguments = { raw:url(""), peer:url(""), secure:url(""), helper.certificates }
    host = helper.host("refusals")
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  --- Lets allocations of one of the scripts fail; asserts that no run is wrong and, if `fails`, that some fail.
  local function sweep(script, way, fails)
    local folder = helper.folder .. "/refusals/"
    local output, code = helper.finish(helper.start("env LUA_CPATH='" .. helper.cpath .. "' " .. host,
      names[way] or way, is_full and 1 or offsets[helper.version], is_full and 1 or strides[way],
      folder .. "script.lua", folder .. script .. ".lua", table.unpack(arguments)))
    assert.equal(0, code, output)
    local runs, errors = output:match "^(%d+) runs, (%d+) errors, 0 wrong\n$"
    assert.truthy(runs, output)
    if is_full then print(helper.version, script, way, runs .. " runs", errors .. " errors") end
    if fails then assert.is_true(tonumber(errors) > 0, output) end
  end

  for script, what in pairs {
    load = "loading the module",
    options = "every option, and wrong ones",
    talk = "events of an open connection, sends and properties",
    ends = "errors, ends of connections and reconnects",
    attempts = "onattempt with each kind of answer",
    waits = "receive and the other waits, also in coroutines",
    clock = "timers, run, and the descriptor for loops of the host",
    secure = "TLS",
    server = "a server: requests, connections, broadcasts",
  } do
    it(what, function()
      if not host then return pending("needs cc and Lua's headers") end
      for way in pairs(strides) do sweep(script, way, way ~= "collect") end
    end)
  end
end)
