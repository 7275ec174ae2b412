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

describe("what the pages name, the module has:", function()
  local known = names.of_page()
  -- What stands before a name in code, and the groups that it may be of.
  local places = {
    { "%f[%w]websocket%.(%w+)", "the module" },
    { "%f[%w]ws:(%w+)", "methods" },
    { "%f[%w]ws%.(%w+)", "properties", "methods" },
    { "%f[%w]server[:.](%w+)%f[^%w%-]", "servers" },
    { "%f[%w]info%.(%w+)", "info" },
    { "%f[%w]request[:.](%w+)", "fields of a request" },
    { "%f[%w]types%.(%u+)", "message types" },
  }
  local files = { so = true, lua = true, global = true } -- websocket.so and the like

  for _, page in ipairs {
    "README.md", "CHANGELOG.md", "docs/api.md", "docs/guide.md", "docs/troubleshooting.md", "docs/versions.md",
    "docs/migrating.md",
  } do
    it(page, function()
      local complaints, count = {}, 0
      local text = names.read(page)
      -- The first column of migrating.md is of other libraries.
      if page == "docs/migrating.md" then text = text:gsub("\n| [^\n]- |", "\n") end
      local code = {}
      text = text:gsub("\n```(%l*)\n(.-)\n```", function(language, block)
        -- In README.md the shell writes the scripts into files.
        if language == "lua" or page == "README.md" then code[#code + 1] = block end
        return "\n"
      end)
      for piece in text:gmatch("`([^`\n]+)`") do code[#code + 1] = piece end
      for _, piece in ipairs(code) do
        piece = piece:gsub('"[^"\n]*"', '""')
        for _, place in ipairs(places) do
          for name in piece:gmatch(place[1]) do
            count = count + 1
            local is_known = files[name]
            for i = 2, #place do is_known = is_known or known[place[i]][name] ~= nil end
            if not is_known then complaints[#complaints + 1] = name .. " in " .. piece:sub(1, 60) end
          end
        end
      end
      assert.same({}, complaints)
      assert.is_true(count > 0)
    end)
  end
end)

it("docs/api.md describes each type of event", function()
  local table_of_events = names.read("docs/api.md"):match("\n## Events\n(.-)\n#")
  local described = {}
  for row in table_of_events:gmatch("\n| (`%u[^|]*) |") do
    for name in row:gmatch("`(%u+)`") do described[name] = websocket.WebSocketMessageType[name] end
  end
  assert.same(websocket.WebSocketMessageType, described)
end)
