-- types/websocket.lua has the names of the module; scripts/lint compares them with docs/api.md. Names that a
-- script can't list are read from the sources.

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

--- Asserts that the annotations have the names of the module.
local function annotated(group, set)
  assert(next(set), "the module has none")
  local complaints = names.missing(group, set, "the module", annotations[group], "types/websocket.lua")
  assert(#complaints == 0, "\n" .. table.concat(complaints, "\n"))
end

describe("types/websocket.lua has the module's", function()
  local metatable = debug.getmetatable(websocket.WebSocket())
  local python
  lazy_setup(function() python = helper.serve("python") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  it("functions and fields", function() annotated("the module", keys(websocket)) end)

  it("message types", function() annotated("message types", websocket.WebSocketMessageType) end)

  it("methods", function()
    for i = 1, 10 do
      local _, value = debug.getupvalue(metatable.__index, i)
      if type(value) == "table" and value.connect then return annotated("methods", keys(value)) end
    end
    error("__index has no table of methods")
  end)

  it("properties", function()
    annotated("properties", matches(names.read("Sources/CLua/object.c"), 'strcmp%(name, "(%w+)"%)'))
  end)

  local groups = { websocket = "options", tls = "options of tls", deflate = "options of deflate" }
  for table, text in names.read("Sources/CLua/options.c"):gmatch("option (%w+)_options%[%] = {(.-)\n};") do
    it("options in the table " .. table, function()
      annotated(assert(groups[table], "no class in types/websocket.lua"), matches(text, '{"(%w+)",'))
    end)
  end

  it("fields of info", function()
    local found = {}
    local function add(event)
      for name in pairs(event.info) do found[name] = true end
    end
    local c = helper.client(python:url("/fragments"))
    add(c:get("OPEN"))
    add(c:get("FRAGMENT"))
    add(helper.client(python:url("/close?code=1001")):get("CLOSE"))
    add(helper.client(python:url("/status?code=503&body=later")):get("ERROR"))
    annotated("info", found)
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
    annotated("kinds of errors", found)
  end)

  it("states", function()
    annotated("states", matches(names.read("Sources/WebSocketLua/Bridge.swift"), 'case %.%l+: "(%l+)"'))
  end)
end)

it("docs/api.md names the fields of the metatable", function()
  local text = names.read("docs/api.md"):match("\n(The metatable [^\n]*)")
  local group = "the metatable"
  local documented, found = matches(text, "`(__%l+)`"), keys(debug.getmetatable(websocket.WebSocket()))
  assert.same({}, names.missing(group, documented, "docs/api.md", found, "the module"))
  assert.same({}, names.missing(group, found, "the module", documented, "docs/api.md"))
end)
