-- The texts of errors that calls raise: those in the sources are those in the chapter "Errors of calls" of docs/api.md.
-- Variable parts are … in both.

local helper = require "helper"

local top = helper.folder .. "/../"

--- The string literal at a position, joined with those that follow it, without its variable parts; nil if it does not
--- end in its line.
local function literal(source, position)
  local text = ""
  position = position + 1
  while true do
    local piece, stop = source:match('^([^"\\\n]*)()', position)
    text = text .. piece
    local char = source:sub(stop, stop)
    if char == '"' then
      local other = source:match('^%s*%+?%s*()"', stop + 1)
      if not other then break end
      position = other + 1
    elseif source:sub(stop, stop + 1) == "\\(" then
      text = text .. "…"
      position = source:match("^%b()()", stop + 1)
    elseif char == "\\" then
      text = text .. source:sub(stop + 1, stop + 1)
      position = stop + 2
    else
      return nil
    end
  end
  return (text:gsub("%%[sd]", "…"))
end

--- Where texts of errors are: files, and what stands before the literal. %f[%w]: a name begins.
local c = {
  "luaL_error%([%w_>-]+, ", "luaL_argcheck%([^;\"]*, ", "fail%([%w_]+, [%w_]+, ", "lua_pushfstring%([%w_>-]+, ",
}
local places = {
  { "find Sources/CLua -name '*.[ch]'", c },
  { "ls Sources/CLua/waits.lua", { "error%(%(?" } },
  { "ls Sources/WebSocketLua/*.swift", { "failure%.set%(" } },
  { "ls Sources/WebSocketEngine/Script/WebSocket.swift", { "%.failed%(", "{ return ", "nil : " } },
  { "ls Sources/WebSocketEngine/Open/SendQueue.swift", { "%.failed%(%s*" } },
  { "find Sources -name '*.swift'", {
    "%f[%w]Failure%(%s*", "AnswerFailure%(%s*", "SendFailure%(%s*", "ServerFailure%(%s*", "%f[%w]wrong%(%s*",
    "%f[%w]failure%(text, ", "%f[%w]Proxy%.Failure%(reason: ", "%f[%w]Failure%(reason: \"bad ",
  } },
}

--- Texts that no script sees by themselves, and those of Lua's own errors.
local left_out = {
  ["…"] = true, ["…:…: "] = true, ["………"] = true, ["… expected, got …"] = true, ["stack overflow"] = true,
  ["'__tostring' must return a string"] = true, ["must be …"] = true,
}

local found = {} -- the text: where it is
for _, place in ipairs(places) do
  for file in helper.output("cd '" .. top .. "' && " .. place[1]):gmatch("[^\n]+") do
    local source = helper.read_file(top .. file)
    for _, pattern in ipairs(place[2]) do
      for position in source:gmatch(pattern .. '()"') do
        local text = literal(source, position)
        if text and not left_out[text] and not text:find("%%p") then found[text] = file end
      end
    end
  end
end

local chapter = helper.read_file(top .. "docs/api.md"):match("\n## Errors of calls\n(.-)\n## ")

describe("the chapter of docs/api.md about errors of calls", function()
  local listed = {}
  for text in chapter:gmatch("\n| `([^`]+)` |") do listed[text] = true end

  it("has the texts of the sources", function()
    local complaints = {}
    for text, file in pairs(found) do
      if not listed[text] then complaints[#complaints + 1] = file .. ": " .. text end
    end
    table.sort(complaints)
    assert.same({}, complaints)
  end)

  it("has no other text", function()
    local complaints = {}
    for text in pairs(listed) do
      if not found[text] then complaints[#complaints + 1] = text end
    end
    table.sort(complaints)
    assert.same({}, complaints)
  end)
end)
