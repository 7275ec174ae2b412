-- The waits on one websocket: receive, messages, waitopen and flush; and what poll and run do in a coroutine when the
-- script has set websocket.yield. They are Lua, because Lua 5.1 and LuaJIT can't yield across a C function. waits.c
-- loads this chunk once for each Lua state; it runs on the script's thread. Its arguments are the module's table, the
-- table of the websockets' methods, and that of the C functions in waits.c.
--
-- A deadline is a time of the monotonic clock. 0 means: deliver what is queued, and do not wait.
local module, methods, native = ...
local time, step, error, type, tonumber = native.time, native.step, error, type, tonumber
local forever = 1 / 0

-- A text of digits is a number, as for Lua's own functions.
local function to_number(value) return type(value) == "string" and tonumber(value) or value end

local function check_deadline(seconds, argument, name)
  if seconds == nil then return forever end
  seconds = to_number(seconds)
  if type(seconds) ~= "number" then
    error(("bad argument #%d to '%s' (number expected, got %s)"):format(argument, name, type(seconds)), 3)
  end
  if seconds ~= seconds then
    error(("bad argument #%d to '%s' (a time in seconds expected, got NaN)"):format(argument, name), 3)
  end
  return seconds > 0 and time() + seconds or 0
end

local function check_websocket(ws, name, level)
  if native.is_websocket(ws) then return end
  error(("bad argument #1 to '%s' (WebSocket expected, got %s)"):format(name, type(ws)), level or 3)
end

--- Lets the scheduler run other coroutines until the module's descriptor is readable, or until the deadline or the
--- next timer. `ws`: the websocket whose events are waited for, or nil. It must be the first variable: is_in_yield
--- (waits.c) finds it there.
local function yield(ws, deadline)
  local seconds = native.earlier(deadline) - time()
  local descriptor = native.fd()
  native.begin_yield(ws)
  module.yield(descriptor, seconds > 0 and seconds or 0)
  native.end_yield(ws)
end

--- Delivers events until one of `ws` was among them, and waits for the first. Returns true if a signal ended it.
local function wait(ws, deadline)
  if module.yield == nil or not native.in_coroutine() then
    local _, _, has_moved = step(ws, deadline)
    return not has_moved and time() < deadline
  end
  local _, _, has_moved = step(ws, 0)
  if has_moved or deadline == 0 then return false end
  yield(ws, deadline)
  step(ws, 0)
  return false
end

--- Calls `look(ws, argument)` until it returns something, which is returned. Otherwise, after nil, it returns
--- "timeout" or "interrupted".
local function wait_for(look, ws, deadline, argument)
  local has_waited, is_interrupted = false, false
  while true do
    local first, second, third, fourth = look(ws, argument)
    if fourth ~= nil then return first, second, third, fourth end
    if second ~= nil then return first, second end
    if first ~= nil then return first end
    if is_interrupted then return nil, "interrupted" end
    if (has_waited or deadline > 0) and time() >= deadline then return nil, "timeout" end
    is_interrupted = wait(ws, deadline)
    has_waited = true
  end
end

local function check_receiver(ws, name)
  check_websocket(ws, name, 4)
  if native.has_handler(ws) then
    error(("WebSocket has an onreceive, which gets its messages: '%s' is for one without"):format(name), 3)
  end
end

function methods.receive(ws, timeout)
  check_receiver(ws, "receive")
  return wait_for(native.take, ws, check_deadline(timeout, 1, "receive"))
end

local function next_message(ws)
  check_websocket(ws, "messages")
  while true do
    local data, kind = wait_for(native.take, ws, forever)
    if data ~= nil then return data, kind end
    if kind ~= "interrupted" then return nil end
  end
end

function methods.messages(ws)
  check_receiver(ws, "messages")
  return next_message, ws
end

function methods.waitopen(ws, timeout)
  check_websocket(ws, "waitopen")
  return wait_for(native.opened, ws, check_deadline(timeout, 1, "waitopen"))
end

function methods.flush(ws, timeout, bytes)
  check_websocket(ws, "flush")
  local deadline = check_deadline(timeout, 1, "flush")
  bytes = to_number(bytes)
  if bytes ~= nil and (type(bytes) ~= "number" or bytes ~= bytes) then
    error(("bad argument #2 to 'flush' (a number of bytes expected, got %s)"):format(
      type(bytes) == "number" and "NaN" or type(bytes)), 2)
  end
  local connection = native.connection(ws)
  local is_over, reason = wait_for(native.flushed, ws, deadline, bytes or 0)
  if not is_over then return false, reason end
  if connection and native.connection(ws) ~= connection and native.unsent(ws) > 0 then return false, "closed" end
  return true
end

--- poll in a coroutine.
local function poll(deadline)
  while true do
    local events, is_done = step(nil, 0)
    if is_done or time() >= deadline then return events end
    yield(nil, deadline)
  end
end

--- run in a coroutine. `state` must be the second variable: there websocket.stop finds it (runs.c).
local function run(deadline)
  local state = native.begin_run()
  while not native.is_over(state) do
    step(state, 0)
    if native.is_over(state) or time() >= deadline then break end
    yield(nil, deadline)
  end
  return native.is_idle()
end

--- poll with a descriptor of the script's own.
local function poll_descriptor(deadline, descriptor)
  while true do
    local events, is_done = step(nil, 0)
    local is_readable, is_interrupted = native.wait(descriptor, is_done and 0 or deadline)
    if is_readable == nil then error(is_interrupted, 3) end
    if is_done or is_readable or is_interrupted or time() >= deadline then return events, is_readable end
  end
end

-- Where a function that C calls can't yield, the C functions poll and run can't call those of this chunk.
if not native.calls_yield then
  local native_poll, native_run = module.poll, module.run

  local function yields(deadline) return deadline > 0 and module.yield ~= nil and native.in_coroutine() end

  local function check_descriptor(descriptor)
    if type(descriptor) ~= "number" then
      error(("bad argument #2 to 'poll' (number expected, got %s)"):format(type(descriptor)), 3)
    end
    if descriptor < 0 or descriptor >= 2 ^ 31 or descriptor % 1 ~= 0 then
      error("bad argument #2 to 'poll' (a descriptor expected)", 3)
    end
  end

  function module.poll(timeout, descriptor)
    if timeout == nil and descriptor == nil then return native_poll() end
    local deadline = check_deadline(timeout or 0, 1, "poll")
    if descriptor ~= nil then
      descriptor = to_number(descriptor)
      check_descriptor(descriptor)
      if not native.can_poll() then return 0 end
      local events, is_readable = poll_descriptor(deadline, descriptor)
      return events, is_readable
    end
    if yields(deadline) and native.can_poll() then return poll(deadline) end
    return native_poll(timeout)
  end

  function module.run(timeout)
    local deadline = check_deadline(timeout, 1, "run")
    if yields(deadline) then return run(deadline) end
    return native_run(timeout)
  end
end

return poll, run, poll_descriptor, yield
