-- onattempt, with each kind of answer. An answer that Lua has no memory to read fails its attempt.

local script, raw, peer = ...
local wait, call, make = script.wait, script.call, script.make

local asked
local function start(answer, options)
  options = options or {}
  asked = 0
  options.url, options.onreceive, options.maxreconnectwait = raw .. "/burst", script.handler(), 0.02
  options.onattempt = script.host.quiet(function() asked = asked + 1 end, answer)
  local ws = make(options)
  call(ws, "connect")
  return ws
end

--- Asserts that the events end with these, behind at most one attempt that failed for want of memory.
local function expect(...)
  local text, failed = script.recorded():gsub("^ERROR [^\n]* {attempt=1 kind=system retryin=…}\n?", "")
  assert(asked == 1 + failed)
  for line in text:gmatch "[^\n]+" do script.note(line, "", "") end
  script.expect(...)
end

local tables = {
  { url = peer .. "/path", headers = { ["X-A"] = "1" }, protocols = { "chat" }, proxy = false },
  { headers = { { "X-A", "1" } } },
}
for _, answer in ipairs(tables) do
  local ws = start(function() return answer end)
  wait(function() return ws.state == "open" and ws.address end)
  call(ws, "close")
  script.finish()
  script.note("asked", tostring(asked), "")
  local protocol = answer.protocols and "chat" or ""
  local text = script.recorded()
  local rest = text:gsub("^ERROR [^\n]*{attempt=1 kind=system retryin=…}\n", "")
  assert(rest:find("^OPEN {[^\n]* protocol=" .. protocol .. " ") and rest:find "CLOSE {clean=true code=1000 ", text)
  assert(asked == (rest == text and 1 or 2), text)
end

-- Nothing, and a callback that polls.
local ws = start(function() script.websocket.poll() end)
wait(function() return ws.state == "open" and ws.address end)
call(ws, "close")
script.finish()
expect("OPEN {.*}", "CLOSE {.*}")

-- The end.
ws = start(function() return false end)
script.finish()
assert(ws.state == "closed" and asked == 1)
expect()

-- Errors. Before 5.4, the attempt fails when Lua has collected the garbage.
local answers = {
  { "raised", function() error "raised" end },
  { "must return a table", function() return 7 end },
  { "option 'url'", function() return { url = "wrong" } end },
}
for _, case in ipairs(answers) do
  local text = case[1]
  ws = start(case[2], { reconnect = false })
  local has_failed = false
  script.host.raises(text, function()
    repeat
      collectgarbage()
      script.websocket.poll(0.1)
      has_failed = script.count() > 0
    until has_failed
    error(text)
  end)
  wait(function()
    collectgarbage()
    return script.count() == 1
  end)
  assert(asked == 1)
  script.finish()
  local got = script.recorded()
  assert(got:find "^ERROR %([^\n]*%) {attempt=1 kind=system}$", got)
end
return "asked"
