-- The names in types/websocket.lua are those of the module; scripts/lint compares them with docs/api.md. Names that a
-- script can't list are read from the sources.
-- Runs on every version of Lua.

local helper = require "helper"
local names = require "names"
local websocket = helper.websocket

local annotations = names.of_annotations()

--- The matches of a pattern, as a set.
local function matches(text, pattern)
  local set = {}
  for name in text:gmatch(pattern) do set[name] = true end
  return set
end

local function keys(object)
  local set = {}
  for name in pairs(object) do set[name] = true end
  return set
end

--- Asserts that the module and the annotations have the same names.
local function same(group, set)
  assert.same({}, names.missing(group, set, "the module", annotations[group], "types/websocket.lua"))
  assert.same({}, names.missing(group, annotations[group], "types/websocket.lua", set, "the module"))
end

describe("types/websocket.lua and the module have the same", function()
  local metatable = debug.getmetatable(websocket.WebSocket())
  local python
  lazy_setup(function() python = helper.serve("python") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  it("functions and fields", function()
    local found = keys(websocket)
    found.yield = true -- nil until a script sets it
    same("the module", found)
  end)

  it("methods of timers", function()
    local timer = websocket.after(0, print)
    timer:cancel()
    same("timers", keys(debug.getmetatable(timer).__index))
  end)

  it("methods of websocket.loop", function() same("websocket.loop", keys(websocket.loop)) end)

  it("message types", function() same("message types", websocket.WebSocketMessageType) end)

  -- 5.1 does not show a C function's upvalues.
  local shows_upvalues = debug.getupvalue(metatable.__index, 1) and it or function() end
  shows_upvalues("methods", function()
    for i = 1, 10 do
      local _, value = debug.getupvalue(metatable.__index, i)
      if type(value) == "table" and value.connect then return same("methods", keys(value)) end
    end
    error("__index has no table of methods")
  end)

  it("properties", function()
    same("properties", matches(names.read("Sources/CLua/object.c"), 'strcmp%(name, "(%w+)"%)'))
  end)

  local groups = {
    websocket = "options", tls = "options of tls", deflate = "options of deflate", attempt = "what onattempt returns",
    server = "options of listen", server_tls = "options of tls of listen", answer = "what onrequest returns",
  }
  for table, text in names.read("Sources/CLua/options.c"):gmatch("option (%w+)_options%[%] = {(.-)\n};") do
    it("options in the table " .. table, function()
      same(assert(groups[table], "no class in types/websocket.lua"), matches(text, '{"(%w+)",'))
    end)
  end

  it("methods and properties of servers", function()
    local found = matches(names.read("Sources/CLua/server.c"), 'strcmp%(name, "(%w+)"%)')
    found.close = true
    same("servers", found)
  end)

  it("fields of a request", function()
    local request
    local server = websocket.listen {
      address = "127.0.0.1:0",
      onreceive = function() end,
      onrequest = function(it)
        request = it
        return false
      end,
    }
    local url = ("ws://%s/?a"):format(server.address)
    helper.client { url = url, headers = { Origin = "http://" .. server.address }, protocols = { "a" } }:get("ERROR")
    server:close()
    local found = keys(request)
    found.answer = true
    same("fields of a request", found)
  end)

  it("fields of info", function()
    local found = { request = true }
    local function add(event)
      for name in pairs(event.info) do found[name] = true end
    end
    local c = helper.client(python:url("/fragments"))
    add(c:get("OPEN"))
    add(c:get("FRAGMENT"))
    add(helper.client(python:url("/close?code=1001")):get("CLOSE"))
    add(helper.client(python:url("/status?code=503&body=later")):get("ERROR"))
    -- A CLOSE without a Close frame has a cause.
    local limited = helper.client { url = python:url("/echo"), maxmessagesize = 1, reconnect = false }:open()
    limited.ws:sendText("ab")
    add(limited:get("CLOSE"))
    same("info", found)
  end)

  it("kinds of errors", function()
    local command = "cd '%s/..' && cat $(find Sources -name '*.swift' -o -name '*.c')"
    local pipe = assert(io.popen(command:format(helper.folder)))
    local text = pipe:read("a")
    pipe:close()
    local found = matches(text, '[ (]kind: "(%l+)"')
    for name in pairs(annotations["kinds of errors"]) do
      if text:find(('"%s"'):format(name), 1, true) then found[name] = true end
    end
    same("kinds of errors", found)
  end)

  it("states", function()
    same("states", matches(names.read("Sources/WebSocketLua/Bridge.swift"), 'case %.%l+: "(%l+)"'))
  end)
end)

it("docs/api.md names the fields of the metatable", function()
  local text = names.read("docs/api.md"):match("\n(The metatable [^\n]*)")
  local group = "the metatable"
  local documented, found = matches(text, "`(__%l+)`"), keys(debug.getmetatable(websocket.WebSocket()))
  assert.same({}, names.missing(group, documented, "docs/api.md", found, "the module"))
  assert.same({}, names.missing(group, found, "the module", documented, "docs/api.md"))
end)
