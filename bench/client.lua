-- Shared by the clients in Lua, like client.h: their arguments, the clock, and the line that they print.
--     CLIENT MODE KIND URL COUNT SIZE PAYLOADS
local meter = require "meter"

local client = { now = meter.now, rss = meter.rss, TICKING = 1000, OPENING_AT_ONCE = 256 }

--- Reads the arguments and the messages to send.
function client.job(arguments)
  local mode, kind, url, count, size, file = table.unpack(arguments)
  local job = { mode = mode, kind = kind, url = url, count = math.tointeger(count), size = math.tointeger(size) }
  job.binary, job.deflate = kind == "binary", kind == "json"
  job.payloads = {}
  for piece in io.lines(assert(file, "usage: MODE KIND URL COUNT SIZE PAYLOADS"), job.size) do
    job.payloads[#job.payloads + 1] = piece
  end
  return job
end

--- Returns a function that returns the seconds and the processor time since this call.
function client.stopwatch()
  local start, cpu = meter.now(), meter.cpu()
  return function()
    local stop, cpu_stop = meter.now(), meter.cpu()
    return stop - start, cpu_stop - cpu
  end
end

--- Checks the messages of one of many connections like client.h. Returns a callback that takes
--- each message of the type, calls `finished` at the end, and `other` for other events; and a function that
--- returns their number and whether all were right.
function client.tally(job, expected_type, finished, other)
  local count, expected, last, ordered, ok = 0, job.count, "", true, false
  local function take(type, data, err)
    if type ~= expected_type then return other(type, data, err) end
    if count == expected then
      ok = ordered and data == "done" .. last
      return finished()
    end
    count = count + 1
    if data <= last then ordered = false end
    last = data
  end
  return take, function() return count, ok end
end

--- Prints the result as one line of JSON.
function client.report(fields)
  fields.rss = meter.rss()
  local parts = {}
  for name, value in pairs(fields) do parts[#parts + 1] = ('"%s": %s'):format(name, value) end
  table.sort(parts)
  print("{" .. table.concat(parts, ", ") .. "}")
end

--- Reports the result of many connections.
function client.report_tallies(tallies, job, seconds, cpu)
  local messages, all_ok = 0, true
  for _, result in ipairs(tallies) do
    local count, ok = result()
    messages = messages + count
    all_ok = all_ok and ok
  end
  client.report{ messages = messages, bytes = messages * job.size, seconds = seconds, cpu = cpu, ok = all_ok }
end

--- Reports round trips, from the time of each.
function client.report_roundtrips(times, seconds, cpu, ok)
  table.sort(times)
  client.report{
    messages = #times, seconds = seconds, cpu = cpu, ok = ok,
    p50 = times[#times // 2 + 1], p99 = times[#times * 99 // 100 + 1],
  }
end

return client
